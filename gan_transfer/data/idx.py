"""`idx:PATH`: the picture files of MNIST and its kin (idx3, unsigned bytes), plain or gzip. Free of torch."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from .. import files
from ..errors import DataError
from .decode import Pixels
from .paths import printable, reason, resolve, slug, unreadable

MAGIC = 0x00000803
"""Two zero bytes, type 8 (unsigned byte), 3 dimensions."""

LABELS_MAGIC = 0x00000801
MAX_BYTES = 4 * 2**30
"""A header that promises more pixels than this is taken for damaged."""

PREFERRED = ("train-images-idx3-ubyte", "train-images.idx3-ubyte")
_HEADER = struct.Struct(">IIII")  # magic, count, rows, columns
_WANTED = "wanted pictures such as train-images-idx3-ubyte or train-images-idx3-ubyte.gz"


class IdxSource:
    """The pictures of one idx3 file; of a folder, the training part. Held in memory as uint8 [N, H, W]."""

    def __init__(self, where: str) -> None:
        """Read the whole file.

        Raises:
            DataError: the path is missing or unreadable, or the file is not idx3, cut short or empty.
        """
        place = resolve(where)
        self._path = _choose(place) if place.is_dir() else place
        self.spec = f"idx:{place}"
        self.origin = f"idx:{printable(place.name)}"
        self.name = slug(place.name.removesuffix(".gz"))
        self._images = _read(self._path)

    def __len__(self) -> int:
        return len(self._images)

    def fetch(self) -> None:
        """Nothing to do: the file was read."""

    def label(self, index: int) -> str:
        """The file's name and the picture's number in it."""
        return f"{printable(self._path.name)}[{index}]"

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        """One picture in mode L; the hint is not needed."""
        return Image.fromarray(self._images[index])

    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        return files.sha256(self._path)

    def close(self) -> None:
        """Nothing is held open."""


def is_idx_name(name: str) -> bool:
    """Whether a file's name is that of idx3 pictures, plain or gzip."""
    return name.removesuffix(".gz").endswith("idx3-ubyte")


def _choose(folder: Path) -> Path:
    try:
        names = sorted(path.name for path in folder.iterdir() if is_idx_name(path.name))
    except OSError as error:
        raise unreadable(folder, error) from None
    if not names:
        raise DataError(f"idx folder '{printable(str(folder))}' holds no file named *idx3-ubyte; {_WANTED}")
    preferred = [f"{name}{suffix}" for name in PREFERRED for suffix in ("", ".gz")]
    return folder / next((name for name in preferred if name in names), names[0])


def _read(path: Path) -> Pixels:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(_HEADER.size)
            count, height, width = _dimensions(path, header)
            data = file.read(count * height * width + 1)  # one more, to see that the file ends there
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, f"its gzip stream is damaged: {reason(error)}") from None
    except OSError as error:
        raise unreadable(path, error) from None
    if len(data) != count * height * width:
        found = "more" if len(data) > count * height * width else str(len(data))
        raise _damaged(path, f"{count} pictures of {width} x {height} need {count * height * width} bytes, got {found}")
    return np.frombuffer(data, np.uint8).reshape(count, height, width)


def _dimensions(path: Path, header: bytes) -> tuple[int, int, int]:
    if len(header) < _HEADER.size:
        raise _damaged(path, f"the header needs {_HEADER.size} bytes, got {len(header)}")
    magic, count, height, width = _HEADER.unpack(header)
    if magic == LABELS_MAGIC:
        raise DataError(f"'{printable(str(path))}' holds labels (magic 0x{magic:08x}, idx1); {_WANTED}")
    if magic != MAGIC:
        raise DataError(
            f"'{printable(str(path))}' is not idx3: wanted magic 0x{MAGIC:08x}, got 0x{magic:08x}; {_WANTED}"
        )
    if 0 in (count, height, width):
        raise DataError(f"'{printable(str(path))}' holds no pictures: {count} of {width} x {height} pixels; {_WANTED}")
    if math.prod((count, height, width)) > MAX_BYTES:
        raise _damaged(path, f"the header promises {count} pictures of {width} x {height}, more than {MAX_BYTES} bytes")
    return count, height, width


def _damaged(path: Path, fault: str) -> DataError:
    return DataError(f"idx file '{printable(str(path))}' is damaged: {fault}; copy or download it again")
