"""Curves of several runs held against each other: images to a level, area, and ratios with paired bootstrap intervals.

Runs are paired by their seed, which gives both the same order of pictures and, from scratch, the same weights. With
few seeds an interval is no more than the spread of what they gave.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ALL_RESAMPLES = 5
"""Seeds up to which all resamples are made, 5 ** 5; beyond, `RESAMPLES` random ones."""

RESAMPLES = 10_000
TAILS = (2.5, 97.5)  # percent; the interval holds the rest


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

    def includes(self, number: float) -> bool:
        """Whether a number lies in the interval; any does in that of one pair, which tells nothing."""
        return math.isnan(self.low) or self.low <= number <= self.high


def best(points: Sequence[Point]) -> Point:
    """The usable point with the lowest KID; while none is usable, of all."""
    return min([point for point in points if point.usable] or list(points), key=lambda point: point.kid)


def lowest(points: Sequence[Point]) -> Point:
    """The point with the lowest KID, whatever its verdict."""
    return min(points, key=lambda point: point.kid)


def reached(points: Sequence[Point], kid: float) -> float | None:
    """The kimg of the first point with at most this KID; None if it was never reached. Nothing is interpolated."""
    return next((point.kimg for point in sorted(points, key=lambda point: point.kimg) if point.kid <= kid), None)


def area(points: Sequence[Point]) -> float:
    """Mean KID over the run, by the trapezoidal rule on its points; of one point its KID."""
    ordered = sorted(points, key=lambda point: point.kimg)
    kimg, kid = [point.kimg for point in ordered], [point.kid for point in ordered]
    width = kimg[-1] - kimg[0]
    return float(np.trapezoid(kid, kimg)) / width if width else kid[0]


def ratio(mine: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Mean of one divided by the mean of the other, [S] each, paired.

    A ratio of means rather than a mean of ratios, since a KID near its floor may be negative.
    """
    return _bootstrap(mine, theirs, lambda a, b: a / b)


def difference(mine: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Mean of one less the mean of the other, [S] each, paired."""
    return _bootstrap(mine, theirs, lambda a, b: a - b)


Combine = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def _bootstrap(mine: Sequence[float], theirs: Sequence[float], combine: Combine) -> Interval:
    """The percentile interval over resamples of the pairs (Efron & Tibshirani 1993)."""
    ours, others = np.asarray(mine, float), np.asarray(theirs, float)
    if len(ours) != len(others) or not len(ours):
        raise ValueError(f"wanted pairs, got {len(ours)} and {len(others)} values")
    value = float(combine(ours.mean(keepdims=True), others.mean(keepdims=True))[0])
    if len(ours) == 1:
        return Interval(value, math.nan, math.nan)
    rows = _resamples(len(ours))
    low, high = np.percentile(combine(ours[rows].mean(1), others[rows].mean(1)), TAILS)
    return Interval(value, float(low), float(high))


def _resamples(count: int) -> NDArray[np.int64]:
    """Which pairs each resample holds: int64 [R, count]."""
    if count <= ALL_RESAMPLES:
        return np.array(list(itertools.product(range(count), repeat=count)))
    return np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
