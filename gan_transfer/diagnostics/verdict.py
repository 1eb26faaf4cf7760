"""The verdict: is a generator healthy, collapsed, memorising or untrained? Features in, evidence and a word out.

Diversity is judged apart from fidelity, since a two-sample test tells any DCGAN from the reals, collapsed or not.
Each axis is compared with splits of the reals (`nulls`), significance is shared out by Holm's method (1979), and a
significant loss is graded by its size (`severity`), since no generator is without any.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .diversity import Repeats, ball_radii, distinct_pictures
from .memorisation import SURROUNDINGS, Copy, Copying, copy_rate
from .nulls import Comparison, Yardstick, check_features, lay
from .severity import LOST_MODES, Curve, lost_modes
from .verdict_words import LIMITS, SHARES, Axis, Grade, State, Verdict

__all__ = [
    "ALPHA",
    "LEAST_FAKES",
    "LEAST_PRECISION",
    "LEAST_TRAINING",
    "LIMITS",
    "MOSTLY_COPIES",
    "MOST_COPIES",
    "NEIGHBOURS",
    "SHARES",
    "Axis",
    "Grade",
    "Judge",
    "State",
    "Verdict",
    "holm",
    "prepare",
]

ALPHA = 0.01
"""Chance that reals would be called anything but healthy, for diversity and for copying each."""

LEAST_FAKES = 256
"""Below these the verdict says that it may overlook much."""

LEAST_PRECISION = 0.05
"""Improved precision below which pictures are like no real ones, so that their diversity means nothing."""

NEIGHBOURS = 3
"""Of improved precision (Kynkäänniemi et al. 2019)."""

LEAST_TRAINING = SURROUNDINGS
"""Training pictures that copies can be looked for among."""

COUNTABLE = 0.5
"""Loss of the Vendi score up to which it is told how many pictures are behind repeats. Beyond, most neighbours of a
repeat are repeats too: 16 pictures, each shown 16 times, were counted as 43."""

MOST_COPIES, MOSTLY_COPIES = 0.05, 0.5
"""Copy rate beyond the expected one that is memorisation, and that is so even where diversity has collapsed."""


@dataclasses.dataclass(frozen=True)
class Judge:
    """Reals made ready to judge any number of sets of fakes.

    Attributes:
        yardstick: the nulls.
        lost: the occupancy statistic by the share of modes lost.
        held_out: float32 [H, D].
        training: float32 [T, D].
        mirrored: float32 [T, D], the training pictures' mirror images, or None.
    """

    yardstick: Yardstick
    lost: Curve
    held_out: Tensor
    training: Tensor
    mirrored: Tensor | None

    def __call__(self, fakes: Tensor, looks: int = 1, alpha: float = ALPHA) -> Verdict:
        """Judge fakes.

        Args:
            fakes: float32 [N, D], N as given to `prepare`.
            looks: how many verdicts the false-alarm rate is shared out over, such as the snapshots of a run.
            alpha: chance of a false alarm over all of them, for diversity and for copying each.

        Raises:
            DataError: features of another extractor, too few, or not finite.
        """
        yardstick = self.yardstick
        check_features("fakes", fakes, yardstick.size, yardstick.features.shape[1])
        fakes = fakes[: yardstick.size].float()
        repeats = yardstick.repeats(fakes)
        found = yardstick.compare(fakes, repeats)
        axes = self._axes(found, alpha / looks)
        copying = self._copying(fakes, repeats.kept)
        precision = _precision(fakes, yardstick.features)
        state, reason = _judge(axes, copying, repeats, precision, alpha / looks)
        return Verdict(
            state, reason, axes, copying, repeats, 1000 * found.kid, 1000 * yardstick.nulls["kid"].critical(0.05),
            precision, len(fakes), len(yardstick.pool), alpha, looks, self._notes(axes),
        )  # fmt: skip

    def _axes(self, found: Comparison, level: float) -> tuple[Axis, ...]:
        nulls = self.yardstick.nulls
        values = {name: float(getattr(found, name)) for name in LIMITS}
        p_values = {name: nulls[name].p_value(value) for name, value in values.items()}
        significant = holm(p_values, level, SHARES)
        axes = []
        for name, value in values.items():
            loss, unseen = self._loss(name, value), self._loss(name, nulls[name].critical(level * SHARES[name]))
            unseen = max(unseen, LIMITS[name][0])
            grade = _grade(name, loss, unseen) if name in significant else Grade.NONE
            axes.append(Axis(name, value, nulls[name].mean, nulls[name].sd, p_values[name], loss, unseen, grade))
        return tuple(axes)

    def _loss(self, name: str, statistic: float) -> float:
        """A statistic in plain measure, which is the same for any extractor and any number of pictures."""
        excess = statistic - self.yardstick.nulls[name].mean
        if name == "occupancy":
            return self.lost.dose(statistic)
        return -math.expm1(-excess) if name == "spread" else excess

    def _copying(self, fakes: Tensor, distinct: Tensor) -> Copying | None:
        if len(self.training) < LEAST_TRAINING:
            return None
        found = copy_rate(fakes[distinct], self.held_out, self.training, self.mirrored)

        def among_all(copies: Sequence[Copy]) -> list[Copy]:
            return [copy._replace(fake=int(distinct[copy.fake])) for copy in copies]

        return found._replace(suspects=among_all(found.suspects), nearest=among_all(found.nearest))

    def _notes(self, axes: Sequence[Axis]) -> tuple[str, ...]:
        size, notes = self.yardstick.size, []
        if size < LEAST_FAKES:
            notes.append(
                f"low power: {size} fakes were compared; wanted {LEAST_FAKES} fakes and {3 * LEAST_FAKES} reals"
            )
        unseen = axes[0].seen_from
        if unseen >= LIMITS["occupancy"][1]:
            notes.append(f"low power: a loss of fewer than {unseen:.0%} of the modes would not be noticed")
        if len(self.training) < LEAST_TRAINING:
            got = f"wanted at least {LEAST_TRAINING} of these, got {len(self.training)}"
            notes.append(f"copies of training pictures were not looked for: {got}")
        return tuple(notes)


def prepare(held_out: Tensor, training: Tensor, fakes: int, mirrored: Tensor | None = None, seed: int = 0) -> Judge:
    """Make reals ready to judge by; some seconds, after which each verdict takes a fraction of one.

    Args:
        held_out: float32 [H, D], reals that were not trained on.
        training: float32 [T, D], reals that were; [0, D] for a generator that was trained on others.
        fakes: how many there will be.
        mirrored: float32 [T, D], of the training pictures' mirror images; None leaves mirrored copies unnoticed.
        seed: of all draws.

    Raises:
        DataError: features that cannot be used, or too few.
    """
    yardstick = lay(held_out, training, fakes, seed)
    if mirrored is not None:
        check_features("mirror images", mirrored, len(training), training.shape[1])
        mirrored = mirrored[: len(training)].float()
    return Judge(yardstick, lost_modes(yardstick), held_out.float(), training.float(), mirrored)


def holm(p_values: Mapping[str, float], level: float, shares: Mapping[str, float] | None = None) -> set[str]:
    """Names of the p-values that are significant when the chance of any false one is to be `level` (Holm 1979).

    Args:
        p_values: by name.
        level: below 1.
        shares: how much of the level each name gets; None shares it out evenly.
    """
    left = dict(shares or dict.fromkeys(p_values, 1.0))
    significant = set()
    for name in sorted(p_values, key=lambda name: p_values[name] / left[name]):
        if p_values[name] > level * left[name] / math.fsum(left[other] for other in left if other not in significant):
            break
        significant.add(name)
    return significant


def _grade(name: str, loss: float, unseen: float) -> Grade:
    """How bad a significant loss is; where even the largest could go unseen, its size cannot be told."""
    least, partial, severe = LIMITS[name]
    if loss < least:
        return Grade.NONE
    if name == "occupancy" and unseen >= LOST_MODES[-1]:
        return Grade.MILD
    return Grade.SEVERE if loss > severe else Grade.PARTIAL if loss >= partial else Grade.MILD


def _precision(fakes: Tensor, reals: Tensor) -> float:
    """Improved precision against as many reals as there are fakes, without the largest tenth of the balls.

    The balls of a few outliers are so large that noise lies within them; the realism score of Kynkäänniemi et al. 2019
    leaves out half of them for that.
    """
    reals = reals[: len(fakes)]
    radii = ball_radii(reals, NEIGHBOURS)
    small = radii <= radii.quantile(0.9)
    return float((torch.cdist(fakes, reals[small]) <= radii[small]).any(1).double().mean())


def _judge(
    axes: Sequence[Axis], copying: Copying | None, repeats: Repeats, precision: float, level: float
) -> tuple[State, str]:
    """The verdict in a word and in a sentence."""
    worst = max(axis.grade for axis in axes)
    if precision < LEAST_PRECISION:  # first: what is like no real picture is no copy of one, however near to it
        alike = ", and they are much alike" if worst is Grade.SEVERE else ""
        return State.UNTRAINED, f"{precision:.0%} of the pictures are like real ones{alike}; so diversity is not judged"
    if copying and copying.p_value < level:
        limit = MOSTLY_COPIES if worst is Grade.SEVERE else MOST_COPIES
        if copying.rate - copying.expected > limit:
            return State.MEMORISED, f"{copying.rate:.0%} of the pictures are copies of training pictures"
    counted = all(axis.loss <= COUNTABLE for axis in axes if axis.name == "spread")
    shown = sorted((axis for axis in axes if axis.grade), key=lambda axis: -axis.grade)
    told = "; ".join(_told(axis, repeats if counted else None) for axis in shown)
    states = {Grade.NONE: State.HEALTHY, Grade.MILD: State.WARNING, Grade.PARTIAL: State.PARTIAL}
    return states.get(worst, State.COLLAPSED), told or "no loss of diversity was found"


def _told(axis: Axis, repeats: Repeats | None) -> str:
    """One loss in words; how many pictures are behind repeats is told where they are given."""
    if axis.name == "occupancy":
        return f"looks like about {axis.loss:.0%} of the modes are missing"
    if axis.name == "spread":
        return f"the Vendi score is {1 - axis.loss:.0%} of the reals'"
    told = f"{axis.statistic:.0%} of the pictures repeat another one"
    if repeats is None:
        return told
    behind = distinct_pictures(len(repeats.kept) + len(repeats.twins), len(repeats.kept))
    return f"{told}, as if there were about {behind:,.0f} in all"
