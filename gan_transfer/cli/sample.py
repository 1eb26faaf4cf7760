"""`gan-transfer sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .for_scripts import AsJson, print_json


def sample(
    network: Annotated[
        str, typer.Option("--network", help="builtin, hf:ORG/NAME\\[@REVISION], a snapshot or a run folder.")
    ] = "builtin",
    seeds: Annotated[str, typer.Option("--seeds", help="For example 0-63 or 0,4,9-12; one picture each.")] = "0-63",
    grid: Annotated[str | None, typer.Option("--grid", help="COLUMNSxROWS of grid.png; square by default.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="A folder, \\[out]; an animation: or a .gif, .webp or .png file.")
    ] = None,
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="An animation from seed to seed, along a sphere.")
    ] = False,
    steps: Annotated[int, typer.Option("--steps", min=1, max=1000, help="Frames between two seeds.")] = 25,
    truncation: Annotated[
        float, typer.Option("--truncation", help="Redraw latent values beyond 2 * this; 1 is off.")
    ] = 1.0,
    explain: Annotated[
        bool, typer.Option("--explain", help="Write nothing; walk the first seed and a real picture through the pair.")
    ] = False,
    data: Annotated[
        str | None, typer.Option("--data", help="With --explain: the real picture's source; builtin:covers.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make pictures with a generator.

    Examples: gan-transfer sample --network runs/00000-coverart-builtin-covers --seeds 0-63 --grid 8x8

    gan-transfer sample --explain --seeds 7 --data folder:covers
    """
    from ..errors import RecipeError
    from ..sampling import ANIMATIONS, parse_grid, parse_seeds, write_interpolation, write_seeds
    from ..transfer.start import open_generator

    if not 0.05 <= truncation <= 1:
        raise RecipeError(f"--truncation {truncation} is out of range; wanted 0.05 to 1")
    wanted, shape = parse_seeds(seeds), parse_grid(grid) if grid else None
    if explain and (output or grid or interpolate):
        raise RecipeError("--explain writes nothing; leave out --output, --grid and --interpolate")
    output = output or Path("out")
    if output.suffix.lower() in ANIMATIONS and not interpolate:
        raise RecipeError(f"--output {output}: wanted a folder, which gets grid.png; an animation needs --interpolate")
    if data is not None and not explain:
        raise RecipeError(f"--data {data} is the real picture of --explain; give both, or leave it out")
    if explain:
        _explain(network, wanted[0], data or "builtin:covers", as_json)
        return
    generator = open_generator(network)
    if interpolate:
        made = write_interpolation(generator, wanted, output, steps, truncation)
    else:
        made = write_seeds(generator, wanted, shape, output, truncation)
    print_json({"network": network, "seeds": wanted, "written": made}) if as_json else print(made)


def _explain(network: str, seed: int, data: str, as_json: bool) -> None:
    """Show the way of one latent, one real and one fake."""
    import contextlib

    from rich.console import Console

    from ..data.sources import open_source
    from ..report import walk_table
    from ..transfer.start import open_pair
    from ..walk import walk

    pair = open_pair(network)
    with contextlib.closing(open_source(data)) as source:
        found = walk(pair, seed, source)
    if as_json:
        print_json(found)
    else:
        walk_table.show(Console(highlight=False), found)
