"""The runs of a study: which there are, each in a process and a folder of its own, and which have come to an end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from . import config
from .config import Override
from .devices import cores
from .errors import RunError
from .explain import toml
from .fakes import View as Listener
from .recipe import Recipe
from .run_folder import RunFolder
from .signals import StopSignal
from .text import printable
from .transfer.methods import resolve

SNAPSHOTS = 10
"""Of a run, evenly spaced, unless `train.snapshot_kimg` is set."""

POLL_SECONDS = 0.5
GOOD_ENDS = (0, 20, 30, 40, 50)
"""Exit codes of a run that is a result: it came to its end, or its own diagnosis stopped it."""

ENDS = ("finished", "collapsed", "not finite")
"""Last events of a run that is a result."""


class View(Listener, Protocol):
    """Whoever follows a study."""

    def running(self, kimg: dict[str, float], total: float) -> None:
        """How far each run that is under way has come."""


HARMLESS = ("data.source", "data.workers", "train.device", "train.checkpoint_kimg", "train.tick_kimg")
"""Settings in which two runs may differ and still come to the same."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is compared: a method, from a source pair.

    Attributes:
        label: as it is told, such as `freeze-d2`.
        method: as `finetune --method` takes it.
        source: as `finetune --from` takes it; empty for the recipe's own.
    """

    label: str
    method: str
    source: str = ""

    @property
    def overrides(self) -> tuple[Override, ...]:
        """What it changes in the recipe."""
        pair = [Override(f"transfer.source={toml(self.source)}", f"--sources {self.source}")] if self.source else []
        return (*resolve(self.method), *pair)

    @property
    def keys(self) -> frozenset[str]:
        """Of the settings that it changes."""
        return frozenset(override.text.partition("=")[0] for override in self.overrides)

    @property
    def folder(self) -> str:
        """Its part of the folders' names."""
        return "".join(c if c.isalnum() or c in "-+." else "-" for c in self.label).strip("-.")


@dataclasses.dataclass(frozen=True)
class Design:
    """A study before its first run.

    Attributes:
        folder: where everything is written.
        target: the fine-tuning recipe.
        data: the data source; empty for the recipe's own.
        entries: what is compared.
        seeds: how many runs of each, with the seeds 0, 1, 2 ...
        kimg: length of each run.
        held_out: pictures that no run sees; 0 takes a third.
        changes: of the recipe in all runs.
        extractor: whose features are compared.
        fakes: how many pictures of a generator are measured.
        jobs: runs at a time.
    """

    folder: Path
    target: str
    data: str
    entries: tuple[Entry, ...]
    seeds: int
    kimg: float
    held_out: int = 0
    changes: tuple[str, ...] = ()
    extractor: str = "builtin"
    fakes: int = 512
    jobs: int = 1


def data_override(design: Design) -> list[Override]:
    """The data source as a change of the recipe."""
    return [Override(f"data.source={toml(design.data)}", f"--data {design.data}")] if design.data else []


def overrides(design: Design, entry: Entry, seed: int) -> list[str | Override]:
    """All that a run's recipe is changed by; what makes the study comes last."""
    fixed = {"data.held_out": design.held_out, "train.kimg": design.kimg, "train.seed": seed}
    if not any(change.startswith("train.snapshot_kimg=") for change in design.changes):
        fixed["train.snapshot_kimg"] = design.kimg / SNAPSHOTS
    made = [Override(f"{key}={toml(value)}", f"the study's {key}") for key, value in fixed.items()]
    return [*design.changes, *data_override(design), *made, *entry.overrides]


def outdir_of(design: Design, label: str, seed: int) -> Path:
    """Parent of the run folder of an entry and a seed."""
    entry = next(entry for entry in design.entries if entry.label == label)
    return design.folder / "runs" / f"{entry.folder}-seed{seed}"


