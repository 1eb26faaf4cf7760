"""`gan-transfer diagnose`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import RecipeError, RunError
from . import options
from .for_scripts import print_json

if TYPE_CHECKING:
    from ..diagnostics.findings import Diagnosis
    from ..run_history import Run


def diagnose(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="A run folder: its newest snapshot, data, crop, history.")
    ] = None,
    network: Annotated[
        str | None, typer.Option("--network", help="builtin, a snapshot folder or a run folder.")
    ] = None,
    fakes: Annotated[str | None, typer.Option("--fakes", help="Pictures from anywhere: any data source.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="The real pictures: any data source.")] = None,
    extractor: Annotated[
        str, typer.Option("--extractor", help="builtin, inception, dinov2, timm:NAME or file:FILE.")
    ] = "builtin",
    count: Annotated[int, typer.Option("-n", min=96, max=100_000, help="Fakes to judge.")] = 1024,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            help="Any of kid,fid,precision,recall,density,coverage,vendi,js,missing,is,classes.",
        ),
    ] = "",
    classifier: Annotated[
        str | None, typer.Option("--classifier", help="Weights for is and classes: FILE, FILE?arch=NAME or inception.")
    ] = None,
    crop: Annotated[str | None, typer.Option("--crop", help="How the reals are cut: center, celeba or none.")] = None,
    resolution: Annotated[
        int | None, typer.Option("--resolution", min=16, max=1024, help="Pixels at which --fakes are judged: 64.")
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="Of RUN: best, or its kimg; else the newest.")
    ] = None,
    most: Annotated[int, typer.Option("--max-reals", min=96, help="Real pictures used, drawn at random.")] = 4096,
    seed: Annotated[int, typer.Option("--seed", min=0, max=10_000, help="Of latents and draws.")] = 0,
    device: options.Device = None,
    recalibrate: Annotated[
        Path | None,
        typer.Option("--recalibrate", help="Take the batch-norm statistics anew, write that pair here, judge it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.")] = None,
) -> None:
    """Say whether a generator is healthy, collapsed, memorising or untrained, with the evidence.

    Exit codes: 0 healthy, 10 warning, 20 partial collapse, 30 collapsed,

    40 memorised, 50 untrained, 60 batch-norm mismatch; 2 where something given is not usable.

    Example: gan-transfer diagnose runs/00000-coverart-builtin-covers
    """
    from contextlib import ExitStack
    from shutil import rmtree

    from ..data.selection import split
    from ..data.sources import open_source
    from ..diagnosis import diagnose, recalibrated
    from ..report.live import TerminalView
    from ..run_history import read_run

    _check_words(run, network, fakes, data, snapshot, recalibrate)
    _check_output(output)
    past = read_run(run, snapshot) if run else None
    network = past.network if past else network
    with ExitStack() as stack:
        view = TerminalView()
        stack.callback(view.close)
        sources = [open_source(text) for text in (data or (past.data if past else ""), fakes) if text is not None]
        for source in sources:
            stack.callback(source.close)
        if recalibrate and network:
            network = str(recalibrated(network, recalibrate))
            stack.push(lambda fault, *_: rmtree(recalibrate) if fault else None)  # the same words can be given again
        if past and not data and past.held_out:
            sources[0].fetch()
            sources[0] = split(sources[0], past.held_out)[0]
        subject = sources[1] if network is None else network
        found = diagnose(
            subject, sources[0], extractor=extractor, n=count, metrics=metrics, classifier=classifier,
            crop=crop or (past.crop if past else "center"), resolution=resolution, most=most, seed=seed,
            device=device or "auto", view=view,
        )  # fmt: skip
    told = found.to_dict() | ({"history": past.history} if past else {})
    if output:
        _write(output, told)
    if as_json:
        print_json(told)
    else:
        _show(found, past)
    raise typer.Exit(found.state.exit_code)


def _check_words(
    run: Path | None, network: str | None, fakes: str | None, data: str | None, snapshot: str | None,
    recalibrate: Path | None,
) -> None:  # fmt: skip
    """Refuse words that do not go together."""
    given = [name for name, value in (("RUN", run), ("--network", network), ("--fakes", fakes)) if value is not None]
    if len(given) != 1:
        told = " and ".join(given) or "none of them"
        raise RecipeError(f"wanted one of RUN, --network and --fakes, got {told}. See: gan-transfer diagnose --help")
    if run is None and data is None:
        raise RecipeError(f"{given[0]} needs real pictures to be compared with: --data folder:PATH or another source")
    if snapshot is not None and run is None:
        raise RecipeError(f"--snapshot {snapshot} chooses among those of a RUN; with {given[0]} leave it out")
    if recalibrate is not None and fakes is not None:
        raise RecipeError(f"--recalibrate {recalibrate} needs a generator; with --fakes leave it out")


def _check_output(output: Path | None) -> None:
    """Refuse before the work what could not be written after it."""
    if output is not None and output.is_dir():
        raise RunError(f"--output {output} is a folder, wanted a file: --output {output / 'diagnosis.json'}")
    if output is not None and not output.absolute().parent.is_dir():
        raise RunError(f"--output {output}: no such folder; make it with mkdir -p {shlex.quote(str(output.parent))}")


def _write(output: Path, told: dict[str, Any]) -> None:
    from ..files import write_json

    try:
        write_json(output, told)
    except OSError as error:
        raise RunError(f"--output {output}: cannot be written ({error.strerror or error}); give another") from None


def _show(found: Diagnosis, past: Run | None) -> None:
    """Tables on stdout, what to do next on stderr."""
    from rich.console import Console

    from ..report import verdict_table

    console = Console(highlight=False)
    verdict_table.show(console, found)
    if past and past.history:
        console.print()
        console.print(verdict_table.history_table(past.history))
    elif past:
        console.print("no history: the run has no metric-panel.jsonl", markup=False)
    if found.advice:
        typer.echo(f"next: {found.advice}", err=True)
