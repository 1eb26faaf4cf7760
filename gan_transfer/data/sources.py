"""Data sources: the text `kind:where` (or a plain path) -> a reader of pictures. Free of torch."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from PIL import Image

from ..errors import DataError, did_you_mean
from .archive import ZipSource
from .decode import is_picture
from .folder import FolderSource
from .idx import IdxSource, is_idx_name
from .paths import printable, resolve, unreadable


class Source(Protocol):
    """A numbered set of pictures that can be loaded from several threads at once."""

    @property
    def spec(self) -> str:
        """Canonical `kind:where`, with an absolute path; opens the same source again."""

    @property
    def name(self) -> str:
        """Short name of a-z, 0-9 and hyphens, for the run folder."""

    def __len__(self) -> int: ...

    def label(self, index: int) -> str:
        """What to call a picture in a list for people: its relative path, on one line."""

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        """Decode one picture fully; `hint` is the resolution it will be cropped and resized to.

        Raises:
            OSError, ValueError or another Exception of a decoder: the picture is broken.
        """

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the content's identity: changes whenever a picture does."""

    def close(self) -> None:
        """Release files; nothing can be loaded afterwards."""


def open_source(text: str) -> Source:
    """Open a data source given as `kind:where` or as a plain path to a folder, a .zip file or an idx file.

    Raises:
        DataError: the kind is not known, or the place is missing, unreadable or without pictures.
    """
    kind, colon, where = text.partition(":")
    if colon and kind in READERS:
        return READERS[kind](where)
    if colon and re.fullmatch(r"\w{2,}", kind):  # one letter would be a drive
        raise DataError(
            f"data source kind '{kind}' is not known; {did_you_mean(kind, READERS)} "
            f"(--data KIND:WHERE with {', '.join(READERS)}, or a path that begins with ./ or /)"
        )
    return READERS[_recognise(resolve(text))](text)


def open_builtin(where: str) -> Source:
    """Open `builtin:NAME`, with options such as `covers?count=500&seed=3`.

    Raises:
        DataError: the name or an option is not known, or a value is out of range.
    """
    name, _, query = where.partition("?")
    if name not in BUILTIN_OPTIONS:
        raise DataError(
            f"built-in data 'builtin:{printable(name)}' is not known; {did_you_mean(name, BUILTIN_OPTIONS)}"
        )
    options = _options(where, query, BUILTIN_OPTIONS[name])
    from .covers import CoversSource  # drawing code that most runs on real pictures never need

    return CoversSource(**options)


READERS: dict[str, Callable[[str], Source]] = {
    "folder": FolderSource,
    "zip": ZipSource,
    "idx": IdxSource,
    "builtin": open_builtin,
}
"""Readers by kind: where -> an open source."""

BUILTIN_OPTIONS: dict[str, dict[str, range]] = {
    "covers": {"count": range(1, 1_000_001), "seed": range(2**32)},
}
"""Built-in data by name: the allowed values of each option."""


def _recognise(path: Path) -> str:
    if path.is_dir():
        return "idx" if _holds_idx(path) else "folder"
    if path.suffix.lower() == ".zip":
        return "zip"
    if re.search("idx[13]-ubyte", path.name):  # also labels, given by mistake: the reader says so
        return "idx"
    raise DataError(
        f"data path '{printable(str(path))}' is neither a folder, a .zip file nor an idx file; "
        f"name its kind: --data KIND:PATH with one of {', '.join(READERS)}"
    )


def _holds_idx(folder: Path) -> bool:
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise unreadable(folder, error) from None
    return any(map(is_idx_name, names)) and not any(map(is_picture, names))


def _options(where: str, query: str, allowed: dict[str, range]) -> dict[str, int]:
    try:
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise DataError(f"options of 'builtin:{printable(where)}' are not of the form ?key=value&key=value") from None
    return {key: _option(key, value, allowed) for key, value in pairs}


def _option(key: str, value: str, allowed: dict[str, range]) -> int:
    if key not in allowed:
        raise DataError(f"option {key!r} of built-in data is not known; {did_you_mean(key, allowed)}")
    lowest, highest = allowed[key][0], allowed[key][-1]
    if not value.isdecimal() or int(value) not in allowed[key]:
        raise DataError(f"option {key!r} of built-in data must be a whole number {lowest} to {highest}, got {value!r}")
    return int(value)
