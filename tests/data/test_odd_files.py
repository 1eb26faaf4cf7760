"""Odd and hostile files behave alike in a folder, a zip file and a tar file: read, passed over, or broken alone."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import colors, labels, png, refusal, write, write_tar, write_zip

from gan_transfer.data.decode import decode, quiet_pillow
from gan_transfer.data.sources import Source, open_source

Place = Callable[[dict[str, bytes]], Source]


@pytest.fixture(params=["folder", "zip", "tar"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Files by name -> a source that holds them, in a folder, a zip file or a tar file."""

    def make(entries: dict[str, bytes]) -> Source:
        if request.param == "folder":
            for name, content in entries.items():
                write(tmp_path / "set", name, content=content)
            return open_source(f"folder:{tmp_path}/set")
        writer = write_zip if request.param == "zip" else write_tar
        return open_source(str(writer(tmp_path / f"set.{request.param}", entries)))

    return make


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_bomb(side: int) -> bytes:
    """A PNG of a hundred bytes that promises side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b"")):
        bomb += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return bomb


def pixels(source: Source, index: int, resolution: int = 4) -> np.ndarray:
    return decode(source.load(index, resolution), resolution, 3)


def test_names_with_line_breaks_have_labels_on_one_line(place: Place) -> None:
    source = place({"a\nb.png": png(), "c\x1b[2Jd\r.png": png("blue")})
    assert [label.removeprefix("set.tar/") for label in labels(source)] == ["a\\nb.png", "c\\x1b[2Jd\\r.png"]
    assert colors(source) == [(255, 0, 0), (0, 0, 255)]
    assert len(source.fingerprint()) == 64


def test_names_that_are_no_utf8_are_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"c\xff.png")
    write(tmp_path / "set", name)
    write_tar(tmp_path / "set.tar", {name: png()})
    write_zip(tmp_path / "set.zip", {"c_.png": png()})
    (tmp_path / "set.zip").write_bytes((tmp_path / "set.zip").read_bytes().replace(b"c_.png", b"c\xff.png"))
    expected = {"set": "c\\udcff.png", "set.tar": "set.tar/c\\udcff.png", "set.zip": "c\\xa0.png"}  # a zip has cp437
    sources = {name: open_source(str(tmp_path / name)) for name in expected}
    assert {name: source.label(0) for name, source in sources.items()} == expected
    assert {source.load(0).size for source in sources.values()} == {(8, 8)}
    assert {len(source.fingerprint()) for source in sources.values()} == {64}


def test_loops_of_symlinks_end(tmp_path: Path) -> None:
    write(tmp_path / "set", "a/b.png")
    (tmp_path / "set/a/up").symlink_to(tmp_path / "set")
    (tmp_path / "set/self.png").symlink_to("self.png")
    source = open_source(f"{tmp_path}/set")
    assert labels(source) == ["a/b.png", "self.png"]
    with pytest.raises(OSError, match="symbolic links"):
        source.load(1)
    (tmp_path / "loop").symlink_to("loop")
    for kind in ("", "folder:", "zip:", "tar:", "celeba:"):
        assert "cannot be read: " in refusal(f"{kind}{tmp_path}/loop")


def test_links_inside_archives_lead_nowhere(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        header = tarfile.TarInfo("link.png")
        header.type, header.linkname = tarfile.SYMTYPE, "link.png"
        archive.addfile(header)
    assert "holds no pictures but no files at all" in refusal(f"{tmp_path}/set.tar")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        entry = zipfile.ZipInfo("link.png")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "link.png")
    with pytest.raises(ValueError, match="not a picture"):
        open_source(f"{tmp_path}/set.zip").load(0)


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/a.png", "x\\a.png", "C:a.png", "..", "../notes.txt"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_with_entries_that_point_outside_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    writer = write_zip if kind == "zip" else write_tar
    hostile = writer(tmp_path / f"hostile.{kind}", {"good.png": png(), name: png()})
    answer = refusal(str(hostile))
    assert f"'{hostile}' is refused: its entry '{name}' points outside the archive" in answer
    assert [path.name for path in tmp_path.iterdir()] == [hostile.name]


def test_an_inner_tar_with_entries_that_point_outside_is_refused(tmp_path: Path) -> None:
    inner = write_tar(tmp_path / "inner.tar", {"../a.png": png()}).read_bytes()
    outer = write_tar(tmp_path / "outer.tar", {"inner.tar": inner})
    assert "its entry 'inner.tar/../a.png' points outside the archive" in refusal(str(outer))


def test_sixteen_bit_pictures_keep_their_range(place: Place) -> None:
    ramp = Image.fromarray((np.arange(16, dtype=np.uint16) * 4369).reshape(4, 4))
    source = place({"deep.png": encoded(ramp, "PNG"), "deep.tif": encoded(ramp, "TIFF")})
    for index in range(2):
        assert pixels(source, index)[..., 0].ravel().tolist() == list(range(0, 256, 17))


def test_of_an_animation_the_first_frame_is_taken(place: Place) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "lime")]
    source = place({"a.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])})
    assert pixels(source, 0)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1)])
def test_needles_are_read(place: Place, size: tuple[int, int]) -> None:
    needle = Image.new("RGB", size, "red")
    source = place({"a.png": encoded(needle, "PNG"), "b.jpg": encoded(needle, "JPEG")})
    for index in range(2):
        assert np.abs(pixels(source, index, 64).astype(int) - [255, 0, 0]).max() <= 2


def test_pictures_that_are_broken_are_so_by_themselves(place: Place) -> None:
    entries = {f"{number}.png": png() for number in range(8)}
    entries |= {"1.png": b"", "3.png": b"<html>404</html>", "5.png": png(size=(64, 64))[:60], "6.png": png_bomb(65_000)}
    source = place(entries)
    broken = {}
    for index in range(len(source)):
        try:
            with quiet_pillow():
                source.load(index, 64)
        except Exception as error:
            broken[index] = str(error)
    assert list(broken) == [1, 3, 5, 6]
    assert "the file is empty" in broken[1]
    assert "not a picture" in broken[3]
    assert "pixels" in broken[6]


def test_a_file_too_large_for_a_picture_is_not_read(tmp_path: Path) -> None:
    with open(write(tmp_path / "set", "a.png") / "a.png", "wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(ValueError, match="1099511627776 bytes, more than the limit"):
        open_source(f"{tmp_path}/set").load(0)
    header = tarfile.TarInfo("a.png")
    header.size = 2**30
    with open(tmp_path / "set.tar", "wb") as file:
        file.write(header.tobuf())
        file.truncate(2**30 + 2048)
    with pytest.raises(ValueError, match="1073741824 bytes, more than the limit"):
        open_source(f"{tmp_path}/set.tar").load(0)


@pytest.mark.slow
def test_a_hundred_thousand_files_in_one_place_are_found_in_seconds(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    first = tmp_path / "first.png"
    for number in range(100_000):
        if number % 50_000 == 0:  # file systems bound the links to a file
            first = write(tmp_path / "set", f"{number:06}.png") / f"{number:06}.png"
        else:
            os.link(first, tmp_path / "set" / f"{number:06}.png")
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for number in range(100_000):
            archive.addfile(tarfile.TarInfo(f"{number:06}.png"))
    write_zip(tmp_path / "set.zip", {f"{number:06}.png": b"" for number in range(100_000)})
    for name in ("set", "set.tar", "set.zip"):
        start = time.process_time()
        source = open_source(str(tmp_path / name))
        assert (len(source), len(source.fingerprint())) == (100_000, 64)
        assert time.process_time() - start < 20  # about 2 s; the bound leaves room for a slow machine
