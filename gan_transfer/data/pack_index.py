"""What a pack is: a folder with the pictures in `images.npy` and, once it is whole, their `index.json`. No torch.

images.npy       uint8 [N, H, W, C] behind 128 bytes of header: plain NumPy
index.json       what was packed and how, with a checksum for each block; written last
quarantine.txt   label and reason of each broken picture, where there were any
verified.json    how images.npy stood on this machine when its checksums were last found right
unfinished.json, blocks.jsonl   while it is being made: what it is to hold, and the blocks that are done
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import annotated_types
import numpy as np

from .. import files
from ..errors import DataError
from .decode import FILTERS, Pixels
from .paths import printable, reason, unreadable

FORMAT = 2
"""Version of the pack's layout and of its decoding; raised when either changes."""

BLOCK = 1024
"""Pictures of the source that share a checksum."""

HEADER_BYTES = 128
"""Bytes of images.npy before the first picture."""

IMAGES, INDEX, QUARANTINE = "images.npy", "index.json", "quarantine.txt"
VERIFIED, UNFINISHED, BLOCKS = "verified.json", "unfinished.json", "blocks.jsonl"

Positive = Annotated[int, annotated_types.Ge(1)]
Natural = Annotated[int, annotated_types.Ge(0)]
Progress = Callable[[int, int], None]
"""Called with the pictures done and the pictures in all."""
Say = Callable[[str], None]
"""Called with a line for a person."""

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class PackSettings:
    """How each picture is cut."""

    resolution: Positive
    """Height and width, pixels."""
    channels: Positive
    """1 for grey, 3 for RGB."""
    crop: str
    """A name in `decode.CROPS`."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One of several parts of a pack, made on different machines and merged afterwards."""

    number: int
    """From 1 on."""
    of: int
    """Parts in all."""

    def __post_init__(self) -> None:
        """Raises: ValueError: there is no such part."""
        if not 1 <= self.number <= self.of:
            raise ValueError(f"part {self}")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Part:
        """The part that `2/8` names.

        Raises:
            DataError: it names none.
        """
        try:
            number, of = map(int, text.split("/"))
            return cls(number, of)
        except ValueError:
            raise DataError(
                f"part '{printable(text)}' is not known; wanted i/n with i from 1 to n: --shard 2/8"
            ) from None


WHOLE = Part(1, 1)
"""All of a pack."""


@dataclasses.dataclass(frozen=True)
class Block:
    """The good ones among `BLOCK` pictures of the source that follow each other."""

    count: Natural
    """Pictures."""
    sha256: str
    """Of their bytes in images.npy, hexadecimal."""


@dataclasses.dataclass(frozen=True)
class Description:
    """What a pack is to hold; two with the same description hold the same bytes."""

    source: str = dataclasses.field(compare=False)
    """The source's `origin`, for people."""
    fingerprint: str
    """The source's."""
    settings: PackSettings
    part: Part | None = None
    """None for a whole pack."""

    def __str__(self) -> str:
        cut, part = self.settings, f", part {self.part}" if self.part else ""
        size = f"{cut.resolution} x {cut.resolution} x {cut.channels}, crop {cut.crop}"
        return f"{printable(self.source)} at {size}{part} (fingerprint {printable(self.fingerprint[:8])})"

    @property
    def key(self) -> str:
        """A name for the pictures: a hash of fingerprint, settings and format."""
        identity = {"format": FORMAT, "fingerprint": self.fingerprint, **dataclasses.asdict(self.settings)}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """As the JSON files of a pack hold it."""
        return {"format": FORMAT, **dataclasses.asdict(self), "filters": FILTERS}


@dataclasses.dataclass(frozen=True)
class Pack:
    """A pack on disk; `images` is opened when it is first asked for."""

    folder: Path
    description: Description
    quarantined: int
    """Broken pictures left out."""
    blocks: tuple[Block, ...] = dataclasses.field(repr=False)
    """In the order of their pictures."""

    @property
    def count(self) -> int:
        """Pictures in it."""
        return sum(block.count for block in self.blocks)

    @property
    def settings(self) -> PackSettings:
        """How they were cut."""
        return self.description.settings

    @property
    def fingerprint(self) -> str:
        """Of the source it was made from."""
        return self.description.fingerprint

    @property
    def source(self) -> str:
        """That source's origin."""
        return self.description.source

    @property
    def key(self) -> str:
        """A name for its pictures, the same wherever it lies."""
        return self.description.key

    @functools.cached_property
    def images(self) -> Pixels:
        """The pictures in the source's order, uint8 [N, H, W, C], mapped read-only from disk."""
        shape = _shape(self.count, self.settings)
        return np.memmap(self.folder / IMAGES, np.uint8, "r", offset=HEADER_BYTES, shape=shape)


