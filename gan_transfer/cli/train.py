"""`gan-transfer pretrain` and `gan-transfer finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..config import Override
from ..transfer import methods
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
    on_collapse: options.OnCollapse = None,
    patience: options.Patience = None,
    changes: options.Set = None,
    push_to: options.PushTo = "",
    new: options.New = False,
    dry_run: options.DryRun = False,
) -> None:
    """Train a pair on many varied pictures, to start others from.

    Example: gan-transfer pretrain imagenet --data folder:photos --kimg 500
    """
    flags = options.overrides(
        data=data, kimg=kimg, batch=batch, seed=seed, source=source, on_mismatch=on_mismatch, glr=glr, dlr=dlr,
        augment=augment, mirror=mirror, device=device, precision=precision, on_collapse=on_collapse, patience=patience,
    )  # fmt: skip
    _go("pretrain", recipe, [*(changes or []), *flags], outdir, push_to=push_to, new=new, dry_run=dry_run)


def finetune(
    target: Annotated[str, typer.Option("--target", "-t", help="What to adapt to: a recipe's name or a .toml file.")],
    data: options.Data = None,
    outdir: options.OutDir = RUNS,
    source: options.From = None,
    method: options.Method = "",
    kimg: options.Kimg = None,
    batch: options.Batch = None,
    seed: options.Seed = None,
    freeze: options.Freeze = None,
    freeze_d_image: options.FreezeDImage = None,
    freeze_g_image: options.FreezeGImage = None,
    freeze_g_latent: options.FreezeGLatent = None,
    train_only: options.TrainOnly = None,
    on_mismatch: options.OnMismatch = None,
    glr: options.Glr = None,
    dlr: options.Dlr = None,
    lr_mult: options.LrMult = None,
    augment: options.Augment = None,
    mirror: options.Mirror = None,
    device: options.Device = None,
    precision: options.Precision = None,
    on_collapse: options.OnCollapse = None,
    patience: options.Patience = None,
    changes: options.Set = None,
    push_to: options.PushTo = "",
    new: options.New = False,
    dry_run: options.DryRun = False,
) -> None:
    """Adapt a pretrained pair to your own pictures.

    Example: gan-transfer finetune --target coverart --data folder:covers --freeze-d-image 2
    """
    flags = options.overrides(
        data=data, source=source, kimg=kimg, batch=batch, seed=seed, freeze=freeze, freeze_d_image=freeze_d_image,
        freeze_g_image=freeze_g_image, freeze_g_latent=freeze_g_latent, train_only=train_only, on_mismatch=on_mismatch,
        glr=glr, dlr=dlr, lr_mult=lr_mult, augment=augment, mirror=mirror, device=device, precision=precision,
        on_collapse=on_collapse, patience=patience,
    )  # fmt: skip
    known = methods.resolve(method) if method else []  # first, so that a setting by name goes before a method's
    _go("finetune", target, [*known, *(changes or []), *flags], outdir, push_to=push_to, new=new, dry_run=dry_run)


def _go(
    kind: str, name: str, changes: list[str | Override], outdir: Path, *, push_to: str, new: bool, dry_run: bool
) -> None:
    """Resolve, check, then rehearse or run."""
    from ..recipe import load_recipe_with_origin

    recipe, origin = load_recipe_with_origin(kind, name, changes)
    from .. import planning
    from ..notebook import carry_out
    from ..report import live

    plan = planning.plan(recipe, origin, outdir, push_to)
    if dry_run:
        live.show_rehearsal(plan, planning.rehearse(plan))
        return
    live.show_end(carry_out(plan, outdir, push_to, new))
