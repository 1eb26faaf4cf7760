"""`gan-transfer data ls | inspect | pack | merge`: look at pictures, and decode them once for all runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError
from ..recipe import load_recipe
from ..resources import resource_dir
from .for_scripts import AsJson, print_json

if TYPE_CHECKING:
    from ..data.inspect import Findings
    from ..data.pack_index import Progress
    from ..data.source import Source
    from ..report.live import TerminalView

app = typer.Typer(help="List data sources, inspect pictures, and pack them once for all runs.", no_args_is_help=True)

SourceName = Annotated[str, typer.Argument(metavar="SOURCE", help="kind:where or a path. See: gan-transfer data ls")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write; nothing outside it is touched.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Decoding threads; 0 takes one per processor.")]


@app.command()
def ls(as_json: AsJson = False) -> None:
    """List the kinds of data sources, and what each recipe takes by default."""
    from rich.console import Console
    from rich.table import Table

    from ..data.sources import KINDS

    paths = sorted(resource_dir("recipes").glob("*/*.toml"))
    defaults = {path.stem: load_recipe(path.parent.name, path.stem).data for path in paths}
    if as_json:
        sources = [{"source": usage, "reads": meaning} for usage, meaning in KINDS.items()]
        rows = [
            {"recipe": name, "data": data.source or None, "hub": data.hub or None} for name, data in defaults.items()
        ]
        print_json({"sources": sources, "recipes": rows})
        return
    console = Console(highlight=False)
    kinds = Table("source", "what it reads", box=None)
    for usage, meaning in KINDS.items():
        kinds.add_row(usage, meaning)
    console.print(kinds)
    console.print()
    recipes = Table("recipe", "--data by default", "--data hf", box=None)
    for name, settings in defaults.items():
        recipes.add_row(name, settings.source, settings.hub or "-")
    console.print(recipes)
    _hint("Look at your own: gan-transfer data inspect SOURCE")


@app.command()
def inspect(
    source: SourceName,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Contact sheet to write, a PNG.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=2, help="Look at this many, evenly spread.")] = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Say what pictures these are, what is wrong with them, and which flags to train with.

    Example: gan-transfer data inspect folder:covers --output sheet.png
    """
    from ..data import inspect as doctor
    from ..data import sheet

    if output is not None and not output.absolute().parent.is_dir():  # told before the work, not after it
        raise DataError(f"no folder for the contact sheet '{output}'; make it with mkdir -p {output.parent}")
    with _opened(source) as (opened, view, progress):
        opened.fetch()
        found = doctor.inspect(opened, workers=workers, progress=progress, limit=limit)
        view.close()
        _show(found, as_json)
        if output is not None:
            sheet.contact_sheet(opened, found, output)
            _hint(f"contact sheet: {output}")


@app.command()
def pack(
    source: SourceName,
    output: Output,
    resolution: Annotated[int, typer.Option("--resolution", "-r", help="Height and width, pixels.")] = 64,
    channels: Annotated[int, typer.Option("--channels", help="3 for RGB, 1 for grey.")] = 3,
    crop: Annotated[str, typer.Option("--crop", help="center, celeba (its faces), or none (squash).")] = "center",
    workers: Workers = 0,
    shard: Annotated[str, typer.Option("--shard", help="i/n: only the i-th of n parts; see data merge.")] = "1/1",
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Leave near-duplicates out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Decode pictures once, so that every run starts at once: uint8 blocks with checksums. Killed, it goes on.

    Example: gan-transfer data pack folder:imagenet/train --resolution 64 --output imagenet-64
    """
    from .. import config
    from ..data import duplicates
    from ..data.pack import Part, pack
    from ..data.pack_index import PackSettings
    from ..recipe import Data, Model

    model = config.from_dict(Model, {"resolution": resolution, "channels": channels}, "data pack")
    cut = config.from_dict(Data, {"crop": crop}, "data pack").crop
    part = Part.parse(shard)
    with _opened(source) as (opened, view, progress):
        chosen: Source = opened
        if dedupe:
            opened.fetch()
            chosen = duplicates.without_duplicates(opened, workers=workers, progress=progress)
            view.say(f"{len(opened) - len(chosen):,} near-duplicates of {len(opened):,} pictures are left out")
        settings = PackSettings(model.resolution, model.channels, cut)
        made = pack(chosen, settings, output, part=part, workers=workers, progress=progress, say=view.say)
    _report(made, output, as_json)


@app.command()
def merge(
    parts: Annotated[list[Path], typer.Argument(help="All parts of one pack, in any order.")],
    output: Output,
    as_json: AsJson = False,
) -> None:
    """Join the parts that `data pack --shard i/n` made on several machines.

    Example: gan-transfer data merge part1 part2 --output imagenet-64
    """
    from ..data.merge import merge

    _report(merge(parts, output), output, as_json)


def _show(found: Findings, as_json: bool) -> None:
    """Findings and advice, on stdout."""
    import dataclasses

    from ..data import advice
    from ..data import inspect as doctor

    advised = advice.advice(found)
    if as_json:
        print_json(dataclasses.asdict(found) | {"advice": advised, "next": advice.command(found, advised)})
        return
    for name, value in doctor.describe(found):
        print(f"{name:<14} {value}")
    print()
    for line in advised:
        print(f"{line.flag:<38} {line.reason}")
    _hint(f"next: {advice.command(found, advised)}")


@contextmanager
def _opened(text: str) -> Iterator[tuple[Source, TerminalView, Progress]]:
    """An open source, a view, and what to call as the work goes on: it draws the bar and heeds signals."""
    from ..data.sources import open_source
    from ..report.live import TerminalView
    from ..signals import stop_signal

    with stop_signal() as stop:
        view, source = TerminalView(), open_source(text)

        def progress(done: int, total: int) -> None:
            stop.check("decoding")
            view.packing(done, total)

        try:
            yield source, view, progress
        finally:
            view.close()
            source.close()


def _report(made: Any, output: Path, as_json: bool) -> None:
    size = made.images.nbytes / 1e9
    broken = f"; {made.quarantined} broken ones are listed in quarantine.txt" if made.quarantined else ""
    _hint(f"{made.count:,} pictures of {made.settings.resolution} x {made.settings.resolution}, {size:.2f} GB{broken}")
    _hint(f"next: gan-transfer finetune --target coverart --data pack:{shlex.quote(str(output))}")
    if as_json:
        counts = {"pictures": made.count, "quarantined": made.quarantined, "bytes": made.images.nbytes}
        print_json({"written": output, **counts, "settings": made.settings, "key": made.key})
    else:
        print(output)


def _hint(text: str) -> None:
    typer.echo(text, err=True)
