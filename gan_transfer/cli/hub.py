"""`gan-transfer publish` and `gan-transfer download`."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from .for_scripts import AsJson, print_json


def publish(
    pair: Annotated[str, typer.Argument(metavar="RUN|SNAPSHOT", help="A run folder, or one of its snapshots.")],
    repo: Annotated[str, typer.Option("--repo", help="ORG/NAME on the Hub; made if it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    tag: Annotated[str, typer.Option("--tag", help="Tag for the commit, such as v1.")] = "",
    revision: Annotated[str, typer.Option("--revision", help="Branch to commit to; made if it is not there.")] = "",
    offered: Annotated[bool, typer.Option("--pr", help="Offer it as a pull request.")] = False,
    license: Annotated[str, typer.Option("--license", help="Licence of the weights, such as cc-by-4.0.")] = "",
    no_samples: Annotated[bool, typer.Option("--no-samples", help="Leave the grid of samples out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Make and check all, print the card; upload nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Publish a generator with its discriminator, in one commit: weights, recipe, findings, samples and card.

    Example: gan-transfer publish runs/00000-coverart-covers --repo me/dcgan-covers --tag v1
    """
    import dataclasses

    from huggingface_hub import logging

    from ..hub.publish import Destination, check, prepare, upload

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what it would warn of is told below
    to = Destination(repo, private, tag, revision, offered)
    bundle = prepare(pair, repo, not no_samples, license)
    if dry_run:
        check(bundle, to)
        print_json({"repo": repo, "card": bundle.card, "files": bundle.sizes}) if as_json else print(bundle.card)
        for name, size in bundle.sizes.items():
            typer.echo(f"{size:>12,} bytes  {name}", err=True)
        typer.echo("dry run: nothing was uploaded", err=True)
        return
    done = upload(bundle, to)
    if not done.changed:
        typer.echo(f"{repo} holds exactly this already; no commit was made", err=True)
    typer.echo(f"next: gan-transfer sample --network hf:{shlex.quote(repo)} --seeds 0-63 --output out", err=True)
    print_json({"repo": repo, **dataclasses.asdict(done)}) if as_json else print(done.url)


def download(
    pair: Annotated[str, typer.Argument(metavar="ORG/NAME[@REVISION]", help="On the Hub; also hf:ORG/NAME.")],
    as_json: AsJson = False,
) -> None:
    """Download a published pair into the Hub's cache, check every file, and mend what is damaged.

    Example: gan-transfer download org/name@v1
    """
    from ..hub.download import download
    from ..models.remote import parse

    folder = download(pair)
    typer.echo(f"next: gan-transfer finetune --target coverart --from {parse(pair)}", err=True)
    print_json({"pair": str(parse(pair)), "folder": folder}) if as_json else print(folder)
