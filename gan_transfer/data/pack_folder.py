"""The folder of a pack: found whole, gone on with, mended or refused, by one process at a time. Free of torch."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import DataError
from .blocks import Job
from .cache import ANOTHER_CACHE, LOCK, check_room, locked
from .pack_check import is_stamped, mend
from .pack_index import (
    HEADER_BYTES,
    IMAGES,
    INDEX,
    Description,
    Pack,
    packed_bytes,
    read_index,
)
from .pack_writer import is_half_written, read_unfinished, remove_leftovers, write_pack
from .paths import printable

NAMED = 3
"""Strange files that a message names; more are counted."""


def whole_pack(folder: Path, wanted: Description) -> Pack | None:
    """The pack of this description, if its index is in the folder."""
    try:
        found = read_index(folder)
    except DataError:
        return None
    return found if found.description == wanted else None


def make(folder: Path, job: Job, *, cached: bool = False) -> Pack:
    """Make a pack in its folder, go on with it, or mend it, whichever is needed; one process at a time.

    Args:
        folder: made if absent.
        job: the pack that is wanted.
        cached: the folder is the cache's, so that whatever else lies in it is removed; elsewhere it is refused.

    Raises:
        DataError: the folder holds anything else, the disk is too small, or more than a tenth of the pictures is
            broken.
        OSError: the folder cannot be written.
    """
    wanted = job.description
    if not cached:
        check_vacant(folder, wanted)
    advice = ANOTHER_CACHE if cached else "give an --output on another disk"
    check_room(folder, f"the pack of {printable(wanted.source)}", job.still_needed(folder), advice)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, _Waiting(folder, job)):
        found = whole_pack(folder, wanted)
        if found is None:
            if cached:
                _clear(folder, wanted)
            else:
                check_vacant(folder, wanted)  # again: another process may have begun meanwhile
            return write_pack(folder, job)
        remove_leftovers(folder)
        if not is_stamped(found):
            mend(found, job)
        return found


def check_vacant(folder: Path, wanted: Description | None = None) -> None:
    """Check that a folder is absent or empty, or holds a pack, whole or unfinished, of that description or of any.

    Raises:
        DataError: it holds anything else.
        OSError: it cannot be looked into.
    """
    name = printable(str(folder))
    if folder.exists() and not folder.is_dir():
        raise DataError(f"output folder '{name}' is a file; give a folder: --output DIR")
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    names = [name for name in names if name != LOCK and not is_half_written(name)]
    if not names:
        return
    there = read_unfinished(folder)  # first: a process that finishes meanwhile writes the index before removing it
    if there is None and (folder / INDEX).exists():
        there = read_index(folder).description
    if there is None:
        rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        strange = ", ".join(map(printable, names[:NAMED])) + rest
        raise DataError(f"output folder '{name}' is not empty, it holds {strange}; give another one: --output DIR")
    if wanted not in (None, there):
        raise DataError(
            f"output folder '{name}' holds another pack: {there}, wanted {wanted}; give another one: --output DIR"
        )


class _Waiting:
    """What is told while another process makes the same pack."""

    def __init__(self, folder: Path, job: Job) -> None:
        self._folder, self._job, self._said = folder, job, False

    def __call__(self) -> None:
        """Say it once; tell how far the other process is, which also lets the caller stop."""
        job = self._job
        if job.say and not self._said:
            job.say(f"waiting for another process that writes the pack in '{printable(str(self._folder))}'")
        self._said = True
        if job.progress:
            written = (self._folder / IMAGES).stat().st_size - HEADER_BYTES if (self._folder / IMAGES).exists() else 0
            job.progress(min(max(written, 0) // packed_bytes(1, job.description.settings), job.rows), job.rows)


def _clear(folder: Path, wanted: Description) -> None:
    # Empty the cache's own folder, unless it is to be gone on with.
    if read_unfinished(folder) == wanted:
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
