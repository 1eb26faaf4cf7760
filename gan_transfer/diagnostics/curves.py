"""Curves of several runs held against each other: images to a level, area, and differences with paired intervals.

Runs are paired by their seed, which gives both the same order of pictures and, from scratch, the same weights. The
intervals are Student's, of the differences or of the logarithms of KIDs. A bootstrap would need many seeds: over three,
its 95 % interval leaves out the truth in 31 of 100 cases, over five in 15.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""97.5 % points of Student's t for 1, 2, 3 ... degrees of freedom."""

STUDENT_BEYOND = 2.131
"""For more of them, a little too large."""


@dataclasses.dataclass(frozen=True)
class Point:
    """One snapshot of a run, measured on pictures that it was not trained on.

    Attributes:
        kimg: when.
        kid: KID times 1000.
        error: its standard error.
        coverage: share of the reals whose surroundings hold a fake (Naeem et al. 2020).
        recall: improved recall (Kynkäänniemi et al. 2019).
        precision: improved precision, likewise.
        vendi_ratio: Vendi score of the fakes divided by the reals'.
        copy_rate: share of copies of training pictures; None where they could not be looked for.
        verdict: the state in a word.
    """

    kimg: float
    kid: float
    error: float
    coverage: float
    recall: float
    precision: float
    vendi_ratio: float
    copy_rate: float | None
    verdict: str

    @property
    def usable(self) -> bool:
        """Whether it may be called a run's best: collapsed or memorised ones may not, however low their KID."""
        return self.verdict not in ("collapsed", "memorised")


class Interval(NamedTuple):
    """A number with its 95 % interval; both ends are NaN for one pair."""

    value: float
    low: float
    high: float

    def excludes(self, number: float) -> bool:
        """Whether a number lies outside; that of one pair excludes nothing, and tells nothing."""
        return not math.isnan(self.low) and not self.low <= number <= self.high


def best(points: Sequence[Point]) -> Point:
    """The usable point with the lowest KID; while none is usable, of all."""
    return min([point for point in points if point.usable] or list(points), key=lambda point: point.kid)


def lowest(points: Sequence[Point]) -> Point:
    """The point with the lowest KID, whatever its verdict."""
    return min(points, key=lambda point: point.kid)


def reached(points: Sequence[Point], kid: float) -> float | None:
    """The kimg of the first usable point with at most this KID; None if there is none. Nothing is interpolated."""
    ordered = sorted(points, key=lambda point: point.kimg)
    return next((point.kimg for point in ordered if point.usable and point.kid <= kid), None)


def area(points: Sequence[Point]) -> float:
    """Mean KID over the run, by the trapezoidal rule on its points; of one point its KID."""
    ordered = sorted(points, key=lambda point: point.kimg)
    kimg, kid = [point.kimg for point in ordered], [point.kid for point in ordered]
    width = kimg[-1] - kimg[0]
    parts = ((kimg[n + 1] - kimg[n]) * (kid[n] + kid[n + 1]) / 2 for n in range(len(kid) - 1))
    return math.fsum(parts) / width if width else kid[0]


def ratio(mine: Sequence[float], theirs: Sequence[float], floor: float = 1e-9) -> Interval:
    """Geometric mean of one divided by that of the other, [S] each, paired.

    Args:
        mine: such as KIDs.
        theirs: of the same seeds.
        floor: what smaller values count as, since a KID near zero may come out negative: such as its standard error.
    """
    logs = [[math.log(max(value, floor)) for value in side] for side in (mine, theirs)]
    return Interval(*(math.exp(value) for value in difference(*logs)))


def difference(mine: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Mean of one less the mean of the other, [S] each, paired."""
    if len(mine) != len(theirs) or not mine:
        raise ValueError(f"wanted pairs, got {len(mine)} and {len(theirs)} values")
    apart = [a - b for a, b in zip(mine, theirs, strict=True)]
    mean, count = statistics.fmean(apart), len(apart)
    if count == 1:
        return Interval(mean, math.nan, math.nan)
    quantile = STUDENT[count - 2] if count - 2 < len(STUDENT) else STUDENT_BEYOND
    half = quantile * statistics.stdev(apart) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)
