"""`gan-transfer compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completion, options
from .for_scripts import AsJson, print_json


def compare(
    target: Annotated[
        str,
        typer.Option(
            "--target",
            "-t",
            help="What to adapt to: a recipe's name or a .toml file.",
            autocompletion=completion.complete_recipe,
        ),
    ],
    data: options.Data = None,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            help="Comma-separated, joined by +. See: gan-transfer recipes methods",
            autocompletion=completion.complete_methods,
        ),
    ] = "",
    sources: Annotated[
        str, typer.Option("--sources", help="Pairs to start from, comma-separated: which suits the target?")
    ] = "",
    seeds: Annotated[int | None, typer.Option("--seeds", help="Runs of each method: 5, or 2 with --advise.")] = None,
    kimg: Annotated[float | None, typer.Option("--kimg", help="Longest run: 100, or 40 with --advise.")] = None,
    held_out: Annotated[
        int, typer.Option("--held-out", help="Pictures that no run sees, to measure on; 0: a third.")
    ] = 0,
    advise: Annotated[
        bool, typer.Option("--advise", help="Short runs of all methods, longer ones of the better half, and so on.")
    ] = False,
    outdir: Annotated[Path | None, typer.Option("--outdir", help="The study's folder.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", help="Runs at a time.")] = 1,
    extractor: Annotated[
        str, typer.Option("--extractor", help="builtin, inception, dinov2, timm:NAME, file:FILE.")
    ] = "builtin",
    fakes: Annotated[int, typer.Option("-n", min=64, help="Fakes of a measurement.")] = 512,
    changes: options.Set = None,
    as_json: AsJson = False,
) -> None:
    """Train with several methods and seeds, measure on held-out pictures, and say what each buys, if anything.

    The same command goes on with what was begun. Example: gan-transfer compare --target coverart --data folder:covers
    --methods scratch,finetune,freeze-d2 --seeds 3 --kimg 100
    """
    from .. import studies
    from ..report.study_table import show_study
    from ..report.study_view import StudyView
    from ..study import entries, fitting, name_of
    from ..study_runs import Design

    folder = outdir or Path("studies") / name_of(target, data or "")
    chosen = methods or (studies.ADVISED if advise else "finetune" if sources else "scratch,finetune")
    design = Design(
        folder, target, data or "", entries(chosen, sources),
        (2 if advise else 5) if seeds is None else seeds, (40.0 if advise else 100.0) if kimg is None else kimg,
        held_out, tuple(changes or ()), extractor, fakes, jobs,
    )  # fmt: skip
    with StudyView() as view:
        if advise and not methods:
            design = fitting(design, view)
        found = (studies.advise if advise else studies.compare)(design, view)
    if as_json:
        print_json(found.to_dict())
        return
    show_study(found.summaries, found.conclusion, studies.about(found.design))
    print(found.command)
