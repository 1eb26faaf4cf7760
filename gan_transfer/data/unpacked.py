"""Compressed tar files, unpacked into the cache once, as nothing can be read at random from them. Free of torch."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from pathlib import Path

from .. import files
from ..errors import DataError
from .archive import MAX_RATIO, SUSPECT_BYTES
from .cache import cache_dir, cache_errors, check_room, temporary_sibling
from .paths import printable, reason, unreadable

_Opener = Callable[[Path], BufferedIOBase]

CHUNK_BYTES = 16 * 2**20
"""Unpacked at a time; the disk's free room is looked at anew for each."""

_OPENERS: dict[bytes, _Opener] = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ\0": lzma.LZMAFile}
_ZSTD = b"\x28\xb5\x2f\xfd"


def plain(path: Path) -> Path:
    """The file itself, or its content in the cache if it is compressed with gzip, bzip2 or xz, whatever its name.

    Unpacked now if that was not done before; the copy is made anew when the file changes.

    Raises:
        DataError: the file is unreadable, damaged, a decompression bomb or compressed with zstd, or the disk is full.
    """
    try:
        with path.open("rb") as file:
            head = file.read(6)
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    if head.startswith(_ZSTD):
        raise DataError(f"'{printable(str(path))}' is compressed with zstd; unpack it with zstd -d and give the .tar")
    opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
    if opener is None:
        return path
    identity = os.fsencode(path) + f"\0{status.st_size}\0{status.st_mtime_ns}".encode()
    folder = cache_dir() / "unpacked" / hashlib.sha256(identity).hexdigest()[:16]
    if not folder.exists():
        _unpack(path, opener, status.st_size, folder)
    return folder / "plain.tar"


def _unpack(path: Path, opener: _Opener, packed: int, folder: Path) -> None:
    with cache_errors(folder), temporary_sibling(folder) as temporary:
        with files.atomic(temporary / "plain.tar") as target, target.open("wb") as file:
            size = 0
            for chunk in _chunks(path, opener):
                size += len(chunk)
                if size > max(SUSPECT_BYTES, MAX_RATIO * packed):
                    raise DataError(
                        f"'{printable(str(path))}' is refused, a decompression bomb: "
                        f"its {packed} bytes unpack to more than {size}; nothing of it was kept"
                    )
                check_room(temporary, f"unpacking '{printable(path.name)}'", len(chunk))
                file.write(chunk)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.exists():  # else another process unpacked the same file meanwhile
                raise


def _chunks(path: Path, opener: _Opener) -> Iterator[bytes]:
    try:
        with opener(path) as packed:
            while chunk := packed.read(CHUNK_BYTES):
                yield chunk
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"compressed file '{printable(str(path))}' is damaged: {reason(error)}; copy or download it again"
        ) from None
