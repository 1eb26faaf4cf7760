"""Diversity of features: missing modes, spread, near-duplicates, coverage, classes. Features in, numbers out."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

LLOYD_ROUNDS = 10
"""Rounds after k-means++: the proportions of the modes hardly change after them."""

MOST_STRETCH = 2.0
"""`aligned` changes no scale by more than this: the specks of a dead generator must not be blown up to a cloud."""

SAME = 0.01
"""Ratio of distances below which two pictures are one and the same file, give or take rounding."""

TWIN_RANK = 20
"""A near-duplicate is near by the measure of its own surroundings: its distance to the 20th nearest picture."""

ROUNDING = 1e-3
"""Of the features' spread: equal features have distances up to this, since float32 distances come from products."""

BY_CHANCE, BY_FAULT = 1.7, 4.2
"""Displacement, in units of what chance causes, up to which fakes are compared as they are, and from which they are
aligned: aligning undoes what blur or noise do, but hides a fifth of what lost modes do."""

SHIFT_COST = 1.0
"""Deficit that fakes are allowed for each unit of `displacement` beyond chance: what aligning cannot undo."""

MOST_ALLOWED = 0.15
"""Deficit that no displacement excuses."""


@dataclasses.dataclass(frozen=True)
class Space:
    """The directions in which reals differ most.

    Attributes:
        mean: float32 [D].
        directions: float32 [D, d], orthonormal.
    """

    mean: Tensor
    directions: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """[N, D] -> float32 [N, d]."""
        return (features - self.mean) @ self.directions


def principal_space(features: Tensor, dimension: int) -> Space:
    """The largest principal components of features [N, D]: at most `dimension`, D, and N - 1."""
    mean = features.mean(0)
    directions = torch.linalg.svd(features - mean, full_matrices=False).Vh
    return Space(mean, directions[: min(dimension, len(features) - 1)].T.contiguous())


