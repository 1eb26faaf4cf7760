"""Blocks: the rows of a source cut for a pack, decoded by threads, written in order with a checksum. No torch."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..errors import DataError
from .decode import decode, hint_for
from .pack_index import (
    BLOCK,
    HEADER_BYTES,
    IMAGES,
    WHOLE,
    Block,
    Description,
    PackSettings,
    Part,
    Progress,
    Say,
    packed_bytes,
)
from .paths import printable, reason
from .source import Source

CHUNK = 64
"""Pictures that a thread decodes at a time; a block is a whole number of chunks."""

PIECE_BYTES = 2**20
"""Read at a time for a checksum."""


class Chunk(NamedTuple):
    """Some rows of one block."""

    data: bytes
    """The good pictures, uint8 [N, H, W, C]."""
    good: int
    """N."""
    broken: list[str]
    """Label and reason of the others."""


@dataclasses.dataclass(frozen=True)
class Record(Block):
    """A block that has been written."""

    broken: list[str]
    """Label and reason of its other pictures."""

    @property
    def rows(self) -> int:
        """Pictures of the source, good and broken."""
        return self.count + len(self.broken)


Chunks = Callable[[Sequence[range]], Generator[Chunk, None, None]]
"""Gives the chunks of some blocks of rows, in their order; closed when no more are wanted."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A pack that is wanted, and where its pictures come from."""

    description: Description
    source_rows: int
    """Pictures of the whole source, good and broken, even if the pack is a part."""
    blocks: Sequence[range]
    """Rows of the source that are wanted, block by block."""
    chunks: Chunks
    """Gives their pictures."""
    progress: Progress | None = None
    """Told after every chunk how far it is."""
    say: Say | None = None
    """Told what a person should know, line by line."""

    @property
    def rows(self) -> int:
        """Pictures wanted, good and broken."""
        return sum(map(len, self.blocks))

    def still_needed(self, folder: Path) -> int:
        """Bytes that images.npy will grow by."""
        images = folder / IMAGES
        there = images.stat().st_size if images.exists() else 0
        return max(HEADER_BYTES + packed_bytes(self.rows, self.description.settings) - there, 0)


def row_blocks(source: Source, part: Part | None = None) -> list[range]:
    """The rows of a source's part, block by block; all of them if no part is given.

    Raises:
        DataError: some of the parts would have no block.
    """
    part, starts = part or WHOLE, range(0, len(source), BLOCK)
    if part.of > len(starts):
        blocks = "1 block" if len(starts) == 1 else f"{len(starts):,} blocks"
        raise DataError(
            f"{printable(source.origin)} has {blocks} of {BLOCK:,} pictures, too few for {part.of:,} parts; "
            f"give a part of at most {len(starts)}: --shard i/{len(starts)}"
        )
    first, last = ((part.number - side) * len(starts) // part.of for side in (1, 0))
    return [range(start, min(start + BLOCK, len(source))) for start in starts[first:last]]


def decoded(source: Source, settings: PackSettings, workers: int) -> Chunks:
    """What gives a source's chunks, decoded by threads; 0 takes one per processor."""

    def chunks(blocks: Sequence[range]) -> Generator[Chunk, None, None]:
        # In order, with a bounded number of chunks waiting; closing it drops those that have not begun.
        threads = workers or os.cpu_count() or 1
        pending: deque[Future[Chunk]] = deque()
        pool = ThreadPoolExecutor(threads, "pack")
        try:
            for rows in _cut(blocks):
                pending.append(pool.submit(_decode_rows, source, settings, rows))
                if len(pending) >= 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    return chunks


def write_block(
    file: BinaryIO,
    chunks: Iterator[Chunk],
    rows: int,
    written: Callable[[Chunk], None] = lambda chunk: None,
    most: int = BLOCK,
) -> Record:
    """Write the chunks of one block where the file stands, and sync it.

    Args:
        rows: of the block, good and broken.
        written: told of each chunk.
        most: good pictures that there is room for.

    Raises:
        ValueError: there are more.
        OSError: the disk is full.
    """
    digest, count, broken = hashlib.sha256(), 0, list[str]()
    while count + len(broken) < rows:
        chunk = next(chunks)
        count += chunk.good
        broken += chunk.broken
        if count > most:
            raise ValueError(f"{count} pictures, there is room for {most}")
        file.write(chunk.data)
        digest.update(chunk.data)
        written(chunk)
    file.flush()
    os.fsync(file.fileno())
    return Record(count, digest.hexdigest(), broken)


def read_digest(file: BinaryIO, size: int) -> str:
    """SHA-256 (hexadecimal) of the next `size` bytes of a file, or of what there is of them."""
    digest = hashlib.sha256()
    while size > 0 and (piece := file.read(min(size, PIECE_BYTES))):
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest()


def _cut(blocks: Sequence[range]) -> Iterator[range]:
    for block in blocks:
        for start in range(block.start, block.stop, CHUNK):
            yield range(start, min(start + CHUNK, block.stop))


def _decode_rows(source: Source, settings: PackSettings, rows: range) -> Chunk:
    pixels, broken = list[bytes](), list[str]()
    hint = hint_for(settings.resolution, settings.crop)
    for row in rows:
        try:
            image = source.load(row, hint)
            pixels.append(decode(image, settings.resolution, settings.channels, settings.crop).tobytes())
        except DataError:
            raise  # the source as a whole is at fault, not the picture
        except Exception as error:  # damaged files make Pillow's readers raise nearly anything
            broken.append(f"{source.label(row)}: {reason(error)}")
    return Chunk(b"".join(pixels), len(pixels), broken)
