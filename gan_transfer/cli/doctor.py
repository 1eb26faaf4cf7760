"""`gan-transfer doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .for_scripts import AsJson, print_json

if TYPE_CHECKING:
    from ..finding import Finding


def doctor(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="A run folder, finished or not; without it the machine alone."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with this machine, and with a run, and what to do about it.

    Exit codes: 0 nothing wrong, 10 a warning, 20 a failure; 2 where RUN is no run folder.

    Example: gan-transfer doctor runs/00000-coverart-builtin-covers
    """
    from .. import environment, symptoms
    from ..doctor import read_figures
    from ..finding import worst

    figures = read_figures(run) if run else None
    of_run = symptoms.examine(figures) if figures else []
    of_machine = environment.examine(run.absolute().parent if run else Path("runs"))
    findings = [*of_machine, *of_run]
    gravest = worst(findings)
    command = symptoms.next_command(figures, of_run) if figures else ""
    if as_json:
        level = gravest.level if gravest else "ok"
        print_json({"level": level, "machine": of_machine, "run": of_run, "next": command})
    else:
        _show("machine", of_machine)
        _show(str(run), of_run)
        if command:
            typer.echo(f"next: {command}", err=True)
    raise typer.Exit(gravest.level.exit_code if gravest else 0)


def _show(title: str, findings: Sequence[Finding]) -> None:
    """A line for each finding, folded between words on a terminal, and under it what to do, unfolded: it is copied."""
    import textwrap

    from rich.console import Console

    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    console, indent = Console(highlight=False, soft_wrap=True), " " * 20
    if findings:
        console.print(title, style="bold", markup=False)
    for line in findings:
        console.print(f"  {line.level:<5}", style=colours[line.level], end="", markup=False)
        told = textwrap.wrap(line.told, console.width - len(indent)) if console.is_terminal else [line.told]
        console.print(f"{line.what:<13}{f'{chr(10)}{indent}'.join(told)}", markup=False)
        if line.todo:
            console.print(f"{indent}-> {line.todo}", markup=False)
