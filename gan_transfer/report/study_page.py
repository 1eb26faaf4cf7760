"""The page of a study: its conclusion, table, curves and runs, from `study.json` and `study.png` alone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..files import write_text
from ..text import reason
from .page import REPORT, render
from .pictures import embed
from .words import Command

STUDY = "study.json"
COLUMNS = {
    "label": "method",
    "seeds": "seeds",
    "start_kid": "KID at the start",
    "best_kid": "at best",
    "final_kid": "at the end",
    "coverage": "coverage",
    "recall": "recall",
    "vendi_ratio": "Vendi ratio",
    "collapsed": "collapsed",
    "img_per_sec": "img/s",
}
"""The columns of the table of methods, by their name in `study.json`."""


def write_study_report(folder: Path) -> Path:
    """Write `report.html` into a study's folder, and give back its path.

    Raises:
        RunError: its `study.json` is not there or is damaged, or the page cannot be written.
    """
    try:
        told = json.loads((folder / STUDY).read_text(encoding="utf-8"))
        page = render("study.html", _values(folder, told))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        advice = "Give the command of the study again"
        raise RunError(f"{folder / STUDY} cannot be read ({reason(error)}). {advice}") from None
    try:
        write_text(folder / REPORT, page)
    except OSError as error:
        raise RunError(f"{folder / REPORT} cannot be written ({reason(error)}). Free space") from None
    return folder / REPORT


def _values(folder: Path, told: dict[str, Any]) -> dict[str, Any]:
    plot = folder / "study.png"
    return {
        "name": folder.resolve().name,
        "headline": f"{told['target']}, {told['kimg']:g} kimg",
        "conclusion": told["conclusion"],
        "columns": list(COLUMNS.values()),
        "methods": [[_cell(row[key]) for key in COLUMNS] for row in told["methods"]],
        "plot": embed(plot, longest=1800),
        "trials": [_trial(trial) for trial in told["trials"]],
        "commands": [Command("Fine-tune on all pictures with the method to take", told["command"])],
        "made": time.strftime("%Y-%m-%d %H:%M"),
    }


def _trial(trial: dict[str, Any]) -> list[str]:
    points = trial["points"]
    kids = min(point["kid"] for point in points), points[-1]["kid"]
    return [trial["label"], str(trial["seed"]), *map(_cell, kids), points[-1]["verdict"], trial["folder"]]


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
