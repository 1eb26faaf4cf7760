"""Before anything is uploaded or trained for it: the token, the permission and the name. What the Hub refuses, told."""

from __future__ import annotations

import contextlib
from typing import Any

from huggingface_hub import HfApi, ModelInfo, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, not exported

from ..errors import PublishError
from ..hub_errors import FAILURES, LOGIN, NEW_LOGIN, TIMEOUT_SECONDS, describe, is_unreachable, status
from ..models.remote import is_data_set
from ..text import printable, reason

_UNAUTHORISED, _FORBIDDEN = 401, 403


def check(repo: str, private: bool = False, offered: bool = False) -> None:
    """Check that a pair can be published; writes nothing.

    Args:
        repo: `org/name`, there already or not.
        private: for nobody else to see.
        offered: as a pull request, for which the repository must be there and needs no permission.

    Raises:
        PublishError: no name, no token, a token that is refused or may only read, no permission under `org`, a data
            set of that name, a public repository for a private pair, none to offer it to, or the Hub cannot be reached.
    """
    _check_name(repo)
    if not get_token():
        raise PublishError(f"publishing to {repo} needs a token that may write: {LOGIN}")
    try:
        there = _there(repo)
        if offered and there is None:
            raise PublishError(f"there is no {repo} to offer a pull request to; give the command without --pr")
        if private and there is not None and not there.private:
            raise PublishError(
                f"{repo} is there already and public; make it private at {constants.ENDPOINT}/{repo}/settings, or give "
                "another --repo"
            )
        if not offered:
            _check_permission(repo, HfApi().whoami())
        if there is None and is_data_set(repo):
            raise PublishError(
                f"{repo} is the name of a data set, {constants.ENDPOINT}/datasets/{repo}; two things of one name are "
                f"mixed up: give the pair another, such as --repo {repo}-dcgan"
            )
    except FAILURES as error:
        if not is_unreachable(error):
            raise refusal(error, repo) from None
        raise PublishError(
            f"{repo} cannot be published: {constants.ENDPOINT} cannot be reached: {describe(error)}; connect, or set "
            "HF_ENDPOINT to a mirror, and give the same command again"
        ) from None


def refusal(error: BaseException, repo: str) -> PublishError:
    """The error for what the Hub does not take, or what does not get there."""
    if isinstance(error, HfHubHTTPError) and status(error) == _UNAUTHORISED:
        return PublishError(f"publishing to {repo}: {constants.ENDPOINT} refuses the token; {NEW_LOGIN}")
    if isinstance(error, HfHubHTTPError) and status(error) == _FORBIDDEN:
        return _forbidden(repo, "the token may not write there")
    if is_unreachable(error):
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        return PublishError(
            f"the upload of {repo} to {constants.ENDPOINT} did not get through: {describe(cause)}; it is there whole "
            "or not at all, and what arrived is kept: connect, or set HF_ENDPOINT to a mirror, and give the same "
            "command again for the rest"
        )
    return PublishError(f"{repo} cannot be published: {reason(error)}")


def _check_name(repo: str) -> None:
    with contextlib.suppress(HFValidationError):
        validate_repo_id(repo)
        if "/" in repo:
            return
    raise PublishError(
        f"'{printable(repo)}' is no name for a repository; wanted ORG/NAME, for instance me/dcgan-covers"
    )


def _there(repo: str) -> ModelInfo | None:
    try:
        return HfApi().model_info(repo, timeout=TIMEOUT_SECONDS)
    except RepositoryNotFoundError:
        return None


def _check_permission(repo: str, account: dict[str, Any]) -> None:
    """Against what the Hub tells of the token; it has the last word when the repository is made."""
    user, namespace = str(account["name"]), repo.partition("/")[0]
    roles = {str(org["name"]): org.get("roleInOrg") for org in account.get("orgs", [])}
    token = (account.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        raise _forbidden(repo, "the token may only read")
    if namespace not in (user, *roles):
        places = ", ".join(f"{name}/{repo.partition('/')[2]}" for name in (user, *roles))
        raise _forbidden(repo, f"{user} is no member of {namespace}", f"give a --repo of yours ({places})")
    if roles.get(namespace) == "read":
        raise _forbidden(repo, f"{user} may only read in {namespace}")


def _forbidden(repo: str, why: str, advice: str = "") -> PublishError:
    page = f"make a token that may write there at {constants.ENDPOINT}/settings/tokens and log in with it"
    return PublishError(f"no permission to publish to {repo}: {why}; {advice or page}")
