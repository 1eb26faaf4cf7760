"""`gan-transfer pretrain` and `gan-transfer finetune`."""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..config import Override
from ..transfer import methods
from . import completion, options
from .for_scripts import AsJson, print_json

RUNS = Path("runs")


def pretrain(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe's name or a .toml file. See: gan-transfer recipes ls",
            autocompletion=completion.complete_recipe,
        ),
    ],
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
    tensorboard: options.TensorBoard = False,
    wandb: options.Wandb = False,
    dry_run: options.DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train a pair on many varied pictures, to start others from.

    Example: gan-transfer pretrain imagenet --data folder:photos --kimg 500
    """
    flags = options.overrides(
        data=data, kimg=kimg, batch=batch, seed=seed, source=source, on_mismatch=on_mismatch, glr=glr, dlr=dlr,
        augment=augment, mirror=mirror, device=device, precision=precision, on_collapse=on_collapse, patience=patience,
    )  # fmt: skip
    tracked = {"tensorboard": tensorboard, "wandb": wandb}
    _go(
        "pretrain", recipe, [*(changes or []), *flags], tracked, outdir,
        push_to=push_to, new=new, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip


def finetune(
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
    tensorboard: options.TensorBoard = False,
    wandb: options.Wandb = False,
    dry_run: options.DryRun = False,
    as_json: AsJson = False,
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
    tracked = {"tensorboard": tensorboard, "wandb": wandb}
    _go(
        "finetune", target, [*known, *(changes or []), *flags], tracked, outdir,
        push_to=push_to, new=new, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip


def _go(
    kind: str, name: str, changes: list[str | Override], tracked: dict[str, bool], outdir: Path, *, push_to: str,
    new: bool, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Resolve, check, then rehearse or run, with the other processes that torchrun has started."""
    from ..recipe import load_recipe_with_origin

    with _together():
        recipe, origin = load_recipe_with_origin(kind, name, changes)
        from .. import distributed, planning
        from ..auto_batch import settle_batch
        from ..notebook import carry_out
        from ..trackers import make_trackers

        leads = distributed.rank() == 0
        trackers = make_trackers(tracked, lambda text: typer.echo(text, err=True)) if leads else []
        with distributed.one_first():
            plan = planning.plan(recipe, origin, outdir, push_to)
        plan = settle_batch(plan, outdir, new)
        if dry_run:
            rehearsal = planning.rehearse(plan)
            if leads:
                _show_rehearsal(plan, rehearsal, as_json)
            return
        folder = carry_out(plan, outdir, push_to, new, trackers)
        if leads:
            _show_end(folder, as_json)


def _show_rehearsal(plan: Any, rehearsal: Any, as_json: bool) -> None:
    from ..report import live

    if as_json:
        print_json({"recipe": plan.recipe, "origin": plan.origin, "rehearsal": rehearsal})
    else:
        live.show_rehearsal(plan, rehearsal)


def _show_end(folder: Path, as_json: bool) -> None:
    from ..report import live

    if as_json:
        print_json(_end(folder))
    else:
        live.show_end(folder)


def _end(folder: Path) -> dict[str, Any]:
    """What a run has come to: its folder, its newest and its best snapshot, its last tick and look."""
    from ..run_folder import RunFolder

    run = RunFolder(folder)
    newest = max(run.snapshots.iterdir(), default=None)
    ticks, looks = run.ticks()[-1:], run.looks()[-1:]
    best = run.best if run.best.is_dir() else None
    return {
        "run": folder, "snapshot": newest, "best": best, "tick": ticks[0] if ticks else None,
        "look": looks[0] if looks else None,
    }  # fmt: skip


def _together() -> AbstractContextManager[None]:
    """The other processes; alone, torch is not imported before the recipe is known to be right."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return contextlib.nullcontext()
    from ..distributed import together

    return together()
