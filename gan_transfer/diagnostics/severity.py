"""How bad it is, in plain measures: what a loss that is made on purpose in the user's own reals does to a statistic."""

from __future__ import annotations

import dataclasses
import itertools
import math

import torch
from torch import Tensor

from .diversity import aligned, allowance, deficit, k_means, nearest_center, shares, vendi
from .nulls import Yardstick

LOST_MODES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85)
"""Shares of the reals that are taken away, mode by mode."""

NARROWING = (0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 0.95)
"""Shares by which the reals are drawn towards the centres of their modes."""

MODES = (20, 50)
"""Of the planted losses, in turns; found anew for each trial, so that the judge's own modes are not echoed."""

TRIALS = 16
"""Random losses of each size, whose mean is the response."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """A statistic by the size of a planted loss.

    Attributes:
        doses: rising from 0.
        responses: of the same length, never falling.
    """

    doses: tuple[float, ...]
    responses: tuple[float, ...]

    def dose(self, response: float) -> float:
        """The loss that gives this response, between the planted ones by straight lines; at most the largest."""
        if response <= self.responses[0]:
            return 0.0
        points = list(zip(self.doses, self.responses, strict=True))
        for (low, below), (high, above) in itertools.pairwise(points):
            if response <= above:
                return low + (high - low) * (response - below) / max(above - below, 1e-12)
        return self.doses[-1]


def lost_modes(yardstick: Yardstick) -> Curve:
    """The occupancy statistic by the share of the reals whose modes are dropped.

    The pool's shares are taken for those of the world, and samples of the sizes that are compared are drawn from them:
    a third of the pool may be too few to draw fakes from.
    """
    random = torch.Generator().manual_seed(yardstick.seed)
    found = torch.zeros(TRIALS, 1 + len(LOST_MODES))
    for trial in range(TRIALS):
        order = _by_mode(yardstick.pool, MODES[trial % len(MODES)], random)
        for column, share in enumerate((0.0, *LOST_MODES)):
            kept = order[round(share * len(order)) :]
            found[trial, column] = _response(yardstick, kept, random)
    return _curve(LOST_MODES, found, yardstick.nulls["occupancy"].mean)


def narrowed(yardstick: Yardstick) -> Curve:
    """The spread statistic by how far the reals are drawn towards the centres of their modes (1: onto them)."""
    random = torch.Generator().manual_seed(yardstick.seed)
    pool, size = yardstick.pool, yardstick.size
    centers = k_means(pool, min(MODES[-1], len(pool) // 4), random)
    centers = centers[nearest_center(pool, centers)]
    found = torch.zeros(TRIALS, 1 + len(NARROWING))
    for trial in range(TRIALS):
        order = torch.randperm(len(pool), generator=random)
        fakes, reals = order[:size], order[size : 2 * size]
        for column, share in enumerate((0.0, *NARROWING)):
            found[trial, column] = math.log(vendi(pool[reals]) / vendi(pool[fakes].lerp(centers[fakes], share)))
    return _curve(NARROWING, found, yardstick.nulls["spread"].mean)


def _by_mode(pool: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Indices of the pool, the pictures of one of `count` modes together, the modes in random order."""
    count = min(count, len(pool) // 4)
    modes = nearest_center(pool, k_means(pool, count, random))
    return torch.randperm(count, generator=random)[modes].argsort(stable=True)


def _response(yardstick: Yardstick, kept: Tensor, random: torch.Generator) -> float:
    """The occupancy statistic of fakes that know only the pictures `kept`."""
    pool, books = yardstick.pool, yardstick.books
    fakes = nearest_center(aligned(pool[kept], pool), books)
    others = len(pool) - yardstick.size
    p = _drawn(shares(yardstick.modes, books.shape[1]), others, random)
    q = _drawn(shares(fakes, books.shape[1]), yardstick.size, random)
    return deficit(p, q) - allowance(pool[kept], pool)


def _drawn(probabilities: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Shares among `count` draws: [M, K] -> [M, K]."""
    return shares(torch.multinomial(probabilities, count, replacement=True, generator=random).T, probabilities.shape[1])


def _curve(doses: tuple[float, ...], found: Tensor, start: float) -> Curve:
    """The mean responses, moved so that they begin at the mean of the null."""
    rising = (found.mean(0) - found[:, 0].mean() + start).cummax(0).values
    return Curve((0.0, *doses), tuple(rising.tolist()))
