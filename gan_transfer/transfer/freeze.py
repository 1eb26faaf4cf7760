"""Freezing: blocks that stay bit for bit as they were, batch-norm statistics included.

"Early" is ambiguous in a GAN, so blocks are counted from the image or from the latent and called by name.
A frozen block has no gradients, is in no optimiser, and stays in eval mode whatever `train()` is called; gradients
still pass through it. Its batch-norm statistics are first taken anew on the target, because the running statistics
of a discriminator are those of its last few batches, mostly fakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ..models.dcgan import Discriminator, Generator, Network
from ..models.learning import not_learning
from ..objectives.augment import augment
from ..recipe import Recipe, Transfer


def chosen(settings: Transfer, generator: Generator, discriminator: Discriminator) -> tuple[list[str], list[str]]:
    """The names of the blocks to freeze, of the generator and of the discriminator; the recipe's checks
    (`gan_transfer.recipe.faults`) have made sure that some are left."""
    g_names, d_names = list(generator.blocks), list(discriminator.blocks)
    image_side = g_names[len(g_names) - settings.freeze_g_image :]
    return g_names[: settings.freeze_g_latent] + image_side, d_names[: settings.freeze_d_image]


def describe(g_names: list[str], d_names: list[str]) -> str:
    """Which blocks are frozen, in words: `frozen: D d32, d16 (image side); G none`."""
    d_text = f"{', '.join(d_names)} (image side)" if d_names else "none"
    g_text = ", ".join(g_names) or "none"
    return f"frozen: D {d_text}; G {g_text}"


def freeze(network: Network, names: Iterable[str]) -> None:
    """Freeze blocks of a network, for good."""
    for name in names:
        block = network.blocks[name]
        block.frozen = True
        block.requires_grad_(False)
        block.eval()


def train_only_affines(generator: Generator) -> None:
    """Leave to the optimiser only batch norm's gains and offsets, and the block at the image, for good.

    Scale and shift (Noguchi & Harada 2019, arXiv:1904.01774) with the adversarial loss in place of theirs. The block at
    the image has no batch norm, so without it the palette could not move. Batch norm goes on with the statistics of
    each batch: its gains and offsets mean little on others.
    """
    *hidden, _ = generator.blocks.values()
    for block in hidden:
        block.conv.requires_grad_(False)


def recalibrate_frozen(
    recipe: Recipe, names: tuple[Iterable[str], Iterable[str]], pair: tuple[Generator, Discriminator],
    reals: Callable[[], Tensor], random: torch.Generator,
) -> None:  # fmt: skip
    """Take the statistics of blocks about to be frozen anew on what they will see: G's samples, and for D half target
    pictures and half samples, augmented as in training.

    Args:
        recipe: of the run.
        names: of the generator's blocks and of the discriminator's.
        pair: both networks, changed in place.
        reals: the next batch of target pictures, float32 [N, C, H, W] in [-1, 1].
        random: of the latents and the augmentation.
    """
    generator, discriminator = pair
    count, settings = recipe.transfer.recalibrate_batches, recipe.augment
    p = 0.0 if settings.ada_target else settings.p  # ADA's begins there

    def latents() -> Tensor:
        return torch.randn(recipe.train.batch, recipe.model.latent_dim, generator=random)

    def real() -> Tensor:
        return augment(reals(), settings.operations, p, random)

    def fake() -> Tensor:
        with not_learning(generator):  # nor are the statistics moved of blocks that stay the source's
            return augment(generator(latents()), settings.operations, p, random)

    recalibrate_blocks(discriminator, names[1], [real, fake] * (count // 2 or 1))
    recalibrate_blocks(generator, names[0], [latents] * count)


@torch.no_grad()
def recalibrate_blocks(network: Network, names: Iterable[str], batches: Iterable[Callable[[], Tensor]]) -> None:
    """Take the batch-norm statistics of some blocks anew, in place; call it before `freeze`.

    Args:
        network: runs in train mode, as it will beside its frozen blocks; its mode is put back.
        names: of the blocks; without batch norm among them nothing runs.
        batches: each call gives one input batch of the network; every batch counts the same.
    """
    norms = [m for n in names if isinstance(m := network.blocks[n].norm, nn.BatchNorm2d)]
    if not norms:
        return
    others = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m not in norms]
    was_training = network.training
    network.train()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    for norm in others:
        norm.track_running_stats = False
    for batch in batches:
        network(batch())
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for norm in others:
        norm.track_running_stats = True
    network.train(was_training)
