"""Fidelity: Fréchet distance, KID, precision and recall, Inception Score, by torch-fidelity's functions on features.

Every number says how many pictures and which extractor it was made with: no two that differ in these can be compared.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from ..errors import DataError

LEAST = 4
"""Pictures on each side below which nothing is computed."""

SUBSETS = 100
"""Subsets that a KID is averaged over."""

LARGEST_SUBSET = 1000
"""Pictures of each side in a subset, as in Bińkowski et al. 2018."""

NORMAL_95 = 1.96


@dataclasses.dataclass(frozen=True)
class Score:
    """A number with what it hangs on.

    Attributes:
        metric: such as `fid10k`, `fd10k`, `kid_x1000`, `precision`, `recall`, `is10k`.
        value: the number.
        n: fakes that it was made from.
        extractor: name of the feature extractor or classifier.
        error: standard error; None where it is not known.
    """

    metric: str
    value: float
    n: int
    extractor: str
    error: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval by the normal law; None without a standard error."""
        if self.error is None:
            return None
        return self.value - NORMAL_95 * self.error, self.value + NORMAL_95 * self.error


def frechet(fakes: Tensor, reals: Tensor, extractor: str) -> Score:
    """Fréchet distance of two Gaussians with the features' means and covariances (Heusel et al. 2017).

    It is called FID with the features of `inception` alone, and carries the number of fakes in its name, since its bias
    falls with it: `fid10k`, `fd2500`.

    Args:
        fakes: float32 [N, D].
        reals: float32 [M, D].
        extractor: whose features these are.

    Raises:
        DataError: unusable features, or not more pictures than features: the covariance would be singular.
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    _check(fakes, reals)
    metric = "fid" if extractor == "inception" else "fd"
    if (least := min(len(fakes), len(reals))) <= (dimension := fakes.shape[1]):
        raise DataError(
            f"{metric}{_count(len(fakes))} ({extractor}) needs at least {dimension + 1} pictures on each side, as its "
            f"features are {dimension}; got {least}. Give more, or take KID: --metrics kid"
        )
    statistics = (fid_features_to_statistics(features.double()) for features in (fakes, reals))
    value = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    return Score(f"{metric}{_count(len(fakes))}", value, len(fakes), extractor)


def kid(fakes: Tensor, reals: Tensor, extractor: str, seed: int = 0) -> Score:
    """KID times 1000: the unbiased squared MMD with the kernel (x y / D + 1)^3 (Bińkowski et al. 2018).

    The mean over 100 random subsets of half of the smaller side, 1000 at most. Their standard deviation, scaled by
    sqrt(b / (n - b)) for subsets of b among n, is the standard error by the delete-d jackknife (Shao & Wu 1989); where
    the two sides are alike it is 1.7 times too large, since the statistic is degenerate there.

    Args:
        fakes: float32 [N, D].
        reals: float32 [M, D].
        extractor: whose features these are.
        seed: of the subsets.

    Raises:
        DataError: unusable features.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    _check(fakes, reals)
    least = min(len(fakes), len(reals))
    size = min(least // 2, LARGEST_SUBSET)
    found = kid_features_to_metric(
        fakes, reals, kid_subsets=SUBSETS, kid_subset_size=size, rng_seed=seed, verbose=False
    )
    error = 1000 * found[KEY_METRIC_KID_STD] * math.sqrt(size / (least - size))
    return Score("kid_x1000", 1000 * found[KEY_METRIC_KID_MEAN], len(fakes), extractor, error)


def kid_spread(fakes: Tensor, reals: Tensor) -> float:
    """Standard error of KID times 1000 for these very reals: what other fakes of the same generator would change.

    By the influence of each fake on the squared MMD with KID's kernel, after Serfling 1980, section 5.5. Generators
    that are compared on one set of reals share that set's luck, and the error of `kid` counts it for each.

    Args:
        fakes: float32 [N, D], N >= 2.
        reals: float32 [M, D].
    """
    rows, others, count = fakes.double(), reals.double(), len(fakes)
    within = (rows @ rows.T / rows.shape[1] + 1) ** 3
    between = (rows @ others.T / rows.shape[1] + 1) ** 3
    influence = 2 * ((within.sum(1) - within.diag()) / (count - 1) - between.mean(1))
    return 1000 * float(influence.std()) / math.sqrt(count)


def kid_floor(reals: Tensor, n: int, extractor: str, seed: int = 0) -> Score:
    """KID of reals against other reals: what a perfect generator would get.

    Args:
        reals: float32 [M, D].
        n: pictures on the side of the fakes, at most half of the reals; the others are the other side.
        extractor: whose features these are.
        seed: of the split and of the subsets.

    Raises:
        DataError: unusable features.
    """
    _check(reals, reals)
    order = torch.randperm(len(reals), generator=torch.Generator().manual_seed(seed))
    n = min(n, len(reals) // 2)
    return dataclasses.replace(kid(reals[order[:n]], reals[order[n:]], extractor, seed), metric="kid_floor_x1000")


def precision_recall(fakes: Tensor, reals: Tensor, extractor: str, neighbours: int = 3) -> tuple[Score, Score]:
    """Improved precision and recall (Kynkäänniemi et al. 2019): shares within the other side's k-nearest balls.

    Both depend on the number of pictures, so the first n of the longer side are taken.

    Args:
        fakes: float32 [N, D].
        reals: float32 [M, D].
        extractor: whose features these are.
        neighbours: k.

    Raises:
        DataError: unusable features, or not more pictures than neighbours.
    """
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    _check(fakes, reals, least=neighbours + 1)
    n = min(len(fakes), len(reals))
    found = prc_features_to_metric(fakes[:n], reals[:n], prc_neighborhood=neighbours, verbose=False)
    precision, recall = found[KEY_METRIC_PRECISION], found[KEY_METRIC_RECALL]
    return Score("precision", precision, n, extractor), Score("recall", recall, n, extractor)


def inception_score(logits: Tensor, classifier: str, splits: int = 10, seed: int = 0) -> Score:
    """Inception Score: exp of the mean divergence of a picture's classes from all classes (Salimans et al. 2016).

    The mean over splits, with their standard error. It lies between 1 and the number of classes, grows with the number
    of pictures, and says nothing of pictures unlike those that the classifier knows.

    Args:
        logits: float32 [N, classes].
        classifier: whose logits these are.
        splits: disjoint parts.
        seed: of the parts.

    Raises:
        DataError: unusable logits, or fewer than ten pictures in a part.
    """
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

    _check(logits, logits, least=10 * splits)
    found = isc_features_to_metric(logits, splits, rng_seed=seed)
    error = found[KEY_METRIC_ISC_STD] / math.sqrt(splits - 1) if splits > 1 else None
    return Score(f"is{_count(len(logits))}", found[KEY_METRIC_ISC_MEAN], len(logits), classifier, error)


def _count(n: int) -> str:
    """10000 -> `10k`, 2500 -> `2500`."""
    return f"{n // 1000}k" if n % 1000 == 0 else str(n)


def _check(fakes: Tensor, reals: Tensor, least: int = LEAST) -> None:
    """Refuse what would give a wrong number instead of none."""
    if fakes.ndim != 2 or reals.ndim != 2 or fakes.shape[1] != reals.shape[1]:
        got = f"{list(fakes.shape)} and {list(reals.shape)}"
        raise DataError(
            f"features of fakes and reals must be [N, D] with one D, got {got}; take one extractor for both"
        )
    if (found := min(len(fakes), len(reals))) < least:
        raise DataError(f"too few pictures for this number: wanted at least {least} on each side, got {found}")
    if not (fakes.isfinite().all() and reals.isfinite().all()):
        raise DataError("features are not finite; the pictures or the extractor are damaged")
