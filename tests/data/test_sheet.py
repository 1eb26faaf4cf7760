"""Claims about the contact sheet: what is on it, and how it is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_transfer.data.covers import CoversSource, cover
from gan_transfer.data.decode import decode
from gan_transfer.data.folder import FolderSource
from gan_transfer.data.inspect import inspect
from gan_transfer.data.sheet import COLUMNS, TILE, contact_sheet
from gan_transfer.errors import DataError


def sheet_of(folder: Path, path: Path) -> Image.Image:
    source = FolderSource(str(folder))
    contact_sheet(source, inspect(source), path)
    with Image.open(path) as sheet:
        return sheet.convert("RGB")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pictures"
    made.mkdir()
    for index in range(3):
        cover(index).save(made / f"{index}.png")
    return made


def test_it_is_a_png_of_a_sane_size(tmp_path: Path) -> None:
    source, path = CoversSource(500), tmp_path / "sheet.png"
    contact_sheet(source, inspect(source, limit=100), path)
    with Image.open(path) as sheet:
        assert (sheet.format, sheet.mode) == ("PNG", "RGB")
        assert sheet.width == 1604
        assert 8 * TILE < sheet.height < 2000


def test_every_picture_of_a_small_source_is_on_it(folder: Path, tmp_path: Path) -> None:
    pixels = np.asarray(sheet_of(folder, tmp_path / "sheet.png"))
    for index in range(3):
        left = 4 + index * (TILE + 4)
        assert (pixels[22 : 22 + TILE, left : left + TILE] == decode(cover(index), TILE, 3)).all()
    assert (pixels[22:, 4 + 3 * (TILE + 4) :] == 255).all()


def test_duplicates_stand_side_by_side_below(folder: Path, tmp_path: Path) -> None:
    plain = sheet_of(folder, tmp_path / "plain.png").height
    for copy in range(COLUMNS + 3):
        shutil.copy(folder / "1.png", folder / f"copy{copy}.png")
    cover(2).save(folder / "2.bmp")
    pixels = np.asarray(sheet_of(folder, tmp_path / "sheet.png"))
    assert len(pixels) > plain + 2 * TILE
    group = pixels[-2 * TILE - 26 : -TILE - 26]
    tiles = [group[:, 4 + place * (TILE + 4) :][:, :TILE] for place in range(COLUMNS)]
    assert all((tile == tiles[0]).all() for tile in tiles)
    assert tiles[0].std() > 10


def test_broken_pictures_are_crossed_out(folder: Path, tmp_path: Path) -> None:
    (folder / "0.png").write_bytes(b"no picture")
    sheet = sheet_of(folder, tmp_path / "sheet.png")
    assert sheet.getpixel((4 + TILE // 2, 22 + TILE // 2)) == (255, 0, 0)


def test_names_in_any_script_are_drawn(folder: Path, tmp_path: Path) -> None:
    for name in ("обложка.png", "封面.png"):
        shutil.copy(folder / "0.png", folder / name)
    assert sheet_of(folder, tmp_path / "sheet.png").height > 2 * TILE


def test_it_holds_no_path_of_the_machine(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", lambda _, place, text, **style: drawn.append(text))
    sheet_of(folder, tmp_path / "sheet.png")
    assert drawn == ["3 of 3 pictures of folder:pictures, evenly spread"]


@pytest.mark.parametrize("name", ["missing/sheet.png", "."])
def test_a_path_that_cannot_be_written_is_told_in_one_line(folder: Path, tmp_path: Path, name: str) -> None:
    source = FolderSource(str(folder))
    with pytest.raises(DataError, match=r"contact sheet '.*' cannot be written: .*; give a file in a folder"):
        contact_sheet(source, inspect(source), tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures"]
