"""What a run folder says of itself: which snapshot to judge, on which pictures, and what was seen while it trained."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from . import config
from .errors import RunError, WeightsError
from .models.snapshot import CONFIG
from .recipe import Data
from .run_folder import RunFolder
from .transfer.start import find

BEST = "best"
"""Chooses the best snapshot of a run."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run folder says of itself.

    Attributes:
        network: the snapshot to judge.
        data: the data source that it is trained on.
        crop: how its pictures are cut.
        held_out: pictures of the source that it is not trained on.
        history: the looks at its generator so far.
    """

    network: str
    data: str
    crop: str
    held_out: int
    history: list[dict[str, Any]]


def read_run(folder: Path, snapshot: str | None = None) -> Run:
    """Read a run folder.

    Args:
        folder: of the run.
        snapshot: `best`, or a number of kimg; None takes the newest.

    Raises:
        RunError: it is no run folder.
        WeightsError: there is no such snapshot.
        RecipeError: its recipe is damaged.
    """
    run = RunFolder(folder)
    told = run.recipe()
    if not isinstance(told, dict):
        advice = "give a run folder, or --network and --data"
        raise RunError(f"{folder} is no run folder: it has no recipe.json that can be read; {advice}")
    data = config.from_dict(Data, told.get("data", {}), str(folder / "recipe.json"))
    source = data.hub if data.source == "hf" else data.source
    return Run(str(_snapshot(run, snapshot)), source, data.crop, data.held_out, _looks(run))


def _snapshot(run: RunFolder, name: str | None) -> Path:
    if name is None:
        return find(str(run.path))[0]
    there = {path.parent.name: path.parent for path in sorted(run.snapshots.glob(f"*/{CONFIG}"))}
    if (run.best / CONFIG).is_file():
        there[BEST] = run.best
    if name in there:
        return there[name]
    for label, path in there.items():
        with contextlib.suppress(ValueError):
            if float(label) == float(name):
                return path
    raise WeightsError(f"the run {run.path} has no snapshot {name!r}; wanted one of {', '.join(there) or 'none yet'}")


def _looks(folder: RunFolder) -> list[dict[str, Any]]:
    """The looks that a table can show."""
    lines: list[Any] = folder.looks()
    return [line for line in lines if isinstance(line, dict) and isinstance(line.get("kimg"), (int, float))]
