"""What can go wrong between this machine and the Hub -> one line that says what to do. Free of torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # httpx2 or httpx, whichever the client uses

from .errors import GanTransferError
from .files import SPARE_BYTES
from .text import printable, reason

TIMEOUT_SECONDS = 10.0
"""Silence of the Hub after which it counts as unreachable."""

FAILURES = (httpx.HTTPError, OSError, ValueError, KeyError, TypeError, RuntimeError, XetDownloadError)
"""What the client raises; ValueError, KeyError and TypeError come of answers that no Hub would give."""

LOGIN = "log in with `hf auth login` or set HF_TOKEN"
"""What to do without a token."""

NEW_LOGIN = "log in anew with `hf auth login`, or set HF_TOKEN to another or unset it"
"""What to do with a token that is refused."""

_UNAUTHORISED, _FORBIDDEN = 401, 403


class Kind(NamedTuple):
    """What is asked of the Hub: its data sets or its models, as messages speak of them."""

    folder: str
    """Before a name in an address of the Hub: `datasets/`, or nothing for models."""
    error: type[GanTransferError]
    """The class of its errors."""
    other_ways: str
    """How to go on without the Hub."""

    def page(self, repo: str) -> str:
        """The address where people see a repository."""
        return f"{constants.ENDPOINT}/{self.folder}{repo}"


def is_unreachable(error: BaseException) -> bool:
    """Whether it is the way to the Hub or the Hub itself that failed, and not what was asked of it."""
    error = _cause(error)
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
        return False
    if isinstance(error, HfHubHTTPError):
        return status(error) not in (_UNAUTHORISED, _FORBIDDEN)
    # Errors of the disk have a number; the client also raises OSErrors of its own.
    return not isinstance(error, OSError) or error.errno is None


def refusal(error: BaseException, kind: Kind, repo: str, revision: str | None) -> GanTransferError:
    """The error for a repository that the Hub does not give, or that does not come."""
    error = _cause(error)
    if isinstance(error, GatedRepoError):
        return _gated(kind, repo)
    if isinstance(error, RepositoryNotFoundError):
        return _missing(kind, repo)
    if isinstance(error, RevisionNotFoundError):
        return kind.error(
            f"hf:{repo} has no revision '{printable(revision or 'main')}'; "
            f"its branches, tags and commits are listed at {kind.page(repo)}/tree/main"
        )
    if isinstance(error, HfHubHTTPError) and not is_unreachable(error):
        return kind.error(
            f"hf:{repo} is refused at {constants.ENDPOINT}: {describe(error)}; the token is wrong, has run out or "
            f"may not read it: {NEW_LOGIN}"
        )
    if is_unreachable(error):
        return kind.error(
            f"hf:{repo} cannot be reached at {constants.ENDPOINT}: {describe(error)}; connect, or set HF_ENDPOINT to "
            f"a mirror, and give the same command again; {kind.other_ways}"
        )
    return kind.error(
        f"the Hub's cache '{printable(constants.HF_HUB_CACHE)}' cannot be written: {describe(error)}; "
        "set HF_HOME to a folder on another disk or with permission to write"
    )


def broken_off(error: BaseException, kind: Kind, repo: str, revision: str | None) -> GanTransferError:
    """The error for a download that began and did not end."""
    if not is_unreachable(error):
        return refusal(error, kind, repo, revision)
    return kind.error(
        f"the download of hf:{repo} from {constants.ENDPOINT} broke off: {describe(error)}; "
        "the files that came whole are kept: connect, or set HF_ENDPOINT to a mirror, and give the same command again "
        f"for the rest; {kind.other_ways}"
    )


def check_room(kind: Kind, repo: str, need: int) -> None:
    """Raise the kind's error unless the Hub's cache has `need` bytes and `SPARE_BYTES` free."""
    folder = Path(constants.HF_HUB_CACHE).absolute()
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.is_dir())).free
    if free < need + SPARE_BYTES:
        raise kind.error(
            f"hf:{repo} needs {(need + SPARE_BYTES) / 1e9:.2f} GB, {free / 1e9:.2f} GB free at the Hub's cache "
            f"'{printable(constants.HF_HUB_CACHE)}'; set HF_HOME to a folder on another disk"
        )


def status(error: HfHubHTTPError) -> int:
    """The status of the Hub's answer."""
    return error.response.status_code


def describe(error: BaseException) -> str:
    """What the Hub answered, or why it did not, on one line."""
    error = _cause(error)
    if isinstance(error, HfHubHTTPError):
        return printable(f"{status(error)} {error.response.reason_phrase}".strip())
    if isinstance(error, json.JSONDecodeError | KeyError | TypeError):
        return f"its answer is not that of a Hub ({reason(error)})"
    return reason(error)


def _gated(kind: Kind, repo: str) -> GanTransferError:
    if get_token():
        return kind.error(
            f"hf:{repo} is gated, and the account of your token has no access yet: ask for it at {kind.page(repo)} "
            f"and give the same command again when it is granted; {kind.other_ways}"
        )
    return kind.error(
        f"hf:{repo} is gated: ask for access at {kind.page(repo)}, {LOGIN}, and give the same command again; "
        f"{kind.other_ways}"
    )


def _missing(kind: Kind, repo: str) -> GanTransferError:
    login = "your token may not read it" if get_token() else LOGIN
    return kind.error(
        f"hf:{repo} is not at {constants.ENDPOINT}, or is private; check the name at {kind.page(repo)}; "
        f"if it is private, {login}"
    )


def _cause(error: BaseException) -> BaseException:
    # The client says "not found here" and hangs on to it why it could not look there.
    return error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error
