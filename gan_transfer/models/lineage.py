"""Where a pair comes from: its ancestors, as `from` in `config.json` tells them, the nearest one outermost.

Each has `pair` (`hf:org/name@COMMIT`, `builtin:NAME` or a folder's name), `kimg`, `sha256` by file, and its own `from`
where it has one. A snapshot may be published: no path of a machine is in it, the checksums say which pair it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .remote import PREFIX, Address, parse

if TYPE_CHECKING:
    from .weights import Pair


def lineage(pair: Pair | None) -> dict[str, Any] | None:
    """What a run that starts from a pair records; None from scratch."""
    if pair is None:
        return None
    told = {"pair": pair.origin, "kimg": pair.info.get("kimg"), "sha256": pair.info.get("sha256")}
    return told | ({"from": pair.info["from"]} if pair.info.get("from") else {})


def ancestors(info: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The pairs that a pair comes from, the nearest first; `info` as in `Pair`."""
    parent = info.get("from")
    while isinstance(parent, dict):
        yield parent
        parent = parent.get("from")


def nearest_on_hub(info: Mapping[str, Any]) -> Address | None:
    """The nearest ancestor that was published, with its commit."""
    names = (str(parent.get("pair")) for parent in ancestors(info))
    return next((parse(name) for name in names if name.startswith(PREFIX)), None)
