"""Data sources: the text `kind:where` (or a plain path) -> a reader of pictures. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..errors import DataError, did_you_mean
from .archive import ZipSource
from .celeba import CelebaSource
from .decode import is_picture
from .folder import FolderSource
from .idx import IdxSource, is_idx_name
from .paths import PLACES, printable, resolve, split_options, unreadable
from .shards import is_pattern
from .source import Source
from .tar import SUFFIXES as TAR_SUFFIXES
from .tar import TarSource


def open_source(text: str) -> Source:
    """Open a data source given as `kind:where` or as a plain path, whose kind is then seen from names alone.

    Raises:
        DataError: the kind is not known, or the place is missing, unreadable or without pictures.
    """
    kind, colon, where = text.partition(":")
    if colon and kind in READERS:
        return READERS[kind](where)
    if colon and re.fullmatch(r"\w{2,}", kind):  # one letter would be a drive
        raise DataError(
            f"data source kind '{kind}' is not known; {did_you_mean(kind, READERS)} "
            f"(--data KIND:WHERE with {', '.join(READERS)}, or a path that begins with ./ or /)"
        )
    return READERS[_recognise(text)](text)


def open_builtin(where: str) -> Source:
    """Open `builtin:NAME`, with options such as `covers?count=500&seed=3`.

    Raises:
        DataError: the name or an option is not known, or a value is out of range.
    """
    name = where.partition("?")[0]
    if name not in BUILTIN_OPTIONS:
        raise DataError(
            f"built-in data 'builtin:{printable(name)}' is not known; {did_you_mean(name, BUILTIN_OPTIONS)}"
        )
    allowed = BUILTIN_OPTIONS[name]
    _, given = split_options("builtin", where, allowed)
    options = {key: _number(key, value, allowed[key]) for key, value in given.items()}
    from .covers import CoversSource  # drawing code that most runs on real pictures never need

    return CoversSource(**options)


def _parquet(where: str) -> Source:
    from .parquet import ParquetSource  # imports pyarrow

    return ParquetSource(where)


def _hf(where: str) -> Source:
    from .hub import HubSource  # imports huggingface_hub

    return HubSource(where)


def _torchvision(where: str) -> Source:
    from .torchvision_sets import TorchvisionSource  # imports torch and torchvision

    return TorchvisionSource(where)


def _pack(where: str) -> Source:
    from .packed import PackSource

    return PackSource(where)


READERS: dict[str, Callable[[str], Source]] = {
    "folder": FolderSource,
    "zip": ZipSource,
    "tar": TarSource,
    "wds": TarSource,
    "parquet": _parquet,
    "hf": _hf,
    "idx": IdxSource,
    "celeba": CelebaSource,
    "torchvision": _torchvision,
    "pack": _pack,
    "builtin": open_builtin,
}
"""Readers by kind: where -> an open source."""

BUILTIN_OPTIONS: dict[str, dict[str, range]] = {
    "covers": {"count": range(1, 1_000_001), "seed": range(2**32)},
}
"""Built-in data by name: the allowed values of each option."""

ENDINGS: dict[str, str] = {
    "img_align_celeba.zip": "celeba",
    ".zip": "zip",
    **dict.fromkeys(TAR_SUFFIXES, "tar"),
    ".parquet": "parquet",
    **dict.fromkeys(("idx3-ubyte", "idx3-ubyte.gz", "idx1-ubyte", "idx1-ubyte.gz"), "idx"),
}
"""The kind of a plain path by the end of its name, the first that fits; labels (idx1) are answered by their reader."""

KINDS: dict[str, str] = {
    "folder:DIR": "every picture below a folder",
    "zip:FILE": "every picture in a zip file, read in place",
    "tar:PATH": "tar files, read in place: a file, a folder, a glob, a range such as train-{0000..1023}.tar",
    "wds:PATH": "the same for WebDataset's shards",
    "parquet:PATH": "the column of pictures in parquet files: a file or a folder",
    "hf:ORG/NAME": "a data set on the Hugging Face Hub; @REVISION and :SPLIT may follow",
    "idx:PATH": "MNIST's idx files, plain or gzip: a file or a folder",
    "celeba:PATH": "img_align_celeba as a zip file or a folder; ?split=train, valid, test or all may follow",
    "torchvision:NAME": "a data set of torchvision, such as cifar10, downloaded if need be; ?root=DIR may follow",
    "pack:DIR": "what gan-transfer data pack has written",
    "builtin:covers": "drawn album covers; ?count=N&seed=N may follow",
}
"""What each kind reads, for people: usage -> meaning."""


def _recognise(text: str) -> str:
    if is_pattern(text) and (kind := _kind_of_file(text)):
        return kind
    path = resolve(text)
    kind = _kind_of_folder(path) if path.is_dir() else _kind_of_file(path.name)
    if kind is None:
        raise DataError(
            f"data path '{printable(str(path))}' is not {PLACES}; "
            f"name its kind: --data KIND:PATH with one of {', '.join(READERS)}"
        )
    return kind


def _kind_of_file(name: str) -> str | None:
    return next((kind for ending, kind in ENDINGS.items() if name.lower().endswith(ending)), None)


def _kind_of_folder(folder: Path) -> str:
    try:
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    except OSError as error:
        raise unreadable(folder, error) from None
    if {"index.json", "images.npy"} <= names:
        return "pack"
    if any(map(is_picture, names)):
        return "folder"
    if any(map(is_idx_name, names)):
        return "idx"
    if any((folder / name).is_dir() for name in names):
        return "folder"
    kinds = {_kind_of_file(name) for name in names}
    return next((kind for kind in ("tar", "parquet") if kind in kinds), "folder")


def _number(key: str, value: str, allowed: range) -> int:
    if not value.isdecimal() or int(value) not in allowed:
        raise DataError(
            f"option {key!r} of builtin: data must be a whole number {allowed[0]} to {allowed[-1]}, got {value!r}"
        )
    return int(value)
