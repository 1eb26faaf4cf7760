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
from ..objectives.augment import ADA_STEPS, augment, moved_p
from ..objectives.losses import LOSSES
from ..objectives.penalties import gradient_penalty, lecam, moved_averages
from ..objectives.terms import Fakes, Term, mode_seeking
from ..recipe import Recipe
from .hardware import Hardware
from .schedule import groups, thaw

SIGNALS = ("d_real", "d_fake", "real_right", "fake_right", "r_t", "spread_ratio")
"""What one look of the discriminator tells for nothing: mean D(x) and D(G(z)) as probabilities; the shares of reals and
of fakes on the right side of logit 0 (both near 1: it is saturated); r_t = E sign D(x) of ADA (Karras et al. 2020, who
aimed at 0.6); and the `spread` of the fakes' features divided by that of the reals', far below 1 where fakes are alike,
though batch norm, which rescales each batch, hides some of that. Relativistic logits have no level: of these only the
last means something there.
"""

STATISTICS = ("loss_d", "loss_g", *SIGNALS, "penalty")
"""What every step reports: the two adversarial losses, `SIGNALS`, and the gradient penalty of D."""


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
    optim = recipe.optim
    betas, fused = (optim.beta1, optim.beta2), hardware.device.type in ("cpu", "cuda")
    return Players(
        generator,
        discriminator,
        Ema(generator),
        torch.optim.Adam(groups(generator, optim, optim.glr), optim.glr, betas, fused=fused),
        torch.optim.Adam(groups(discriminator, optim, optim.dlr), optim.dlr, betas, fused=fused),
        {name: torch.zeros(3, device=hardware.device) for name in _remembering(recipe)},
    )


def further_statistics(recipe: Recipe, terms: Sequence[Term]) -> list[str]:
    """What a step reports beside `STATISTICS`: terms that are on, weighted as they are added, and ADA's p."""
    objective, ada = recipe.objective, recipe.augment.ada_target
    switched = {"lecam": objective.lecam, "mode_seeking": objective.mode_seeking, "ada_p": ada}
    return [*(term.name for term in terms), *(name for name, on in switched.items() if on)]


def _remembering(recipe: Recipe) -> list[str]:
    """The objectives of a recipe that remember something."""
    return ["lecam"] * (recipe.objective.lecam > 0) + ["ada"] * (recipe.augment.ada_target > 0)


class Step:
    """One step of training, as a function of a batch of real pictures.

    Args:
        players: changed in place.
        recipe: its objective, augment, ema and train sections.
        hardware: where and in which arithmetic.
        random: all randomness of training on the CPU: latents, augmentation.
        terms: further terms of the losses.

    Attributes:
        statistics: the names of what a step reports.
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

    def __call__(self, batch: Tensor, images_seen: int) -> Tensor:
        """Train on one batch.

        Args:
            batch: real pictures, uint8 [N, C, H, W].
            images_seen: real pictures shown before this batch.

        Returns:
            `statistics` as float32 [9 or more] on the device, without waiting for it.
        """
        if self.recipe.optim.thaw_kimg:
            for network in (self.players.generator, self.players.discriminator):
                thaw(network, self.recipe.optim, images_seen)
        real = images.to_float(self.hardware.put(batch))
        fakes = self._fakes(len(batch))
        penalised = (images_seen // len(batch)) % self.recipe.objective.penalty_interval == 0
        told = self._discriminator_step(real, fakes, penalised) | self._generator_step(real, fakes)
        ema = self.recipe.ema
        self.players.ema.update(decay(len(batch), ema.half_life_kimg * 1000, images_seen, ema.rampup))
        return torch.stack([told[name] for name in self.statistics]).detach()

    def _fakes(self, count: int) -> Fakes:
        z = self._latents(count)
        with self.hardware.autocast():
            pictures, features = self.players.generator(z, with_features=True)
        return Fakes(z, pictures.float(), features)  # float32, to be augmented as exactly as the reals

    def _discriminator_step(self, real: Tensor, fakes: Fakes, penalised: bool) -> dict[str, Tensor]:
        """Real and fake go through separately: in one batch, batch norm would let D tell them apart by each other."""
        fake = fakes.pictures.detach()
        with self.hardware.autocast():
            real_logits, real_features = self._seen(real, with_features=True)
            fake_logits, fake_features = self._seen(fake, with_features=True)
        real_logits, fake_logits = real_logits.float(), fake_logits.float()
        loss = self.loss.discriminator(real_logits, fake_logits, self.recipe.objective.real_label)
        penalty = self._penalty(real, fake) if penalised else loss.new_zeros(())
        further = self._lecam(real_logits, fake_logits) | self._terms("discriminator", fakes)
        self.players.adam_d.zero_grad()
        sum(further.values(), loss + penalty).backward()  # type: ignore[no-untyped-call]
        self.players.adam_d.step()
        told = signals(real_logits, fake_logits, real_features, fake_features)
        further |= self._ada(real_logits, fake_logits, len(real))
        return {"loss_d": loss, "penalty": penalty} | dict(zip(SIGNALS, told, strict=True)) | further

    def _generator_step(self, real: Tensor, fakes: Fakes) -> dict[str, Tensor]:
        """The fakes of this step again, through the discriminator that has just learned."""
        with not_learning(self.players.discriminator):
            fake_logits = self._look(fakes.pictures)
            with torch.no_grad():
                real_logits = self._look(real) if self.loss.needs_reals else fake_logits
            loss = self.loss.generator(fake_logits, real_logits)
            further = self._terms("generator", fakes)
            if weight := self.recipe.objective.mode_seeking:
                further["mode_seeking"] = weight * mode_seeking(fakes.z, fakes.pictures, real)
            self.players.adam_g.zero_grad()
            sum(further.values(), loss).backward()  # type: ignore[no-untyped-call]
        self.players.adam_g.step()
        return {"loss_g": loss} | further

    def _terms(self, player: str, fakes: Fakes) -> dict[str, Tensor]:
        """The terms of a player's loss that the run has handed in."""
        return {term.name: term.value(fakes) for term in self.terms if term.player == player}

    def _lecam(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
        """LeCam against the averages so far, of which this look then becomes a part."""
        if "lecam" not in self.players.memory:
            return {}
        before = self.players.memory["lecam"]
        after = self.players.memory["lecam"] = moved_averages(before, real_logits, fake_logits)
        averages = torch.where(before[2] > 0, before, after)
        return {"lecam": self.recipe.objective.lecam * lecam(real_logits, fake_logits, averages)}

    def _ada(self, real_logits: Tensor, fake_logits: Tensor, count: int) -> dict[str, Tensor]:
        """Move ADA's probability; a relativistic loss, whose logits have no level, is asked for differences."""
        if "ada" not in self.players.memory:
            return {}
        settings = self.recipe.augment
        believed = (real_logits - fake_logits if self.loss.needs_reals else real_logits).sign().mean()
        move = ADA_STEPS * count / (settings.ada_kimg * 1000)
        self.players.memory["ada"] = moved_p(self.players.memory["ada"], believed, move, settings)
        return {"ada_p": self.players.memory["ada"][0]}

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
        shown = augment(pictures, settings.operations, p, self.random)
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
