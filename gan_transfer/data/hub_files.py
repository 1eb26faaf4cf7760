"""Which files of a repository on the Hub hold the pictures of one split, and how many they are, by names and card."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from ..errors import DataError
from .decode import is_picture
from .paths import describe_suffixes, printable
from .tar import SUFFIXES as TAR_SUFFIXES

ALL = "all"
"""In place of a split's name: every file."""

KINDS: dict[str, Callable[[str], bool]] = {
    "parquet": lambda name: name.lower().endswith(".parquet"),
    "tar": lambda name: name.lower().endswith(TAR_SUFFIXES),
    "zip": lambda name: name.lower().endswith(".zip"),
    "folder": is_picture,
}
"""Kinds of sources, the first of which the repository has files is taken; what lies beside them is for show."""

_USUAL = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
_WORD = re.compile(rf"(?<![a-z])({'|'.join(_USUAL)})(?![a-z])")
_NUMBERED = re.compile(r"(\w+(?:\.\w+)*)-\d{4,}-of-\d{4,}")


class Chosen(NamedTuple):
    """Files that belong together."""

    kind: str
    """A name in `KINDS`."""
    split: str
    """Such as `train`, `default/train` or `all`."""
    files: list[str]
    """Paths in the repository, sorted."""


def choose(repo: str, names: Iterable[str], wanted: str, card: dict[str, Any]) -> Chosen:
    """The files of a split, by their names.

    Args:
        repo: `org/name`, for messages.
        names: all paths in the repository.
        wanted: a split, `CONFIGURATION/SPLIT`, or `all`; empty takes `train`, or the only split that there is.
        card: the card's metadata, which names the configurations.

    Raises:
        DataError: no file holds pictures, or none of them belongs to what is wanted, or too many do.
    """
    visible = [name for name in names if "/." not in f"/{name}"]
    kind, found = _kind(repo, visible)
    config, _, asked = wanted.rpartition("/")
    if config:
        found = _within(repo, found, config)
    split, found = _of_split(repo, found, asked, in_folder=kind == "folder")
    if not config and split != ALL:
        config, found = _of_config(repo, found, split, _configurations(card))
    if kind == "zip" and len(found) > 1:
        raise DataError(
            f"hf:{repo} has its pictures in {len(found)} zip files ({', '.join(map(printable, found[:3]))}, ...), and "
            "only one can be read; download them and give one, or a folder of what is in them: --data folder:PATH"
        )
    return Chosen(kind, f"{config}/{split}" if config else split, found)


def promised(card: dict[str, Any], split: str) -> int | None:
    """How many pictures the card says that a split has; None if it does not say so."""
    config, _, name = split.rpartition("/")
    infos = [info for info in _entries(card, "dataset_info") if not config or info.get("config_name") == config]
    if len(infos) != 1:
        return None
    counts = {_usual(str(entry.get("name"))): entry.get("num_examples") for entry in _entries(infos[0], "splits")}
    told = list(counts.values()) if name == ALL else [counts.get(name)]
    numbers = [number for number in told if isinstance(number, int) and number > 0]
    return sum(numbers) if numbers and len(numbers) == len(told) else None


def is_complete(files: Iterable[str]) -> bool:
    """Whether of files named `...-00001-of-00026...` all that their names speak of are among them."""
    counts: dict[tuple[str, int], int] = {}
    for name in files:
        if numbered := re.search(r"-\d{4,}-of-(\d{4,})", name):
            series = name[: numbered.start()], int(numbered[1])
            counts[series] = counts.get(series, 0) + 1
    return all(count == total for (_, total), count in counts.items())


def _kind(repo: str, names: Collection[str]) -> tuple[str, list[str]]:
    for kind, fits in KINDS.items():
        if found := sorted(filter(fits, names)):
            return kind, found
    raise DataError(
        f"hf:{repo} holds no pictures but {describe_suffixes(names)}; wanted .parquet, .tar, .zip or picture files; "
        "give another data set: --data hf:ORG/NAME"
    )


def _of_split(repo: str, names: list[str], asked: str, in_folder: bool) -> tuple[str, list[str]]:
    splits = {name: _split(str(PurePosixPath(name).parent) if in_folder else name) for name in names}
    there = sorted({split for split in splits.values() if split})
    asked = _usual(asked)
    if asked == ALL or (not there and asked in ("", "train")):
        return asked or "train", names
    split = asked or (there[0] if len(there) == 1 else "train")
    chosen = [name for name in names if splits[name] == split]
    if not chosen:
        raise DataError(
            f"hf:{repo} has no split '{printable(split)}' but {', '.join(map(printable, [*there, ALL]))}; "
            f"name one of them: --data hf:{repo}:SPLIT"
        )
    return split, chosen


def _split(path: str) -> str | None:
    numbered = _NUMBERED.search(PurePosixPath(path).name)
    if numbered:
        return _usual(numbered[1])
    words = _WORD.findall(path.lower())
    return _USUAL[words[-1]] if words else None


def _usual(split: str) -> str:
    return _USUAL.get(split.lower(), split)


def _within(repo: str, names: list[str], config: str) -> list[str]:
    chosen = [name for name in names if f"/{config}/" in f"/{name}"]
    if not chosen:
        folders = sorted({str(PurePosixPath(name).parent) for name in names} - {"."})
        raise DataError(
            f"hf:{repo} has no configuration '{printable(config)}'; "
            f"its folders: {', '.join(map(printable, folders[:20])) or 'none'}"
        )
    return chosen


def _of_config(repo: str, names: list[str], split: str, configs: set[str]) -> tuple[str, list[str]]:
    # Configurations mostly hold the same pictures in different ways: together they would count twice.
    present = {part for name in names for part in PurePosixPath(name).parts[:-1] if part in configs}
    if len(present) < 2:
        return "", names
    if "default" not in present:
        raise DataError(
            f"hf:{repo} has the configurations {', '.join(map(printable, sorted(present)))}; "
            f"name one of them: --data hf:{repo}:CONFIGURATION/{split}"
        )
    return "default", _within(repo, names, "default")


def _configurations(card: dict[str, Any]) -> set[str]:
    entries = _entries(card, "configs") + _entries(card, "dataset_info")
    return {str(entry["config_name"]) for entry in entries if "config_name" in entry}


def _entries(card: dict[str, Any], key: str) -> list[dict[str, Any]]:
    # A stranger's YAML: one entry may stand without its list, and anything may stand in their place.
    value = card.get(key)
    values = value if isinstance(value, list) else [value]
    return [entry for entry in values if isinstance(entry, dict)]
