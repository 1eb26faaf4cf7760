"""The checksums of a pack: compared with its bytes, and blocks that do not fit made anew in place. Free of torch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from .. import files
from ..errors import DataError
from .blocks import Chunk, Job, read_digest, write_block
from .pack_index import HEADER_BYTES, IMAGES, VERIFIED, Pack, Progress, fits, header, packed_bytes
from .paths import printable

TOLD = 3
"""Bad blocks that are named; more are counted."""


def check(pack: Pack, progress: Progress | None = None) -> list[int]:
    """Read the whole pack; the numbers of the blocks, from 0 on, whose bytes are missing or have a wrong checksum.

    Raises:
        OSError: the disk cannot be read.
    """
    bad, done, total = list[int](), 0, pack.count
    if not (pack.folder / IMAGES).exists():
        return list(range(len(pack.blocks)))
    with open(pack.folder / IMAGES, "rb") as file:
        file.seek(HEADER_BYTES)
        for number, block in enumerate(pack.blocks):
            if read_digest(file, packed_bytes(block.count, pack.settings)) != block.sha256:
                bad.append(number)
            done += block.count
            if progress:
                progress(done, total)
    return bad


def is_sound(pack: Pack, progress: Progress | None = None) -> bool:
    """Whether all is as the index tells; read only if images.npy was touched since that was last found so."""
    return is_stamped(pack) or is_right(pack, progress)


def is_right(pack: Pack, progress: Progress | None = None) -> bool:
    """Whether all is as the index tells; the whole pack is read, and that is remembered in verified.json."""
    right = fits(pack) and not check(pack, progress)
    if right:
        stamp(pack)
    else:
        with contextlib.suppress(OSError):
            (pack.folder / VERIFIED).unlink()
    return right


def stamp(pack: Pack) -> None:
    """Remember that the checksums are right as images.npy stands now; where that fails, it will be read again."""
    with contextlib.suppress(OSError):
        files.write_json(pack.folder / VERIFIED, _identity(pack))


def is_stamped(pack: Pack) -> bool:
    """Whether images.npy is the file whose checksums were found right last, and was not written to since."""
    try:
        return bool(json.loads((pack.folder / VERIFIED).read_bytes()) == _identity(pack))
    except (OSError, ValueError, RecursionError):
        return False


def mend(pack: Pack, job: Job) -> None:
    """Check the pack, and make the blocks with wrong checksums anew in place; the folder is locked by the caller.

    Args:
        pack: as its index tells it.
        job: how it was made; `say` is told of each bad block.

    Raises:
        DataError: the source gives other bytes now.
        OSError: the disk cannot be read or written.
    """
    if len(job.blocks) != len(pack.blocks):
        raise _other_bytes(pack, min(len(job.blocks), len(pack.blocks)))
    bad = check(pack, job.progress)
    for line in _told(pack, job, bad):
        if job.say:
            job.say(line)
    (pack.folder / IMAGES).touch()
    with (
        open(pack.folder / IMAGES, "r+b") as file,
        contextlib.closing(job.chunks([job.blocks[number] for number in bad])) as chunks,
    ):
        file.truncate(HEADER_BYTES + packed_bytes(pack.count, pack.settings))
        file.write(header(pack.count, pack.settings))
        for number in bad:
            _write_anew(file, chunks, pack, number, len(job.blocks[number]))
        file.flush()
        os.fsync(file.fileno())
    stamp(pack)


def _write_anew(file: BinaryIO, chunks: Iterator[Chunk], pack: Pack, number: int, rows: int) -> None:
    block, before = pack.blocks[number], sum(block.count for block in pack.blocks[:number])
    file.seek(HEADER_BYTES + packed_bytes(before, pack.settings))
    try:
        found = write_block(file, chunks, rows, most=block.count)
    except ValueError:  # more pictures than before
        raise _other_bytes(pack, number) from None
    if found.sha256 != block.sha256:
        raise _other_bytes(pack, number)


def _told(pack: Pack, job: Job, bad: Sequence[int]) -> list[str]:
    whose = f"of pack '{printable(pack.folder.name)}'"
    lines = [
        f"block {number} (pictures {job.blocks[number][0]:,} to {job.blocks[number][-1]:,}) {whose} "
        f"has a wrong checksum; made anew from {printable(pack.source)}"
        for number in bad[:TOLD]
    ]
    return lines if len(bad) <= TOLD else [*lines, f"and so are {len(bad) - TOLD:,} more blocks {whose}"]


def _other_bytes(pack: Pack, number: int) -> DataError:
    return DataError(
        f"block {number} of pack '{printable(str(pack.folder))}' has a wrong checksum, and {printable(pack.source)} "
        "gives other pictures than it was made from: they changed unnoticed, or another version of simplejpeg or "
        "Pillow decodes them otherwise; remove the folder and give the same command again"
    )


def _identity(pack: Pack) -> dict[str, int]:
    status = (pack.folder / IMAGES).stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
