"""Selections: chosen rows of another source."""

from __future__ import annotations

from pathlib import Path

from places import labels, write

from gan_transfer.data.folder import FolderSource
from gan_transfer.data.selection import Selection
from gan_transfer.data.sources import open_source


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
