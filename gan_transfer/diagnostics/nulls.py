"""What the statistics are when nothing is wrong: reals against other reals, split again and again without replacement.

Splits with replacement would hold the same picture on both sides or twice on one, and call healthy fakes too diverse.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import torch
from torch import Tensor

from ..errors import DataError
from .diversity import (
    TWIN_RANK,
    Repeats,
    Space,
    apart,
    compared,
    k_means,
    missing_modes,
    near_duplicates,
    nearest_center,
    principal_space,
    shares,
    twin_ratios,
    vendi,
)

SPLITS = 300
"""Of a null."""

COUNTED = 10
"""Splits that must reach a value for its p-value to be counted rather than taken from the tail."""

DIMENSION = 64
"""Principal components in which diversity is judged: 32 and 128 found fewer lost modes."""

MODES = ((10, 50), (5, 100), (2, 200))
"""Modes of the codebooks: one for so many fakes, and at most how many. Three sizes together find more than any one."""

BOOKS = 24
"""Codebooks of each size, whose mean is the occupancy statistic. Eight have twice the power of one at the same false
alarms; 24 noticed a fifth of the modes of faces missing in 188 of 200 sets of 512, eight in 180."""

REFERENCES = 8
"""Random sets of reals that fakes are compared with; the mean does not hang on one draw."""

LEAST_REALS, LEAST_HELD_OUT = 96, 8
"""Below these nothing can be said."""

FAR = 1e6
"""A coordinate that no feature has."""

_MOST = 4096  # reals kept for codebooks and for the splits; more would cost time and add little
_TWIN_SHARE = 0.01  # of the reals that count as having a twin


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The statistics of one set of pictures, from which diversity is judged; larger is worse.

    Attributes:
        occupancy: deficit of the modes, `missing_modes`.
        spread: log of the reals' Vendi score divided by that of the pictures.
        duplicates: share of the pictures that repeat another one.
        kid: unbiased squared MMD of the features with KID's kernel; only fidelity is judged by it.
    """

    occupancy: float
    spread: float
    duplicates: float
    kid: float


