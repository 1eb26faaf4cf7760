"""The metrics that are asked for by name, each beside what real pictures get against other real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import DataError, RecipeError, did_you_mean
from .diversity import density_coverage, jensen_shannon, k_means, missing_mass, occupancy, principal_space, vendi
from .fidelity import Score, frechet, inception_score, kid, precision_recall

LARGEST_TABLE = 10_000
"""Pictures of each side in a table of distances."""

CLASSIFIED = ("is", "classes")
"""Metrics of a classifier's answers; the others are of features."""

SPLITS = 10
"""Parts that an Inception Score is the mean of."""

MODES, IN_MODE, DIRECTIONS, BOOKS = 100, 20, 64, 5
"""Modes that pictures are counted in, at most, as many as Richardson & Weiss (2018) take; pictures that are wanted in
each on the mean, since chance alone misses a fifth of modes of five; the directions in which modes are told apart; and
the codebooks that are averaged."""


class Measure(NamedTuple):
    """A score and its yardstick."""

    score: Score
    reals: Score | None
    """The same of real pictures against other real ones; None where there are too few of them."""


def parse_metrics(text: str) -> tuple[str, ...]:
    """`kid,precision` -> the names, each once; an empty text names none.

    Raises:
        RecipeError: a name is not known.
    """
    names = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip().lower())))
    known = [*METRICS, *CLASSIFIED]
    if unknown := [name for name in names if name not in known]:
        raise RecipeError(
            f"metric {unknown[0]!r} is not known; {did_you_mean(unknown[0], known)} (--metrics {','.join(known)})"
        )
    return names


def check_enough(metrics: Sequence[str], fakes: int, reals: int, extractor: str, dimension: int) -> None:
    """Refuse before the work what the metrics would refuse after it.

    Raises:
        DataError: too few pictures for one of them.
    """
    wanted = {"fid": dimension + 1, "is": 10 * SPLITS}
    for name in metrics:
        if min(fakes, reals) < wanted.get(name, 0):
            why = f" with the {dimension} features of {extractor}" if name == "fid" else ""
            raise DataError(
                f"metric {name}{why} needs at least {wanted[name]} pictures on each side, got {fakes} fakes and "
                f"{reals} reals; give more with -n and --max-reals, or leave it out of --metrics"
            )


def measure(metrics: Sequence[str], fakes: Tensor, reals: Tensor, extractor: str, seed: int = 0) -> list[Measure]:
    """Compute metrics of features.

    Args:
        metrics: names; those of `CLASSIFIED` are passed over.
        fakes: float32 [N, D].
        reals: float32 [M, D], in random order.
        extractor: whose features these are.
        seed: of random subsets.

    Raises:
        DataError: unusable features, or too few.
    """
    half = min(len(fakes), len(reals) // 2)
    found = []
    for metric in [METRICS[name] for name in metrics if name in METRICS]:
        try:
            floor = metric(reals[:half], reals[half:], extractor, seed)
        except DataError:
            floor = None  # half of the reals are too few
        found.append(Measure(metric(fakes, reals, extractor, seed), floor))
    return found


def inception(fakes: Tensor, reals: Tensor, classifier: str, seed: int = 0) -> Measure:
    """The Inception Score of logits, float32 [N, classes], beside that of real pictures.

    Raises:
        DataError: unusable logits, or too few.
    """
    score, floor = (inception_score(logits, classifier, SPLITS, seed) for logits in (fakes, reals))
    return Measure(score, floor)


Metric = Callable[[Tensor, Tensor, str, int], Score]
"""Fakes, reals, the extractor's name, a seed -> the score."""


def _frechet(fakes: Tensor, reals: Tensor, extractor: str, _: int) -> Score:
    return frechet(fakes, reals, extractor)


def _precision(fakes: Tensor, reals: Tensor, extractor: str, _: int) -> Score:
    return precision_recall(fakes[:LARGEST_TABLE], reals[:LARGEST_TABLE], extractor)[0]


def _recall(fakes: Tensor, reals: Tensor, extractor: str, _: int) -> Score:
    return precision_recall(fakes[:LARGEST_TABLE], reals[:LARGEST_TABLE], extractor)[1]


def _density(fakes: Tensor, reals: Tensor, extractor: str, _: int) -> Score:
    n = min(len(fakes), len(reals), LARGEST_TABLE)
    return Score("density", density_coverage(fakes[:n], reals[:n])[0], n, extractor)


def _coverage(fakes: Tensor, reals: Tensor, extractor: str, _: int) -> Score:
    n = min(len(fakes), len(reals), LARGEST_TABLE)
    return Score("coverage", density_coverage(fakes[:n], reals[:n])[1], n, extractor)


def _vendi(fakes: Tensor, reals: Tensor, extractor: str, _: int) -> Score:
    n = min(len(fakes), len(reals))  # it grows with their number
    return Score("vendi", vendi(fakes[:n]), n, extractor)


def _jensen_shannon(fakes: Tensor, reals: Tensor, extractor: str, seed: int) -> Score:
    return Score("js", jensen_shannon(*_occupied(fakes, reals, seed)), len(fakes), extractor)


def _missing(fakes: Tensor, reals: Tensor, extractor: str, seed: int) -> Score:
    return Score("missing", missing_mass(*_occupied(fakes, reals, seed)), len(fakes), extractor)


def _occupied(fakes: Tensor, reals: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Shares of the reals and of the fakes in the modes of the reals, float32 [BOOKS, modes] each."""
    random, fitted = torch.Generator().manual_seed(seed), reals[:LARGEST_TABLE]
    space = principal_space(fitted, DIRECTIONS)
    placed = space(fitted)
    count = min(max(min(len(fakes), len(placed)) // IN_MODE, 2), MODES)
    books = torch.stack([k_means(placed, count, random) for _ in range(BOOKS)])
    return occupancy(placed, books), occupancy(space(fakes), books)


METRICS: dict[str, Metric] = {
    "kid": kid,
    "fid": _frechet,
    "precision": _precision,
    "recall": _recall,
    "density": _density,
    "coverage": _coverage,
    "vendi": _vendi,
    "js": _jensen_shannon,
    "missing": _missing,
}
