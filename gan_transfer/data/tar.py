"""`tar:PATH` and `wds:PATH`: the pictures in tar files, read in place; WebDataset's shards are such. Free of torch."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image

from ..errors import DataError
from .decode import MAX_FILE_BYTES, is_picture, open_image
from .paths import check_inside, describe_suffixes, printable, reason, slug, unreadable
from .shards import find_shards
from .unpacked import plain

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""Ends of the names that are taken out of a folder; a single file may have any name."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Shard:
    path: Path
    """As it was given."""
    plain: Path
    """What is read: the same file, or what it was unpacked to."""
    size: int
    mtime_ns: int


class _Entry(NamedTuple):
    shard: _Shard
    name: str
    """Path in the tar; behind the inner tar's own path for what lies in a tar within it."""
    offset: int
    """Bytes before its first."""
    size: int
    """Bytes."""


class TarSource:
    """The pictures of one tar file or of many, in the order of the files and in the order inside each.

    Of a name that comes twice in one file the last counts, as when tar extracts. What lies beside the pictures, such
    as WebDataset's `.cls` and `.json`, is passed over, and so are links and devices. A tar inside a tar is looked
    into, one level deep, as ImageNet's official archive is made like that.
    """

    def __init__(self, where: str, paths: Sequence[Path] | None = None) -> None:
        """Read the headers of all entries; no picture is read yet, but compressed files are unpacked into the cache.

        Args:
            where: a tar file, a folder of tar files, a glob or a brace range such as `train-{0000..1023}.tar`.
            paths: the files that `where` stands for, if that is known.

        Raises:
            DataError: a file is missing, unreadable or cut short, an entry's name points outside its file, or
                there are no pictures.
        """
        place, found = (Path(where), paths) if paths else find_shards("tar", where, SUFFIXES)
        self.spec = f"tar:{place}"
        self.origin = f"tar:{printable(place.name)}"
        self.name = slug(place.name.lower().removesuffix(next(filter(place.name.lower().endswith, SUFFIXES), "")))
        self._shards = [_look(path) for path in found]
        self._entries = [entry for shard in self._shards for entry in _pictures(shard)]
        if not self._entries:
            names = (entry.name for shard in self._shards for entry in _files(shard))
            raise DataError(
                f"'{printable(str(place))}' holds no pictures but {describe_suffixes(names)}; "
                "give tar files with for instance .jpg or .png files: --data tar:PATH"
            )

    def __len__(self) -> int:
        return len(self._entries)

    def fetch(self) -> None:
        """Nothing to do: the pictures lie here."""

    def label(self, index: int) -> str:
        """The tar file's name and the path inside it, on one line."""
        entry = self._entries[index]
        return printable(f"{entry.shard.path.name}/{entry.name}")

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        """Decode one picture fully; see `open_image` for the hint and what a broken picture raises."""
        entry = self._entries[index]
        if entry.size > MAX_FILE_BYTES:
            raise ValueError(f"{entry.size} bytes, more than the limit of {MAX_FILE_BYTES}")
        # Opened each time: a thousand shards kept open would use up the process's share of file handles.
        with entry.shard.plain.open("rb", buffering=0) as file:
            file.seek(entry.offset)
            data = file.read(entry.size)
        return open_image(data, hint)

    def fingerprint(self) -> str:
        """SHA-256 over size and time of change of the tar files, and names, places and sizes of the pictures."""
        digest = hashlib.sha256(b"tar")
        for shard in self._shards:
            digest.update(f"{shard.size}\0{shard.mtime_ns}\0".encode())
        for entry in self._entries:
            digest.update(os.fsencode(entry.name) + f"\0{entry.offset}\0{entry.size}\0".encode())
        return digest.hexdigest()

    def close(self) -> None:
        """Nothing is held open."""


def _look(path: Path) -> _Shard:
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    if not path.is_file():  # a pipe would block the reader for ever
        raise DataError(f"'{printable(str(path))}' is not a file; give tar files: --data tar:PATH")
    return _Shard(path, plain(path), status.st_size, status.st_mtime_ns)


def _pictures(shard: _Shard) -> list[_Entry]:
    found: dict[str, _Entry] = {}
    try:
        for entry in _files(shard):
            check_inside(shard.path, entry.name)
            if is_picture(entry.name):
                found.pop(entry.name, None)
                found[entry.name] = entry
    except DataError:
        raise
    except OSError as error:
        raise unreadable(shard.path, error) from None
    except Exception as error:  # damaged headers make tarfile raise nearly anything
        raise DataError(
            f"'{printable(str(shard.path))}' is not a whole tar file: {reason(error)} after {len(found)} pictures; "
            "copy or download it again and check it with tar -tf"
        ) from None
    return list(found.values())


def _files(shard: _Shard) -> Iterator[_Entry]:
    with shard.plain.open("rb") as file:
        for name, member in _members(file, 0, os.fstat(file.fileno()).st_size):
            yield _Entry(shard, name, member.offset_data, member.size)


def _members(file: BinaryIO, start: int, end: int, outer: str = "") -> Iterator[tuple[str, tarfile.TarInfo]]:
    # The regular files of the tar between two positions of a file, which may be a tar itself.
    file.seek(start)
    with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
        while member := archive.next():
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep every header
            name, data_end = outer + member.name.removeprefix("./"), member.offset_data + member.size
            plain_file = member.isreg() and not member.issparse()
            if member.size < 0 or (plain_file and data_end > end):
                raise tarfile.ReadError(f"entry '{name}' is cut short")
            if not plain_file:
                continue
            if not outer and name.endswith(".tar") and is_picture(f"{name}/picture.png"):  # else it is hidden
                yield from _members(file, member.offset_data, data_end, f"{name}/")
            else:
                yield name, member
        file.seek(archive.offset)
        if archive.offset + tarfile.BLOCKSIZE > end or any(file.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError("an entry is damaged or the end is missing")
