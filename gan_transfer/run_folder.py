"""The folder of a run: its number, its lock, its books. Resuming is finding the newest unfinished one again.

`<outdir>/00000-<recipe>-<data>/`: recipe.json, origin.json, blocks.json, stats.jsonl, metric-panel.jsonl,
metric-moved.jsonl, events.jsonl, log.txt, *.png, report.html, start.safetensors, snapshots/, best/, state-latest/,
state-healthy/.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .config import completed, difference, to_dict
from .errors import RunError
from .files import append_line, write_json
from .recipe import Recipe
from .text import composed

NUMBERED = re.compile(r"(\d{5})-(.+)")
HALF_WRITTEN = (".*.tmp", ".tmp??????")
"""Names of files until they are whole: ours, and those of safetensors."""

FREE = (
    "data.source", "data.workers", "train.device",
    "diagnose.extractor", "diagnose.fakes", "diagnose.on_collapse", "diagnose.patience",
)  # fmt: skip
"""Keys that may differ between a run and its resumption; the pack's key stands for the pictures."""


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths and books of one run."""

    path: Path

    @property
    def stats(self) -> Path:
        """One JSON object per tick."""
        return self.path / "stats.jsonl"

    @property
    def panel(self) -> Path:
        """One JSON object per look at the generator."""
        return self.path / "metric-panel.jsonl"

    @property
    def moved(self) -> Path:
        """One JSON object per snapshot: how far a fine-tuned pair has moved from its source."""
        return self.path / "metric-moved.jsonl"

    @property
    def start(self) -> Path:
        """The pair that a fine-tune began with, in one file."""
        return self.path / "start.safetensors"

    @property
    def snapshots(self) -> Path:
        """Folders that can be sampled, fine-tuned from and published."""
        return self.path / "snapshots"

    @property
    def best(self) -> Path:
        """A copy of the best snapshot."""
        return self.path / "best"

    @property
    def state(self) -> Path:
        """Checkpoints."""
        return self.path / "state-latest"

    @property
    def healthy(self) -> Path:
        """The checkpoint of the last good look, to roll back to."""
        return self.path / "state-healthy"

    def event(self, event: str, /, **details: Any) -> None:
        """Append to `events.jsonl`."""
        append_line(self.path / "events.jsonl", {"event": event, "time": round(time.time(), 1), **details})

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file into the folder."""
        write_json(self.path / name, value)

    def log(self, text: str) -> None:
        """Append a line to `log.txt`."""
        with open(self.path / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def finished(self) -> bool:
        """Whether the run came to its end."""
        return any(event.get("event") == "finished" for event in self.events())

    def events(self) -> list[dict[str, Any]]:
        """What `events.jsonl` says; a line cut off by a kill is passed over."""
        return _read_lines(self.path / "events.jsonl")

    def ticks(self) -> list[dict[str, Any]]:
        """What `stats.jsonl` says, likewise."""
        return _read_lines(self.stats)

    def looks(self) -> list[dict[str, Any]]:
        """What `metric-panel.jsonl` says, likewise."""
        return _read_lines(self.panel)

    def recipe(self) -> dict[str, Any] | None:
        """The recipe as it was resolved; None in a folder where nothing was begun."""
        try:
            loaded: dict[str, Any] = json.loads((self.path / "recipe.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return loaded


@contextlib.contextmanager
def open_run(outdir: Path, name: str, recipe: dict[str, Any], new: bool = False) -> Iterator[RunFolder]:
    """The folder to train in, locked: the newest unfinished one of this name, else a new number.

    Args:
        outdir: made if absent.
        name: `<recipe>-<data>`, the part behind the number.
        recipe: must equal that of the unfinished run, but for the keys in `FREE`.
        new: never resume.

    Raises:
        RunError: the unfinished run has another recipe or is in use; the folder cannot be made.
    """
    folder = (None if new else _to_resume(outdir, name, recipe)) or RunFolder(_make(outdir, name))
    lock = FileLock(folder.path / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(f"{folder.path} is being trained by another process; wait for it, or take --new") from None
    except OSError as error:
        raise RunError(f"{folder.path} cannot be locked ({error}). Mend its permissions, or take --new") from None
    with lock:
        for pattern in HALF_WRITTEN:  # by a run that was killed: ours, since we hold the lock
            for left in folder.path.rglob(pattern):
                left.unlink()
        yield folder


def unfinished_batch(outdir: Path, name: str) -> int | None:
    """The batch size of the newest run of this name, if it is unfinished and had measured it."""
    newest = _newest_begun(outdir, name)
    settings = {} if newest is None or newest.finished() else (newest.recipe() or {}).get("train", {})
    return int(settings["batch"]) if settings.get("auto_batch") else None


def unfinished_bytes(outdir: Path, name: str) -> int:
    """What the newest run of this name has written already, if it is unfinished."""
    newest = _newest_begun(outdir, name)
    if newest is None or newest.finished():
        return 0
    sizes = []
    for path in newest.path.rglob("*"):
        with contextlib.suppress(OSError):  # a file that was removed meanwhile
            sizes.append(path.stat().st_size)
    return sum(sizes)


def check_writable(outdir: Path) -> None:
    """Raise `RunError` unless the folder is there or can be made, and can be written to; writes nothing."""
    place = _nearest(outdir)
    if not place.is_dir():
        raise RunError(f"--outdir {outdir}: {place} is a file, wanted a folder. Give another --outdir")
    if not os.access(place, os.W_OK | os.X_OK):
        raise RunError(f"--outdir {outdir}: {place} is not writable. Give another --outdir")


def check_space(outdir: Path, needed: int, runs: str = "the run needs") -> None:
    """Raise `RunError` unless the file system of `outdir` has `needed` bytes free."""
    free = shutil.disk_usage(_nearest(outdir)).free
    if free < needed:
        raise RunError(
            f"--outdir {outdir}: {runs} {needed / 1e9:.2f} GB for checkpoints and snapshots, "
            f"{free / 1e9:.2f} GB are free. Give another --outdir"
        )


def kimg_label(images_seen: int, *landmarks_kimg: float) -> str:
    """The clock in a file name: `000200`, or `000000.512` where one of the landmarks is no whole number of kimg,
    so that two of them never share a name."""
    whole = all(float(kimg).is_integer() for kimg in landmarks_kimg)
    return f"{images_seen // 1000:06d}" if whole else f"{images_seen / 1000:010.3f}"


def _read_lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    return lines


def _nearest(outdir: Path) -> Path:
    """The folder itself or the nearest parent that is there."""
    place = outdir.absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
    except OSError as error:
        raise RunError(f"--outdir {outdir}: {error.strerror}. Give another --outdir") from None
    return place


def _to_resume(outdir: Path, name: str, recipe: dict[str, Any]) -> RunFolder | None:
    """The newest run of this name and recipe, if it is unfinished.

    Raises:
        RunError: there is none, and the newest run of this name is unfinished with another recipe.
    """
    folders = _named(outdir, name)
    begun = [folder for folder in folders if _has_begun(folder)]
    for folder in begun:
        if not _changes(folder, recipe):
            return None if folder.finished() else folder
    if folders and folders[0] not in begun:
        return folders[0]
    if begun and not begun[0].finished():
        raise RunError(
            f"the unfinished run {begun[0].path} has another recipe: {'; '.join(_changes(begun[0], recipe))}. "
            "Give the same command to resume it, or --new to begin another"
        )
    return None


def _named(outdir: Path, name: str) -> list[RunFolder]:
    """All run folders of this name, the newest first."""
    paths = [path for _, path in sorted(_numbered(outdir), reverse=True)]
    return [RunFolder(path) for path in paths if composed(path.name).partition("-")[2] == name]


def _newest_begun(outdir: Path, name: str) -> RunFolder | None:
    return next((folder for folder in _named(outdir, name) if folder.recipe() is not None), None)


def _has_begun(folder: RunFolder) -> bool:
    """Whether a run got as far as writing its recipe.

    Raises:
        RunError: it got further, and its recipe is gone.
    """
    if folder.recipe() is not None or folder.finished():
        return True
    if any(folder.state.glob("checkpoint-*")):
        raise RunError(f"{folder.path / 'recipe.json'} is missing or damaged. Put it back, or begin anew with --new")
    return False


def _changes(folder: RunFolder, recipe: dict[str, Any]) -> list[str]:
    """In what a run's recipe differs. A setting that was not yet known when the run began was as its default is."""
    defaults = to_dict(Recipe())
    before, now = completed(folder.recipe() or recipe, defaults), completed(recipe, defaults)
    return [line for line in difference(before, now) if line.split(":")[0] not in FREE]


def _numbered(outdir: Path) -> list[tuple[int, Path]]:
    folders = outdir.iterdir() if outdir.is_dir() else ()
    return [(int(match[1]), path) for path in folders if (match := NUMBERED.fullmatch(path.name)) and path.is_dir()]


def _make(outdir: Path, name: str) -> Path:
    """The next free number; another process may take it first."""
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        number = max((n for n, _ in _numbered(outdir)), default=-1) + 1
        while True:
            path = outdir / f"{number:05d}-{name}"
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
            number += 1
    except OSError as error:
        raise RunError(f"--outdir {outdir}: cannot make a run folder ({error}). Give another --outdir") from None