@dataclasses.dataclass(frozen=True)
class Null:
    """The values of a statistic on splits of the reals.

    For rare values the tail of a gamma law with the same mean, spread and skewness stands in, by the approximation of
    Wilson and Hilferty (1931). That of a normal law is too short: over 20 looks it gave several times the alarms; and
    counting the few splits that go so far gives limits that differ by half from seed to seed.
    """

    values: Tensor
    """float64 [SPLITS]."""

    @property
    def mean(self) -> float:
        """Over the splits."""
        return float(self.values.mean())

    @property
    def sd(self) -> float:
        """Standard deviation over the splits."""
        return max(float(self.values.std()), 1e-9)

    @property
    def skewness(self) -> float:
        """Over the splits; none below a hundredth, which is nearly the normal law."""
        return max(float(((self.values - self.mean) / self.sd).pow(3).mean()), 0.01)

    def p_value(self, value: float) -> float:
        """Chance of a value as large: counted, or by the tail where fewer than `COUNTED` splits reach it."""
        beyond = int((self.values >= value).sum())
        counted = (1 + beyond) / (len(self.values) + 1)
        return counted if beyond >= COUNTED else min(counted, self._tail(value))

    def critical(self, level: float) -> float:
        """The value beyond which the p-value is at most `level`."""
        ordered = self.values.sort(descending=True).values.tolist()
        rank = int(level * (len(ordered) + 1)) - 1
        if rank >= COUNTED:
            return float(ordered[rank])
        third, quantile = self.skewness / 6, -float(torch.special.ndtri(torch.tensor(level, dtype=torch.float64)))
        tail = self.mean + self.sd * ((1 + third * (quantile - third)) ** 3 - 1) / (3 * third)
        return float(max(min(tail, ordered[rank] if rank >= 0 else math.inf), ordered[COUNTED - 1]))

    def _tail(self, value: float) -> float:
        third = self.skewness / 6
        root = max(1 + 3 * third * (value - self.mean) / self.sd, 0.0) ** (1 / 3)
        return math.erfc(((root - 1) / third + third) / math.sqrt(2)) / 2


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """Reals made ready to judge any number of sets of fakes.

    Attributes:
        size: fakes that are compared at a time.
        space: principal components of some of the reals.
        books: float32 [B, K, d], centres of the same reals.
        fitted: float32 [f, d], these reals in that space.
        pool: float32 [h, d], the other reals there.
        modes: int64 [h, B], where the pool falls.
        features: float32 [h, D], the pool as it was given.
        threshold: of `near_duplicates`.
        seed: of the references that are drawn.
        nulls: by the name of the statistic.
    """

    size: int
    space: Space
    books: Tensor
    fitted: Tensor
    pool: Tensor
    modes: Tensor
    features: Tensor
    threshold: float
    seed: int
    nulls: dict[str, Null] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def among(self) -> float:
        """`kernel_mean` of the pool."""
        return kernel_mean(self.features)

    def repeats(self, fakes: Tensor) -> Repeats:
        """Near-duplicates among the first `size` fakes, float32 [N, D]."""
        return near_duplicates(self.space(fakes[: self.size]), self.threshold)

    def compare(self, fakes: Tensor, repeats: Repeats | None = None) -> Comparison:
        """Compare the first `size` fakes, float32 [N, D], whose `repeats` may be known, with reals as in the nulls."""
        fakes = fakes[: self.size]
        projected, random = self.space(fakes), torch.Generator().manual_seed(self.seed)
        occupied = spread = 0.0
        for _ in range(REFERENCES):
            rows = torch.randperm(len(self.pool), generator=random)[self.size :]
            occupied += self._missing(projected, rows) / REFERENCES
            spread += math.log(vendi(self.pool[rows[: self.size]])) / REFERENCES
        repeats, distance = repeats or self.repeats(fakes), kernel_distance(fakes, self.features, self.among)
        return Comparison(occupied, spread - math.log(vendi(projected)), repeats.share, distance)

    def histogram(self, fakes: Tensor) -> tuple[list[int], list[int]]:
        """How many of the first `size` fakes, float32 [N, D], and of the pool fall into each mode of one codebook, the
        coarsest."""
        moved, _ = compared(self.space(fakes[: self.size]), self.pool)
        book = self.books[0][self.books[0, :, 0] < FAR]
        fallen = nearest_center(moved, book[None])[:, 0], self.modes[:, 0]
        of_fakes, of_reals = (torch.bincount(modes, minlength=len(book)).tolist() for modes in fallen)
        return of_fakes, of_reals

    def split(self, order: Tensor) -> tuple[float, float, float]:
        """Occupancy, spread and duplicates of the pool's first `size` reals in this order against the others."""
        first, rows = self.pool[order[: self.size]], order[self.size :]
        spread = math.log(vendi(self.pool[rows[: self.size]]) / vendi(first))
        occupied = self._missing(first, rows, self.modes[order[: self.size]])
        return occupied, spread, near_duplicates(first, self.threshold).share

    def _missing(self, fakes: Tensor, rows: Tensor, modes: Tensor | None = None) -> float:
        occupied = shares(self.modes[rows], self.books.shape[1])
        return missing_modes(fakes, self.pool[rows], self.books, occupied, modes)


