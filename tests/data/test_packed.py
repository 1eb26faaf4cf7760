"""A pack as a source: its rows come back as they were packed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from places import refusal, write

from gan_transfer.data.decode import decode
from gan_transfer.data.pack import Pack, PackSettings, pack
from gan_transfer.data.packed import PackSource
from gan_transfer.data.sources import open_source


def made(folder: Path, channels: int = 3, count: int = 12) -> Pack:
    """Covers, packed."""
    return pack(open_source(f"builtin:covers?count={count}"), PackSettings(16, channels, "center"), folder)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_the_rows_of_a_pack_come_back_as_they_were_packed(tmp_path: Path, channels: int, mode: str) -> None:
    packed = made(tmp_path / "covers-16", channels)
    source = PackSource(str(tmp_path / "covers-16"))
    assert (len(source), source.load(5).mode, source.load(5).size) == (12, mode, (16, 16))
    again = np.stack([decode(source.load(index, 16), 16, channels) for index in range(12)])
    assert np.array_equal(again, packed.images)
    assert np.array_equal(source.pack.images, packed.images)
    source.fetch()
    source.close()


def test_a_folder_that_holds_a_pack_is_recognised(tmp_path: Path) -> None:
    made(tmp_path / "Covers 16")
    source = open_source(str(tmp_path / "Covers 16"))
    assert isinstance(source, PackSource)
    assert (source.spec, source.name) == (f"pack:{tmp_path}/Covers 16", "covers-16")
    assert source.origin == "pack:Covers 16 (builtin:covers?count=12&seed=0)"
    assert source.label(5) == "Covers 16[5]"


def test_the_fingerprint_follows_content_and_settings_and_not_the_place(tmp_path: Path) -> None:
    made(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    made(tmp_path / "grey", channels=1)
    made(tmp_path / "fewer", count=11)
    first, same, grey, fewer = (PackSource(str(tmp_path / name)).fingerprint() for name in ("a", "b", "grey", "fewer"))
    assert first == same
    assert len({first, grey, fewer}) == 3


def test_what_is_no_whole_pack_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "a")
    (tmp_path / "a" / "index.json").unlink()
    assert str(tmp_path / "a") in refusal(f"pack:{tmp_path}/a")
    assert "does not exist" in refusal(f"pack:{tmp_path}/none")
    write(tmp_path, "a.png")
    assert "a.png" in refusal(f"pack:{tmp_path}/a.png")