def packed_bytes(count: int, settings: PackSettings) -> int:
    """Bytes on disk of a pack of `count` pictures, but for its header of 128 bytes and its index."""
    return count * settings.resolution**2 * settings.channels


def header(count: int, settings: PackSettings) -> bytes:
    """The first `HEADER_BYTES` of images.npy; NumPy pads them for the longest count."""
    buffer = io.BytesIO()
    told = {"descr": "|u1", "fortran_order": False, "shape": _shape(count, settings)}
    np.lib.format.write_array_header_1_0(buffer, told)
    return buffer.getvalue()


def open_pack(folder: Path) -> Pack:
    """Open a whole pack wherever it lies; its checksums are left for `check`.

    Raises:
        DataError: it is missing, unfinished, damaged, or of another format.
    """
    found = read_index(folder)
    if not fits(found):
        raise DataError(
            f"'{IMAGES}' of pack '{printable(str(folder))}' does not have the {found.count:,} pictures of its index; "
            "give the data pack command that made it again, or copy it again"
        )
    return found


def fits(pack: Pack) -> bool:
    """Whether images.npy has the size and the header that the index tells of."""
    expected = header(pack.count, pack.settings)
    try:
        with open(pack.folder / IMAGES, "rb") as file:
            right = file.read(HEADER_BYTES) == expected
            return right and file.seek(0, io.SEEK_END) == HEADER_BYTES + packed_bytes(pack.count, pack.settings)
    except OSError:
        return False


def read_index(folder: Path) -> Pack:
    """What the index of a pack tells; whether images.npy is there is left for `fits`.

    Raises:
        DataError: it is missing, unreadable, damaged, or of another format.
    """
    name = printable(str(folder))
    try:
        text = (folder / INDEX).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        no_pack = f"is no pack, it has no {INDEX}; make one: gan-transfer data pack SOURCE --output DIR"
        unfinished = "is unfinished; give the same data pack command again"
        raise DataError(f"'{name}' {unfinished if (folder / UNFINISHED).exists() else no_pack}") from None
    except OSError as error:
        raise unreadable(folder / INDEX, error) from None
    try:
        return _pack(folder, text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{INDEX} of pack '{name}' is damaged: {reason(error)}; copy it again, or pack into another folder"
        ) from None


def write_index(pack: Pack) -> None:
    """Write the index: with it a pack is whole."""
    told = {
        **pack.description.to_json(),
        "count": pack.count,
        "shape": _shape(pack.count, pack.settings),
        "dtype": "uint8",
        "block": BLOCK,
        "quarantined": pack.quarantined,
        "blocks": [dataclasses.asdict(block) for block in pack.blocks],
    }
    files.write_json(pack.folder / INDEX, told)


def parse(cls: type[T], text: bytes) -> T:
    """JSON text -> a dataclass, strictly; keys that it does not have are passed over.

    Raises:
        ValueError: the text is no JSON, or not of that class.
    """
    from pydantic import TypeAdapter, ValidationError  # here, because it takes a tenth of a second

    try:
        return TypeAdapter(cls).validate_json(text, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, fault['loc'])) or 'JSON'}: {fault['msg']}") from None


@dataclasses.dataclass(frozen=True)
class _Told:  # beside the description
    quarantined: Natural
    blocks: tuple[Block, ...]


def _pack(folder: Path, text: bytes) -> Pack:
    version = json.loads(text)["format"]
    if version != FORMAT:
        raise DataError(
            f"pack '{printable(str(folder))}' has format {version!r}, wanted {FORMAT}; "
            "pack its source again: gan-transfer data pack SOURCE --output DIR"
        )
    told = parse(_Told, text)
    found = Pack(folder, parse(Description, text), told.quarantined, told.blocks)
    if not found.count and not found.description.part:
        raise ValueError("no pictures")
    return found


def _shape(count: int, settings: PackSettings) -> tuple[int, int, int, int]:
    return count, settings.resolution, settings.resolution, settings.channels
