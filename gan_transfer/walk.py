"""One latent through the generator, one real and one fake through the discriminator: every shape, and both losses.

The losses are those of Goodfellow et al. 2014 for one picture of each kind: the discriminator's binary cross-entropy,
and the generator's in the form of the minimax game and in the non-saturating form, with the gradient that each of
these two sends back through the fake's logit.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from . import images
from .data.decode import decode, hint_for
from .data.source import Source
from .errors import DataError
from .models.dcgan import Block, Network, probability
from .models.weights import Pair
from .objectives.losses import cross_entropy_d, minimax_g, non_saturating_g
from .sampling import latents
from .text import reason

TRIED = 16
"""Pictures of a source that may be broken before none is looked for any further."""


@dataclasses.dataclass(frozen=True)
class Stop:
    """What one block puts out.

    Attributes:
        block: its name, or `z` and `picture` for what goes in.
        layers: of the block, in words.
        shape: without the batch.
        low: the smallest value.
        high: the largest value.
    """

    block: str
    layers: str
    shape: tuple[int, ...]
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss of one real and one fake.

    Attributes:
        name: whose, and of which form.
        formula: in terms of D(x) and D(G(z)).
        value: nats.
        gradient: of the loss by the fake's logit.
    """

    name: str
    formula: str
    value: float
    gradient: float


@dataclasses.dataclass(frozen=True)
class Walk:
    """What was seen on the way.

    Attributes:
        seed: of the latent.
        real: the real picture's label.
        generator: the way of the latent.
        discriminator: the way of the fake.
        real_logit: the discriminator's answer to the real picture.
        fake_logit: its answer to the fake.
        real_probability: D(x).
        fake_probability: D(G(z)).
        losses: of these two answers.
    """

    seed: int
    real: str
    generator: list[Stop]
    discriminator: list[Stop]
    real_logit: float
    fake_logit: float
    real_probability: float
    fake_probability: float
    losses: list[Loss]


def walk(pair: Pair, seed: int, source: Source, crop: str = "center") -> Walk:
    """Walk through a pair in eval mode, where batch norm uses its running statistics.

    Args:
        pair: its networks are set to eval mode.
        seed: of the latent.
        source: its first whole picture is the real one.
        crop: how that is cut.

    Raises:
        DataError: none of the first pictures can be read.
    """
    generator, discriminator = pair.generator.eval(), pair.discriminator.eval()
    z = latents([seed], generator.model.latent_dim)
    real, label = _real(source, generator.model.resolution, generator.model.channels, crop)
    with torch.inference_mode():
        made = _stops(generator, z[:, :, None, None], Stop("z", f"N(0, 1) of seed {seed}", (z.shape[1],), *_ends(z)))
        fake = generator(z)
        judged = _stops(discriminator, fake, Stop("picture", "the fake", tuple(fake.shape[1:]), *_ends(fake)))
        answers = [discriminator(picture) for picture in (real, fake)]
    (of_real, of_fake), found = answers, losses(*(answer.clone() for answer in answers))
    believed = probability(of_real).item(), probability(of_fake).item()
    return Walk(seed, label, made, judged, of_real.item(), of_fake.item(), believed[0], believed[1], found)


def losses(real_logit: Tensor, fake_logit: Tensor) -> list[Loss]:
    """The three losses of two logits, float [1] each."""
    fake = fake_logit.float().requires_grad_()
    forms = (
        ("D, cross-entropy", "-log D(x) - log(1 - D(G(z)))", cross_entropy_d(real_logit.float(), fake, 1.0)),
        ("G, minimax", "log(1 - D(G(z)))", minimax_g(fake, real_logit)),
        ("G, non-saturating", "-log D(G(z))", non_saturating_g(fake, real_logit)),
    )
    return [Loss(name, text, loss.item(), torch.autograd.grad(loss, fake)[0].item()) for name, text, loss in forms]


def _real(source: Source, resolution: int, channels: int, crop: str) -> tuple[Tensor, str]:
    """The first picture that can be read, float [1, C, H, W] in [-1, 1], and its label."""
    source.fetch()
    fault: Exception | None = None
    for index in range(min(len(source), TRIED)):
        try:
            pixels = decode(source.load(index, hint_for(resolution, crop)), resolution, channels, crop)
        except DataError:
            raise
        except Exception as error:  # a decoder's; see Source.load
            fault = fault or error
            continue
        return images.to_float(torch.from_numpy(pixels).permute(2, 0, 1)[None]), source.label(index)
    told = f": {reason(fault)}" if fault else ""
    raise DataError(f"--data {source.spec}: none of the first {TRIED} pictures can be read{told}. Give another --data")


def _stops(network: Network, x: Tensor, entered: Stop) -> list[Stop]:
    """What goes in, then what every block makes of it."""
    found = [entered]
    for name, block in network.blocks.items():
        x = block(x)
        found.append(Stop(name, _layers(block), tuple(x.shape[1:]), *_ends(x)))
    return found


def _layers(block: Block) -> str:
    """A block in words: `transposed 4x4/2, batch norm, ReLU`, the stride after the kernel."""
    conv = block.conv
    size, stride = getattr(conv, "kernel_size", (0,))[0], getattr(conv, "stride", (1,))[0]
    kind = "transposed" if isinstance(conv, nn.ConvTranspose2d) else "convolution"
    norm = ["batch norm"] if isinstance(block.norm, nn.BatchNorm2d) else []
    silent = (nn.Identity, nn.Sequential)
    after = [type(part).__name__ for part in block.activation.modules() if not isinstance(part, silent)]
    return ", ".join([f"{kind} {size}x{size}/{stride}", *norm, *after])


def _ends(x: Tensor) -> tuple[float, float]:
    return x.min().item(), x.max().item()
