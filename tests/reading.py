"""What tests read from run folders, and a witness of runs that are made without the command line."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import torch
from conftest import TINY
from safetensors.torch import load_file
from torch import Tensor

from gan_transfer import planning, runs
from gan_transfer.recipe import load_recipe_with_origin


def stats(run: Path) -> list[dict[str, float]]:
    """The ticks of a run."""
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def clock(run: Path) -> list[float]:
    """The kimg of each tick."""
    return [line["kimg"] for line in stats(run)]


def events(run: Path) -> list[str]:
    """The kinds of the events of a run."""
    return [json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()]


def newest_snapshot(run: Path) -> Path:
    """The snapshot with the most kimg."""
    return max((run / "snapshots").iterdir())


def config(snapshot: Path) -> dict[str, Any]:
    """The `config.json` of a snapshot."""
    settings: dict[str, Any] = json.loads((snapshot / "config.json").read_text())
    return settings


def weights(snapshot: Path) -> dict[str, Tensor]:
    """All tensors of a snapshot: `g.g4.conv.weight`, `d.d8.conv.weight` ..."""
    files = {"g": "model.safetensors", "d": "discriminator.safetensors"}
    return {f"{part}.{k}": v for part, name in files.items() for k, v in load_file(snapshot / name).items()}


def differing(run: Path, other: Path) -> set[str]:
    """The names of all tensors in which the last snapshots of two runs are not equal bit for bit."""
    ours, theirs = weights(newest_snapshot(run)), weights(newest_snapshot(other))
    shared = ours.keys() & theirs.keys()
    return (ours.keys() ^ theirs.keys()) | {name for name in shared if not torch.equal(ours[name], theirs[name])}


@dataclasses.dataclass
class Witness:
    """Follows a run, and sends this process a signal at one of its ticks."""

    signal_at: int = 0
    signum: int = 0
    ticks: list[float] = dataclasses.field(default_factory=list)
    talk: list[str] = dataclasses.field(default_factory=list)

    def say(self, text: str) -> None:
        self.talk.append(text)

    def packing(self, done: int, total: int) -> None:
        pass

    def blocks(self, rows: list[planning.BlockRow]) -> None:
        pass

    def verdict(self, text: str, kid: float) -> None:
        self.talk.append(text)

    def training(self, line: dict[str, float] | None, total_kimg: float) -> None:
        if line is not None:
            self.ticks.append(line["kimg"])
            if len(self.ticks) == self.signal_at:
                os.kill(os.getpid(), self.signum)


def train(name: str, settings: dict[str, str], outdir: str, witness: Witness | None = None, new: bool = False) -> Path:
    """Train by a recipe `kind/name` without the command line; the settings are over those of `TINY`."""
    changes = [f"{key}={value}" for key, value in (TINY | settings).items()]
    recipe, origin = load_recipe_with_origin(None, name, changes)
    return runs.run(planning.plan(recipe, origin, Path(outdir)), Path(outdir), witness or Witness(), new)
