"""Memorisation: fakes that are copies of training pictures, with a false-alarm rate known from held-out reals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .diversity import apart

SURROUNDINGS = 6
"""A copy is near by the measure of its surroundings: the distance to the 6th nearest training picture. Beyond 2, so
that the mirror image of a training picture does not hide it; of 1, 6 and 21, 6 found most copies."""

EXPECTED = 0.01
"""Share of held-out reals that lie as near to a training picture as what is called a copy."""

MOST_OF_ONE = 3
"""Copies of one training picture that count, as a multiple of its even share of the fakes; two always do. Whatever is
like no picture has an outlier for its neighbour: without a limit, a generator that draws mush would be copying it."""

NEAREST = 8
"""Fakes that are told as the nearest to training pictures, whether or not they are called copies."""

_ROWS = 256  # compared at a time, so that the table of distances stays small


class Copy(NamedTuple):
    """A fake with the training picture that it seems to repeat."""

    fake: int
    training: int
    mirrored: bool
    """Whether the mirror image of the training picture is meant."""
    ratio: float
    """Of the distances to the nearest and to the 6th nearest training picture."""


class Copying(NamedTuple):
    """How many fakes seem to be copies."""

    rate: float
    expected: float
    """The rate of pictures that were never trained on."""
    p_value: float
    """Chance that as many of them would seem to be copies."""
    suspects: list[Copy]
    """The surest first."""
    nearest: Sequence[Copy] = ()
    """The `NEAREST` fakes that come nearest to a training picture, which are suspects or would be next."""


def copy_ratios(pictures: Tensor, training: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to the nearest training picture, divided by that to the 6th nearest: small where one was copied.

    The plain distance would call fakes of low contrast copies, and copies with some noise originals.

    Args:
        pictures: float32 [N, D].
        training: float32 [T, D], T >= 6.

    Returns:
        Ratios, float32 [N], and the nearest training picture, int64 [N].
    """
    found = [torch.cdist(rows, training).topk(SURROUNDINGS, largest=False) for rows in torch.split(pictures, _ROWS)]
    distances, indices = torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])
    near, far = distances[:, 0], distances[:, -1]
    return torch.where(far > 0, near / far, 1.0), indices[:, 0]


def copy_rate(fakes: Tensor, held_out: Tensor, training: Tensor, mirrored: Tensor | None = None) -> Copying:
    """Compare fakes with the training pictures as closely as held-out reals are compared.

    Args:
        fakes: float32 [N, D]; without repeats, which would count one copy several times.
        held_out: float32 [H, D], never trained on.
        training: float32 [T, D], T >= 6.
        mirrored: float32 [T, D], the training pictures' mirror images; None leaves mirrored copies undetected, unless
            the extractor cannot tell them apart.
    """
    shown = training if mirrored is None else torch.cat([training, mirrored])
    ratios, nearest = copy_ratios(fakes, shown)
    reals = apart(copy_ratios(held_out, shown)[0]).sort().values
    rank = max(1, round(EXPECTED * len(reals)))
    copies = (ratios < reals[rank - 1]).nonzero()[:, 0]
    copies = copies[ratios[copies].argsort()]
    copies = copies[_counted(nearest[copies] % len(training), max(2, MOST_OF_ONE * len(fakes) // len(training)))]

    def told(ordered: Tensor) -> list[Copy]:
        places = zip(ordered.tolist(), nearest[ordered].tolist(), strict=True)
        count = len(training)
        return [Copy(fake, place % count, place >= count, float(ratios[fake])) for fake, place in places]

    suspects, closest = told(copies), told(ratios.argsort()[:NEAREST])
    expected, p_value = rank / (len(reals) + 1), exceedance(len(copies), len(fakes), rank, len(reals))
    return Copying(len(copies) / len(fakes), expected, p_value, suspects, closest)


def _counted(named: Tensor, most: int) -> Tensor:
    """Which of some copies count: of each training picture the first `most`. Int64 [N] -> bool [N]."""
    before: Counter[int] = Counter()
    kept = torch.zeros(len(named), dtype=torch.bool)
    for place, picture in enumerate(named.tolist()):
        kept[place] = before[picture] < most
        before[picture] += 1
    return kept


def exceedance(count: int, drawn: int, rank: int, sample: int) -> float:
    """Chance that `count` or more of `drawn` values lie below the `rank`-th smallest of a sample from the same law.

    The share below it follows Beta(rank, sample + 1 - rank), so the count is beta-binomial: exact for any law.
    """
    a, b = rank, sample + 1 - rank
    chances = (
        math.exp(_log_choose(drawn, k) + _log_beta(k + a, drawn - k + b) - _log_beta(a, b))
        for k in range(count, drawn + 1)
    )
    return min(1.0, math.fsum(chances))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
