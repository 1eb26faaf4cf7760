"""`zip:PATH`: every picture in a zip file, read in place; nothing is extracted to disk. Free of torch."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from pathlib import Path

from PIL import Image

from ..errors import DataError
from .decode import MAX_FILE_BYTES, is_picture, open_image
from .paths import check_inside, describe_suffixes, printable, reason, resolve, slug, unreadable

SUSPECT_BYTES = 50 * 10**6
"""Entries larger than this must not be packed tighter than `MAX_RATIO`."""

MAX_RATIO = 1000
"""Unpacked over packed size; beyond it a large entry is a decompression bomb."""

_ENCRYPTED = 0x1  # bit of ZipInfo.flag_bits


class ZipSource:
    """The pictures of a zip file, in the order of their names; hidden files are left out."""

    def __init__(self, where: str) -> None:
        """Read the table of contents; no picture is unpacked yet.

        Raises:
            DataError: the path is missing, unreadable or not a whole zip file, an entry's name points outside
                the archive, or there are no pictures.
        """
        path = resolve(where)
        self.spec = f"zip:{path}"
        self.origin = f"zip:{printable(path.name)}"
        self.name = slug(path.stem)
        self._lock = threading.Lock()
        self._archive = _open(path)
        try:
            self._entries = _pictures(self._archive, path)
        except DataError:
            self._archive.close()
            raise

    def __len__(self) -> int:
        return len(self._entries)

    def fetch(self) -> None:
        """Nothing to do: the pictures lie here."""

    def label(self, index: int) -> str:
        """The entry's name, on one line."""
        return printable(self._entries[index].filename)

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        """Decode one picture fully; see `open_image` for the hint and what a broken picture raises.

        Raises:
            ValueError: the entry is encrypted or a decompression bomb.
            zipfile.BadZipFile: the entry is damaged.
        """
        entry = self._entries[index]
        _check(entry)
        with self._lock:  # one file handle; decoding, the larger part, runs outside the lock
            data = self._archive.read(entry)
        return open_image(data, hint)

    def fingerprint(self) -> str:
        """SHA-256 over the names, checksums and sizes of the pictures."""
        digest = hashlib.sha256(b"zip")
        for entry in self._entries:
            digest.update(os.fsencode(entry.filename) + f"\0{entry.CRC}\0{entry.file_size}\0".encode())
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file; nothing can be loaded afterwards."""
        self._archive.close()


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except IsADirectoryError:
        raise DataError(f"zip:{printable(str(path))} is a folder, wanted a .zip file; see folder:PATH") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DataError(
            f"'{printable(str(path))}' is not a whole zip file ({reason(error)}); "
            f"copy or download it again and check it with unzip -t"
        ) from None


def _pictures(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    for entry in archive.infolist():
        check_inside(path, entry.orig_filename)
    pictures = [entry for entry in files if is_picture(entry.filename)]
    if not pictures:
        raise DataError(
            f"'{printable(str(path))}' holds no pictures but {describe_suffixes(entry.filename for entry in files)}; "
            "give a zip file with for instance .jpg or .png files: --data zip:PATH"
        )
    return sorted(pictures, key=lambda entry: os.fsencode(entry.filename))


def _check(entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & _ENCRYPTED:
        raise ValueError("the entry is encrypted")
    tight = entry.file_size > MAX_RATIO * max(entry.compress_size, 1)
    if entry.file_size > MAX_FILE_BYTES or (entry.file_size > SUSPECT_BYTES and tight):
        raise ValueError(f"a decompression bomb: {entry.compress_size} bytes would unpack to {entry.file_size}")
