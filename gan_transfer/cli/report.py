"""`gan-transfer report` and `gan-transfer watch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .for_scripts import AsJson, print_json


def report(
    run: Annotated[Path, typer.Argument(help="A run folder, finished or not, or a study's.")],
    no_reals: Annotated[bool, typer.Option("--no-reals", help="Leave real pictures out, to hand the page on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write report.html into a run folder: one file with verdict, samples over time, curves, recipe and commands.

    Every run does that by itself at its snapshots.

    Example: gan-transfer report runs/00000-coverart-builtin-covers
    """
    from ..report.page import write_report
    from ..report.study_page import STUDY, write_study_report

    page = write_study_report(run) if (run / STUDY).is_file() else write_report(run, reals=not no_reals)
    print_json({"written": page}) if as_json else print(page)
    typer.echo("next: open it in a browser", err=True)


def watch(
    run: Annotated[Path, typer.Argument(help="A run folder, running or finished.")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of the page; 0 takes a free one.")] = 8765,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Follow a run on a local page, which only this machine can see. Ends with Ctrl-C.

    Example: gan-transfer watch runs/00000-coverart-builtin-covers --open
    """
    import webbrowser

    from ..report.watch import serving

    with serving(run, port) as server:
        print(server.url, flush=True)
        typer.echo(f"following {run}; Ctrl-C ends this", err=True)
        if open_page:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)
