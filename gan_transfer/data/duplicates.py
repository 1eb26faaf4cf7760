"""Duplicates: pictures with equal pixels, and near-duplicates by a 256-bit difference hash. Free of torch.

Near-duplicates are one picture saved anew: scaled, compressed, a little brighter, with a small mark. Copies that are
cropped, mirrored or turned are not found.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .decode import Pixels
from .look import SIDE, Chunk, Floats, look, luma, shrink
from .pack_index import Progress
from .selection import Selection
from .source import Source

HASH_BITS = 256

MAX_DISTANCE = 20
"""Of the 256 bits, at most so many differ between near-duplicates. By eye, all pairs of faces, small photographs and
song jackets within 20 were one picture; many pairs at 21 to 33 were too, so it misses more than it invents."""

MAX_COLOUR_DISTANCE = 12.0
"""Mean difference of 4 x 4 colours (0 to 255) beyond which pictures of one drawing are two: it was recoloured."""

MIN_CLEAR = 160
"""So many of the 256 differences must be clear for the hash to mean something. Pictures with fewer, mostly flat ones,
are duplicates only when their pixels are equal. By eye, near pairs with 171 or more were one picture each, and those
with 151 or fewer were two pairs of trousers, two zeros, or two men before black."""

CLEAR_STEP = 2
"""Grey levels from which a difference is clear."""

BRUTE_FORCE = 20_000
"""Up to so many pictures each is compared with each; beyond, only those that agree in one of the bands."""

BANDS = MAX_DISTANCE + 1
"""Pigeonhole: `MAX_DISTANCE` differing bits leave at least one of so many bands untouched."""

_ROWS = 128  # compared at a time, so that the table of distances stays small

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]


class Prints(NamedTuple):
    """What pictures are recognised by: about a hundred bytes each."""

    digests: Hashes
    """Of the decoded pixels, uint64 [N]."""
    hashes: Hashes
    """Difference hashes, uint64 [N, 4]."""
    clear: Bools
    """Whether the hash means something, [N]."""
    colours: Pixels
    """Means over 4 x 4 boxes, uint8 [N, 48]."""


def prints(chunk: Chunk) -> Prints:
    """What the pictures of a chunk are recognised by."""
    digests = np.array([fact.digest for fact in chunk.facts], np.uint64)
    hashes, clear = difference_hash(chunk.thumbnails)
    colours = np.rint(shrink(chunk.thumbnails, 4)).astype(np.uint8).reshape(-1, 48)
    return Prints(digests, hashes, clear, colours)


def joined(parts: list[Prints]) -> Prints:
    """The prints of several chunks as one."""
    return Prints(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def difference_hash(thumbnails: Pixels) -> tuple[Hashes, Bools]:
    """Whether the picture brightens from each of 17 x 16 grey boxes to its right neighbour: 256 bits.

    Args:
        thumbnails: uint8 [N, 64, 64, 3].

    Returns:
        The bits, uint64 [N, 4], and whether enough differences are clear for them to mean something, bool [N].
    """
    rows = luma(thumbnails).reshape(-1, 16, SIDE // 16, SIDE).mean(2)
    grey = np.rint(rows @ _BOXES_17).astype(np.int16)
    steps = np.diff(grey, axis=2).reshape(-1, HASH_BITS)
    clear = (np.abs(steps) >= CLEAR_STEP).sum(1) >= MIN_CLEAR
    return np.packbits(steps > 0, axis=1).view(np.uint64), clear


def exact_groups(digests: Hashes) -> list[list[int]]:
    """Positions with equal digests, largest group first; pictures that occur once are in none."""
    return _connect(_equal_pairs(digests)[0])


def groups(found: Prints) -> list[list[int]]:
    """Positions of exact and near-duplicates, largest group first; pictures that stand alone are in none.

    A group is what chains of near pairs connect, so its first and its last may differ by more than one pair may.
    """
    equal, firsts = _equal_pairs(found.digests)
    candidates = firsts[found.clear[firsts]]
    near = candidates[near_pairs(found.hashes[candidates])]
    difference = np.abs(found.colours[near[:, 0]].astype(np.int16) - found.colours[near[:, 1]])
    return _connect(np.concatenate([equal, near[difference.mean(1) <= MAX_COLOUR_DISTANCE]]))


def near_pairs(hashes: Hashes) -> Integers:
    """All pairs of hashes, uint64 [N, 4], that differ in at most `MAX_DISTANCE` bits: positions [M, 2].

    Time grows with the square of N up to `BRUTE_FORCE`. Beyond it, it grows with the square of the largest number of
    pictures that agree in a band of 12 bits: a million frames of one film would take very long.
    """
    if len(hashes) <= BRUTE_FORCE:
        return _compare(hashes, np.arange(len(hashes)))
    found = [_compare(hashes, bucket) for band in range(BANDS) for bucket in _buckets(_band(hashes, band))]
    return np.unique(np.concatenate(found or [_NO_PAIRS]), axis=0)


def without_duplicates(source: Source, *, workers: int = 0, progress: Progress | None = None) -> Selection:
    """The source with the first picture of each group of near-duplicates; broken pictures stay.

    Args:
        source: opened and fetched by the caller.
        workers: decoding threads; 0 takes one per processor.
        progress: told after every chunk how far it is.

    Raises:
        DataError: the source itself cannot be read on.
    """
    seen: list[int] = []
    parts: list[Prints] = []
    for rows, part in look(source, range(len(source)), _rows_and_prints, workers, progress):
        seen += rows
        parts.append(part)
    left_out = {seen[position] for group in groups(joined(parts)) for position in group[1:]}
    return Selection(source, [row for row in range(len(source)) if row not in left_out], "dedupe")


def _rows_and_prints(chunk: Chunk) -> tuple[list[int], Prints]:
    return [fact.row for fact in chunk.facts], prints(chunk)


def _boxes(side: int, count: int) -> Floats:
    # Weights [side, count] that average pixels into equal boxes, of which the outer pixels count by their share.
    edges = np.arange(count + 1) * side / count
    pixels = np.arange(side)[:, None]
    overlap = np.minimum(pixels + 1, edges[1:]) - np.maximum(pixels, edges[:-1])
    weights: Floats = (np.clip(overlap, 0, None) * count / side).astype(np.float32)
    return weights


_BOXES_17 = _boxes(SIDE, 17)
_NO_PAIRS = np.empty((0, 2), np.intp)


def _equal_pairs(digests: Hashes) -> tuple[Integers, Integers]:
    # Every later occurrence with the first one, and the first occurrences of all.
    _, firsts, inverse = np.unique(digests, return_index=True, return_inverse=True)
    first = firsts[inverse]
    later = np.flatnonzero(first != np.arange(len(digests)))
    return np.stack([first[later], later], axis=1), np.sort(firsts)


def _compare(hashes: Hashes, rows: Integers) -> Integers:
    # Each with each of `rows`, which ascend.
    found = [_NO_PAIRS]
    words = hashes[rows].T
    for start in range(0, len(rows), _ROWS):
        distance = np.zeros((min(_ROWS, len(rows) - start), len(rows) - start), np.uint16)
        for word in words:
            distance += np.bitwise_count(word[start : start + _ROWS, None] ^ word[None, start:])
        left, right = np.nonzero(np.triu(distance <= MAX_DISTANCE, 1))
        found.append(np.stack([rows[start + left], rows[start + right]], axis=1))
    return np.concatenate(found)


def _band(hashes: Hashes, band: int) -> npt.NDArray[np.uint16]:
    # Every 21st bit: neighbouring bits tend to agree, and would crowd the pictures into few buckets.
    key = np.zeros(len(hashes), np.uint16)
    for place, bit in enumerate(range(band, HASH_BITS, BANDS)):
        key |= (hashes[:, bit // 64] >> np.uint64(bit % 64) & np.uint64(1)).astype(np.uint16) << np.uint16(place)
    return key


def _buckets(keys: npt.NDArray[np.uint16]) -> list[Integers]:
    order = np.argsort(keys, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
    return [run for run in runs if len(run) > 1]


def _connect(pairs: Integers) -> list[list[int]]:
    # Union-find; the root of a group is its first picture.
    parent = {member: member for member in pairs.ravel().tolist()}

    def root(member: int) -> int:
        while parent[member] != member:
            parent[member] = member = parent[parent[member]]
        return member

    for left, right in pairs.tolist():
        first, second = sorted((root(left), root(right)))
        parent[second] = first
    members = defaultdict(list)
    for member in sorted(parent):
        members[root(member)].append(member)
    return sorted(members.values(), key=lambda group: (-len(group), group[0]))
