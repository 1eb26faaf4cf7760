"""Files that are whole or absent: written under a temporary name, synced, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SPARE_BYTES = 64 * 2**20
"""Disk left free beside what is written."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it into place when the block ends well.

    Raises:
        OSError: the disk is full or the folder is not writable; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:  # Windows syncs only what is open for writing
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # some writers make the file private whatever the umask
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Append one JSON object as a line (the `.jsonl` files of a run)."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(value) + "\n")


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
