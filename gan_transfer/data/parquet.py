"""`parquet:PATH`: the pictures in a column of parquet files, as data sets on the Hub hold them. Free of torch."""

from __future__ import annotations

import bisect
import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
from PIL import Image

from ..errors import DataError
from .decode import MAX_FILE_BYTES, Pixels, open_image
from .parquet_rows import Column, RowGroup, Shard, look, row_groups
from .paths import describe_suffixes, printable, resolve, slug, unreadable
from .shards import find_shards, is_pattern

SUFFIX = ".parquet"
"""End of the names that are taken out of a folder; a single file may have any name."""

NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo", "cover")
"""Columns of these names, in upper or lower case, are taken before others, in this order."""


class ParquetSource:
    """The pictures in one column of one parquet file or of many, in the order of the files and of their rows.

    A picture is a whole file in a binary value, the same in a struct's `bytes`, or the pixels themselves as nested
    lists of uint8, [H, W] or [H, W, C].
    """

    def __init__(self, where: str, paths: Sequence[Path] | None = None) -> None:
        """Read the footers; no picture is read yet, but for one if no column is named as columns of pictures are.

        Args:
            where: a parquet file, a folder that is searched through, a glob or a brace range.
            paths: the files that `where` stands for, if that is known.

        Raises:
            DataError: a file is missing, unreadable, damaged or cut short, or there are no rows or no pictures in it.
        """
        place, found = (Path(where), paths) if paths else _find(where)
        self.spec = f"parquet:{place}"
        self.origin = f"parquet:{printable(place.name)}"
        self.name = slug(place.name.removesuffix(SUFFIX))
        self._shards = [look(path) for path in found]
        self._groups = list(row_groups(self._shards))
        if not self._groups:
            raise DataError(f"'{printable(str(place))}' holds no rows; give parquet files with pictures in them")
        self._starts = [group.start for group in self._groups]
        self._column = Column(_choose_column(self._groups[0]))
        for shard in self._shards:
            _check_column(shard, self._column.name)

    def __len__(self) -> int:
        return self._groups[-1].start + self._groups[-1].rows

    def fetch(self) -> None:
        """Nothing to do: the pictures lie here."""

    def label(self, index: int) -> str:
        """The file's name and the row's number in it, such as `train-00001.parquet[123]`."""
        shard = self._group(index).shard
        start = next(group.start for group in self._groups if group.shard is shard)
        return f"{printable(shard.path.name)}[{index - start}]"

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        """Decode one picture fully; see `open_image` for the hint and what a broken picture raises.

        Raises:
            DataError: the parquet file itself is damaged.
            ValueError: the row has no picture.
        """
        group = self._group(index)
        return _decode(self._column.value(group, index - group.start), hint)

    def fingerprint(self) -> str:
        """SHA-256 over the column, and names, sizes, times of change and footers of the files.

        Raises:
            DataError: a file is no longer there.
        """
        digest = hashlib.sha256(f"parquet\0{self._column.name}\0".encode())
        for shard in self._shards:
            # The time, too: pictures of one size can be exchanged without a trace in the footer.
            digest.update(os.fsencode(shard.path.name) + f"\0{shard.size}\0{shard.mtime_ns}\0".encode())
            digest.update(shard.footer_bytes())
        return digest.hexdigest()

    def close(self) -> None:
        """Close the files; nothing should be loaded afterwards."""
        self._column.close()

    def _group(self, index: int) -> RowGroup:
        return self._groups[bisect.bisect_right(self._starts, index) - 1]


def _find(where: str) -> tuple[Path, Sequence[Path]]:
    if is_pattern(where) or not (folder := resolve(where)).is_dir():
        return find_shards("parquet", where, (SUFFIX,))
    files = [Path(root, name) for root, _, names in os.walk(folder, onerror=_refuse) for name in names]
    names = sorted((path.relative_to(folder).as_posix() for path in files), key=os.fsencode)
    chosen = [name for name in names if name.lower().endswith(SUFFIX) and "/." not in f"/{name}"]
    if not chosen:
        raise DataError(
            f"folder '{printable(str(folder))}' holds no {SUFFIX} files but {describe_suffixes(names)}; "
            "give a folder with parquet files in it: --data parquet:PATH"
        )
    return folder, [folder / name for name in chosen]


def _refuse(error: OSError) -> NoReturn:
    raise unreadable(error.filename, error) from None


def _choose_column(group: RowGroup) -> str:
    usable: list[str] = [field.name for field in group.shard.schema if _holds_pictures(field.type)]
    ranks = {name: NAMES.index(name.lower()) for name in usable if name.lower() in NAMES}
    if ranks:
        return min(ranks, key=ranks.__getitem__)
    for name in usable:
        if _opens(group, name):
            return name
    raise DataError(
        f"parquet file '{printable(str(group.shard.path))}' has no column of pictures; wanted one named "
        f"{', '.join(NAMES)}, or one with values that open as pictures; {_columns(group.shard)}"
    )


def _check_column(shard: Shard, column: str) -> None:
    place = shard.schema.get_field_index(column)
    if place < 0 or not _holds_pictures(shard.schema.field(place).type):
        raise DataError(
            f"parquet file '{printable(str(shard.path))}' has no pictures in a column '{printable(column)}' as the "
            f"files before it; {_columns(shard)}; read its like apart from the others: --data parquet:PATH"
        )


def _columns(shard: Shard) -> str:
    return printable(f"its columns: {', '.join(f'{field.name} ({field.type})' for field in shard.schema)}")


def _holds_pictures(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_binary(kind.field(place).type)
    return _is_binary(kind) or _depth(kind) in (2, 3)


def _is_binary(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _depth(kind: Any) -> int:
    # Of nested lists of uint8; 0 if they hold something else.
    depth = 0
    while _is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth if pa.types.is_uint8(kind) else 0


def _opens(group: RowGroup, name: str) -> bool:
    column = Column(name)
    try:
        _decode(column.value(group, 0), hint=1)
    except DataError:
        raise
    except Exception:  # what is no picture makes Pillow's readers raise nearly anything
        return False
    finally:
        column.close()
    return True


def _decode(value: Any, hint: int | None) -> Image.Image:
    if value.is_valid and pa.types.is_struct(value.type):
        value = value["bytes"]
    if not value.is_valid:
        raise ValueError("the row has no picture, its value is null")
    if _is_list(value.type):
        return Image.fromarray(_pixels(value))
    size = value.as_buffer().size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{size} bytes, more than the limit of {MAX_FILE_BYTES}")
    return open_image(value.as_py(), hint)


def _pixels(value: Any) -> Pixels:
    # Every level of the lists, laid end to end, is longer than the one above by the next dimension.
    level, shape = value.values, [len(value)]
    while _is_list(level.type):
        above, level = len(level), level.flatten()
        shape.append(len(level) // max(above, 1))
    if not len(level) or math.prod(shape) != len(level):
        raise ValueError("the row's lists of pixels are empty or not of one length")
    if shape[2:] == [1]:  # Pillow wants grey pictures as [H, W]
        shape.pop()
    return np.asarray(level).reshape(shape)
