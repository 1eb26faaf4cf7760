"""`folder:PATH`: every picture below a folder. Free of torch."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from PIL import Image

from ..errors import DataError
from .decode import MAX_FILE_BYTES, is_picture, open_image
from .paths import describe_suffixes, printable, resolve, slug, unreadable


@dataclasses.dataclass(frozen=True, slots=True)
class _File:
    name: str
    """Path below the root, with `/`."""
    size: int
    """Bytes; -1 where the file could not be looked at, such as a symlink to nowhere."""
    mtime_ns: int


class FolderSource:
    """The pictures below a folder, by relative path; hidden files are left out and symlinks followed once."""

    def __init__(self, where: str) -> None:
        """List the pictures; none is opened yet.

        Raises:
            DataError: the path is missing, unreadable, not a folder, or without pictures.
        """
        self._root = resolve(where)
        if not self._root.is_dir():
            raise DataError(f"folder:{printable(where)} is a file, wanted a folder; see zip:FILE and idx:FILE")
        self.spec = f"folder:{self._root}"
        self.origin = f"folder:{printable(self._root.name)}"
        self.name = slug(self._root.name)
        names = sorted(_names(self._root), key=os.fsencode)
        self._files = [file for name in names if is_picture(name) and (file := _look(self._root, name))]
        if not self._files:
            raise DataError(
                f"folder '{printable(str(self._root))}' holds no pictures but {describe_suffixes(names)}; "
                "give a folder with for instance .jpg or .png files: --data folder:PATH"
            )

    def __len__(self) -> int:
        return len(self._files)

    def fetch(self) -> None:
        """Nothing to do: the pictures lie here."""

    def label(self, index: int) -> str:
        """The path below the folder, on one line."""
        return printable(self._files[index].name)

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        """Decode one picture fully; see `open_image` for the hint and what a broken picture raises."""
        file = self._files[index]
        if file.size > MAX_FILE_BYTES:
            raise ValueError(f"{file.size} bytes, more than the limit of {MAX_FILE_BYTES}")
        return open_image((self._root / file.name).read_bytes(), hint)

    def fingerprint(self) -> str:
        """SHA-256 over the names, sizes and times of change of the pictures."""
        digest = hashlib.sha256(b"folder")
        for file in self._files:
            digest.update(os.fsencode(file.name) + f"\0{file.size}\0{file.mtime_ns}\0".encode())
        return digest.hexdigest()

    def close(self) -> None:
        """Nothing is held open."""


def _names(root: Path) -> Iterator[str]:
    visited = {_identity(root)}
    for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=True):
        # Pruned in place: os.walk descends into what is left. Sorted, as the first way to a linked folder wins.
        inner = [name for name in sorted(folders) if not name.startswith(".") and name != "__MACOSX"]
        folders[:] = [name for name in inner if _first_visit(Path(folder, name), visited)]
        below = Path(folder).relative_to(root)
        yield from ((below / name).as_posix() for name in files)


def _first_visit(folder: Path, visited: set[tuple[int, int]]) -> bool:
    try:
        identity = _identity(folder)
    except OSError as error:
        raise unreadable(folder, error) from None
    known = identity in visited
    visited.add(identity)
    return not known


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _refuse(error: OSError) -> NoReturn:
    raise unreadable(error.filename, error) from None


def _look(root: Path, name: str) -> _File | None:
    try:
        status = (root / name).stat()
    except OSError:
        return _File(name, -1, 0)
    # Pipes and devices would block the reader for ever.
    return _File(name, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
