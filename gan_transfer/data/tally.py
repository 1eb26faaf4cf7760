"""What is kept of each picture while a data source is inspected, and added up. Free of torch."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .decode import Pixels
from .duplicates import Prints, prints
from .look import Chunk, Fact
from .mirroring import LETTERING_SCORE, lettering

GREY_TOLERANCE = 4
"""Grey levels that the channels may differ by anywhere on the thumbnail of a grey picture: scans and JPEG noise."""

FLAT_TOLERANCE = 24
"""Grey levels within which a side of the thumbnail is of one colour: beside sharp edges JPEG's ripples reach 19."""

Bools = npt.NDArray[np.bool_]


class Glance(NamedTuple):
    """What is kept of a chunk."""

    facts: list[Fact]
    broken: list[str]
    """Label and reason."""
    prints: Prints
    grey: int
    """Pictures without colour."""
    framed: int
    """Pictures with one flat colour all round."""
    barred: int
    """Pictures with a flat colour on two opposite sides only."""
    lettered: int
    """Pictures that seem to hold a line of text."""
    sample: Pixels
    """The thumbnails to keep, uint8 [N, SIDE, SIDE, 3]."""


class Tally:
    """The glances added up; about 130 bytes for each picture, and the sample."""

    def __init__(self) -> None:
        """Begin with no pictures."""
        self.rows: list[int] = []
        self.sizes: list[npt.NDArray[np.int32]] = []
        self.formats: Counter[str] = Counter()
        self.modes: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.broken: list[str] = []
        self.prints: list[Prints] = []
        self.sample: list[Pixels] = []

    def add(self, glance: Glance) -> None:
        """Take in one chunk."""
        self.rows += [fact.row for fact in glance.facts]
        self.sizes.append(np.array([(fact.width, fact.height) for fact in glance.facts], np.int32).reshape(-1, 2))
        self.formats.update(fact.format for fact in glance.facts)
        self.modes.update(fact.mode for fact in glance.facts)
        for trait in ("alpha", "deep", "animated"):
            self.counts[trait] += sum(getattr(fact, trait) for fact in glance.facts)
        for trait in ("grey", "framed", "barred", "lettered"):
            self.counts[trait] += getattr(glance, trait)
        self.broken += glance.broken
        self.prints.append(glance.prints)
        self.sample.append(glance.sample)


def glance(chunk: Chunk, kept: frozenset[int]) -> Glance:
    """Measure the pictures of a chunk; `kept` are the rows whose thumbnails are wanted."""
    thumbnails = chunk.thumbnails
    framed, barred = borders(thumbnails)
    return Glance(
        facts=chunk.facts,
        broken=chunk.broken,
        prints=prints(chunk),
        grey=int(without_colour(thumbnails).sum()),
        framed=int(framed.sum()),
        barred=int(barred.sum()),
        lettered=int((lettering(thumbnails) >= LETTERING_SCORE).sum()),
        sample=thumbnails[[fact.row in kept for fact in chunk.facts]],
    )


def without_colour(thumbnails: Pixels) -> Bools:
    """Which pictures are grey, within `GREY_TOLERANCE`: uint8 [N, H, W, 3] -> bool [N]."""
    grey: Bools = (thumbnails.max(3) - thumbnails.min(3)).max((1, 2)) <= GREY_TOLERANCE
    return grey


def borders(thumbnails: Pixels) -> tuple[Bools, Bools]:
    """Which pictures have one flat colour all round, and which have one on two opposite sides only.

    Args:
        thumbnails: uint8 [N, H, W, 3]; the outermost row or column of pixels is a side.

    Returns:
        Framed and barred, bool [N] each.
    """
    top, bottom, left, right = (
        thumbnails[:, 0],
        thumbnails[:, -1],
        thumbnails[:, :, 0],
        thumbnails[:, :, -1],
    )
    upright, level = _flat(np.concatenate([top, bottom], 1)), _flat(np.concatenate([left, right], 1))
    framed = _flat(np.concatenate([top, bottom, left, right], 1))
    return framed, (upright | level) & ~framed


def _flat(side: Pixels) -> Bools:
    spread: Bools = (side.max(1) - side.min(1)).max(1) <= FLAT_TOLERANCE
    return spread
