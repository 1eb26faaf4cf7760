"""What can go wrong between this machine and the Hub -> one line that says what to do. Free of torch."""

from __future__ import annotations

import json

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

from ..errors import DataError
from .paths import printable, reason

OTHER_WAYS = (
    "or take a copy of your own with --data folder:PATH, zip:FILE, tar:SHARDS or parquet:PATH, "
    "or the built-in pictures with --data builtin:covers"
)
"""How to go on without the Hub."""

FAILURES = (httpx.HTTPError, OSError, ValueError, KeyError, TypeError, RuntimeError, XetDownloadError)
"""What the client raises; ValueError, KeyError and TypeError come of answers that no Hub would give."""

_UNAUTHORISED, _FORBIDDEN = 401, 403


def is_unreachable(error: BaseException) -> bool:
    """Whether it is the way to the Hub or the Hub itself that failed, and not what was asked of it."""
    error = _cause(error)
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
        return False
    if isinstance(error, HfHubHTTPError):
        return _status(error) not in (_UNAUTHORISED, _FORBIDDEN)
    # Errors of the disk have a number; the client also raises OSErrors of its own.
    return not isinstance(error, OSError) or error.errno is None


def refusal(error: BaseException, repo: str, revision: str | None) -> DataError:
    """The error for a data set that the Hub does not give, or that does not come."""
    error = _cause(error)
    page = f"{constants.ENDPOINT}/datasets/{repo}"
    if isinstance(error, GatedRepoError):
        return _gated(repo, page)
    if isinstance(error, RepositoryNotFoundError):
        return _missing(repo, page)
    if isinstance(error, RevisionNotFoundError):
        return DataError(
            f"hf:{repo} has no revision '{printable(revision or 'main')}'; "
            f"its branches, tags and commits are listed at {page}/tree/main"
        )
    if isinstance(error, HfHubHTTPError) and not is_unreachable(error):
        return DataError(
            f"hf:{repo} is refused at {constants.ENDPOINT}: {_describe(error)}; the token is wrong, has run out or "
            "may not read it: log in anew with `hf auth login`, or set HF_TOKEN to another or unset it"
        )
    if is_unreachable(error):
        return DataError(
            f"hf:{repo} cannot be reached at {constants.ENDPOINT}: {_describe(error)}; connect, or set HF_ENDPOINT to "
            f"a mirror, and give the same command again; {OTHER_WAYS}"
        )
    return _unwritable(error)


def broken_off(error: BaseException, repo: str, revision: str | None) -> DataError:
    """The error for a download that began and did not end."""
    if not is_unreachable(error):
        return refusal(error, repo, revision)
    return DataError(
        f"the download of hf:{repo} from {constants.ENDPOINT} broke off: {_describe(_cause(error))}; "
        "the files that came whole are kept: connect, or set HF_ENDPOINT to a mirror, and give the same command again "
        f"for the rest; {OTHER_WAYS}"
    )


def no_room(repo: str, need: int, free: int) -> DataError:
    """The error for a disk that is too small; `need` and `free` in bytes."""
    return DataError(
        f"hf:{repo} needs {need / 1e9:.2f} GB, {free / 1e9:.2f} GB free at the Hub's cache "
        f"'{printable(constants.HF_HUB_CACHE)}'; set HF_HOME to a folder on another disk"
    )


def _gated(repo: str, page: str) -> DataError:
    if get_token():
        return DataError(
            f"hf:{repo} is gated, and the account of your token has no access yet: ask for it at {page} and give the "
            f"same command again when it is granted; {OTHER_WAYS}"
        )
    return DataError(
        f"hf:{repo} is gated: ask for access at {page}, log in with `hf auth login` or set HF_TOKEN, and give the "
        f"same command again; {OTHER_WAYS}"
    )


def _missing(repo: str, page: str) -> DataError:
    login = "your token may not read it" if get_token() else "log in with `hf auth login` or set HF_TOKEN"
    return DataError(
        f"hf:{repo} is not at {constants.ENDPOINT}, or is private; check the name at {page}; if it is private, {login}"
    )


def _unwritable(error: BaseException) -> DataError:
    return DataError(
        f"the Hub's cache '{printable(constants.HF_HUB_CACHE)}' cannot be written: {_describe(error)}; "
        "set HF_HOME to a folder on another disk or with permission to write"
    )


def _cause(error: BaseException) -> BaseException:
    # The client says "not found here" and hangs on to it why it could not look there.
    return error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error


def _status(error: HfHubHTTPError) -> int:
    return error.response.status_code


def _describe(error: BaseException) -> str:
    if isinstance(error, HfHubHTTPError):
        return printable(f"{_status(error)} {error.response.reason_phrase}".strip())
    if isinstance(error, json.JSONDecodeError | KeyError | TypeError):
        return f"its answer is not that of a Hub ({reason(error)})"
    return reason(error)
