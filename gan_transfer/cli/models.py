"""`gan-transfer models ls | show`: the pairs that are at hand."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .for_scripts import AsJson, print_json

app = typer.Typer(help="List and show the pairs at hand: embedded, and in the Hub's cache.", no_args_is_help=True)


@app.command()
def ls(as_json: AsJson = False) -> None:
    """List the embedded pairs and those that were downloaded from the Hub."""
    from rich.console import Console
    from rich.table import Table

    from ..hub.index import entries

    found = entries()
    if as_json:
        print_json(found)
        return
    table = Table("--from and --network", "pictures", "kimg", "MB", "about", box=None)
    table.columns[0].no_wrap = True  # to be copied
    for entry in found:
        picture = f"{entry.resolution}x{entry.resolution} {'grey' if entry.channels == 1 else 'colour'}"
        kimg = "-" if entry.kimg is None else f"{entry.kimg:g}"
        table.add_row(entry.where, picture, kimg, f"{entry.megabytes:g}", entry.about)
    Console(highlight=False).print(table)
    typer.echo("Look at one: gan-transfer models show builtin", err=True)


@app.command()
def show(
    where: Annotated[str, typer.Argument(help="builtin, hf:ORG/NAME\\[@REVISION], a snapshot or a run folder.")],
    as_json: AsJson = False,
) -> None:
    """Show what a pair says of itself: shape, clock, data, lineage, findings. One on the Hub is downloaded first.

    Example: gan-transfer models show builtin
    """
    from ..hub.index import details
    from ..transfer.start import find

    found = details(find(where)[0])
    if as_json:
        print_json(found)
        return
    found["metrics"] = found["metrics"] or "not diagnosed"
    for key, value in found.items():
        print(f"{key:<10} {_words(value)}")


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return " <- ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
