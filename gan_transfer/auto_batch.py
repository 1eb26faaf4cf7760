"""`--batch auto`: the batch size that fits into memory and pays, measured before a run begins."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from . import distributed, run_folder
from .data.loader import check_batch
from .planning import Plan, networks, probe

LEAST, MOST = 8, 8192
"""Pictures of a rank in the batches that `auto_batch` tries: fewer make batch norm restless, more are never of use."""

PAYS = 1.05
"""How much quicker training must become for `auto_batch` to double the batch."""


def settle_batch(plan: Plan, outdir: Path, new: bool = False) -> Plan:
    """The plan with its batch size measured, if the recipe leaves it open: all ranks together.

    A run that is resumed keeps the one that it began with; a new one takes none from another.

    Raises:
        DataError: there are fewer pictures than the smallest batch.
    """
    if not plan.recipe.train.auto_batch:
        return plan
    name = f"{plan.recipe.name}-{plan.source.name}"
    asked = distributed.rank() == 0 and (not new or distributed.restarted())
    began = distributed.from_rank_0(run_folder.unfinished_batch(outdir, name) if asked else None)
    batch = began or _measured_batch(plan)
    plan.origin["train.batch"] = "begun with" if began else "measured"
    return _with_batch(plan, batch)


def _measured_batch(plan: Plan) -> int:
    """The batch size that `auto_batch` means, a power of two for each rank."""
    batch, best, speed = LEAST * distributed.world_size(), 0, 0.0
    check_batch(len(plan.source), batch)
    while batch <= min(len(plan.source), MOST * distributed.world_size()):
        made = _with_batch(plan, batch)
        measured = probe(made, *networks(made)[:2], 3)
        parts = int(distributed.gather(torch.tensor(measured.parts)).max())
        now = distributed.from_rank_0(measured.img_per_sec)  # clocks differ, decisions must not
        if best and (parts > 1 or now < PAYS * speed):
            break
        batch, best, speed = 2 * batch, batch, now
    return best


def _with_batch(plan: Plan, batch: int) -> Plan:
    train = dataclasses.replace(plan.recipe.train, batch=batch)
    return dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, train=train))
