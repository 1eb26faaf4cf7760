"""One step of the adversarial game: the discriminator looks once, then the generator learns from its look.

The only place where objectives meet networks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .. import distributed, images
from ..devices import send
from ..distributed import Share
from ..models.batch_norm import running_statistics, synchronise
from ..models.dcgan import Discriminator, Generator, Network, probability
from ..models.ema import Ema, decay
from ..models.learning import not_learning
from ..objectives.augment import ADA_STEPS, augment, moved_p
from ..objectives.losses import LOSSES
from ..objectives.penalties import gradient_penalty, lecam, moved_averages
from ..objectives.terms import Fakes, Term, contrast, mode_seeking, moments
from ..recipe import Recipe
from .hardware import Hardware, memory_faults
from .schedule import groups, thaw

COMPILED = 64
"""Forms of a network that are kept compiled, by batch size and by what learns in it; beyond them it runs as it is."""

T = TypeVar("T")
Told = dict[str, Tensor]
"""Scalars by name."""

SIGNALS = ("d_real", "d_fake", "real_right", "fake_right", "r_t", "spread_ratio")
"""What one look of the discriminator tells for nothing: mean D(x) and D(G(z)) as probabilities; the shares of reals and
of fakes on the right side of logit 0 (both near 1: it is saturated); r_t = E sign D(x) of ADA (Karras et al. 2020, who
aimed at 0.6); and the `spread` of the fakes' features divided by that of the reals', far below 1 where fakes are alike,
though batch norm, which rescales each batch, hides some of that. Relativistic logits have no level: of these only the
last means something there.
"""

STATISTICS = ("loss_d", "loss_g", *SIGNALS, "contrast", "penalty")
"""What every step reports: the two adversarial losses, `SIGNALS`, the fakes' contrast divided by the reals', and the
gradient penalty of D."""


@dataclasses.dataclass
class Players:
    """All that learns: two networks, their optimisers, and the generator's average.

    Attributes:
        memory: what objectives remember from step to step, float32 on the device: `lecam`, `ada`.
    """

    generator: Generator
    discriminator: Discriminator
    ema: Ema
    adam_g: torch.optim.Adam
    adam_d: torch.optim.Adam
    memory: dict[str, Tensor] = dataclasses.field(default_factory=dict)


def make_players(generator: Generator, discriminator: Discriminator, recipe: Recipe, hardware: Hardware) -> Players:
    """Place a pair on its device and give it optimisers. Frozen blocks are in no optimiser."""
    for network in (generator, discriminator):
        hardware.place(network)
        network.train()
    optim, ema = recipe.optim, Ema(generator)
    betas, fused = (optim.beta1, optim.beta2), hardware.device.type in ("cpu", "cuda")
    for network in (generator, discriminator) if recipe.train.sync_bn else ():
        synchronise(network)  # not the average, whose statistics rank 0 takes alone
    for network in (generator, discriminator) if recipe.train.compile else ():
        network.compile(dynamic=False)  # in place; neither its state nor a copy knows of it
        torch._dynamo.config.recompile_limit = COMPILED
    return Players(
        generator,
        discriminator,
        ema,
        torch.optim.Adam(groups(generator, optim, optim.glr), optim.glr, betas, fused=fused),
        torch.optim.Adam(groups(discriminator, optim, optim.dlr), optim.dlr, betas, fused=fused),
        {name: torch.zeros(3, device=hardware.device) for name in _remembering(recipe)},
    )


def further_statistics(recipe: Recipe, terms: Sequence[Term]) -> list[str]:
    """What a step reports beside `STATISTICS`: terms that are on, weighted as they are added, and ADA's p."""
    objective, ada = recipe.objective, recipe.augment.ada_target
    own = {"lecam": objective.lecam, "mode_seeking": objective.mode_seeking, "moments": objective.moments}
    switched = own | {"ada_p": ada}
    return [*(term.name for term in terms), *(name for name, on in switched.items() if on)]


def _remembering(recipe: Recipe) -> list[str]:
    """The objectives of a recipe that remember something."""
    return ["lecam"] * (recipe.objective.lecam > 0) + ["ada"] * (recipe.augment.ada_target > 0)


@dataclasses.dataclass
class Made:
    """This rank's fakes of a step.

    Attributes:
        z: latents, float32 [N, latent_dim].
        fakes: of the generator, with their graph; None where they must be made again, part by part.
    """

    z: Tensor
    fakes: Fakes | None = None


