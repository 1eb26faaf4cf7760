"""`hf:ORG/NAME[@REVISION]`: a pair on the Hugging Face Hub -> its snapshot folder in the Hub's cache. Free of torch.

It stands beside the snapshots, not with publishing, because everything that opens a pair opens one by its address.
Only files of known names are fetched, and only weights and JSON are read: nothing is unpickled, no code comes along.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, not exported

from ..errors import GanTransferError, WeightsError
from ..hub_errors import FAILURES, TIMEOUT_SECONDS, Kind, broken_off, check_room, is_unreachable, refusal
from ..text import printable
from .snapshot import EXTRAS, PAIR, is_snapshot

PREFIX = "hf:"
MODELS = Kind("", WeightsError, "or take builtin, a snapshot folder or a run folder")
"""What is asked for here."""

_WHERE = re.compile(r"(?P<repo>[^/@:]+/[^/@:]+)(@(?P<revision>.+))?")
_COMMIT = re.compile("[0-9a-f]{40}")
FOREIGN = (".pth", ".pt", ".ckpt", ".th", ".bin", ".pkl", ".tar", ".safetensors")
"""Endings of files that `gan-transfer import` may read."""

_TOLD = 8  # files that a message names


class Address(NamedTuple):
    """Where a pair is on the Hub."""

    repo: str
    """`org/name`."""
    revision: str | None = None
    """Branch, tag or commit; None is the default branch."""

    def __str__(self) -> str:
        return f"{PREFIX}{self.short}"

    @property
    def short(self) -> str:
        """As `gan-transfer download` takes it, without `hf:`."""
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


def parse(where: str) -> Address:
    """Read `org/name` or `org/name@revision`, with or without `hf:` before it.

    Raises:
        WeightsError: it is not of that form, or no name that the Hub would have.
    """
    parts = _WHERE.fullmatch(where.removeprefix(PREFIX))
    try:
        if parts is None:
            raise HFValidationError("no ORG/NAME")
        validate_repo_id(parts["repo"])
    except HFValidationError:
        raise WeightsError(
            f"{printable(where)!r} does not name a pair on the Hub; wanted hf:ORG/NAME[@REVISION]. "
            "See what is here: gan-transfer models ls"
        ) from None
    return Address(parts["repo"], parts["revision"])


def fetch(address: Address, anew: bool = False) -> Path:
    """The snapshot folder of a pair, named after its commit; what is in the Hub's cache already is not downloaded.

    Without the Hub, the cache is asked. When a download breaks off, the files that came whole are kept and only the
    others are downloaded the next time.

    Args:
        address: of the pair.
        anew: download all of it, whatever is in the cache.

    Raises:
        WeightsError: the Hub cannot be reached and the cache does not have it; it, or the revision, is not there, or
            is no pair; access is refused; the disk is too small, or the download broke off.
    """
    cached = None if anew else _cached(address)
    if cached is not None and _COMMIT.fullmatch(address.revision or ""):
        return cached  # a commit never changes
    try:
        commit, sizes = _ask(address)
    except FAILURES as error:
        if cached is not None and is_unreachable(error):
            return cached
        raise _refusal(error, address) from None
    _check_kind(address, sizes)
    present = None if anew else _cached(Address(address.repo, commit))
    wanted = {name: size for name, size in sizes.items() if name in (*PAIR, *EXTRAS)}
    if present is None:
        check_room(MODELS, address.repo, sum(wanted.values()))
    return _downloaded(address, list(wanted), anew)


def _ask(address: Address) -> tuple[str, dict[str, int]]:
    """The commit that an address stands for, and its files with their bytes."""
    api = HfApi()
    commit = str(api.model_info(address.repo, revision=address.revision, timeout=TIMEOUT_SECONDS).sha)
    entries = api.list_repo_tree(address.repo, recursive=True, revision=commit)
    return commit, {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}


def _downloaded(address: Address, names: list[str], anew: bool) -> Path:
    # By the name that was given, which the client then remembers, and finds again without the Hub.
    repo, revision = address
    try:
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=names, force_download=anew))
    except FAILURES as error:
        raise broken_off(error, MODELS, repo, revision) from None
    if not is_snapshot(folder):  # the Hub went away, and the client took what the cache has
        raise broken_off(RuntimeError("not all files came"), MODELS, repo, revision)
    return folder


def _cached(address: Address) -> Path | None:
    # Without patterns the client would want the whole repository there.
    with contextlib.suppress(LocalEntryNotFoundError):
        folder = Path(
            snapshot_download(address.repo, revision=address.revision, allow_patterns=[], local_files_only=True)
        )
        return folder if is_snapshot(folder) else None
    return None


def _check_kind(address: Address, names: Iterable[str]) -> None:
    names = [name for name in names if not name.startswith(".git")]
    lacking = [name for name in PAIR if name not in names]
    if not lacking:
        return
    told = ", ".join(map(printable, sorted(names)[:_TOLD])) + " ..." * (len(names) > _TOLD)
    weights = [printable(name) for name in sorted(names) if name.endswith(FOREIGN)]
    advice = f"Pairs are listed at {constants.ENDPOINT}/models?library=gan-transfer"
    if weights:
        advice = f"Other projects' DCGANs are read by: gan-transfer import {address}:{weights[0]}"
    raise WeightsError(
        f"{address} is not a pair of gan-transfer: it has no {' and no '.join(lacking)} (it holds: "
        f"{told or 'nothing'}). {advice}"
    )


def _refusal(error: BaseException, address: Address) -> GanTransferError:
    with contextlib.suppress(*FAILURES):  # asked for a better message only
        if isinstance(error, RepositoryNotFoundError) and is_data_set(address.repo):
            return WeightsError(f"{address} is a data set, not a pair; train on it with --data {PREFIX}{address.repo}")
    return refusal(error, MODELS, *address)


def is_data_set(repo: str) -> bool:
    """Whether the Hub has a data set of this name; raises what its client raises when it cannot be asked."""
    try:
        HfApi().dataset_info(repo, timeout=TIMEOUT_SECONDS)
    except RepositoryNotFoundError:
        return False
    return True
