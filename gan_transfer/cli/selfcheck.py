"""`gan-transfer selfcheck diagnostics`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from . import options
from .for_scripts import AsJson, print_json

app = typer.Typer(help="Put parts of the tool to the test on your own pictures.", no_args_is_help=True)


@app.callback()
def selfcheck() -> None:
    """Put parts of the tool to the test on your own pictures."""


@app.command()
def diagnostics(
    data: Annotated[list[str], typer.Option("--data", help="Real pictures, as for finetune. Can be repeated.")],
    n: Annotated[list[int] | None, typer.Option("-n", min=64, help="Fakes in a verdict. Can be repeated.")] = None,
    crop: Annotated[
        list[str] | None, typer.Option("--crop", help="center, celeba or none; one for each --data.")
    ] = None,
    nulls: Annotated[int, typer.Option("--nulls", min=1, help="Trials with nothing planted.")] = 100,
    plants: Annotated[int, typer.Option("--plants", min=1, help="Trials of each plant.")] = 30,
    extractor: Annotated[
        str, typer.Option("--extractor", help="builtin, inception, dinov2, timm:NAME, file:FILE.")
    ] = "builtin",
    resolution: Annotated[int, typer.Option("--resolution", help="Pixels that pictures are brought to.")] = 64,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all draws.")] = 0,
    device: options.Device = None,
    as_json: AsJson = False,
) -> None:
    """Count how often the verdict is right about faults planted in real pictures.

    Exit code 0 if all bars are met, 1 if not. Example: gan-transfer selfcheck diagnostics --data builtin:covers -n 400
    """
    from ..data.cache import cache_dir
    from ..data.pack import PackSettings
    from ..data.sources import open_source
    from ..diagnostics.extractors import open_extractor
    from ..errors import RecipeError
    from ..examine import pictures_of
    from ..fakes import pack_of
    from ..report.selfcheck_table import show_selfcheck
    from ..selfcheck import Trials, check_count, check_diagnostics
    from ..training import hardware

    crops = crop or ["center"]
    if len(crops) not in (1, len(data)):
        raise RecipeError(f"--crop was given {len(crops)} times; wanted once, or once for each of {len(data)} --data")
    eye = open_extractor(extractor, hardware.choose(device or "auto", "float32").device)
    trials, tables = Trials(nulls, plants, min(10, plants)), []
    sets, counts = [], n or [512, 1024]
    for where, cut in zip(data, crops * (len(data) // len(crops)), strict=True):
        with contextlib.closing(open_source(where)) as source:
            sets.append(pictures_of(pack_of(source, PackSettings(resolution, 3, cut)), source.name))
        for count in counts:
            check_count(sets[-1], count)
    for pictures in sets:
        for count in counts:
            with _bar(f"{pictures.name}, n = {count}") as progress:
                tables.append(
                    check_diagnostics(pictures, eye, count, trials, seed=seed, cache=cache_dir(), progress=progress)
                )
            if not as_json:
                show_selfcheck(tables[-1])
    if as_json:
        print_json([table.to_dict() for table in tables])
    if not all(table.passed for table in tables):
        raise typer.Exit(1)


@contextlib.contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal's stderr while the block runs, and what to call as the work goes on."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield progress
