"""A pack being made: added to block by block, so that what is done outlives a kill and a full disk. Free of torch."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .. import files
from ..errors import DataError
from .blocks import Chunk, Job, Record, read_digest, write_block
from .pack_check import stamp
from .pack_index import (
    BLOCKS,
    FORMAT,
    HEADER_BYTES,
    IMAGES,
    INDEX,
    QUARANTINE,
    UNFINISHED,
    VERIFIED,
    Block,
    Description,
    Pack,
    header,
    packed_bytes,
    parse,
    write_index,
)
from .paths import printable, reason

MAX_BROKEN = 0.1
"""Share of a source's pictures that may be broken; beyond it the source is refused."""

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def write_pack(folder: Path, job: Job) -> Pack:
    """Make the pack in `folder`, which holds nothing or an unfinished pack of the same description and is locked.

    Raises:
        DataError: the disk is full, and what is done is kept; or more than a tenth of the pictures is broken, and
            nothing is kept.
        OSError: the folder cannot be written.
    """
    with _full_disk(folder, job):
        if read_unfinished(folder) is None:
            files.write_json(folder / UNFINISHED, job.description.to_json())
        records = _resume(folder, job)
        try:
            _write_blocks(folder, job, records)
        except _TooManyBroken:
            for name in (IMAGES, BLOCKS, UNFINISHED):
                (folder / name).unlink()
            raise
        return _finish(folder, job.description, records)


def read_unfinished(folder: Path) -> Description | None:
    """What the pack that is being made here is to hold; None where there is none, or none of this format."""
    try:
        text = (folder / UNFINISHED).read_bytes()
        return parse(Description, text) if json.loads(text)["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed left in a whole pack's folder, which is locked."""
    for path in folder.iterdir():
        if path.name in (UNFINISHED, BLOCKS) or is_half_written(path.name):
            path.unlink(missing_ok=True)


def is_half_written(name: str) -> bool:
    """Whether a file of a pack has this name until it is whole."""
    names = (INDEX, QUARANTINE, VERIFIED, UNFINISHED, BLOCKS)
    return name.endswith(".tmp") and name.startswith(tuple(f".{whole}." for whole in names))


class _TooManyBroken(DataError):
    """The source is refused: there is nothing to go on with."""


class _Tally:
    """What has been written so far."""

    def __init__(self, job: Job, records: list[Record]) -> None:
        self._job, self._rows = job, job.rows
        self._done = sum(record.rows for record in records)
        self._broken = [line for record in records for line in record.broken]

    def __call__(self, chunk: Chunk) -> None:
        """Count a chunk, tell it, and refuse the source if too much of it is broken."""
        self._done += chunk.good + len(chunk.broken)
        self._broken += chunk.broken
        # A share of the whole source, so that its parts are taken wherever it is.
        wanted, total = self._job.description, self._job.source_rows
        if len(self._broken) > MAX_BROKEN * total:
            first = f"{total}" if self._done == total else f"the first {self._done} of {total}"
            part = f", part {wanted.part}" if wanted.part else ""
            raise _TooManyBroken(
                f"{printable(wanted.source)}{part}: {len(self._broken)} of {first} pictures are broken, "
                f"at most {MAX_BROKEN:.0%} may be; {'; '.join(self._broken[:3])}. "
                "Repair or remove them and run the same command again"
            )
        if self._job.progress:
            self._job.progress(self._done, self._rows)


def _resume(folder: Path, job: Job) -> list[Record]:
    # The recorded blocks whose bytes are there. What follows them is cut off, in both files.
    settings, records = job.description.settings, list[Record]()
    (folder / IMAGES).touch()
    with open(folder / IMAGES, "r+b") as file:
        file.write(header(job.rows, settings))
        for block, record in zip(job.blocks, _recorded(folder), strict=False):
            right = read_digest(file, packed_bytes(record.count, settings)) == record.sha256
            if not right or record.rows != len(block):
                break
            records.append(record)
            if job.progress:
                job.progress(block.stop - job.blocks[0].start, job.rows)
        file.truncate(HEADER_BYTES + packed_bytes(sum(record.count for record in records), settings))
    files.write_text(folder / BLOCKS, "".join(map(_line, records)))
    return records


def _recorded(folder: Path) -> Iterator[Record]:
    if not (folder / BLOCKS).exists():
        return
    for line in (folder / BLOCKS).read_bytes().splitlines():
        try:
            yield parse(Record, line)
        except ValueError:
            return  # a line torn by a kill


def _write_blocks(folder: Path, job: Job, records: list[Record]) -> None:
    # A stream, since a memory map that meets a full disk kills the process.
    tally, missing = _Tally(job, records), job.blocks[len(records) :]
    with open(folder / IMAGES, "r+b") as file, contextlib.closing(job.chunks(missing)) as chunks:
        file.seek(0, io.SEEK_END)
        for block in missing:
            records.append(write_block(file, chunks, len(block), tally))
            with open(folder / BLOCKS, "a", encoding="utf-8") as book:
                book.write(_line(records[-1]))
        file.seek(0)
        file.write(header(sum(record.count for record in records), job.description.settings))
        file.flush()
        os.fsync(file.fileno())


def _line(record: Record) -> str:
    return json.dumps(dataclasses.asdict(record)) + "\n"


def _finish(folder: Path, description: Description, records: list[Record]) -> Pack:
    # The index comes last: with it a pack is whole.
    broken = [line for record in records for line in record.broken]
    if broken:
        files.write_text(folder / QUARANTINE, "".join(f"{line}\n" for line in broken))
    blocks = tuple(Block(record.count, record.sha256) for record in records)
    pack = Pack(folder, description, len(broken), blocks)
    write_index(pack)
    remove_leftovers(folder)
    stamp(pack)
    return pack


@contextlib.contextmanager
def _full_disk(folder: Path, job: Job) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        needed, free = job.still_needed(folder), shutil.disk_usage(folder).free
        raise DataError(
            f"writing the pack in '{printable(str(folder))}' stopped: {reason(error)}; {needed:,} more bytes are "
            f"needed, {free:,} are free. What is done is kept: make room and give the same command again"
        ) from None
