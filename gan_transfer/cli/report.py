"""`gan-transfer report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="A run folder, finished or not.")],
    no_reals: Annotated[bool, typer.Option("--no-reals", help="Leave real pictures out, to hand the page on.")] = False,
) -> None:
    """Write report.html into a run folder: one file with verdict, samples over time, curves, recipe and commands.

    Every run does that by itself at its snapshots.

    Example: gan-transfer report runs/00000-coverart-builtin-covers
    """
    from ..report.page import write_report

    print(write_report(run, reals=not no_reals))
    typer.echo("next: open it in a browser", err=True)
