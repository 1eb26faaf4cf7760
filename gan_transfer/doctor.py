"""The figures of a run, read from its folder whatever state that is in, for the rules of `symptoms`."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from . import config
from .errors import GanTransferError, RecipeError, RunError
from .files import SPARE_BYTES
from .models.snapshot import CONFIG, read_config
from .recipe import Recipe
from .rerun import read_rerun
from .run_folder import RunFolder
from .symptoms import Figures
from .training.checkpoint import Checkpoints

BESIDE = ("pack", "precision")
"""Keys of `recipe.json` that are of no recipe: which pictures, and `auto` as it was resolved."""


def read_figures(folder: Path) -> Figures:
    """Read a run folder; nothing in it is changed.

    Raises:
        RunError: it is no run folder, or of another version.
    """
    run, recipe = RunFolder(folder), _recipe(folder)
    checkpoints = Checkpoints(run.state)
    damaged = checkpoints.faults()
    whole = len(checkpoints.paths()) - len(damaged)
    if not whole:  # a resumption has set them aside; later ones make up for them
        damaged += [f"{path.name} is set aside" for path in sorted(run.state.glob("*.damaged"))]
    return Figures(
        folder=str(folder),
        rerun=read_rerun(recipe, _origin(folder), folder.parent),
        recipe=config.flatten(recipe),
        pictures=_pictures(run),
        ticks=list(_usable(run.ticks(), "kimg")),
        looks=list(_usable(run.looks(), "kimg", "verdict")),
        events=list(_usable(run.events())),
        checkpoints=whole,
        damaged=damaged,
        locked=_locked(folder),
        has_best=run.best.is_dir(),
        free_bytes=shutil.disk_usage(folder).free,
        needed_bytes=_needed(run, checkpoints),
    )


def _recipe(folder: Path) -> dict[str, Any]:
    told = RunFolder(folder).recipe()
    if (folder / CONFIG).exists():
        raise RunError(
            f"{folder} is a snapshot, wanted a run folder. Look at it with: gan-transfer models show {folder}"
        )
    if not isinstance(told, dict):
        held = "no such folder" if not folder.exists() else "it has no recipe.json that can be read"
        raise RunError(f"{folder} is no run folder: {held}. Give one below runs/, or no folder for the machine alone")
    try:
        whole = config.from_dict(
            Recipe, {k: v for k, v in told.items() if k not in BESIDE}, str(folder / "recipe.json")
        )
    except RecipeError as error:
        first = str(error).splitlines()[0]
        raise RunError(f"{folder} was written by another version, or changed by hand: {first}") from None
    return config.to_dict(whole)


def _origin(folder: Path) -> dict[str, str]:
    """Where each setting came from; nothing where that cannot be read."""
    try:
        loaded = json.loads((folder / "origin.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in loaded.items()} if isinstance(loaded, dict) else {}


def _usable(lines: list[Any], *numbers: str) -> Iterator[Mapping[str, Any]]:
    """Objects that hold these keys, `kimg` as a number; others were cut off or are of another version."""
    for line in lines:
        if isinstance(line, dict) and all(name in line for name in numbers):
            kimg = line.get("kimg", 0.0)
            if isinstance(kimg, (int, float)) and math.isfinite(kimg):
                yield line


def _pictures(run: RunFolder) -> int | None:
    """How many it is trained on, as its snapshots say."""
    for snapshot in sorted(run.snapshots.glob("[0-9]*"), reverse=True):
        with contextlib.suppress(GanTransferError, KeyError, TypeError, ValueError):
            return int(read_config(snapshot)[1]["data"]["pictures"])
    return None


def _locked(folder: Path) -> bool:
    """Whether a living process holds the lock; it is given back at once."""
    path = folder / ".lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # somebody else's: it cannot be asked
        return False


def _needed(run: RunFolder, checkpoints: Checkpoints) -> int:
    """Bytes of the next checkpoint and snapshot, as large as the newest ones."""
    newest = [path.stat().st_size for path in checkpoints.paths()[:1]]
    snapshots = sorted(run.snapshots.glob("[0-9]*"))[-1:]
    newest += [path.stat().st_size for folder in snapshots for path in folder.iterdir() if path.is_file()]
    return sum(newest) + SPARE_BYTES
