"""`gan-transfer import`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from .for_scripts import AsJson, print_json


def import_files(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="A .pth, .pt or .safetensors file, or two; or hf:ORG/NAME:FILE."),
    ],
    layout: Annotated[
        str,
        typer.Option("--layout", help="Strides and paddings, in no file: auto, dcgan, mnist (28x28) or unpadded."),
    ] = "auto",
    output: Annotated[
        Path | None, typer.Option("--output", help="The new snapshot folder; imported/NAME by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn another project's DCGAN into a pair to start from: its generator, its discriminator or both.

    Example: gan-transfer import netG_epoch_24.pth netD_epoch_24.pth
    """
    from rich.console import Console

    from ..importing import import_pair

    made = import_pair(files, output, layout)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for line in made.said:
        console.print(line, markup=False)
    where = shlex.quote(str(made.folder))
    console.print(f"next: gan-transfer finetune --target NAME --from {where}", markup=False)
    print_json({"written": made.folder, "said": made.said}) if as_json else print(made.folder)
