"""Small places to read pictures from: folders, zip files and tar files, written by the tests of several readers."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gan_transfer.data.sources import Source, open_source
from gan_transfer.errors import DataError


def png(color: str = "red", size: tuple[int, int] = (8, 8)) -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, *names: str, content: bytes | None = None) -> Path:
    """Files below a folder, pictures if no content is given."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png() if content is None else content)
    return folder


def write_zip(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip file."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, entries: dict[str, bytes] | Iterable[tuple[str, bytes]], mode: Any = "w") -> Path:
    """A tar file; pairs may name an entry twice."""
    with tarfile.open(path, mode, format=tarfile.GNU_FORMAT) as archive:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path


def labels(source: Source) -> list[str]:
    """What the pictures are called, in order."""
    return [source.label(index) for index in range(len(source))]


def colors(source: Source) -> list[tuple[int, ...]]:
    """The first pixel of each picture, in order."""
    return [source.load(index).convert("RGB").getpixel((0, 0)) for index in range(len(source))]


def refusal(text: str) -> str:
    """The one line with which a source is refused."""
    with pytest.raises(DataError) as caught:
        open_source(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)
