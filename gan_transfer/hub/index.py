"""The pairs that are at hand: those that ship with the package, and those in the Hub's cache. Free of torch."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from ..errors import WeightsError
from ..models.embedded import embedded, index
from ..models.lineage import ancestors
from ..models.metrics import read_metrics
from ..models.remote import Address
from ..models.snapshot import is_snapshot, read_config


@dataclasses.dataclass(frozen=True)
class Entry:
    """A pair at hand.

    Attributes:
        where: what `--from` and `--network` take.
        commit: on the Hub; empty for an embedded pair.
        kimg: of its training; None where it is not told.
        resolution: height and width, pixels.
        channels: 1 for grey, 3 for colour.
        about: what it is for, or what it was trained on.
        megabytes: on disk.
    """

    where: str
    commit: str
    kimg: float | None
    resolution: int
    channels: int
    about: str
    megabytes: float


def entries() -> list[Entry]:
    """All pairs at hand, the embedded ones first. Damaged ones are left out: opening them says what is wrong."""
    return [*_embedded(), *_cached()]


def details(folder: Path) -> dict[str, Any]:
    """What a snapshot says of itself: shape, clock, recipe, data, lineage, findings, files with their bytes.

    Raises:
        WeightsError: it is no snapshot, or a file of it cannot be understood.
    """
    model, info = read_config(folder)
    metrics = read_metrics(folder)
    return {
        "folder": str(folder),
        "model": dataclasses.asdict(model),
        "kimg": info.get("kimg"),
        "recipe": info.get("recipe"),
        "data": info.get("data"),
        "from": [parent.get("pair") for parent in ancestors(info)],
        "metrics": metrics and dataclasses.asdict(metrics),
        "files": {path.name: path.stat().st_size for path in _files(folder)},
    }


def _embedded() -> Iterator[Entry]:
    with contextlib.suppress(WeightsError):  # an installation without them
        for name, about in index()["pairs"].items():
            with contextlib.suppress(WeightsError):  # listed, and not in this installation
                yield _entry(f"builtin:{name}", "", embedded(name)[0], about["purpose"])


def _cached() -> Iterator[Entry]:
    with contextlib.suppress(CacheNotFound):
        for repo in sorted(scan_cache_dir(constants.HF_HUB_CACHE).repos, key=lambda repo: repo.repo_id):
            if repo.repo_type == "model":
                for revision in sorted(repo.revisions, key=lambda revision: -revision.last_modified):
                    name = min(revision.refs, key=lambda ref: (ref != "main", ref), default=revision.commit_hash)
                    address = Address(repo.repo_id, None if name == "main" else name)
                    with contextlib.suppress(WeightsError):
                        yield _entry(str(address), revision.commit_hash, revision.snapshot_path)


def _entry(where: str, commit: str, folder: Path, about: str = "") -> Entry:
    if not is_snapshot(folder):
        raise WeightsError(f"{folder} is not a snapshot")
    model, info = read_config(folder)
    told = about or _trained_on(info)
    size = sum(path.stat().st_size for path in _files(folder))
    return Entry(where, commit, info.get("kimg"), model.resolution, model.channels, told, round(size / 1e6, 1))


def _trained_on(info: dict[str, Any]) -> str:
    data = info.get("data")
    return str(data.get("source", "")) if isinstance(data, dict) else ""


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())
