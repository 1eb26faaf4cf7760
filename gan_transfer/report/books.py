"""Reads the books of a run for people to look at: whatever is there, half-written or from a newer version, counts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RunError

Line = dict[str, Any]

BOOKS = ("recipe.json", "stats.jsonl", "events.jsonl", "metric-panel.jsonl", "blocks.json", "log.txt")
"""Any of these makes a folder that of a run."""

MOST_POINTS = 1000  # in a curve; more are thinned
READ_WHOLE = 2**20  # bytes up to which a book is read whole; of a longer one lines are picked, evenly over the file
LONGEST_LINE = 2**16

GRID = re.compile(r"fakes(_init|\d+(?:\.\d+)?)\.png")
NEAREST = re.compile(r"nearest(\d+(?:\.\d+)?)\.png")


@dataclasses.dataclass(frozen=True)
class Frame:
    """A grid of samples.

    Attributes:
        kimg: when it was made.
        path: of the PNG.
    """

    kimg: float
    path: Path


@dataclasses.dataclass(frozen=True)
class Books:
    """What a run folder says.

    Attributes:
        folder: of the run.
        recipe: as resolved; empty if it cannot be read, like all others.
        origin: where each value came from, by flat key.
        blocks: rows of the layer table.
        ticks: of `stats.jsonl`, at most `MOST_POINTS`, the first and the last among them.
        looks: of `metric-panel.jsonl`.
        events: of `events.jsonl`.
        frames: grids of samples from the same latents, in order.
        best: `config.json` of the best snapshot.
        moved: the last line of `metric-moved.jsonl`, how far the pair has moved from its source.
    """

    folder: Path
    recipe: Line
    origin: Line
    blocks: list[Line]
    ticks: list[Line]
    looks: list[Line]
    events: list[Line]
    frames: list[Frame]
    best: Line
    moved: Line

    @property
    def kimg(self) -> float:
        """How far it has come."""
        return max((line["kimg"] for line in (*self.ticks[-1:], *self.looks[-1:])), default=0.0)

    @property
    def total_kimg(self) -> float | None:
        """How far it shall go."""
        return number(section(self.recipe, "train").get("kimg"))

    def events_named(self, *names: str) -> list[Line]:
        """The events of some names, in order."""
        return [event for event in self.events if event.get("event") in names]


def read_books(folder: Path) -> Books:
    """Read a run folder.

    Raises:
        RunError: it is no folder of a run, or it cannot be read.
    """
    try:
        if not any((folder / name).is_file() for name in BOOKS):
            known = f"has none of {', '.join(BOOKS[:3])}" if folder.is_dir() else "is no folder"
            raise RunError(f"{folder} is no run folder: it {known}. Give one such as runs/00000-coverart-my-covers")
        return _read(folder)
    except OSError as error:
        raise RunError(f"{folder} cannot be read ({error.strerror or error}). Mend its permissions") from None


def _read(folder: Path) -> Books:
    return Books(
        folder,
        recipe=_table(folder / "recipe.json"),
        origin=_table(folder / "origin.json"),
        blocks=_rows(folder / "blocks.json"),
        ticks=timed(thinned(read_lines(folder / "stats.jsonl"))),
        looks=timed(read_lines(folder / "metric-panel.jsonl")),
        events=read_lines(folder / "events.jsonl"),
        frames=frames(folder, GRID),
        best=_table(folder / "best" / "config.json"),
        moved=(read_lines(folder / "metric-moved.jsonl") or [{}])[-1],
    )


def read_lines(path: Path) -> list[Line]:
    """The objects in a `.jsonl` file; of a long one some of them, the first and the last among them.

    What is no object, such as a line cut off by a kill, is passed over. The time does not grow with the file.
    """
    if not path.is_file():
        return []
    if path.stat().st_size <= READ_WHOLE:
        return _parsed(path.read_bytes().split(b"\n"))
    with open(path, "rb") as file:
        size, texts = file.seek(0, 2), []
        for part in range(MOST_POINTS):
            file.seek(size * part // MOST_POINTS)
            if part:
                file.readline(LONGEST_LINE)  # the rest of the line that the place is in
            texts.append(file.readline(LONGEST_LINE))
        file.seek(size - LONGEST_LINE)
        tail = file.read().split(b"\n")[1:]
    return _parsed([*dict.fromkeys(texts), *_parsed_last(tail)])


def thinned(lines: Sequence[Line]) -> list[Line]:
    """Evenly at most `MOST_POINTS` of them, the first and the last kept."""
    count = min(len(lines), MOST_POINTS)
    return [lines[place * (len(lines) - 1) // max(count - 1, 1)] for place in range(count)]


def timed(lines: Sequence[Line]) -> list[Line]:
    """The lines that tell their `kimg`, in order."""
    return sorted((line for line in lines if number(line.get("kimg")) is not None), key=lambda line: line["kimg"])


def frames(folder: Path, named: re.Pattern[str]) -> list[Frame]:
    """The pictures of a kind, by their kimg."""
    found = [(match[1], path) for path in folder.iterdir() if (match := named.fullmatch(path.name))]
    return sorted((Frame(0.0 if label == "_init" else float(label), path) for label, path in found), key=_when)


def number(value: Any) -> float | None:
    """The value if it is a finite number, else None."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def series(lines: Sequence[Line], key: str) -> list[tuple[float, float]]:
    """The points (kimg, value) of the lines that tell a value."""
    return [(line["kimg"], value) for line in lines if (value := number(line.get(key))) is not None]


def section(table: Mapping[str, Any], name: str) -> Line:
    """A table inside a table; empty where there is none."""
    value = table.get(name)
    return value if isinstance(value, dict) else {}


def _when(frame: Frame) -> tuple[float, str]:
    return frame.kimg, frame.path.name


def _parsed(texts: Sequence[bytes]) -> list[Line]:
    lines = []
    for text in texts:
        with contextlib.suppress(ValueError, RecursionError):
            line = json.loads(text)
            if isinstance(line, dict):
                lines.append(line)
    return lines


def _parsed_last(texts: Sequence[bytes]) -> list[bytes]:
    """The last of some texts that is an object."""
    return next(([text] for text in reversed(texts) if _parsed([text])), [])


def _json(path: Path) -> Any:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return json.loads(path.read_bytes())
    return None


def _table(path: Path) -> Line:
    value = _json(path)
    return value if isinstance(value, dict) else {}


def _rows(path: Path) -> list[Line]:
    value = _json(path)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
