"""Examines generators against one set of real pictures: the reals' features once, then a verdict for a second each."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from .data.pack import Pack
from .diagnostics.extractors import Extractor
from .diagnostics.nulls import LEAST_HELD_OUT, LEAST_REALS
from .diagnostics.reference import Pictures, Reference, reference
from .diagnostics.verdict import Judge, Verdict, prepare
from .errors import DataError

MOST_REALS = 4096
"""Real pictures that features are made of, at random; more cost time and change no verdict."""

HELD_OUT = 0.2
"""Share of them that stand for pictures never trained on when copies are looked for. The generator may well have been
trained on them: copies of these are then not found, but none is found where there is none."""


@dataclasses.dataclass(frozen=True)
class Look:
    """One look at a generator's pictures.

    Attributes:
        verdict: the evidence.
        extractor: whose features it was made from.
        features: float32 [N, D], of the fakes.
        seconds: what it took.
    """

    verdict: Verdict
    extractor: str
    features: Tensor
    seconds: float


@dataclasses.dataclass(frozen=True)
class Examiner:
    """A set of real pictures made ready to judge generators by.

    Attributes:
        extractor: what sees the pictures.
        reals: its features of the real pictures.
        held_out: how many of these, the last ones, are the reference for copies.
        judge: nulls and severity curves.
    """

    extractor: Extractor
    reals: Reference
    held_out: int
    judge: Judge

    @property
    def fakes(self) -> int:
        """Pictures of the generator that a look compares."""
        return self.judge.yardstick.size

    @property
    def training_rows(self) -> Tensor:
        """int64 [T]: which pictures of the set copies are looked for among; `Copy.training` counts in it."""
        return self.reals.rows[: len(self.reals.rows) - self.held_out]

    def look(self, fakes: Tensor, looks: int = 1) -> Look:
        """Judge pictures, uint8 [N, C, H, W], N >= `fakes`; see `Judge` for `looks` and the errors."""
        begin = time.perf_counter()
        features = self.extractor.features(fakes)
        verdict = self.judge(features, looks)
        return Look(verdict, self.extractor.name, features, time.perf_counter() - begin)


def pictures_of(packed: Pack, name: str) -> Pictures:
    """A pack as a set of real pictures."""
    cut = packed.settings
    return Pictures(name, packed.key, cut.resolution, cut.crop, packed.count, _loading(packed))


def examiner(
    pictures: Pictures, extractor: Extractor, fakes: int, *, most: int = MOST_REALS, seed: int = 0,
    cache: Path | None = None,
) -> Examiner:  # fmt: skip
    """Make a set of real pictures ready; their features come from the cache where it has them.

    Args:
        pictures: what the generator was trained on, or more of the same kind.
        extractor: what sees the pictures.
        fakes: how many a look will have; fewer are compared where the reals are few.
        most: real pictures, drawn at random, that are used.
        seed: of all draws.
        cache: the folder to hold `features/`; None keeps nothing.

    Raises:
        DataError: too few real pictures, or they are all the same.
        WeightsError: the extractor gives features that are not finite.
    """
    if pictures.count < LEAST_REALS:
        raise DataError(
            f"'{pictures.name}' has {pictures.count} pictures; a verdict needs at least {LEAST_REALS}. Give more"
        )
    count = min(pictures.count, most)
    reals = reference(pictures, extractor, count, seed, cache)
    flipped = reference(mirrored(pictures), extractor, count, seed, cache)
    held_out = max(LEAST_HELD_OUT, round(HELD_OUT * count))
    split = count - held_out
    judge = prepare(reals.features[split:], reals.features[:split], fakes, flipped.features[:split], seed)
    return Examiner(extractor, reals, held_out, judge)


def mirrored(pictures: Pictures) -> Pictures:
    """The same set of real pictures, flipped left to right."""
    return dataclasses.replace(pictures, key=f"{pictures.key}/mirrored", load=lambda rows: pictures.load(rows).flip(-1))


def _loading(packed: Pack) -> Callable[[Sequence[int]], Tensor]:
    def load(rows: Sequence[int]) -> Tensor:
        return torch.from_numpy(packed.images[list(rows)]).permute(0, 3, 1, 2).contiguous()

    return load
