"""Claims about the one pass over a source: what is learned of each picture, in which order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_transfer.data.covers import CoversSource
from gan_transfer.data.folder import FolderSource
from gan_transfer.data.look import CHUNK, SIDE, Chunk, Fact, look, luma, shrink


def whole(chunk: Chunk) -> Chunk:
    return chunk


def facts(folder: Path, **pictures: Image.Image) -> dict[str, Fact]:
    """What is known of pictures that are saved as `name_suffix`."""
    for name, picture in pictures.items():
        picture.save(folder / name.replace("_", "."), save_all=name.startswith("several"))
    source = FolderSource(str(folder))
    (chunk,) = look(source, range(len(source)), whole)
    assert chunk.broken == []
    return {source.label(fact.row).replace(".", "_"): fact for fact in chunk.facts}


def test_chunks_come_in_the_order_of_the_rows_with_any_number_of_workers() -> None:
    source = CoversSource(3 * CHUNK + 5)
    alone, three = (list(look(source, range(len(source)), whole, workers)) for workers in (1, 3))
    assert [len(chunk.facts) for chunk in alone] == [CHUNK, CHUNK, CHUNK, 5]
    assert [fact.row for chunk in three for fact in chunk.facts] == list(range(len(source)))
    assert [chunk.facts for chunk in alone] == [chunk.facts for chunk in three]
    assert all((a.thumbnails == b.thumbnails).all() for a, b in zip(alone, three, strict=True))


def test_progress_ends_with_all_pictures() -> None:
    told: list[tuple[int, int]] = []
    source = CoversSource(CHUNK + 1)
    list(look(source, range(len(source)), whole, 2, lambda done, total: told.append((done, total))))
    assert told == [(CHUNK, CHUNK + 1), (CHUNK + 1, CHUNK + 1)]


def test_size_format_and_mode_are_those_of_the_file(tmp_path: Path) -> None:
    found = facts(tmp_path, photo_jpg=Image.new("L", (300, 200)), drawing_png=Image.new("RGBA", (20, 30)))
    photo, drawing = found["photo_jpg"], found["drawing_png"]
    assert (photo.width, photo.height, photo.format, photo.mode, photo.alpha) == (300, 200, "JPEG", "L", False)
    assert (drawing.width, drawing.height, drawing.format, drawing.mode, drawing.alpha) == (20, 30, "PNG", "RGBA", True)


def test_deep_and_animated_pictures_are_noticed(tmp_path: Path) -> None:
    deep = Image.fromarray(np.full((8, 8), 60_000, np.uint16))
    frames = [Image.new("L", (8, 8), level) for level in (0, 255)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    found = facts(tmp_path, deep_png=deep, still_gif=frames[0])
    assert {name: (fact.deep, fact.animated) for name, fact in found.items()} == {
        "deep_png": (True, False),
        "moving_gif": (False, True),
        "still_gif": (False, False),
    }


def test_pixels_not_files_decide_what_is_equal(tmp_path: Path) -> None:
    picture = CoversSource(1).load(0)
    found = facts(tmp_path, one_png=picture, two_bmp=picture, other_png=picture.transpose(Image.Transpose.ROTATE_180))
    assert found["one_png"].digest == found["two_bmp"].digest != found["other_png"].digest


def test_equal_indices_into_other_palettes_are_not_equal(tmp_path: Path) -> None:
    red, blue = (Image.new("RGB", (8, 8), color).quantize(2) for color in ("red", "blue"))
    found = facts(tmp_path, red_png=red, blue_png=blue)
    assert found["red_png"].digest != found["blue_png"].digest


def test_a_broken_picture_is_told_and_the_pass_goes_on(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    (tmp_path / "a.png").write_bytes(b"no picture")
    (chunk,) = look(FolderSource(str(tmp_path)), range(2), whole)
    assert chunk.broken == ["a.png: not a picture that Pillow can read"]
    assert [fact.row for fact in chunk.facts] == [1]
    assert chunk.thumbnails.shape == (1, SIDE, SIDE, 3)


@pytest.mark.parametrize(("color", "expected"), [("white", 255.0), ("black", 0.0), ((10, 20, 30), 18.15)])
def test_luma_is_that_of_rec_601(color: str | tuple[int, int, int], expected: float) -> None:
    assert luma(np.array(Image.new("RGB", (2, 2), color))[None]) == pytest.approx(np.full((1, 2, 2), expected))


def test_shrink_takes_means_of_boxes() -> None:
    assert shrink(np.arange(16).reshape(1, 4, 4), 2).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]
