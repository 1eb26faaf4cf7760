"""Shards: a file, a folder, a glob or a brace range such as `train-{0000..1023}.tar` -> the files. Free of torch."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from .paths import describe_suffixes, printable, resolve, unreadable

MAX_SHARDS = 100_000
"""A pattern that stands for more files than this is a slip of the pen."""

_BRACES = re.compile(r"\{(\d+\.\.\d+|[^{}]*,[^{}]*)\}")
_WILDCARDS = re.compile(r"[*?\[]")


def is_pattern(where: str) -> bool:
    """Whether a path has braces or wildcards, and is not simply the name of something that is there."""
    if not (_BRACES.search(where) or _WILDCARDS.search(where)):
        return False
    try:
        return not Path(where).expanduser().exists()
    except OSError:
        return True  # longer than a file's name may be, as lists are
    except RuntimeError:
        return False  # no home for the ~: see resolve


def find_shards(kind: str, where: str, suffixes: tuple[str, ...]) -> tuple[Path, list[Path]]:
    """The absolute path or pattern, and the files that it stands for, in the order of the range or of their names.

    Args:
        kind: the source's kind, for messages.
        where: a file of any name, a folder whose files with one of the suffixes are taken, or a pattern.
        suffixes: in lower case, with their dot.

    Raises:
        DataError: nothing is there, or not all that a range stands for.
    """
    if is_pattern(where):
        pattern = Path(where).expanduser()
        pattern = pattern.parent.resolve() / pattern.name
        return pattern, _find(kind, str(pattern))
    path = resolve(where)
    return path, _inside(path, suffixes) if path.is_dir() else [path]


def expand(pattern: str) -> Iterator[str]:
    """What braces stand for, as in a shell: `{00..11}` counts, with leading zeros; `{a,b}` lists."""
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    for choice in _choices(braces[1]):
        yield from expand(pattern[: braces.start()] + choice + pattern[braces.end() :])


def _choices(inner: str) -> Iterator[str]:
    if "," in inner:
        yield from inner.split(",")
        return
    first, _, last = inner.partition("..")
    width = len(first) if first.startswith("0") else 1
    step = 1 if int(first) <= int(last) else -1
    yield from (f"{number:0{width}}" for number in range(int(first), int(last) + step, step))


def _find(kind: str, pattern: str) -> list[Path]:
    names = list(itertools.islice(expand(pattern), MAX_SHARDS + 1))
    if len(names) > MAX_SHARDS:
        raise DataError(f"'{kind}:{printable(pattern)}' stands for more than {MAX_SHARDS} files; narrow the range")
    found = {name: _matches(name) for name in names}
    missing = [printable(Path(name).name) for name in found if not found[name]]
    if missing and len(found) == 1:
        raise DataError(f"no file matches '{kind}:{printable(pattern)}'; see what is there with ls")
    if missing:
        first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise DataError(
            f"{len(missing)} of {len(found)} shards of '{kind}:{printable(pattern)}' are missing: {first}; "
            "bring them there, or name a range that is"
        )
    return list(dict.fromkeys(path for paths in found.values() for path in paths))


def _matches(name: str) -> list[Path]:
    path = Path(name)
    try:
        if path.exists() or not _WILDCARDS.search(name):
            return [path] if path.exists() else []
        below = path.relative_to(path.anchor)
        return sorted(match for match in Path(path.anchor).glob(str(below)) if not match.name.startswith("."))
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from None


def _inside(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    try:
        names = sorted((path.name for path in folder.iterdir()), key=os.fsencode)
    except OSError as error:
        raise unreadable(folder, error) from None
    chosen = [name for name in names if name.lower().endswith(suffixes) and not name.startswith(".")]
    if not chosen:
        raise DataError(
            f"folder '{printable(str(folder))}' holds no {suffixes[0]} files but {describe_suffixes(names)}; "
            f"see folder:PATH, or give a pattern such as '{folder.name}/*/*{suffixes[0]}'"
        )
    return [folder / name for name in chosen]
