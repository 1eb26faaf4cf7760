"""One column of parquet files, read in batches of rows that all threads share. Free of torch."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import DataError
from .paths import printable, reason, unreadable

BATCH_ROWS = 32
"""Rows read at a time, as a row group may hold the whole file."""

KEPT_BYTES = 256 * 2**20
"""Of batches that were read, kept for the threads that ask for their neighbours."""

MAX_CURSORS = 8
"""Row groups read side by side; each holds its file open."""

_BUFFER_BYTES = 2**20
_TAIL_BYTES = 8  # of a file, behind its footer: the footer's length and PAR1


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Shard:
    """One parquet file, of which the footer was read."""

    path: Path
    size: int
    """Bytes."""
    mtime_ns: int
    footer: Any
    """A `pyarrow.parquet.FileMetaData`."""

    @property
    def schema(self) -> Any:
        """The columns: a `pyarrow.Schema`."""
        return self.footer.schema.to_arrow_schema()

    def footer_bytes(self) -> bytes:
        """The footer as it stands in the file: places, sizes and, mostly, least and greatest value of each column.

        Raises:
            DataError: the file is no longer there.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self.size - self.footer.serialized_size - _TAIL_BYTES))
                return file.read()
        except OSError as error:
            raise unreadable(self.path, error) from None


class RowGroup(NamedTuple):
    """Rows of a file that are stored together."""

    shard: Shard
    number: int
    """In its file."""
    start: int
    """Rows of all files before its first."""
    rows: int
    """How many it holds."""


def look(path: Path) -> Shard:
    """Read a file's footer.

    Raises:
        DataError: the file is missing, unreadable, damaged or cut short.
    """
    try:
        status = path.stat()
        if not path.is_file():  # a pipe would block the reader for ever
            raise DataError(f"'{printable(str(path))}' is not a file; give parquet files: --data parquet:PATH")
        return Shard(path, status.st_size, status.st_mtime_ns, pq.read_metadata(path))
    except pa.ArrowException as error:
        raise _damaged(path, error) from None
    except OSError as error:
        raise unreadable(path, error) from None


def row_groups(shards: Iterable[Shard]) -> Iterator[RowGroup]:
    """The row groups that hold rows, in order."""
    start = 0
    for shard in shards:
        for number in range(shard.footer.num_row_groups):
            rows = shard.footer.row_group(number).num_rows
            if rows:
                yield RowGroup(shard, number, start, rows)
            start += rows


class Column:
    """The values of one column. Those after each other are read fast; going back in a row group begins at its start."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[RowGroup, int], Any] = OrderedDict()
        self._kept_bytes = 0
        self._cursors: OrderedDict[RowGroup, _Cursor] = OrderedDict()

    def value(self, group: RowGroup, row: int) -> Any:
        """The `pyarrow.Scalar` in one row of a row group.

        Raises:
            DataError: the file is damaged or no longer there.
        """
        number, place = divmod(row, BATCH_ROWS)
        with self._lock:  # decoding the pictures, the larger part, runs outside of it
            if (group, number) not in self._kept:
                self._read(group, number)
            self._kept.move_to_end((group, number))
            return self._kept[group, number][place]

    def close(self) -> None:
        """Close the files and forget what was read."""
        with self._lock:
            self._kept.clear()
            self._kept_bytes = 0
            while self._cursors:
                self._cursors.popitem()[1].close()

    def _read(self, group: RowGroup, number: int) -> None:
        cursor = self._cursors.pop(group, None)
        if cursor is None or cursor.number > number:
            cursor = _Cursor(group, self.name)
        self._cursors[group] = cursor
        while cursor.number <= number:
            self._keep((group, cursor.number), cursor.advance())
        if len(self._cursors) > MAX_CURSORS:
            self._cursors.popitem(last=False)[1].close()

    def _keep(self, key: tuple[RowGroup, int], batch: Any) -> None:
        if key in self._kept:  # read again on the way to one that was forgotten
            return
        self._kept[key] = batch
        self._kept_bytes += batch.nbytes
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes


class _Cursor:
    # A row group while it is read from its first batch to its last.

    def __init__(self, group: RowGroup, column: str) -> None:
        self.number = 0  # of the batch that comes next
        self._path = group.shard.path
        try:
            # Without a buffer the first batch would take the whole row group into memory.
            self._file = pq.ParquetFile(
                self._path, metadata=group.shard.footer, buffer_size=_BUFFER_BYTES, pre_buffer=False
            )
            self._batches = self._file.iter_batches(BATCH_ROWS, [group.number], [column], use_threads=False)
        except OSError as error:
            raise unreadable(self._path, error) from None
        except pa.ArrowException as error:
            raise _damaged(self._path, error) from None

    def advance(self) -> Any:
        """The `pyarrow.Array` of the next `BATCH_ROWS` rows, or of those left."""
        try:
            batch = next(self._batches).column(0)
        except StopIteration:
            raise _damaged(self._path, ValueError("rows are missing")) from None
        except (OSError, pa.ArrowException) as error:  # Arrow gives an OSError for pages that it cannot parse
            raise _damaged(self._path, error) from None
        self.number += 1
        return batch

    def close(self) -> None:
        """Close the file."""
        self._file.close(force=True)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"parquet file '{printable(str(path))}' is damaged or cut short: {reason(error)}; copy or download it again"
    )
