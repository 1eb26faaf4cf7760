"""The loop: steps against the kimg clock, with hooks. It knows nothing of recipes' names, reports or the Hub."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch

from ..data.loader import Loader
from ..recipe import Train
from .checkpoint import Checkpoints
from .step import Step
from .telemetry import Telemetry


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What a run does at the loop's landmarks.

    Attributes:
        tick: called with the line of `stats.jsonl`.
        snapshot: called with the images seen; the players hold the weights.
        stop: asked before every step; a signal number ends the loop, 0 goes on.
    """

    tick: Callable[[dict[str, float]], None]
    snapshot: Callable[[int], None]
    stop: Callable[[], int]


@dataclasses.dataclass
class Progress:
    """What the loop moves forward, and what a checkpoint saves of it.

    Attributes:
        loader: real pictures; its position is the kimg clock.
        step: trains on a batch.
        random: of latents and augmentation.
        clock: further JSON values for the checkpoint.
    """

    loader: Loader
    step: Step
    random: torch.Generator
    clock: dict[str, Any]

    def save(self, checkpoints: Checkpoints) -> None:
        """Write a checkpoint of this moment."""
        checkpoints.save(self.step.players, self.random, self.clock | {"images_seen": self.loader.position})


def due(images_seen: int, batch: int, every_kimg: float) -> bool:
    """Whether the last `batch` images crossed a multiple of `every_kimg` thousand."""
    every = every_kimg * 1000
    return images_seen // every > (images_seen - batch) // every


def train(progress: Progress, settings: Train, telemetry: Telemetry, checkpoints: Checkpoints, hooks: Hooks) -> int:
    """Train until `settings.kimg` thousand images have been shown, or until `hooks.stop` says so.

    Returns:
        0 at the end, else the signal number. Either way a checkpoint of the last step has been written.

    Raises:
        TrainingError: a loss or a weight is not finite.
    """
    loader, total = progress.loader, settings.kimg * 1000
    with loader.prefetching():
        while loader.position < total:
            # Stop between two steps, never inside one.
            if signum := hooks.stop():
                progress.save(checkpoints)
                return signum

            # Learn from one batch.
            seen = loader.position
            begin = time.perf_counter()
            batch = loader.next_batch()
            waited = time.perf_counter() - begin
            telemetry.add(progress.step(batch, seen), settings.batch, waited)
            seen = loader.position
            last = seen >= total

            snapshot = last or due(seen, settings.batch, settings.snapshot_kimg)

            # Say how it goes; a loss that is not finite ends the run here, before anything of it is kept.
            if snapshot or due(seen, settings.batch, settings.tick_kimg):
                hooks.tick(telemetry.tick(seen))

            # Keep what was learned: for others, then for ourselves.
            if snapshot:
                hooks.snapshot(seen)
            if last or due(seen, settings.batch, settings.checkpoint_kimg):
                progress.save(checkpoints)
    return 0
