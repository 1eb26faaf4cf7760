"""Brings a published pair to this machine, whole: every file checked, and mended where it is damaged."""

from __future__ import annotations

from pathlib import Path

from ..errors import DamagedError, WeightsError
from ..models.remote import MODELS, fetch, parse
from ..models.weights import load_pair


def download(where: str) -> Path:
    """The snapshot folder of a pair on the Hub, in the Hub's cache, after it has been loaded once.

    Args:
        where: `org/name[@revision]`, with or without `hf:` before it.

    Raises:
        WeightsError: see `gan_transfer.models.remote.fetch`; or the pair is damaged on the Hub itself.
    """
    address = parse(where)
    try:
        load_pair(folder := fetch(address))
    except DamagedError:
        folder = fetch(address, anew=True)
        try:
            load_pair(folder)
        except DamagedError as error:
            raise WeightsError(
                f"{address} is damaged where it was published: {str(error).rpartition('. ')[0]}. "
                f"Take another revision, {address.repo}@REVISION, or tell its owner at "
                f"{MODELS.page(address.repo)}/discussions"
            ) from None
    return folder
