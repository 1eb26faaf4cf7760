"""`hf:ORG/NAME`: the pictures of a data set on the Hugging Face Hub, downloaded into the Hub's cache. Free of torch."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from huggingface_hub import HfApi, hf_hub_download, metadata_load, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from huggingface_hub.hf_api import RepoFile
from PIL import Image

from .. import files
from ..errors import DataError
from ..hub_errors import FAILURES, TIMEOUT_SECONDS, Kind, broken_off, check_room, is_unreachable, refusal
from .archive import ZipSource
from .cache import cache_dir
from .folder import FolderSource
from .hub_files import choose, is_complete, promised
from .paths import printable, slug
from .source import Source
from .tar import TarSource

CARD = "README.md"

DATA_SETS = Kind(
    "datasets/",
    DataError,
    "or take a copy of your own with --data folder:PATH, zip:FILE, tar:SHARDS or parquet:PATH, "
    "or the built-in pictures with --data builtin:covers",
)
"""What is asked for here."""

_WHERE = re.compile(r"(?P<repo>[^/@:]+/[^/@:]+)(@(?P<revision>[^:]+))?(:(?P<split>.+))?")
_COMMIT = re.compile("[0-9a-f]{40}")
_DATASET = "dataset"


class _Address(NamedTuple):
    repo: str
    """`org/name`."""
    revision: str | None
    """Branch, tag or commit; None is the default branch."""
    split: str
    """As it was asked for; empty if it was not."""


@dataclasses.dataclass(frozen=True)
class _Found:
    # What an address stood for when the Hub was last asked.
    commit: str
    kind: str
    split: str
    sizes: dict[str, int]
    """Bytes by path in the repository, sorted."""
    count: int | None
    """Pictures, if that is known."""


class HubSource:
    """The pictures of one split of a data set on the Hub: parquet files, else tar files, a zip file or loose pictures.

    Opening it asks the Hub for the commit, its files and its card: three small answers, which are remembered, so that
    a pack that was made is found again without the Hub.
    """

    def __init__(self, where: str) -> None:
        """Find the commit and the files; no picture is downloaded yet.

        Args:
            where: `org/name[@revision][:split]`; the split may be `all`, or `CONFIGURATION/SPLIT`. Without one it is
                `train`, or the only one that there is.

        Raises:
            DataError: the data set cannot be reached and was not found before; it, the revision or the split is not
                there; access is refused; or there are no pictures in it.
        """
        self._address = _parse(where)
        self._found = _find(self._address)
        self._reader: Source | None = None
        self._lock = threading.Lock()
        self.spec = f"hf:{self._address.repo}@{self._found.commit}:{self._found.split}"
        self.origin = self.spec
        self.name = slug(self._address.repo.rpartition("/")[2])

    def __len__(self) -> int:
        if self._reader is None and self._found.count is not None:
            return self._found.count
        return len(self._fetched())

    def fetch(self) -> None:
        """Download what is not in the Hub's cache.

        When it breaks off, the files that came whole are kept and only the others are downloaded the next time, each
        from its start. Within one download a cut connection is taken up where it was cut.

        Raises:
            DataError: the disk is too small, access is refused, or not all of it came.
        """
        self._fetched()

    def label(self, index: int) -> str:
        """The file's name and the picture's place in it; fetches first."""
        return self._fetched().label(index)

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        """Decode one picture fully, fetched first; see the reader of the kind of file for what it raises."""
        return self._fetched().load(index, hint)

    def fingerprint(self) -> str:
        """SHA-256 over the data set's name, the commit and the files' names, known before anything is fetched."""
        identity = ["hub", self._address.repo, self._found.commit, *self._found.sizes]
        return hashlib.sha256("\0".join(identity).encode()).hexdigest()

    def close(self) -> None:
        """Close the files; nothing can be loaded afterwards."""
        if self._reader is not None:
            self._reader.close()

    def _fetched(self) -> Source:
        with self._lock:
            if self._reader is None:
                self._reader = _open(_snapshot(self._address.repo, self._found), self._found)
                self._found = dataclasses.replace(self._found, count=len(self._reader))
                _remember(self._address, self._found)
            return self._reader


def _parse(where: str) -> _Address:
    parts = _WHERE.fullmatch(where)
    if parts is None:
        raise _nameless(where)
    return _Address(parts["repo"], parts["revision"], parts["split"] or "")


def _nameless(where: str) -> DataError:
    return DataError(
        f"hf:{printable(where)} does not name a data set on the Hub; wanted hf:ORG/NAME[@REVISION][:SPLIT], "
        "for instance --data hf:uoft-cs/cifar10:train"
    )


def _find(address: _Address) -> _Found:
    remembered = _recall(address)
    if remembered and _COMMIT.fullmatch(address.revision or ""):
        return remembered  # a commit never changes
    try:
        found = _ask(address)
    except HFValidationError:
        raise _nameless(address.repo) from None
    except FAILURES as error:
        known = (remembered or _in_cache(address)) if is_unreachable(error) else None
        if known is None:
            raise refusal(error, DATA_SETS, address.repo, address.revision) from None
        return known
    _remember(address, found)
    return found


def _ask(address: _Address) -> _Found:
    api = HfApi()
    info = api.dataset_info(address.repo, revision=address.revision, timeout=TIMEOUT_SECONDS)
    commit = str(info.sha)
    entries = api.list_repo_tree(address.repo, recursive=True, revision=commit, repo_type=_DATASET)
    sizes = {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}
    card = _card(address.repo, commit) if CARD in sizes else {}
    return _choose(address, commit, sizes, card)


def _choose(address: _Address, commit: str, sizes: dict[str, int], card: dict[str, Any]) -> _Found:
    kind, split, names = choose(address.repo, sizes, address.split, card)
    return _Found(commit, kind, split, {name: sizes[name] for name in names}, promised(card, split))


def _card(repo: str, commit: str) -> dict[str, Any]:
    try:
        path = hf_hub_download(repo, CARD, repo_type=_DATASET, revision=commit, etag_timeout=TIMEOUT_SECONDS)
        return metadata_load(path) or {}
    except Exception:  # whatever a stranger wrote there or whoever may not read it: only its promise is lost
        return {}


def _in_cache(address: _Address) -> _Found | None:
    # What another program downloaded, such as `hf download`.
    try:
        folder = _cached(address.repo, address.revision)
        if folder is None:
            return None
        sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in _files(folder)}
        card = _card(address.repo, folder.name) if CARD in sizes else {}
        found = _choose(address, folder.name, sizes, card)
    except (DataError, OSError):
        return None
    return found if is_complete(found.sizes) else None


def _cached(repo: str, revision: str | None) -> Path | None:
    # The snapshot's folder, whatever is in it: without patterns the client would want the whole repository there.
    with contextlib.suppress(LocalEntryNotFoundError):
        return Path(
            snapshot_download(repo, repo_type=_DATASET, revision=revision, allow_patterns=[], local_files_only=True)
        )
    return None


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _snapshot(repo: str, found: _Found) -> Path:
    folder = _cached(repo, found.commit)
    missing = found.sizes if folder is None else _missing(folder, found.sizes)
    if folder is not None and not missing:
        return folder
    check_room(DATA_SETS, repo, sum(missing.values()))
    try:
        # Asked first, as a download from a dead Hub tries for half a minute.
        HfApi().dataset_info(repo, revision=found.commit, timeout=TIMEOUT_SECONDS)
        patterns = _patterns(found)
        folder = Path(snapshot_download(repo, repo_type=_DATASET, revision=found.commit, allow_patterns=patterns))
    except FAILURES as error:
        raise broken_off(error, DATA_SETS, repo, found.commit) from None
    if missing := _missing(folder, found.sizes):
        absent = RuntimeError(f"{len(missing)} of {len(found.sizes)} files did not come")
        raise broken_off(absent, DATA_SETS, repo, found.commit)
    return folder


def _missing(folder: Path, sizes: dict[str, int]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if not _is_whole(folder / name, size)}


def _is_whole(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _patterns(found: _Found) -> list[str]:
    if found.kind != "folder":
        return [glob.escape(name) for name in found.sizes]
    # Every pattern is compared with every file: loose pictures, of which there are many, are named by their folders.
    paths = map(PurePosixPath, found.sizes)
    return sorted({glob.escape(str(path.parent / "x"))[:-1] + f"*{path.suffix}" for path in paths})


def _open(folder: Path, found: _Found) -> Source:
    paths = [folder / name for name in found.sizes]
    if found.kind == "parquet":
        from .parquet import ParquetSource  # imports pyarrow

        return ParquetSource(str(folder), paths)
    if found.kind == "tar":
        return TarSource(str(folder), paths)
    if found.kind == "zip":
        return ZipSource(str(paths[0]))
    return FolderSource(os.path.commonpath([path.parent for path in paths]))


def _remember(address: _Address, found: _Found) -> None:
    # Under the address as it was given, and under that which names the commit, as `spec` does.
    with contextlib.suppress(OSError):  # a cache that cannot be written is told when pictures go there
        for known in (address, _Address(address.repo, found.commit, found.split)):
            path = _memory(known)
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(path, dataclasses.asdict(found))


def _recall(address: _Address) -> _Found | None:
    try:
        return _Found(**json.loads(_memory(address).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # absent or damaged


def _memory(address: _Address) -> Path:
    key = hashlib.sha256("\0".join(map(str, address)).encode()).hexdigest()[:16]
    return cache_dir() / "hub" / f"{slug(address.repo)}-{key}.json"