def lay(held_out: Tensor, training: Tensor, fakes: int, seed: int = 0) -> Yardstick:
    """Make a yardstick of all reals, held out or trained on: for diversity they are alike.

    A third of them, drawn at random, make the space and the codebooks, the others are split, since pictures that a
    codebook was fitted to lie nearer to its centres than new ones.

    Args:
        held_out: float32 [H, D].
        training: float32 [T, D]; T may be 0.
        fakes: how many there will be; compared are at most half of the reals that are split.
        seed: of all draws.

    Raises:
        DataError: features that cannot be used, or too few.
    """
    check_features("held-out reals", held_out, LEAST_HELD_OUT)
    check_features("training reals", training, 0, held_out.shape[1])
    reals, random = torch.cat([training, held_out]).float(), torch.Generator().manual_seed(seed)
    if len(reals) < LEAST_REALS:
        raise DataError(f"too few reals to judge by: wanted at least {LEAST_REALS} in all, got {len(reals)}")
    if fakes <= TWIN_RANK:
        raise DataError(f"too few fakes to judge: wanted at least {TWIN_RANK + 1}, got {fakes}")
    if float(reals.var(0).sum()) <= 1e-10 * max(float(reals.square().mean()), 1e-30):
        raise DataError("features of the reals are constant; give the pictures that the generator was trained on")
    order = torch.randperm(len(reals), generator=random)
    third = len(reals) // 3
    fitted, features = reals[order[:third][:_MOST]], reals[order[third:][:_MOST]]
    size = min(fakes, len(features) // 2)
    space = principal_space(fitted, DIMENSION)
    placed, pool = space(fitted), space(features)
    books = _books(placed, size, random)
    threshold = _twin_threshold(pool, size, random)
    bare = Yardstick(size, space, books, placed, pool, nearest_center(pool, books), features, threshold, seed)
    return dataclasses.replace(bare, nulls=_nulls(bare, random))


def check_features(what: str, features: Tensor, least: int, width: int | None = None) -> None:
    """Refuse features that would give a wrong verdict instead of none.

    Args:
        what: for the message, such as `fakes`.
        features: should be float [N, width].
        least: smallest N.
        width: None for any.

    Raises:
        DataError: another shape, too few, or values that are not finite.
    """
    if features.ndim != 2 or (width is not None and features.shape[1] != width):
        wanted = f"[N, {'D' if width is None else width}]"
        raise DataError(
            f"features of the {what} are {list(features.shape)}, wanted {wanted}; take one extractor for all pictures"
        )
    if len(features) < least:
        raise DataError(f"too few {what}: wanted at least {least}, got {len(features)}")
    if not features.isfinite().all():
        raise DataError(f"features of the {what} are not finite; the pictures or the extractor are damaged")


def _books(fitted: Tensor, size: int, random: torch.Generator) -> Tensor:
    """Codebooks of all sizes, float32 [B, K, d]; smaller ones are filled up with centres too far away to be met."""
    counts = [min(max(size // share, 10), most, len(fitted)) for share, most in MODES]
    books = torch.full((len(counts), BOOKS, max(counts), fitted.shape[1]), FAR)
    for number, count in enumerate(counts):
        for book in books[number]:
            book[:count] = k_means(fitted, count, random)
    return books.flatten(0, 1)


def kernel_distance(a: Tensor, b: Tensor, among_b: float | None = None) -> float:
    """Unbiased squared MMD of float32 [N, D] and [M, D] with the kernel (x y / D + 1)^3 (Bińkowski et al. 2018).

    Args:
        a: one side.
        b: the other.
        among_b: `kernel_mean` of b, if it is known.
    """
    return kernel_mean(a) + (kernel_mean(b) if among_b is None else among_b) - 2 * float(_kernel(a, b).mean())


def kernel_mean(rows: Tensor) -> float:
    """Mean of the kernel over all pairs of different rows."""
    return float((_kernel(rows, rows).sum() - _kernel_diagonal(rows).sum()) / (len(rows) * (len(rows) - 1)))


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() @ b.double().T / a.shape[1] + 1) ** 3


def _kernel_diagonal(a: Tensor) -> Tensor:
    return (a.double().square().sum(1) / a.shape[1] + 1) ** 3


def _twin_threshold(pool: Tensor, size: int, random: torch.Generator) -> float:
    """The ratio of `twin_ratios` that 1 % of the reals stay below, among as many reals as there will be fakes."""
    drawn = [pool[torch.randperm(len(pool), generator=random)[:size]] for _ in range(10)]
    return float(apart(torch.cat([twin_ratios(reals)[0] for reals in drawn])).quantile(_TWIN_SHARE))


def _nulls(bare: Yardstick, random: torch.Generator) -> dict[str, Null]:
    members = torch.stack([torch.randperm(len(bare.pool), generator=random) for _ in range(SPLITS)])
    rows = [bare.split(order) for order in members]
    values = torch.tensor([*zip(*rows, strict=True), _split_distances(bare, members)], dtype=torch.float64)
    names = [field.name for field in dataclasses.fields(Comparison)]
    return {name: Null(column) for name, column in zip(names, values, strict=True)}


def _split_distances(bare: Yardstick, members: Tensor) -> list[float]:
    """`kernel_distance` of each split, from one table of the kernel: its sums over blocks are products with 0 and 1."""
    table = _kernel(bare.features, bare.features).fill_diagonal_(0)
    n, m = bare.size, len(table) - bare.size
    first = torch.zeros(len(table), len(members), dtype=table.dtype).scatter_(0, members[:, :n].T, 1)
    within = (first * (table @ first)).sum(0)
    across = table.sum(0) @ first - within
    others = table.sum() - within - 2 * across
    return list((within / (n * (n - 1)) + others / (m * (m - 1)) - 2 * across / (n * m)).tolist())