class Step:
    """One step of training, as a function of this rank's share of a batch of real pictures.

    Args:
        players: changed in place, alike on all ranks.
        recipe: its objective, augment, ema, optim and train sections.
        hardware: where and in which arithmetic.
        random: all randomness of training on the CPU: latents, augmentation. The same on all ranks.
        terms: further terms of the losses.

    Attributes:
        statistics: the names of what a step reports.
        parts: in how many the share goes through the networks, with their gradients added up; more where memory is
            short.
    """

    def __init__(
        self,
        players: Players,
        recipe: Recipe,
        hardware: Hardware,
        random: torch.Generator,
        terms: Sequence[Term] = (),
    ) -> None:
        self.players, self.recipe, self.hardware, self.random = players, recipe, hardware, random
        self.loss, self.terms = LOSSES[recipe.objective.loss], terms
        self.statistics = (*STATISTICS, *further_statistics(recipe, terms))
        self.parts = 1
        self._share = distributed.share()

    def __call__(self, batch: Tensor, images_seen: int) -> Tensor:
        """Train on one batch.

        Args:
            batch: real pictures, uint8 [N, C, H, W]; of several ranks, this one's share of them.
            images_seen: real pictures shown before this batch, to all ranks.

        Returns:
            `statistics` of this rank as float32 [10 or more] on the device, without waiting for it.
        """
        count, ema, optim = len(batch) * distributed.world_size(), self.recipe.ema, self.recipe.optim
        if optim.thaw_kimg:
            for network in (self.players.generator, self.players.discriminator):
                thaw(network, optim, images_seen)
        if self.recipe.model.dropout_d:
            self._seed_dropout(images_seen)
        penalised = (images_seen // count) % self.recipe.objective.penalty_interval == 0
        made = Made(self._latents(count))
        told = self._fitting(made, lambda: self._discriminator_phase(batch, made, penalised))
        self._learn(self.players.adam_d, self.players.discriminator)
        told |= self._remember(told, count)
        told |= self._fitting(made, lambda: self._generator_phase(batch, made))
        self._learn(self.players.adam_g, self.players.generator)
        self.players.ema.update(decay(count, ema.half_life_kimg * 1000, images_seen, ema.rampup))
        return torch.stack([told[name] for name in self.statistics]).detach()

    def _discriminator_phase(self, batch: Tensor, made: Made, penalised: bool) -> Told:
        """Gather D's gradients; in one part the fakes keep their graph for the generator, which saves making them
        twice."""
        self.players.adam_d.zero_grad()
        told = []
        for rows in self._parts(len(batch)):
            real, z = images.to_float(self.hardware.put(batch[rows])), made.z[rows]
            if self.parts == 1:
                fakes = made.fakes = self._make(z)
            else:
                with not_learning(self.players.generator), torch.no_grad():
                    fakes = self._make(z)
            told.append(self._discriminator_step(real, fakes, penalised))
        return _mean(told)

    def _generator_phase(self, batch: Tensor, made: Made) -> Told:
        """Gather G's gradients."""
        self.players.adam_g.zero_grad()
        told = []
        for rows in self._parts(len(batch)):
            real = images.to_float(self.hardware.put(batch[rows]))
            told.append(self._generator_step(real, made.fakes or self._make(made.z[rows])))
        return _mean(told)

    def _discriminator_step(self, real: Tensor, fakes: Fakes, penalised: bool) -> Told:
        """Real and fake go through separately: in one batch, batch norm would let D tell them apart by each other."""
        fake = fakes.pictures.detach()
        with self.hardware.autocast():
            real_logits, real_features = self._seen(real, with_features=True)
            fake_logits, fake_features = self._seen(fake, with_features=True)
        real_logits, fake_logits = real_logits.float(), fake_logits.float()
        loss = self.loss.discriminator(real_logits, fake_logits, self.recipe.objective.real_label)
        penalty = self._penalty(real, fake) if penalised else loss.new_zeros(())
        further = self._lecam(real_logits, fake_logits) | self._terms("discriminator", fakes)
        sum(further.values(), loss + penalty).backward()  # type: ignore[no-untyped-call]
        told = {
            "loss_d": loss,
            "contrast": contrast(fake, real),
            "penalty": penalty,
            **further,
            **self._logits(real_logits, fake_logits),
        }
        return told | dict(zip(SIGNALS, signals(real_logits, fake_logits, real_features, fake_features), strict=True))

    def _generator_step(self, real: Tensor, fakes: Fakes) -> Told:
        """The fakes of this step again, through the discriminator that has just learned."""
        with not_learning(self.players.discriminator):
            fake_logits = self._look(fakes.pictures)
            with torch.no_grad():
                real_logits = self._look(real) if self.loss.needs_reals else fake_logits
            loss = self.loss.generator(fake_logits, real_logits)
            further = self._terms("generator", fakes)
            if weight := self.recipe.objective.mode_seeking:
                further["mode_seeking"] = weight * mode_seeking(fakes.z, fakes.pictures, real)
            if weight := self.recipe.objective.moments:
                further["moments"] = weight * moments(fakes.pictures, real)
            sum(further.values(), loss).backward()  # type: ignore[no-untyped-call]
        return {"loss_g": loss, **further}

    def _terms(self, player: str, fakes: Fakes) -> Told:
        """The terms of a player's loss that the run has handed in."""
        return {term.name: term.value(fakes) for term in self.terms if term.player == player}

    def _lecam(self, real_logits: Tensor, fake_logits: Tensor) -> Told:
        """LeCam against the averages so far; of the first look, against its own."""
        if "lecam" not in self.players.memory:
            return {}
        before = self.players.memory["lecam"]
        averages = torch.where(before[2] > 0, before, moved_averages(before, real_logits, fake_logits))
        return {"lecam": self.recipe.objective.lecam * lecam(real_logits, fake_logits, averages)}

    def _logits(self, real_logits: Tensor, fake_logits: Tensor) -> Told:
        """What is remembered of a look; a relativistic loss, whose logits have no level, is asked for differences."""
        if not self.players.memory:
            return {}
        believed = (real_logits - fake_logits if self.loss.needs_reals else real_logits).sign().mean()
        return {"logit_real": real_logits.mean(), "logit_fake": fake_logits.mean(), "believed": believed}

    def _remember(self, told: Told, count: int) -> Told:
        """Move LeCam's averages and ADA's probability, by the mean look of all parts and ranks."""
        memory, settings = self.players.memory, self.recipe.augment
        if not memory:
            return {}
        look = torch.stack([told["logit_real"], told["logit_fake"], told["believed"]]).detach()
        distributed.average([look])
        if "lecam" in memory:
            memory["lecam"] = moved_averages(memory["lecam"], look[0], look[1])
        if "ada" not in memory:
            return {}
        memory["ada"] = moved_p(memory["ada"], look[2], ADA_STEPS * count / (settings.ada_kimg * 1000), settings)
        return {"ada_p": memory["ada"][0]}

    def _learn(self, adam: torch.optim.Adam, network: Network) -> None:
        """Take a step by the mean gradient of all parts and ranks. What batch norm has gathered goes the same way:
        ranks that see other pictures have other statistics, and all are to end with the same network."""
        gradients = [p.grad for p in network.trainable() if p.grad is not None]
        if self.parts > 1:
            torch._foreach_div_(gradients, self.parts)
        distributed.average([*gradients, *running_statistics(network)])
        adam.step()

    def _fitting(self, made: Made, phase: Callable[[], T]) -> T:
        """Run a phase; where memory is too small for it, again from its beginning with smaller parts.

        Each rank may have its own number of parts, unless batch norm has the ranks meet inside a phase.
        """
        begin, count = self.random.get_state(), len(made.z)
        while True:
            try:
                with memory_faults():
                    return phase()
            except torch.OutOfMemoryError:
                finer = self._finer(count)
                if not finer or (self.recipe.train.sync_bn and distributed.world_size() > 1):
                    raise
            self.parts = finer
            made.fakes = None
            self.random.set_state(begin)
            torch.cuda.empty_cache()

    def _finer(self, count: int) -> int:
        """Into how many parts a share goes next: equal ones, of whole stacks; 0 where it can be split no further."""
        stacks = count // self.recipe.model.stack
        return next((parts for parts in range(self.parts + 1, stacks + 1) if stacks % parts == 0), 0)

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
        settings, memory = self.recipe.augment, self.players.memory
        p = memory["ada"][0] if "ada" in memory else settings.p
        shown = augment(pictures, settings.operations, p, self.random, self._share)
        return self.players.discriminator(shown, with_features=with_features)

    def _make(self, z: Tensor) -> Fakes:
        with self.hardware.autocast():
            pictures, features = self.players.generator(z, with_features=True)
        return Fakes(z, pictures.float(), features)  # float32, to be augmented as exactly as the reals

    def _latents(self, count: int) -> Tensor:
        """This rank's latents out of those of a batch of `count`."""
        z = torch.randn(count, self.players.generator.model.latent_dim, generator=self.random)
        return send(distributed.share().rows(z), self.hardware.device)

    def _seed_dropout(self, images_seen: int) -> None:
        """Dropout knows only the global generator. Seeded anew for each step, it draws other numbers on each rank, and
        the same ones when a run is resumed, with none of its state to be kept."""
        key = np.random.SeedSequence((self.recipe.train.seed, images_seen, distributed.rank()))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))


def _mean(told: Sequence[Told]) -> Told:
    """The mean of each scalar over the parts of a step."""
    return {name: torch.stack([part[name].detach() for part in told]).mean(0) for name in told[0]}


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
