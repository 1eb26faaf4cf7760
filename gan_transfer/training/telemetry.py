"""What a run says about itself while it trains: one object per tick, gathered without waiting for the device."""

from __future__ import annotations

import importlib
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..errors import TrainingError
from ..files import append_line, write_text
from .step import STATISTICS


class Telemetry:
    """Collects the statistics of steps and writes one line of `stats.jsonl` per tick.

    Args:
        path: the `stats.jsonl`.
        images_seen: where the run stands; later lines in the file, left by a run that was killed, are dropped.
        total: images of the whole run, for the ETA.
        names: of the statistics of a step.
    """

    def __init__(self, path: Path, images_seen: int, total: int, names: Sequence[str] = STATISTICS) -> None:
        self.path, self.total, self.names = path, total, names
        self._sums: Tensor | None = None
        self._steps = self._images = 0
        self._waited = 0.0
        self._start = self._last = time.perf_counter()
        self._first_images = images_seen
        drop_later_lines(path, images_seen)

    def add(self, statistics: Tensor, images: int, waited: float) -> None:
        """Add one step's statistics, its images, and the seconds that it waited for them; nothing is copied from
        the device.
        """
        self._sums = statistics if self._sums is None else self._sums + statistics
        self._steps += 1
        self._images += images
        self._waited += waited

    def tick(self, images_seen: int) -> dict[str, float]:
        """Average since the last tick, write the line, and return it.

        Raises:
            TrainingError: a loss is not finite; the line is written all the same, with null for it.
        """
        means = (self._sums / self._steps).tolist() if self._sums is not None else [math.nan] * len(self.names)
        now = time.perf_counter()
        seconds = max(now - self._last, 1e-9)
        line: dict[str, float] = {"kimg": images_seen / 1000, "img_per_sec": round(self._images / seconds, 1)}
        line["data_wait"] = round(self._waited / seconds, 4)
        line |= {name: round(value, 6) for name, value in zip(self.names, means, strict=True)}
        finite = all(math.isfinite(value) for value in means)
        done, elapsed = images_seen - self._first_images, now - self._start
        line["eta_sec"] = round(max(self.total - images_seen, 0) * elapsed / max(done, 1), 1)
        line["memory_gb"] = round(memory_gb(), 3)
        line["time"] = round(time.time(), 1)
        append_line(self.path, line if finite else {k: v if math.isfinite(v) else None for k, v in line.items()})
        self._sums, self._steps, self._images, self._waited, self._last = None, 0, 0, 0.0, now
        if not finite:
            broken = ", ".join(n for n, v in zip(self.names, means, strict=True) if not math.isfinite(v))
            raise TrainingError(f"{broken} is not finite at {images_seen / 1000:.2f} kimg")
        return line


def memory_gb() -> float:
    """Peak memory in GB: of the process, or allocated on the GPU where there is one; 0 on Windows, which says not."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.max_memory_allocated() / 1e9
    if sys.platform == "win32":
        return 0.0
    resource = importlib.import_module("resource")  # not there on Windows
    peak: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def drop_later_lines(path: Path, images_seen: int) -> None:
    """Take the lines behind a moment, and one cut off by a kill, out of a file of lines that hold their `kimg`."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and _kimg(line) <= images_seen / 1000]
    if kept != lines:
        write_text(path, "".join(kept))


def _kimg(line: str) -> float:
    try:
        return float(json.loads(line)["kimg"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # cut off by a kill
