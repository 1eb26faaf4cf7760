"""Selections: chosen rows of another source."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from places import labels, write

from gan_transfer.data.folder import FolderSource
from gan_transfer.data.selection import Selection, split
from gan_transfer.data.sources import open_source
from gan_transfer.errors import DataError


def test_a_selection_gives_the_chosen_rows_in_the_order_given(tmp_path: Path) -> None:
    whole = FolderSource(str(write(tmp_path, "a.png", "b.png", "c.png")))
    chosen = Selection(whole, [2, 0], "dedupe")
    assert (labels(chosen), len(chosen)) == (["c.png", "a.png"], 2)
    assert (chosen.spec, chosen.name, chosen.origin) == (whole.spec, whole.name, f"{whole.origin} (dedupe)")
    assert chosen.load(1).size == (8, 8)


def test_a_selection_draws_as_large_as_it_is_told() -> None:
    assert Selection(open_source("builtin:covers"), [7], "one").load(0, 32).size == (32, 32)


def test_the_fingerprint_covers_the_source_and_the_rows() -> None:
    two, three = open_source("builtin:covers?count=2"), open_source("builtin:covers?count=3")
    chosen = [
        Selection(two, [0], "a"),
        Selection(two, [1], "a"),
        Selection(three, [0], "a"),
        Selection(two, [0, 1], "a"),
        two,
    ]
    assert len({source.fingerprint() for source in chosen}) == 5
    assert Selection(two, [0], "a").fingerprint() == Selection(two, [0], "b").fingerprint()


def test_a_split_is_the_same_every_time_and_its_parts_are_disjoint_and_whole() -> None:
    with contextlib.closing(open_source("builtin:covers?count=900")) as source:
        training, out = split(source, 300)
        again = split(source, 300)[1]
        assert (len(source) - 300, 300) == (len(training), len(out))
        labels = [part.label(row) for part in (training, out) for row in range(len(part))]
        assert {source.label(row) for row in range(len(source))} == set(labels)
        assert out.fingerprint() == again.fingerprint() != training.fingerprint()


def test_a_split_leaves_something_to_train_on() -> None:
    with (
        contextlib.closing(open_source("builtin:covers?count=900")) as source,
        pytest.raises(DataError, match="hold out"),
    ):
        split(source, len(source))
