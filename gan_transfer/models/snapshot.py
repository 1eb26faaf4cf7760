"""What lies in a snapshot folder: the names, `config.json`, and the headers of the weights. Free of torch.

Only this file knows the names. The two weight files name each other in one direction: the discriminator is written
first and the generator's header holds its SHA-256, since neither file can hold the sum of one that holds its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from .. import config
from ..errors import DamagedError, RecipeError, WeightsError
from ..recipe import Model

FORMAT = 1
CONFIG, GENERATOR, DISCRIMINATOR = "config.json", "model.safetensors", "discriminator.safetensors"
RECIPE, METRICS, SAMPLES, CARD = "recipe.json", "metrics.json", "samples.png", "README.md"
PAIR = (CONFIG, GENERATOR, DISCRIMINATOR)
"""Without these it is no snapshot."""
EXTRAS = (RECIPE, METRICS, SAMPLES, CARD)
"""What a snapshot or a published pair may hold besides."""
PARTNER = "partner_sha256"
"""In the header of the generator: the SHA-256 of its discriminator's file."""
AGAIN = "Get the snapshot again"


def is_snapshot(folder: Path) -> bool:
    """Whether a folder holds all files of a pair."""
    return all((folder / name).is_file() for name in PAIR)


def read_config(folder: Path) -> tuple[Model, dict[str, Any]]:
    """The shape of a snapshot's networks, and what else its `config.json` says.

    Raises:
        WeightsError: no snapshot, not JSON, of a newer format, or a shape that cannot be.
    """
    path = folder / CONFIG
    if not path.is_file():
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) if folder.is_dir() else "no such folder"
        advice = f"Give a folder with {CONFIG}, {GENERATOR} and {DISCRIMINATOR}, or builtin"
        raise WeightsError(f"{folder} is not a snapshot: it has no {CONFIG} (it holds: {held or 'nothing'}). {advice}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data.pop("format")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        wrong = f"{type(error).__name__}: {error}"
        raise DamagedError(f"{path} is not the configuration of a pair ({wrong}). {AGAIN}") from None
    if version != FORMAT:
        advice = "Upgrade gan-transfer: pip install --upgrade gan-transfer"
        raise WeightsError(f"{path} is of format {version}; this version reads {FORMAT}. {advice}")
    return _model(path, data), data


def read_header(path: Path) -> dict[str, str]:
    """What a weight file says of itself; nothing where it is no safetensors file or says nothing."""
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return {}


def _model(path: Path, data: dict[str, Any]) -> Model:
    """Take the shape out of a `config.json`, and see that the checksums are some."""
    shape, sums = data.pop("model", None), data.setdefault("sha256", {})
    if not isinstance(shape, dict):
        raise DamagedError(f"{path} describes no model: wanted a table of settings, got {shape!r}. {AGAIN}")
    if not isinstance(sums, dict) or not all(isinstance(value, str) for value in sums.values()):
        raise DamagedError(f"{path}: sha256 is {sums!r}; wanted a checksum for each file. {AGAIN}")
    try:
        return config.from_dict(Model, shape, "model")
    except RecipeError as error:
        raise DamagedError(f"{path} describes no model: {'; '.join(str(error).splitlines())}. {AGAIN}") from None
