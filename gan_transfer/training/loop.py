"""The loop: steps against the kimg clock, with hooks. It knows nothing of recipes' names, reports or the Hub."""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Callable
from typing import Any

import torch

from .. import distributed
from ..data.loader import Loader
from ..recipe import Train
from .checkpoint import Checkpoints
from .step import Step
from .telemetry import Telemetry

TICK_STEPS = 64
"""Steps between two ticks on a GPU, where thousands of images can pass in a hundredth of a second."""


class Then(enum.Enum):
    """What the loop does after a snapshot: goes on, ends there with a checkpoint, or ends there without one."""

    GO_ON = enum.auto()
    STOP = enum.auto()
    ROLL_BACK = enum.auto()


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What a run does at the loop's landmarks.

    Attributes:
        tick: called with the line of `stats.jsonl`.
        snapshot: called with the images seen; the players hold the weights. Its answer is followed.
        stop: asked before every step; a signal number ends the loop, 0 goes on.
    """

    tick: Callable[[dict[str, float]], None]
    snapshot: Callable[[int], Then]
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

    def save(self, checkpoints: Checkpoints | None) -> None:
        """Write a checkpoint of this moment; None writes none."""
        if checkpoints is not None:
            checkpoints.save(self.step.players, self.random, self.clock | {"images_seen": self.loader.position})


def tick_kimg(settings: Train, device: torch.device) -> float:
    """Thousands of images between two ticks: on a GPU, which is waited for at each, at least those of `TICK_STEPS`."""
    least = TICK_STEPS * settings.batch / 1000 if device.type == "cuda" else 0.0
    return max(settings.tick_kimg, least)


def due(images_seen: int, batch: int, every_kimg: float) -> bool:
    """Whether the last `batch` images crossed a multiple of `every_kimg` thousand."""
    every = every_kimg * 1000
    return images_seen // every > (images_seen - batch) // every


def train(
    progress: Progress, settings: Train, telemetry: Telemetry, checkpoints: Checkpoints | None, hooks: Hooks
) -> int:
    """Train until `settings.kimg` thousand images have been shown, or until `hooks.stop` or `hooks.snapshot` says so.

    Several ranks go through it in step; those other than 0 are given no checkpoints to write.

    Returns:
        The signal number that ended it, else 0. A checkpoint of the last step has been written, but for a roll-back.

    Raises:
        TrainingError: a loss or a weight is not finite.
    """
    loader, total = progress.loader, settings.kimg * 1000
    tick_every = tick_kimg(settings, progress.step.hardware.device)
    distributed.wait()
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

            snapshot, then = last or due(seen, settings.batch, settings.snapshot_kimg), Then.GO_ON

            # Say how it goes; a loss that is not finite ends the run here, before anything of it is kept.
            if snapshot or due(seen, settings.batch, tick_every):
                hooks.tick(telemetry.tick(seen))

            # Keep what was learned: for others, then for ourselves.
            if snapshot:
                then = hooks.snapshot(seen)
            if then is Then.ROLL_BACK:
                break
            ends = last or then is Then.STOP
            if ends or (
                due(seen, settings.batch, settings.checkpoint_kimg) and (checkpoints is None or checkpoints.cheap())
            ):
                progress.save(checkpoints)
            if then is Then.STOP:
                break
    return 0
