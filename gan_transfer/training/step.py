"""One step of the adversarial game: the discriminator looks once, then the generator learns from its look.

The only place where objectives meet networks.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from .. import distributed, images
from ..distributed import Share
from ..models.batch_norm import running_statistics, synchronise
from ..models.dcgan import Discriminator, Generator, Network, probability
from ..models.ema import Ema, decay
from ..objectives.augment import augment
from ..objectives.losses import LOSSES
from ..objectives.penalties import gradient_penalty
from ..recipe import Recipe
from .hardware import Hardware

T = TypeVar("T")

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
    optim, ema = recipe.optim, Ema(generator)
    betas, fused = (optim.beta1, optim.beta2), hardware.device.type in ("cpu", "cuda")
    for network in (generator, discriminator) if recipe.train.sync_bn else ():
        synchronise(network)  # not the average, whose statistics rank 0 takes alone
    return Players(
        generator,
        discriminator,
        ema,
        torch.optim.Adam(generator.trainable(), optim.glr, betas, fused=fused),
        torch.optim.Adam(discriminator.trainable(), optim.dlr, betas, fused=fused),
    )


@dataclasses.dataclass
class Fakes:
    """This rank's fakes of a step.

    Attributes:
        z: latents, float32 [N, latent_dim].
        pictures: of the generator, with their graph; None where they must be made again, part by part.
    """

    z: Tensor
    pictures: Tensor | None = None


class Step:
    """One step of training, as a function of this rank's share of a batch of real pictures.

    Args:
        players: changed in place, alike on all ranks.
        recipe: its objective, augment, ema and train sections.
        hardware: where and in which arithmetic.
        random: all randomness of training on the CPU: latents, augmentation. The same on all ranks.

    Attributes:
        parts: in how many the share goes through the networks, with their gradients added up; more where memory is
            short.
    """

    def __init__(self, players: Players, recipe: Recipe, hardware: Hardware, random: torch.Generator) -> None:
        self.players, self.recipe, self.hardware, self.random = players, recipe, hardware, random
        self.loss = LOSSES[recipe.objective.loss]
        self.parts = 1
        self._share = distributed.share()

    def __call__(self, batch: Tensor, images_seen: int) -> Tensor:
        """Train on one batch.

        Args:
            batch: real pictures, uint8 [N, C, H, W]; of several ranks, this one's share of them.
            images_seen: real pictures shown before this batch, to all ranks.

        Returns:
            `STATISTICS` of this rank as float32 [9] on the device, without waiting for it.
        """
        count, ema = len(batch) * distributed.world_size(), self.recipe.ema
        if self.recipe.model.dropout_d:
            self._seed_dropout(images_seen)
        penalised = (images_seen // count) % self.recipe.objective.penalty_interval == 0
        fakes = Fakes(self._latents(count))
        told_d = self._fitting(fakes, lambda: self._discriminator_phase(batch, fakes, penalised))
        self._learn(self.players.adam_d, self.players.discriminator)
        loss_g = self._fitting(fakes, lambda: self._generator_phase(batch, fakes))
        self._learn(self.players.adam_g, self.players.generator)
        self.players.ema.update(decay(count, ema.half_life_kimg * 1000, images_seen, ema.rampup))
        loss_d, penalty, *told = told_d
        return torch.stack([loss_d, loss_g, *told, penalty]).detach()

    def _discriminator_phase(self, batch: Tensor, fakes: Fakes, penalised: bool) -> Tensor:
        """Gather D's gradients; in one part the fakes keep their graph for the generator, which saves making them
        twice."""
        self.players.adam_d.zero_grad()
        told = []
        for rows in self._parts(len(batch)):
            real, z = images.to_float(self.hardware.put(batch[rows])), fakes.z[rows]
            if self.parts == 1:
                fake = fakes.pictures = self._make(z)
            else:
                with not_learning(self.players.generator), torch.no_grad():
                    fake = self._make(z)
            told.append(self._discriminator_step(real, fake.detach(), penalised))
        return torch.stack(told).mean(0)

    def _generator_phase(self, batch: Tensor, fakes: Fakes) -> Tensor:
        """Gather G's gradients."""
        self.players.adam_g.zero_grad()
        losses = []
        for rows in self._parts(len(batch)):
            real = images.to_float(self.hardware.put(batch[rows]))
            losses.append(
                self._generator_step(real, self._make(fakes.z[rows]) if fakes.pictures is None else fakes.pictures)
            )
        return torch.stack(losses).mean()

    def _discriminator_step(self, real: Tensor, fake: Tensor, penalised: bool) -> Tensor:
        """Real and fake go through separately: in one batch, batch norm would let D tell them apart by each other."""
        with self.hardware.autocast():
            real_logits, real_features = self._seen(real, with_features=True)
            fake_logits, fake_features = self._seen(fake, with_features=True)
        real_logits, fake_logits = real_logits.float(), fake_logits.float()
        loss = self.loss.discriminator(real_logits, fake_logits, self.recipe.objective.real_label)
        penalty = self._penalty(real, fake) if penalised else loss.new_zeros(())
        (loss + penalty).backward()  # type: ignore[no-untyped-call]
        told = signals(real_logits, fake_logits, real_features, fake_features)
        return torch.stack([loss, penalty, *told]).detach()

    def _generator_step(self, real: Tensor, fake: Tensor) -> Tensor:
        """The fakes of this step again, through the discriminator that has just learned."""
        with not_learning(self.players.discriminator):
            fake_logits = self._look(fake)
            with torch.no_grad():
                real_logits = self._look(real) if self.loss.needs_reals else fake_logits
            loss = self.loss.generator(fake_logits, real_logits)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _learn(self, adam: torch.optim.Adam, network: Network) -> None:
        """Take a step by the mean gradient of all parts and ranks. What batch norm has gathered goes the same way:
        ranks that see other pictures have other statistics, and all are to end with the same network."""
        gradients = [p.grad for p in network.trainable() if p.grad is not None]
        if self.parts > 1:
            torch._foreach_div_(gradients, self.parts)
        distributed.average([*gradients, *running_statistics(network)])
        adam.step()

    def _fitting(self, fakes: Fakes, phase: Callable[[], T]) -> T:
        """Run a phase; where memory is too small for it, again from its beginning with smaller parts.

        Each rank may have its own number of parts, unless batch norm has the ranks meet inside a phase.
        """
        begin, count = self.random.get_state(), len(fakes.z)
        while True:
            try:
                return phase()
            except torch.OutOfMemoryError:
                if self.parts == count or (self.recipe.train.sync_bn and distributed.world_size() > 1):
                    raise
            self.parts = next(parts for parts in range(self.parts + 1, count + 1) if count % parts == 0)
            fakes.pictures = None
            self.random.set_state(begin)
            torch.cuda.empty_cache()

    def _parts(self, count: int) -> Iterator[slice]:
        """The rows of each part; all draw from the same numbers, those of the whole batch."""
        begin, own = self.random.get_state(), distributed.share()
        for number in range(self.parts):
            self.random.set_state(begin)
            self._share = Share(own.first + own.step * number, own.step * self.parts)
            yield slice(number, count, self.parts)

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
        shown = augment(pictures, settings.operations, settings.p, self.random, self._share)
        return self.players.discriminator(shown, with_features=with_features)

    def _make(self, z: Tensor) -> Tensor:
        with self.hardware.autocast():
            return self.players.generator(z).float()  # type: ignore[no-any-return] # augmented as exactly as the reals

    def _latents(self, count: int) -> Tensor:
        """This rank's latents out of those of a batch of `count`."""
        z = torch.randn(count, self.players.generator.model.latent_dim, generator=self.random)
        return distributed.share().rows(z).to(self.hardware.device)

    def _seed_dropout(self, images_seen: int) -> None:
        """Dropout knows only the global generator. Seeded anew for each step, it draws other numbers on each rank, and
        the same ones when a run is resumed, with none of its state to be kept."""
        key = np.random.SeedSequence((self.recipe.train.seed, images_seen, distributed.rank()))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))


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
    """Mean cosine distance of two different rows: float [N, F] -> scalar in 0 .. 2, float32; 1 of a single row.

    The cosines of all pairs sum up to the squared length of the sum of the unit vectors, so no table is needed.
    """
    count, rows = len(features), features.float()
    together: Tensor = rows.norm(dim=1).clamp_min(1e-12).reciprocal() @ rows
    return 1 - (together.square().sum() - count) / max(count * (count - 1), 1)


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
