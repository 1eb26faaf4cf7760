"""How bad it is, in plain measures: what a loss that is made on purpose in the user's own reals does to a statistic."""

from __future__ import annotations

import dataclasses
import itertools

import torch
from torch import Tensor

from .diversity import k_means, missing_modes, nearest_center, shares
from .nulls import Yardstick

LOST_MODES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85)
"""Shares of the reals that are taken away, mode by mode."""

MODES = 50
"""Of the planted losses, at most; found anew for each trial, so that the judge's own modes are not echoed."""

TRIALS = 12
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

    Fakes are drawn from the pictures that are left of the pool and compared with all of it. That some are on both sides
    makes the statistic smaller than the null's where nothing is dropped; this is mended in the modes that are left.
    """
    random, null = torch.Generator().manual_seed(yardstick.seed), yardstick.nulls["occupancy"].mean
    found = torch.zeros(TRIALS, 1 + len(LOST_MODES))
    for trial in range(TRIALS):
        order = _by_mode(yardstick, random)
        whole = _response(yardstick, order, random)
        for column, share in enumerate((0.0, *LOST_MODES)):
            lost = _response(yardstick, order[round(share * len(order)) :], random) if share else whole
            found[trial, column] = lost + (1 - share) * (null - whole)
    return _curve(LOST_MODES, found, null)


def _by_mode(yardstick: Yardstick, random: torch.Generator) -> Tensor:
    """Indices of the pool, the pictures of a mode together, the modes in random order.

    The modes are found in other pictures: in the pool itself they would fit too well.
    """
    count = min(MODES, len(yardstick.fitted) // 4)
    modes = nearest_center(yardstick.pool, k_means(yardstick.fitted, count, random))
    return torch.randperm(count, generator=random)[modes].argsort(stable=True)


def _response(yardstick: Yardstick, known: Tensor, random: torch.Generator) -> float:
    """The occupancy statistic of fakes that know only these pictures of the pool, int64 [...]."""
    pool, modes, size = yardstick.pool, yardstick.modes, yardstick.size
    few = len(known) < size
    drawn = (
        torch.randint(len(known), (size,), generator=random) if few else torch.randperm(len(known), generator=random)
    )
    rows = known[drawn[:size]]
    return missing_modes(pool[rows], pool, yardstick.books, shares(modes, yardstick.books.shape[1]), modes[rows])


def _curve(doses: tuple[float, ...], found: Tensor, start: float) -> Curve:
    """The mean responses, moved so that they begin at the mean of the null."""
    rising = (found.mean(0) - found[:, 0].mean() + start).cummax(0).values
    return Curve((0.0, *doses), tuple(rising.tolist()))
