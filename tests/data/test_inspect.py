"""Claims about the doctor: what is found in pictures, told to people and to programs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from test_real_pictures import real

from gan_transfer.data.covers import CoversSource, cover
from gan_transfer.data.folder import FolderSource
from gan_transfer.data.inspect import Findings, Sides, describe, evenly_spread, inspect
from gan_transfer.data.sources import open_source


def saved(folder: Path, **pictures: Image.Image) -> Findings:
    """What is found in pictures that are saved as `name_suffix`."""
    for name, picture in pictures.items():
        picture.save(folder / name.replace("_", "."))
    return inspect(FolderSource(str(folder)))


def test_formats_modes_and_sizes_are_counted(tmp_path: Path) -> None:
    found = saved(
        tmp_path,
        a_jpg=cover(0, size=60),
        b_jpg=cover(1).resize((90, 70)),
        c_png=cover(2).resize((100, 300)),
        d_png=cover(3).convert("RGBA").resize((50, 51)),
        e_png=Image.fromarray(np.arange(0, 64_000, 10, dtype=np.uint16).reshape(80, 80)),
    )
    assert (found.count, found.seen, found.broken) == (5, 5, [])
    assert found.formats == {"PNG": 3, "JPEG": 2}
    assert found.modes == {"RGB": 3, "RGBA": 1, "I;16": 1}
    assert found.sides == Sides(50, 70, 100)
    assert (found.square, found.wider, found.taller) == (3, 1, 1)
    assert (found.alpha, found.deep, found.grey, found.animated) == (1, 1, 1, 0)


def test_the_true_size_of_a_large_jpeg_is_told(tmp_path: Path) -> None:
    assert saved(tmp_path, a_jpg=cover(0, size=400)).sides == Sides(400, 400, 400)


def test_grey_is_what_has_no_colour_whatever_its_mode(tmp_path: Path) -> None:
    grey = cover(0).convert("L")
    noisy = np.asarray(grey.convert("RGB")).astype(np.int16) + np.random.default_rng(0).integers(-1, 2, (128, 128, 3))
    found = saved(
        tmp_path,
        a_png=grey,
        b_png=grey.convert("RGB"),
        c_png=Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)),
        d_png=ImageOps.colorize(grey, "black", "wheat"),
    )
    assert found.grey == 3


def test_frames_and_bars_are_counted_apart(tmp_path: Path) -> None:
    small = cover(4, size=90)
    found = saved(
        tmp_path,
        plain_png=cover(4).crop((10, 10, 100, 100)),
        framed_png=ImageOps.expand(small, 10, "navy"),
        ground_jpg=ImageOps.expand(small, 10, "white"),
        barred_jpg=ImageOps.pad(small.crop((0, 20, 90, 70)), (90, 90)),
    )
    assert (found.framed, found.barred) == (2, 1)


def test_broken_pictures_are_told_and_do_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b\n.png").write_bytes(b"no picture")
    found = saved(tmp_path, c_png=cover(0))
    assert found.broken == ["a.png: the file is empty", r"b\n.png: not a picture that Pillow can read"]
    assert (found.count, found.seen, found.distinct) == (3, 1, 1)
    assert dict(describe(found))["pictures"] == "3; shares are of the 1 whole ones"
    assert dict(describe(found))["broken"] == "2: " + "; ".join(found.broken)


def test_a_source_of_broken_pictures_has_findings_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    found = inspect(FolderSource(str(tmp_path)))
    assert (found.seen, found.distinct, found.sides, found.handedness, found.diversity) == (0, 0, None, None, None)
    assert [name for name, _ in describe(found)] == ["pictures", "broken"]


def test_duplicates_are_told_by_name(tmp_path: Path) -> None:
    cover(0).save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    found = saved(tmp_path, c_jpg=cover(0), d_png=cover(1))
    assert (found.exact_duplicates, found.near_duplicates, found.distinct) == (1, 2, 2)
    assert [group.labels for group in found.groups] == [["a.png", "b.png", "c.jpg"]]
    assert dict(describe(found))["duplicates"] == "1 exact, 2 exact or near; largest group 3: a.png, b.png, c.jpg"


def test_the_findings_do_not_depend_on_the_number_of_workers() -> None:
    alone, three = (inspect(CoversSource(150), workers=workers) for workers in (1, 3))
    assert alone == three


def test_findings_become_json(tmp_path: Path) -> None:
    found = inspect(CoversSource(60))
    told = json.loads(json.dumps(dataclasses.asdict(found)))
    assert told["sides"] == {"minimum": 128, "median": 128, "maximum": 128}
    assert told["handedness"]["pictures"] == 60
    assert told["diversity"]["pictures"] == 50


def test_a_limit_looks_at_some_pictures_evenly_spread() -> None:
    seen: list[int] = []

    class Watched(CoversSource):
        def load(self, index: int, hint: int | None = None) -> Image.Image:
            seen.append(index)
            return super().load(index, hint)

    found = inspect(Watched(100), limit=10, workers=1)
    assert seen == list(range(0, 100, 10))
    assert (found.count, found.seen, found.distinct) == (100, 10, 100)
    assert dict(describe(found))["pictures"] == "100, 10 of them looked at"


@pytest.mark.parametrize(
    ("count", "most", "expected"), [(3, 5, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (10, 3, [0, 3, 6])]
)
def test_rows_are_spread_evenly(count: int, most: int, expected: list[int]) -> None:
    assert list(evenly_spread(count, most)) == expected


def test_names_fit_the_column() -> None:
    assert max(len(name) for name, _ in describe(inspect(CoversSource(60)))) <= 14


def test_the_grey_originals_among_real_photographs_are_found() -> None:
    source = open_source(f"zip:{real('imagenet_sample150_original.zip')}")
    found = inspect(source)
    source.close()
    assert (found.modes, found.grey) == ({"RGB": 127, "L": 23}, 24)  # one RGB picture has no colour either
    assert found.sides == Sides(100, 370, 637)
    assert (found.broken, found.near_duplicates) == ([], 0)
