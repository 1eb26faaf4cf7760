"""`gan-transfer pretrain` and `gan-transfer finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..config import Override
from . import options

RUNS = Path("runs")


def pretrain(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or a .toml file. See: gan-transfer recipes ls")],
    data: options.Data = None,
    outdir: options.OutDir = RUNS,
    kimg: options.Kimg = None,
    batch: options.Batch = None,
    seed: options.Seed = None,
    source: options.From = None,
    on_mismatch: options.OnMismatch = None,
    glr: options.Glr = None,
    dlr: options.Dlr = None,
    augment: options.Augment = None,
    mirror: options.Mirror = None,
    device: options.Device = None,
    precision: options.Precision = None,
    changes: options.Set = None,
    new: options.New = False,
    dry_run: options.DryRun = False,
) -> None:
    """Train a pair on many varied pictures, to start others from.

    Example: gan-transfer pretrain imagenet --data folder:photos --kimg 500
    """
    flags = options.overrides(
        data=data, kimg=kimg, batch=batch, seed=seed, source=source, on_mismatch=on_mismatch, glr=glr, dlr=dlr,
        augment=augment, mirror=mirror, device=device, precision=precision,
    )  # fmt: skip
    _go("pretrain", recipe, [*(changes or []), *flags], outdir, new=new, dry_run=dry_run)


def finetune(
    target: Annotated[str, typer.Option("--target", "-t", help="What to adapt to: a recipe's name or a .toml file.")],
    data: options.Data = None,
    outdir: options.OutDir = RUNS,
    source: options.From = None,
    kimg: options.Kimg = None,
    batch: options.Batch = None,
    seed: options.Seed = None,
    freeze: options.Freeze = None,
    freeze_d_image: options.FreezeDImage = None,
    freeze_g_image: options.FreezeGImage = None,
    freeze_g_latent: options.FreezeGLatent = None,
    on_mismatch: options.OnMismatch = None,
    glr: options.Glr = None,
    dlr: options.Dlr = None,
    augment: options.Augment = None,
    mirror: options.Mirror = None,
    device: options.Device = None,
    precision: options.Precision = None,
    changes: options.Set = None,
    new: options.New = False,
    dry_run: options.DryRun = False,
) -> None:
    """Adapt a pretrained pair to your own pictures.

    Example: gan-transfer finetune --target coverart --data folder:covers --freeze-d-image 2
    """
    flags = options.overrides(
        data=data, source=source, kimg=kimg, batch=batch, seed=seed, freeze=freeze, freeze_d_image=freeze_d_image,
        freeze_g_image=freeze_g_image, freeze_g_latent=freeze_g_latent, on_mismatch=on_mismatch, glr=glr, dlr=dlr,
        augment=augment, mirror=mirror, device=device, precision=precision,
    )  # fmt: skip
    _go("finetune", target, [*(changes or []), *flags], outdir, new=new, dry_run=dry_run)


def _go(kind: str, name: str, changes: list[str | Override], outdir: Path, *, new: bool, dry_run: bool) -> None:
    """Resolve, check, then rehearse or run."""
    from ..recipe import load_recipe_with_origin

    recipe, origin = load_recipe_with_origin(kind, name, changes)
    from .. import planning, runs
    from ..report import live

    plan = planning.plan(recipe, origin, outdir)
    if dry_run:
        live.show_rehearsal(plan, planning.rehearse(plan))
        return
    view = live.TerminalView()
    _say_builtin(plan, view)
    try:
        folder = runs.run(plan, outdir, view, new=new)
    finally:
        view.close()
    live.show_end(folder)


def _say_builtin(plan: Any, view: Any) -> None:
    if plan.source.spec.startswith("builtin:covers"):
        view.say("Training on built-in synthetic covers. Real ones: --data folder:PATH or --data zip:FILE")
