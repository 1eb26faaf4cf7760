"""`gan-transfer bench`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from . import options


def bench(
    batch: Annotated[int, typer.Option("--batch", min=2, help="Images in a step.")] = 64,
    rounds: Annotated[int, typer.Option("--rounds", min=3, help="Alternations between the two loops.")] = 9,
    norm_d: Annotated[str, typer.Option("--norm-d", help="Discriminator: batch, spectral or none.")] = "batch",
    device: options.Device = None,
    precision: options.Precision = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Time a training step against the textbook DCGAN loop, alternately, on this machine."""
    import dataclasses

    from .. import config
    from ..bench import compare, machine
    from ..recipe import Model, Train
    from ..training import hardware

    model = config.from_dict(Model, {"norm_d": norm_d}, "--norm-d")
    settings = config.from_dict(Train, {"precision": precision or "auto"}, "--precision")
    chosen = hardware.choose(device or "auto", settings.precision)
    found, about = compare(chosen, model, batch, rounds), machine(chosen)
    if as_json:
        print(json.dumps(about | dataclasses.asdict(found) | {"batch": batch, "rounds": rounds}))
        return
    for key, value in about.items():
        print(f"{key:<10} {value}")
    print(f"{'batch':<10} {batch}, {rounds} alternating rounds")
    print(f"{'textbook':<10} {found.textbook:.0f} img/s (float32)")
    print(f"{'ours':<10} {found.ours:.0f} img/s")
    print(f"{'ratio':<10} {found.ratio:.2f} (rounds from {found.low:.2f} to {found.high:.2f})")