def k_means(features: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Centres of k-means, float32 [count, d], from a k-means++ start (Arthur & Vassilvitskii 2007).

    Args:
        features: float32 [N, d], N >= count.
        count: centres; some coincide where fewer features differ.
        random: draws the start.
    """
    chosen = [int(torch.randint(len(features), (1,), generator=random))]
    distances = (features - features[chosen[0]]).square().sum(1)
    for _ in range(count - 1):
        chosen.append(int(torch.multinomial(distances + 1e-12, 1, generator=random)))
        distances = torch.minimum(distances, (features - features[chosen[-1]]).square().sum(1))
    centers = features[chosen]
    for _ in range(LLOYD_ROUNDS):
        modes = nearest_center(features, centers)
        sums = torch.zeros_like(centers).index_add_(0, modes, features)
        counts = torch.bincount(modes, minlength=count)[:, None]
        centers = torch.where(counts > 0, sums / counts.clamp_min(1), centers)
    return centers


def nearest_center(features: Tensor, centers: Tensor) -> Tensor:
    """Number of the nearest centre: [N, d] and [..., K, d] -> int64 [N, ...]."""
    lengths = centers.square().sum(-1).flatten() / 2
    scores = features @ centers.reshape(-1, centers.shape[-1]).T - lengths  # |x - c|^2 = |x|^2 - 2 score
    return scores.reshape(len(features), *centers.shape[:-1]).argmax(-1)


def occupancy(features: Tensor, books: Tensor) -> Tensor:
    """Shares of the features that fall to each mode, by several codebooks.

    Args:
        features: float32 [N, d].
        books: float32 [M, K, d], M times K centres.

    Returns:
        float32 [M, K]; each row adds up to 1.
    """
    return shares(nearest_center(features, books), books.shape[1])


def shares(modes: Tensor, count: int) -> Tensor:
    """Shares of each mode by several codebooks: int64 [N, M] below `count` -> float32 [M, count]."""
    books = modes.shape[1]
    places = modes + count * torch.arange(books)  # all codebooks in one histogram
    return torch.bincount(places.flatten(), minlength=books * count).view(books, count) / len(modes)


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """Jensen-Shannon divergence of shares [..., K], in nats, 0 to log 2; the mean over the other axes."""
    middle = (p + q) / 2
    halves = [torch.xlogy(part, part) - torch.xlogy(part, middle) for part in (p, q)]
    return float((halves[0] + halves[1]).sum(-1).mean() / 2)


def missing_mass(p: Tensor, q: Tensor) -> float:
    """Share of the reals in modes that fakes fill too little: sum max(p - q, 0); the mean over the other axes."""
    return float((p - q).clamp_min(0).sum(-1).mean())


def deficit(p: Tensor, q: Tensor) -> float:
    """Missing mass that counts deep holes most: sum p max(1 - q / p, 0)^3, 0 to 1; the mean over the other axes.

    Dropped modes leave holes and fill all others a little more. Poor fidelity moves pictures to and fro, which makes as
    large a divergence, but shallower holes.

    Args:
        p: shares of the reals, [..., K].
        q: shares of the fakes.
    """
    return float((p * (1 - q / p.clamp_min(1e-9)).clamp_min(0).pow(3)).sum(-1).mean())


def displacement(fakes: Tensor, reals: Tensor) -> float:
    """How far the fakes' mean lies from the reals': squared, in standard deviations, the mean over the directions.

    Args:
        fakes: float32 [N, d] in a `Space`.
        reals: float32 [M, d].
    """
    return float(((fakes.mean(0) - reals.mean(0)) / reals.std(0).clamp_min(1e-9)).square().mean())


def aligned(fakes: Tensor, reals: Tensor) -> Tensor:
    """Fakes with the mean and, within a factor of `MOST_STRETCH`, the standard deviations of the reals: [N, d].

    What blur, noise or a paler contrast do to all pictures alike is undone, so that only diversity is left to compare.
    """
    stretch = (reals.std(0) / fakes.std(0).clamp_min(1e-9)).clamp(1 / MOST_STRETCH, MOST_STRETCH)
    return (fakes - fakes.mean(0)) * stretch + reals.mean(0)


def compared(fakes: Tensor, reals: Tensor) -> tuple[Tensor, float]:
    """Fakes as their modes are compared, and the deficit that poor fidelity may cause without any loss of modes.

    Where chance explains how far the means lie apart, fakes stay as they are; beyond, they are moved towards `aligned`.

    Args:
        fakes: float32 [N, d].
        reals: float32 [M, d].
    """
    apart, chance = displacement(fakes, reals), 1 / len(fakes) + 1 / len(reals)
    weight = min(max((apart / chance - BY_CHANCE) / (BY_FAULT - BY_CHANCE), 0.0), 1.0)
    moved = fakes.lerp(aligned(fakes, reals), weight) if weight else fakes
    return moved, min(SHIFT_COST * max(apart - BY_CHANCE * chance, 0.0), MOST_ALLOWED)


def missing_modes(fakes: Tensor, reals: Tensor, books: Tensor, occupied: Tensor, modes: Tensor | None = None) -> float:
    """The occupancy statistic: the deficit of fakes, less what poor fidelity may cause.

    Args:
        fakes: float32 [N, d].
        reals: float32 [M, d].
        books: float32 [B, K, d].
        occupied: occupancy of the reals, float32 [B, K].
        modes: int64 [N, B], where the fakes fall as they are, if that is known.
    """
    moved, allowed = compared(fakes, reals)
    if modes is None or moved is not fakes:
        modes = nearest_center(moved, books)
    return deficit(occupied, shares(modes, books.shape[1])) - allowed


def vendi(features: Tensor, center: Tensor | None = None) -> float:
    """Vendi score (Friedman & Dieng 2023): exp of the entropy of the eigenvalues of K / N, K the cosines.

    It grows with N: compare scores of equally many features only. Cosines about 0 saturate: give a centre.

    Args:
        features: float32 [N, d].
        center: float32 [d], what the cosines are taken about; None for their own mean, which makes the score blind to
            a shift and a scale that all share.
    """
    rows = normalize(features - (features.mean(0) if center is None else center), dim=1).double()
    small = rows.T @ rows if rows.shape[1] < len(rows) else rows @ rows.T  # the same eigenvalues
    weights = torch.linalg.eigvalsh(small / len(rows)).clamp_min(0)
    return float(torch.exp(-torch.xlogy(weights, weights).sum()))


class Repeats(NamedTuple):
    """Near-duplicates among fakes."""

    share: float
    """Of the fakes, those that could be left out because another one shows the same."""
    twins: list[tuple[int, int]]
    """Each near-duplicate with the picture that it repeats, the nearest first; a pair stands there once."""
    kept: Tensor
    """Indices of the others, int64 [...]: one of each group."""


def apart(ratios: Tensor) -> Tensor:
    """The ratios of reals without those of repeats: a data set that holds some of its pictures twice would else teach
    that copies are what is to be expected. All of them where most are repeats."""
    kept = ratios[ratios > SAME]
    return kept if 2 * len(kept) >= len(ratios) else ratios


def twin_ratios(features: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to the nearest of the others, divided by that to the `TWIN_RANK`-th: small where a picture has a twin.

    No scale, shift or noise that all pictures share changes it much.

    Args:
        features: float32 [N, d], N > TWIN_RANK.

    Returns:
        Ratios, float32 [N], and the nearest one, int64 [N]: of equally near ones the first.
    """
    rows = features - features.mean(0)
    distances = torch.cdist(rows, rows)
    distances[distances < ROUNDING * rows.square().sum(1).mean().sqrt()] = 0
    near, far = distances.fill_diagonal_(torch.inf).topk(TWIN_RANK, largest=False).values[:, [0, -1]].T
    return torch.where(far > 0, near / far, 0.0), distances.argmin(1)


def near_duplicates(features: Tensor, threshold: float) -> Repeats:
    """Pictures that have a twin: a ratio of `twin_ratios` below the threshold.

    Args:
        features: float32 [N, d], N > TWIN_RANK.
        threshold: such as the 1 % quantile of the reals' ratios.
    """
    ratios, nearest = twin_ratios(features)
    own = torch.arange(len(features))
    repeats = ratios < threshold
    # Arrows to the nearest end in a picture without a twin, or in two that point at each other: one of these stays.
    # Longer rings there are none, since of equally near pictures the first is taken.
    stays = repeats & (nearest[nearest] == own) & (own < nearest) & repeats[nearest]
    left = (repeats & ~stays).nonzero()[:, 0]
    ordered = left[ratios[left].argsort()]
    twins = list(zip(ordered.tolist(), nearest[ordered].tolist(), strict=True))
    return Repeats(len(left) / len(features), twins, (~repeats | stays).nonzero()[:, 0])


def ball_radii(features: Tensor, neighbours: int) -> Tensor:
    """Distance of each to its k-th nearest of the others: float32 [N, D], N > k -> float32 [N]."""
    return torch.cdist(features, features).fill_diagonal_(torch.inf).kthvalue(neighbours, dim=1).values


def density_coverage(fakes: Tensor, reals: Tensor, neighbours: int = 5) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020). Coverage falls with any blur or noise: no sign of collapse by itself.

    Args:
        fakes: float32 [N, D].
        reals: float32 [M, D], M > neighbours.
        neighbours: k, which sets the radius of the balls around the reals.
    """
    inside = torch.cdist(fakes, reals) < ball_radii(reals, neighbours)
    return float(inside.sum(1).double().mean() / neighbours), float(inside.any(0).double().mean())


def class_histogram(logits: Tensor) -> Tensor:
    """Share of the pictures that a classifier puts into each class: [N, classes] -> float32 [classes]."""
    return one_hot(logits.argmax(1), logits.shape[1]).float().mean(0)


def distinct_pictures(shown: int, distinct: float) -> float:
    """How many equally likely pictures there are, if `distinct` of `shown` drawn ones differ; inf if all do.

    Of k pictures, k (1 - (1 - 1 / k)^shown) are expected to occur; this solves for k.
    """
    if distinct >= shown - 0.5:
        return math.inf
    low, high = 1.0, 1e3 * shown * shown
    for _ in range(100):
        middle = math.sqrt(low * high)
        seen = -middle * math.expm1(shown * math.log1p(-1 / middle)) if middle > 1 else 1.0
        low, high = (middle, high) if seen < distinct else (low, middle)
    return low
