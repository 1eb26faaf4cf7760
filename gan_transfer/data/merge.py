"""Joining the parts of a pack that several machines made; the result is the pack that one would make. Free of torch."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError
from .blocks import CHUNK, Chunk, Chunks, Job
from .cache import write_errors
from .pack_folder import make
from .pack_index import (
    BLOCK,
    HEADER_BYTES,
    IMAGES,
    QUARANTINE,
    Description,
    Pack,
    Part,
    Progress,
    Say,
    open_pack,
    packed_bytes,
)
from .paths import printable, unreadable

_NAMED = 3  # missing parts that a message names


def merge(parts: Sequence[Path], output: Path, *, progress: Progress | None = None, say: Say | None = None) -> Pack:
    """Join all parts of a pack into one folder, byte for byte the pack that would have been made in one go.

    Args:
        parts: folders of the parts, in any order.
        output: made if absent; a merge that was killed there goes on.
        progress: told how far it is, in pictures.
        say: told, line by line, what is waited for and what is mended.

    Raises:
        DataError: a part is missing, doubled, damaged or of another pack; the output folder holds anything else or
            cannot be written; the disk is too small.
    """
    found = _in_order([open_pack(folder) for folder in parts])
    rows = sum(part.count + part.quarantined for part in found)
    blocks = [range(start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK)]
    job = Job(_whole(found[0]), rows, blocks, _copied(found), progress, say)
    with write_errors(f"output folder '{printable(str(output))}'", "give another --output"):
        return make(output, job)


def _in_order(parts: Sequence[Pack]) -> list[Pack]:
    if not parts:
        raise DataError("no parts to merge; give all of them: gan-transfer data merge DIR DIR ... --output DIR")
    wanted, of, places = _whole(parts[0]), _part(parts[0]).of, dict[int, Pack]()
    for pack in parts:
        part, name = _part(pack), printable(str(pack.folder))
        if _whole(pack) != wanted or part.of != of:
            raise DataError(
                f"'{name}' is no part of the same pack: it holds {pack.description}, the first one "
                f"{parts[0].description}; give the parts of one pack: gan-transfer data merge DIR DIR ... --output DIR"
            )
        if (other := places.setdefault(part.number, pack)) is not pack:
            raise DataError(f"part {part} was given twice: '{printable(str(other.folder))}' and '{name}'")
    if missing := of - len(places):
        gaps = (f"{number}/{of}" for number in itertools.count(1) if number not in places)
        named = list(itertools.islice(gaps, min(missing, _NAMED)))
        rest = f" and {missing - _NAMED} more" if missing > _NAMED else ""
        raise DataError(
            f"{wanted} lacks part {', '.join(named)}{rest}; make it on any machine: "
            f"gan-transfer data pack SOURCE --shard {named[0]} --output DIR"
        )
    return [places[number] for number in sorted(places)]


def _part(pack: Pack) -> Part:
    if pack.description.part is None:
        raise DataError(
            f"'{printable(str(pack.folder))}' is a whole pack, not a part; use it as it is: --data pack:DIR"
        )
    return pack.description.part


def _whole(pack: Pack) -> Description:
    return dataclasses.replace(pack.description, part=None)


def _copied(parts: Sequence[Pack]) -> Chunks:
    pieces = [piece for part in parts for piece in _pieces(part)]

    def chunks(blocks: Sequence[range]) -> Generator[Chunk, None, None]:
        for block in blocks:
            yield from _copied_block(pieces[block.start // BLOCK])

    return chunks


class _Piece(NamedTuple):
    """One block in a part."""

    part: Pack
    number: int
    """Of the block, from 0 on in the part."""
    start: int
    """Pictures of the part before it."""
    broken: list[str]
    """Label and reason of its broken pictures."""


def _pieces(part: Pack) -> Iterator[_Piece]:
    lines = _quarantined(part) if part.quarantined else []
    rows = part.count + part.quarantined
    short = rows % BLOCK and _part(part).number < _part(part).of
    if short or len(lines) != part.quarantined or len(part.blocks) != math.ceil(rows / BLOCK):
        raise _damaged(part, f"index and {QUARANTINE} do not fit each other")
    start = 0
    for number, block in enumerate(part.blocks):
        first = number * BLOCK - start  # all rows before it are good or broken
        broken = lines[first : min((number + 1) * BLOCK, rows) - start - block.count]
        yield _Piece(part, number, start, broken)
        start += block.count


def _quarantined(part: Pack) -> list[str]:
    path = part.folder / QUARANTINE
    try:
        return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    except OSError as error:
        raise unreadable(path, error) from None


def _copied_block(piece: _Piece) -> Generator[Chunk, None, None]:
    part, block = piece.part, piece.part.blocks[piece.number]
    digest, left = hashlib.sha256(), block.count
    with open(part.folder / IMAGES, "rb") as file:
        file.seek(HEADER_BYTES + packed_bytes(piece.start, part.settings))
        while True:
            count = min(left, CHUNK)
            data = file.read(packed_bytes(count, part.settings))
            digest.update(data)
            left -= count
            if not left and digest.hexdigest() != block.sha256:
                raise _damaged(part, f"block {piece.number} has a wrong checksum")
            yield Chunk(data, count, [] if left else piece.broken)
            if not left:
                return


def _damaged(part: Pack, why: str) -> DataError:
    return DataError(
        f"part '{printable(str(part.folder))}' is damaged: {why}; give its data pack command again, or copy it again"
    )
