"""The pairs that ship with the package, by `pretrained/index.toml`. Free of torch."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ..errors import WeightsError, did_you_mean
from ..resources import resource_dir


def index() -> dict[str, Any]:
    """What `pretrained/index.toml` says: `default`, and in `pairs` a purpose and checksums by name.

    Raises:
        WeightsError: this installation has none.
    """
    try:
        return tomllib.loads((resource_dir("pretrained") / "index.toml").read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"this installation has no embedded pair ({error}). Give --from DIR or --from none"
        ) from None


def embedded(name: str = "") -> tuple[Path, dict[str, str]]:
    """The folder of an embedded pair, by default the index's first choice, and its SHA-256 by file name.

    Raises:
        WeightsError: there is none of that name; says which is near.
    """
    known = index()
    name = name or known["default"]
    if name not in known["pairs"]:
        raise WeightsError(f"no embedded pair {name!r}; {did_you_mean(name, known['pairs'])}")
    return resource_dir("pretrained") / name, dict(known["pairs"][name]["sha256"])
