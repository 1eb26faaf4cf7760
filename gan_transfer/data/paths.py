"""Paths and names inside data sources: resolved, fit for one line of text, fit for a folder's name. Free of torch."""

from __future__ import annotations

import collections
import re
import urllib.parse
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from ..errors import DataError, did_you_mean
from ..text import printable as printable  # readers take both from here, beside the rest about paths
from ..text import reason as reason

PLACES = "a folder or a .zip, .tar, .parquet or idx file"
"""What a plain path may lead to, for messages."""


def resolve(where: str) -> Path:
    """The absolute path of `where`, without `~` and `..`.

    Symlinks are followed but for the last: caches link a telling name to a file that is named by its hash.

    Raises:
        DataError: the text is empty, nothing is there, or it cannot be looked at.
    """
    if not where.strip():
        raise DataError(f"the data path is empty; give {PLACES}: --data PATH")
    try:
        given = Path(where).expanduser()
        path = given.resolve() if given.name in ("", "..") else given.parent.resolve() / given.name
        path.stat()
    except FileNotFoundError:
        raise DataError(f"data path '{printable(where)}' does not exist; give {PLACES}: --data PATH") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise unreadable(where, error) from None
    return path


def unreadable(where: str | Path, error: BaseException) -> DataError:
    """The error for a path that is there but does not let itself be read."""
    return DataError(
        f"data path '{printable(str(where))}' cannot be read: {reason(error)}; check its permissions with ls -ld"
    )


def slug(text: str) -> str:
    """A short name of a-z, 0-9 and hyphens, at most 40 characters, such as `album-covers-500-96px`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:40].strip("-") or "data"


def describe_suffixes(names: Iterable[str]) -> str:
    """What a place without pictures holds instead: `3 files (.txt 2, .md 1)`; at most five suffixes are told."""
    counts = collections.Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names)
    if not counts:
        return "no files at all"
    common = ", ".join(f"{printable(suffix)} {count}" for suffix, count in counts.most_common(5))
    return f"{counts.total()} {'file' if counts.total() == 1 else 'files'} ({common})"


def check_inside(archive: Path, name: str) -> None:
    """Check that an entry of an archive lies inside it: a relative path without `..`, backslash or drive.

    Raises:
        DataError: it points outside; the whole archive is refused, as nobody packs pictures like that.
    """
    parts = PurePosixPath(name).parts
    if name.startswith("/") or "\\" in name or re.match("[A-Za-z]:", name) or ".." in parts:
        raise DataError(
            f"'{printable(str(archive))}' is refused: its entry '{printable(name)}' points outside "
            "the archive (absolute path, backslash, drive or '..'); pack the pictures anew with relative names"
        )


def split_options(kind: str, text: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Take `where?key=value&key=value` apart: where and its options.

    Raises:
        DataError: an option is not among the known, or has no value.
    """
    where, _, query = text.partition("?")
    try:
        options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise DataError(f"options of '{kind}:{printable(text)}' are not of the form ?key=value&key=value") from None
    for key in options:
        if key not in known:
            raise DataError(f"option {key!r} of {kind}: data is not known; {did_you_mean(key, known)}")
    return where, options
