"""One step of the adversarial game: the discriminator looks once, then the generator learns from its look.

The only place where objectives meet networks.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import images
from ..models.dcgan import Discriminator, Generator, probability
from ..models.ema import Ema, decay
from ..objectives.augment import augment
from ..objectives.losses import LOSSES
from ..objectives.penalties import gradient_penalty
from ..recipe import Recipe
from .hardware import Hardware

SIGNALS = ("d_real", "d_fake", "real_right", "fake_right", "r_t", "spread_ratio")
"""What one look of the discriminator tells for nothing: mean D(x) and D(G(z)) as probabilities; the shares of reals and
of fakes on the right side of logit 0 (both near 1: it is saturated); r_t = E sign D(x) of ADA (Karras et al. 2020, who
aimed at 0.6); and the `spread` of the fakes' features divided by that of the reals', far below 1 where fakes are alike,
though batch norm, which rescales each batch, hides some of that. Relativistic logits have no level: of these only the
last means something there.
"""

STATISTICS = ("loss_d", "loss_g", *SIGNALS, "penalty")
"""What a step reports: the two losses, `SIGNALS`, and the penalty term of D."""


@dataclasses.dataclass
class Players:
    """All that learns: two networks, their optimisers, and the generator's average."""

    generator: Generator
    discriminator: Discriminator
    ema: Ema
    adam_g: torch.optim.Adam
    adam_d: torch.optim.Adam


def make_players(generator: Generator, discriminator: Discriminator, recipe: Recipe, hardware: Hardware) -> Players:
    """Place a pair on its device and give it optimisers. Frozen blocks are in no optimiser."""
    for network in (generator, discriminator):
        hardware.place(network)
        network.train()
    optim = recipe.optim
    betas, fused = (optim.beta1, optim.beta2), hardware.device.type in ("cpu", "cuda")
    return Players(
        generator,
        discriminator,
        Ema(generator),
        torch.optim.Adam(generator.trainable(), optim.glr, betas, fused=fused),
        torch.optim.Adam(discriminator.trainable(), optim.dlr, betas, fused=fused),
    )


class Step:
    """One step of training, as a function of a batch of real pictures.

    Args:
        players: changed in place.
        recipe: its objective, augment, ema and train sections.
        hardware: where and in which arithmetic.
        random: all randomness of training on the CPU: latents, augmentation.
    """

    def __init__(self, players: Players, recipe: Recipe, hardware: Hardware, random: torch.Generator) -> None:
        self.players, self.recipe, self.hardware, self.random = players, recipe, hardware, random
        self.loss = LOSSES[recipe.objective.loss]

    def __call__(self, batch: Tensor, images_seen: int) -> Tensor:
        """Train on one batch.

        Args:
            batch: real pictures, uint8 [N, C, H, W].
            images_seen: real pictures shown before this batch.

        Returns:
            `STATISTICS` as float32 [9] on the device, without waiting for it.
        """
        real = images.to_float(self.hardware.put(batch))
        with self.hardware.autocast():
            fake = self.players.generator(self._latents(len(batch))).float()  # augmented as exactly as the reals
        penalised = (images_seen // len(batch)) % self.recipe.objective.penalty_interval == 0
        loss_d, penalty, told = self._discriminator_step(real, fake.detach(), penalised)
        loss_g = self._generator_step(real, fake)
        ema = self.recipe.ema
        self.players.ema.update(decay(len(batch), ema.half_life_kimg * 1000, images_seen, ema.rampup))
        return torch.stack([loss_d, loss_g, *told, penalty]).detach()

    def _discriminator_step(self, real: Tensor, fake: Tensor, penalised: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Real and fake go through separately: in one batch, batch norm would let D tell them apart by each other."""
        with self.hardware.autocast():
            real_logits, real_features = self._seen(real, with_features=True)
            fake_logits, fake_features = self._seen(fake, with_features=True)
        real_logits, fake_logits = real_logits.float(), fake_logits.float()
        loss = self.loss.discriminator(real_logits, fake_logits, self.recipe.objective.real_label)
        penalty = self._penalty(real, fake) if penalised else loss.new_zeros(())
        self.players.adam_d.zero_grad()
        (loss + penalty).backward()  # type: ignore[no-untyped-call]
        self.players.adam_d.step()
        return loss, penalty, signals(real_logits, fake_logits, real_features, fake_features)

    def _generator_step(self, real: Tensor, fake: Tensor) -> Tensor:
        """The fakes of this step again, through the discriminator that has just learned."""
        with not_learning(self.players.discriminator):
            fake_logits = self._look(fake)
            with torch.no_grad():
                real_logits = self._look(real) if self.loss.needs_reals else fake_logits
            loss = self.loss.generator(fake_logits, real_logits)
            self.players.adam_g.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        self.players.adam_g.step()
        return loss

    def _penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        """R1 and R2, in float32, weighted for being taken only every `penalty_interval` steps."""
        objective = self.recipe.objective
        penalty = real.new_zeros((), dtype=torch.float32)
        with torch.autocast(self.hardware.device.type, enabled=False):
            for gamma, pictures in ((objective.r1_gamma, real), (objective.r2_gamma, fake)):
                if gamma > 0:
                    penalty = penalty + gamma * gradient_penalty(self._seen, pictures.float())
        return penalty * objective.penalty_interval

    def _look(self, pictures: Tensor) -> Tensor:
        """Float32 logits [N] of augmented pictures."""
        with self.hardware.autocast():
            logits: Tensor = self._seen(pictures).float()
        return logits

    def _seen(self, pictures: Tensor, with_features: bool = False) -> Any:
        settings = self.recipe.augment
        shown = augment(pictures, settings.operations, settings.p, self.random)
        return self.players.discriminator(shown, with_features=with_features)

    def _latents(self, count: int) -> Tensor:
        z = torch.randn(count, self.players.generator.model.latent_dim, generator=self.random)
        return z.to(self.hardware.device)


@torch.no_grad()
def signals(real_logits: Tensor, fake_logits: Tensor, real_features: Tensor, fake_features: Tensor) -> list[Tensor]:
    """`SIGNALS`, as scalars.

    Args:
        real_logits: float32 [N].
        fake_logits: float32 [N].
        real_features: float [N, F], what the discriminator's last block saw.
        fake_features: float [N, F].
    """
    believed = probability(real_logits).mean(), probability(fake_logits).mean()
    right = (real_logits > 0).float().mean(), (fake_logits < 0).float().mean()
    ratio = spread(fake_features) / spread(real_features).clamp_min(1e-6)
    return [*believed, *right, real_logits.sign().mean(), ratio]


def spread(features: Tensor) -> Tensor:
    """Mean cosine distance of two different rows: float [N, F] -> scalar in 0 .. 2, float32.

    The cosines of all pairs sum up to the squared length of the sum of the unit vectors, so no table is needed.
    """
    count, rows = len(features), features.float()
    together: Tensor = rows.norm(dim=1).clamp_min(1e-12).reciprocal() @ rows
    return 1 - (together.square().sum() - count) / (count * (count - 1))


@contextlib.contextmanager
def not_learning(network: nn.Module) -> Iterator[None]:
    """Gradients pass through the network to its input but none are made for its weights, and its batch-norm
    statistics stand still."""
    learning = [p for p in network.parameters() if p.requires_grad]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    _switch(learning, norms, False)
    try:
        yield
    finally:
        _switch(learning, norms, True)


def _switch(parameters: Sequence[nn.Parameter], norms: Sequence[nn.BatchNorm2d], on: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(on)
    for norm in norms:
        norm.track_running_stats = on
