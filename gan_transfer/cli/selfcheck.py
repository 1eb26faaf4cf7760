"""`gan-transfer selfcheck diagnostics`."""

from __future__ import annotations

import contextlib
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

    Exit code 0 if all bars are met, 1 if not. Example: gan-transfer selfcheck diagnostics --data builtin:covers -n 512
    """
    from ..data.cache import cache_dir
    from ..data.pack import PackSettings
    from ..data.sources import open_source
    from ..diagnostics.extractors import open_extractor
    from ..errors import RecipeError
    from ..examine import pictures_of
    from ..fakes import pack_of
    from ..report.selfcheck_table import show_selfcheck
    from ..selfcheck import Trials, check_diagnostics
    from ..training import hardware

    crops = crop or ["center"]
    if len(crops) not in (1, len(data)):
        raise RecipeError(f"--crop was given {len(crops)} times; wanted once, or once for each of {len(data)} --data")
    eye = open_extractor(extractor, hardware.choose(device or "auto", "float32").device)
    trials, tables = Trials(nulls, plants, min(10, plants)), []
    for where, cut in zip(data, crops * (len(data) // len(crops)), strict=True):
        with contextlib.closing(open_source(where)) as source:
            pictures = pictures_of(pack_of(source, PackSettings(resolution, 3, cut)), source.name)
        for count in n or [512, 1024]:
            tables.append(check_diagnostics(pictures, eye, count, trials, seed=seed, cache=cache_dir()))
            if not as_json:
                show_selfcheck(tables[-1])
    if as_json:
        print_json([table.to_dict() for table in tables])
    if not all(table.passed for table in tables):
        raise typer.Exit(1)
