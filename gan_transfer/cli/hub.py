"""`gan-transfer download` and `gan-transfer publish`."""

from __future__ import annotations

from typing import Annotated

import typer


def download(
    pair: Annotated[str, typer.Argument(metavar="ORG/NAME[@REVISION]", help="On the Hub; also hf:ORG/NAME.")],
) -> None:
    """Download a published pair into the Hub's cache, check every file, and mend what is damaged.

    Example: gan-transfer download org/name@v1
    """
    from ..hub.download import download
    from ..models.remote import parse

    folder = download(pair)
    typer.echo(f"next: gan-transfer finetune --target coverart --from {parse(pair)}", err=True)
    print(folder)
