"""Chosen pictures of a data source as a source of their own: a split, or what is left without duplicates. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..errors import DataError
from .source import Source

SPLIT_SEED = 2015  # of every split: the same pictures are held out of every run on a data source


class Selection:
    """Some rows of another source, in the order given; closing it closes the other."""

    def __init__(self, source: Source, rows: Sequence[int], why: str) -> None:
        """Choose; nothing is loaded yet.

        Args:
            source: what is chosen from, fetched if its rows are known only then.
            rows: numbers of the pictures in it.
            why: a word for `origin`, such as `dedupe`.
        """
        self._source = source
        self._rows = np.asarray(rows, np.int64)
        self.spec = source.spec
        self.name = source.name
        self.origin = f"{source.origin} ({why})"

    def __len__(self) -> int:
        return len(self._rows)

    def fetch(self) -> None:
        """Fetch the other source."""
        self._source.fetch()

    def label(self, index: int) -> str:
        """The picture's label in the other source."""
        return self._source.label(int(self._rows[index]))

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        """Decode one picture as the other source does, with what that raises."""
        return self._source.load(int(self._rows[index]), hint)

    def fingerprint(self) -> str:
        """SHA-256 over the other source's fingerprint and the rows."""
        digest = hashlib.sha256(f"selection\0{self._source.fingerprint()}\0".encode())
        digest.update(self._rows.astype("<i8").tobytes())
        return digest.hexdigest()

    def close(self) -> None:
        """Close the other source; nothing can be loaded afterwards."""
        self._source.close()


def split(source: Source, held_out: int) -> tuple[Selection, Selection]:
    """Part a source in two at random, the same way every time.

    Args:
        source: fetched if its rows are known only then; closing either part closes it.
        held_out: pictures of the second part.

    Returns:
        What to train on, and what is held out, each in the source's order.

    Raises:
        DataError: nothing would be left to train on.
    """
    count = len(source)
    if held_out >= count:
        raise DataError(f"{source.origin} has {count:,} pictures; cannot hold out {held_out:,} of them")
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    kept, out = sorted(order[held_out:].tolist()), sorted(order[:held_out].tolist())
    return Selection(source, kept, f"{held_out} held out"), Selection(source, out, f"the {held_out} held out")