def ended(design: Design, label: str, seed: int, recipe: Recipe) -> RunFolder | None:
    """The run of this recipe that has come to an end, if there is one; see `ENDS`."""
    defaults = config.to_dict(Recipe())  # of settings that were not yet known when a run was trained
    wanted = config.to_dict(recipe)
    for path in sorted(outdir_of(design, label, seed).glob("[0-9]*-*/"), reverse=True):
        folder = RunFolder(path)
        old, events = folder.recipe(), folder.events()
        if old is None or _differing(config.completed(old, defaults), wanted):
            continue
        if events and events[-1].get("event") in ENDS:
            return folder
    return None


def _differing(old: dict[str, Any], recipe: dict[str, Any]) -> set[str]:
    """The settings in which two runs differ that may make them come to something else; what a run's file tells beside
    its settings has no section."""
    was, now = config.flatten(old), config.flatten(recipe)
    return {key for key in was.keys() | now.keys() if "." in key and was.get(key) != now.get(key)} - {*HARMLESS}


def train(design: Design, recipes: dict[tuple[str, int], Recipe], view: View, stop: StopSignal) -> None:
    """Train what has not come to an end, so many runs at a time; a run that fails does not stop the others."""
    waiting = [key for key, recipe in recipes.items() if ended(design, *key, recipe) is None]
    if waiting:
        view.say(f"{len(recipes)} runs of {design.kimg:g} kimg, {len(waiting)} of them to be trained")
    running: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
    faults: list[str] = []
    try:
        while waiting or running:
            while waiting and len(running) < design.jobs:
                key = waiting.pop(0)
                running[key] = _start(design, *key)
            time.sleep(POLL_SECONDS)
            stop.check("training")
            for key in [key for key, child in running.items() if child.poll() is not None]:
                fault = _fault(design, *key, running.pop(key).returncode)
                faults += [fault] if fault else []
                view.say(fault or f"{key[0]}, seed {key[1]}: trained")
            view.running({f"{label}, seed {seed}": _kimg(design, label, seed) for label, seed in running}, design.kimg)
    finally:
        for child in running.values():
            child.terminate()  # each saves everything, and is resumed by the same command
        for child in running.values():
            child.wait()
    if faults:
        raise RunError("\n".join(faults))


def _start(design: Design, label: str, seed: int) -> subprocess.Popen[bytes]:
    """Begin or resume a run in a process of its own, with its share of the processors."""
    outdir = outdir_of(design, label, seed)
    outdir.mkdir(parents=True, exist_ok=True)
    entry = next(entry for entry in design.entries if entry.label == label)
    texts = [o.text if isinstance(o, Override) else o for o in overrides(design, entry, seed)]
    words = ["finetune", "--target", design.target, "--outdir", str(outdir)]
    words += [word for text in texts for word in ("--set", text)]
    threads = {"OMP_NUM_THREADS": str(max(1, cores() // design.jobs))} if design.jobs > 1 else {}
    with open(outdir / "out.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", __package__, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=os.environ | threads, start_new_session=True,
        )  # fmt: skip


def _fault(design: Design, label: str, seed: int, code: int) -> str:
    """What went wrong with a run, empty if what it came to is a result; one that was not finite is one too."""
    if code in GOOD_ENDS:
        return ""
    log = outdir_of(design, label, seed) / "out.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if any("not finite" in line for line in lines[-5:]):
        return ""
    last = printable(lines[-1]) if lines else "no word"
    return f"{label}, seed {seed}, ended with exit code {code}: {last}. All of it: {log}"


def _kimg(design: Design, label: str, seed: int) -> float:
    """How far a run has come."""
    stats = sorted(outdir_of(design, label, seed).glob("[0-9]*-*/stats.jsonl"))
    with contextlib.suppress(OSError, ValueError, IndexError):
        return float(json.loads(stats[-1].read_text(encoding="utf-8").splitlines()[-1])["kimg"])
    return 0.0
