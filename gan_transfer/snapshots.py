"""What a run shows and gives away while it trains: snapshots, grids of pictures, curves."""

from __future__ import annotations

import gc
import math
import time
from pathlib import Path
from typing import Any

import torch

from . import config, images, moved, run_folder
from .data.loader import Loader
from .data.pack import Pack
from .errors import RunError, TrainingError
from .models.ema import recalibrate
from .models.lineage import lineage
from .models.weights import Pair, save_pair
from .planning import Plan
from .report.page import write_report
from .report.plots import plot_curves, read_stats
from .run_folder import RunFolder
from .training.step import Players
from .transfer.begun import Begun

STATISTICS_BATCH = 64
"""Most latents at a time where batch-norm statistics are taken anew: what they are then does not depend on the memory
that a larger batch would need, nor on how many processes share it."""

DRAWING = 0.1
"""Of the time that drawing curves and writing the report may take: on a GPU a snapshot may be due every second."""

GRID_SEED = 1_000_003  # latents of the sample grids, the same over the whole run


class Snapshots:
    """The snapshots of one run, and the pictures beside them.

    Args:
        plan: of the run.
        packed: its pictures.
        folder: to write into.

    Attributes:
        begun: the pair that the run began with, which every snapshot is compared with; None from scratch.
    """

    def __init__(self, plan: Plan, packed: Pack, folder: RunFolder) -> None:
        self.plan, self.packed, self.folder = plan, packed, folder
        self.begun: Begun | None = None
        self._drawn = self._cost = -math.inf  # when curves and report were last done, and the seconds they took
        fixed = torch.Generator().manual_seed(GRID_SEED)
        self._latents = torch.randn(plan.recipe.train.grid**2, plan.recipe.model.latent_dim, generator=fixed)

    def first_grids(self, players: Players) -> None:
        """Write the grids of the time before the first step: reals, and fakes of the untrained pair."""
        settings, packed = self.plan.recipe.train, self.packed
        reals = Loader(packed.images, min(settings.grid**2, packed.count), settings.seed).next_batch()
        images.save_png(self.folder.path / "reals.png", images.grid(reals, settings.grid))
        self._grid(players, "fakes_init.png")

    def write(self, players: Players, images_seen: int) -> Path:
        """Write the averaged generator with fresh statistics, its discriminator and a grid; return the folder.

        Raises:
            TrainingError: a weight is not finite; nothing is written.
        """
        recipe, average = self.plan.recipe, players.ema.network
        if not all(p.isfinite().all() for p in [*average.parameters(), *players.discriminator.parameters()]):
            raise TrainingError(f"a weight is not finite at {images_seen / 1000:.2f} kimg")
        with self.plan.hardware.autocast():
            recalibrate(average, min(recipe.train.batch, STATISTICS_BATCH), recipe.ema.recalibrate_batches)
        label = run_folder.kimg_label(images_seen, recipe.train.snapshot_kimg, recipe.train.kimg)
        began = self._began()
        info: dict[str, Any] = {
            "kimg": images_seen / 1000,
            "recipe": recipe.name,
            "data": _data(self.plan, self.packed),
            "from": began,
        }
        folder, told = self.folder.snapshots / label, _published_recipe(self.plan, self.packed, began)
        save_pair(folder, Pair(average, players.discriminator, info), recipe=told)
        self._grid(players, f"fakes{label}.png")
        if self.begun:
            pair = average, players.discriminator
            moved.report(self.folder, self.begun, pair, self._latents, images_seen / 1000, self.plan.extractor)
        return folder

    def plot_now_and_then(self) -> None:
        """`plot`, unless that would take more than `DRAWING` of the time; after the look, which belongs to it."""
        if time.perf_counter() - self._drawn >= self._cost * (1 / DRAWING - 1):
            self.plot()

    def plot(self) -> str:
        """Draw the curves and write the report; why there is no report, empty if there is one."""
        begin = time.perf_counter()
        if len(read_stats(self.folder.stats)) > 1:
            plot_curves(self.folder.stats, self.folder.path / "curves.png", self.folder.looks(), self.folder.events())
            gc.collect()  # a figure is a circle of objects that holds megabytes; Python by itself waits for dozens
        fault = self._report()
        self._drawn = time.perf_counter()
        self._cost = self._drawn - begin
        return fault

    def _report(self) -> str:
        """Write the report; why that could not be, empty if it could: no run ends for it."""
        try:
            write_report(self.folder.path)
        except (RunError, OSError, ValueError, ArithmeticError) as error:  # of odd figures or folder names
            return f"no report: {error}"
        return ""

    def _began(self) -> dict[str, Any] | None:
        """What the run started from. Its books know: where it is resumed, an address may stand for a newer pair."""
        started = next((event for event in self.folder.events() if event.get("event") == "started"), {})
        found: dict[str, Any] | None = started.get("from", lineage(self.plan.pair))
        return found

    def _grid(self, players: Players, name: str) -> None:
        with torch.inference_mode():
            device = self.plan.hardware.device
            fakes = [images.to_uint8(players.ema.network(z.to(device))).cpu() for z in torch.split(self._latents, 64)]
        images.save_png(self.folder.path / name, images.grid(torch.cat(fakes), self.plan.recipe.train.grid))


def description(plan: Plan, packed: Pack) -> dict[str, Any]:
    """What `recipe.json` holds and a resumption is compared with: also the pictures, and `auto` as it was resolved."""
    precision = str(plan.hardware.dtype).removeprefix("torch.")
    return config.to_dict(plan.recipe) | {"pack": packed.key, "precision": precision}


def _data(plan: Plan, packed: Pack) -> dict[str, Any]:
    """What a snapshot tells of the pictures that it was trained on."""
    about = {"source": plan.source.name, "origin": plan.source.origin}
    return about | {"pictures": packed.count, "pack": packed.key}


def _published_recipe(plan: Plan, packed: Pack, began: dict[str, Any] | None) -> dict[str, Any]:
    """The recipe as a snapshot holds it, which may be published: without the paths of this machine, and with the
    pair that it started from by its commit."""
    told = description(plan, packed)
    told["data"]["source"] = plan.source.origin
    told["transfer"]["source"] = began["pair"] if began else "none"
    return told
