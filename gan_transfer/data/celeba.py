"""`celeba:PATH`: CelebA's aligned faces, `img_align_celeba` as a zip file or a folder, and its splits. No torch."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..errors import DataError, did_you_mean
from .archive import ZipSource
from .folder import FolderSource
from .paths import printable, reason, resolve, slug, split_options, unreadable
from .selection import Selection
from .source import Source

SPLITS = {"train": "0", "valid": "1", "test": "2"}
"""Splits by name: how the partition file marks them."""

PARTITIONS = ("list_eval_partition.txt", "list_eval_partition.csv")
"""Names of the partition file, as CelebA and as Kaggle spread it."""

MAX_PARTITION_BYTES = 64 * 2**20
"""The true one has 2.8 MB."""

_PICTURES = "img_align_celeba"
_LINE = re.compile(r"^(\S+?)\.\w+[ ,]+([012])\s*$", re.MULTILINE)


class CelebaSource(Selection):
    """One split of CelebA's aligned faces."""

    def __init__(self, where: str) -> None:
        """Find the pictures and the partition file beside, above or among them; no picture is read yet.

        Args:
            where: the zip file, or a folder that holds it, `img_align_celeba/` or the pictures; `?split=train`,
                `valid`, `test` or `all` may follow. Without it: train where there is a partition file, else all.

        Raises:
            DataError: the place holds no pictures, the split is not known, or it needs a partition file.
        """
        text, options = split_options("celeba", where, ["split"])
        place = resolve(text)
        partition = _partition(place)
        split = options.get("split", "train" if partition else "all")
        if split not in (*SPLITS, "all"):
            raise DataError(f"CelebA's split {split!r} is not known; {did_you_mean(split, (*SPLITS, 'all'))}")
        source = _pictures(place)
        try:
            rows = range(len(source)) if split == "all" else _rows(source, partition, split)
        except DataError:
            source.close()
            raise
        super().__init__(source, rows, split)
        self.spec = f"celeba:{place}?split={split}"
        self.name = slug(f"celeba-{split}")
        self.origin = f"celeba:{printable(place.name)}?split={split}"


def _pictures(place: Path) -> Source:
    if not place.is_dir():
        return ZipSource(str(place))
    if (place / _PICTURES).is_dir():
        return FolderSource(str(place / _PICTURES))
    archive = place / f"{_PICTURES}.zip"
    return ZipSource(str(archive)) if archive.is_file() else FolderSource(str(place))


def _partition(place: Path) -> dict[str, str]:
    # Split marks by the picture's name without suffix; empty where there is no partition file.
    for origin, text in _partition_texts(place):
        marks = dict(_LINE.findall(text))
        if not marks:
            raise DataError(
                f"'{printable(str(origin))}' is no partition list: wanted lines such as '000001.jpg 0'; "
                "download it again from CelebA's page"
            )
        return marks
    return {}


def _partition_texts(place: Path) -> Iterator[tuple[Path, str]]:
    folders = (place, place.parent) if place.is_dir() else (place.parent,)
    for path in (folder / name for folder in folders for name in PARTITIONS):
        try:
            if path.is_file():
                yield path, path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise unreadable(path, error) from None
    if zipfile.is_zipfile(place):
        yield from _inside_zip(place)


def _inside_zip(place: Path) -> Iterator[tuple[Path, str]]:
    try:
        with zipfile.ZipFile(place) as archive:
            for entry in archive.infolist():
                if PurePosixPath(entry.filename).name in PARTITIONS and entry.file_size <= MAX_PARTITION_BYTES:
                    yield place / entry.filename, archive.read(entry).decode("utf-8", errors="replace")
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"the partition file in '{printable(str(place))}' cannot be read: {reason(error)}") from None


def _rows(source: Source, partition: dict[str, str], split: str) -> list[int]:
    if not partition:
        raise DataError(
            f"{printable(source.origin)} has no {PARTITIONS[0]}, so its split {split!r} is not known; put the file "
            "from CelebA's page (Eval/) beside the pictures, or take them all with ?split=all"
        )
    stems = (PurePosixPath(source.label(index)).stem for index in range(len(source)))
    rows = [index for index, stem in enumerate(stems) if partition.get(stem) == SPLITS[split]]
    if not rows:
        raise DataError(
            f"none of the {len(source)} pictures of {printable(source.origin)} is in the split {split!r} of its "
            "partition file; take them all with ?split=all"
        )
    return rows
