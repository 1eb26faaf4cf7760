"""Looks at a run's generator while it trains: a line of `metric-panel.jsonl` each, and the best snapshot in `best/`.

All looks of a run show the same fakes, by the seeds 0, 1, 2 ..., so that one can be taken again from its snapshot.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import images
from .data.cache import cache_dir, temporary_sibling
from .diagnostics.diversity import vendi
from .diagnostics.extractors import Extractor
from .diagnostics.fidelity import kid, kid_spread
from .diagnostics.history import Entry
from .diagnostics.reference import Pictures
from .diagnostics.verdict import State
from .evidence import evidence, save_nearest
from .examine import Examiner, Look, examiner
from .files import append_line
from .models.dcgan import Generator
from .models.metrics import Metrics, Score
from .recipe import Train
from .run_folder import RunFolder, kimg_label
from .sampling import latents
from .training.hardware import Hardware

SHARE = 0.05
"""Of the training time that looks may take: where one would take more, there are fewer."""

CHUNK = 64
"""Latents in a forward pass."""


@dataclasses.dataclass
class Monitor:
    """The looks at one run.

    Attributes:
        folder: of the run.
        examiner: the real pictures, made ready.
        pictures: these pictures.
        fakes: how many are looked at; where the pictures are few the verdict compares the first of them only.
        settings: the clock of the run.
        hardware: where the generator is.
        seconds: what making ready and all looks since then have taken.
        every: a look is taken at every so-manieth snapshot.
    """

    folder: RunFolder
    examiner: Examiner
    pictures: Pictures
    fakes: int
    settings: Train
    hardware: Hardware
    seconds: float
    every: int = 1
    _cost: float = math.inf  # of the quickest look: others may have waited for other programs
    _last: tuple[float, int] | None = None  # when the last look of this session ended, and the images seen by then

    @property
    def looks(self) -> int:
        """How many are planned, the one before the first step included."""
        return 1 + math.ceil(self.settings.kimg / self.settings.snapshot_kimg)

    @property
    def history(self) -> list[Entry]:
        """What was found so far by this extractor in as many fakes, in order."""
        ours = self.examiner.extractor.name, self.fakes
        lines = [line for line in self.folder.looks() if (line["extractor"], line["n"]) == ours]
        return [_entry(line) for line in lines]

    def due(self, images_seen: int) -> bool:
        """Whether to look at this snapshot: at every one, or at every second, fourth ... where looks would take more
        than `SHARE` of the time. The last snapshot is looked at in any case, and so is a session's first.
        """
        if self._last is None:
            return True
        then, before = self._last
        step = self.settings.snapshot_kimg * 1000
        elapsed = max(time.perf_counter() - then, 1e-3)
        seconds = elapsed / max(images_seen - before, 1) * step  # from snapshot to snapshot
        self.every = 1
        while self._cost > SHARE * seconds * self.every:
            self.every *= 2
        return images_seen // step % self.every == 0 or images_seen >= self.settings.kimg * 1000

    def examine(self, generator: Generator, images_seen: int) -> dict[str, Any]:
        """Look, with nothing written but the fakes nearest to training pictures, and give back the figures.

        Args:
            generator: the average, in eval mode, with recalibrated statistics.
            images_seen: the clock.

        Raises:
            GanTransferError: the pictures cannot be judged.
        """
        begin = time.perf_counter()
        fakes = self._fakes(generator)
        found = self.examiner.look(fakes, self.looks)
        figures = _figures(found, self.examiner.reals.features) | evidence(found, self.examiner)
        if figures["nearest"]:
            label = kimg_label(images_seen, self.settings.snapshot_kimg, self.settings.kimg)
            reals = self.pictures.load([row["row"] for row in figures["nearest"]])
            save_nearest(self.folder.path / f"nearest{label}.png", fakes, figures["nearest"], reals)
        return figures | {"seconds": round(time.perf_counter() - begin, 3), "looks": self.looks}

    def keep(self, figures: dict[str, Any], images_seen: int) -> dict[str, Any]:
        """Write the line of a look that has just been taken, and give it back."""
        self.looked(figures["seconds"], images_seen)
        line = {"kimg": images_seen / 1000} | figures
        append_line(self.folder.panel, line)
        return line

    def looked(self, seconds: float, images_seen: int) -> None:
        """Count what a look took that has just been taken."""
        self._cost, self._last = min(self._cost, seconds), (time.perf_counter(), images_seen)
        self.seconds += seconds

    @torch.inference_mode()
    def _fakes(self, generator: Generator) -> Tensor:
        z = latents(range(self.fakes), generator.model.latent_dim).to(self.hardware.device)
        with self.hardware.autocast():
            return torch.cat([images.to_uint8(generator(part)).cpu() for part in torch.split(z, CHUNK)])


def open_monitor(
    folder: RunFolder, reals: Pictures, extractor: Extractor, fakes: int, settings: Train, hardware: Hardware
) -> Monitor:
    """Make the real pictures of a run ready; some seconds, less where their features are in the cache.

    Raises:
        DataError: too few pictures, or they are all the same; or the cache cannot be written.
        WeightsError: the extractor gives features that are not finite.
    """
    begin = time.perf_counter()
    ready = examiner(reals, extractor, fakes, cache=cache_dir())
    return Monitor(folder, ready, reals, max(fakes, ready.fakes), settings, hardware, time.perf_counter() - begin)


def _entry(line: dict[str, Any]) -> Entry:
    """A line of the panel, which may be of a time without `kid_spread` and `vendi`."""
    error, vendi = line.get("kid_spread", line["kid_error"]), line.get("vendi", math.nan)
    return Entry(line["kimg"], State(line["verdict"]), line["kid_x1000"], error, line["precision"], vendi)


def findings(line: dict[str, Any]) -> Metrics:
    """What a look found, a line of `metric-panel.jsonl`, as it is kept in the folder of its snapshot and published."""
    names = [name for name in ("kid_x1000", "vendi_ratio", "copy_rate", "precision") if line[name] is not None]
    scores = {name: Score(line[name], line["kid_error"] if name == "kid_x1000" else None) for name in names}
    return Metrics(line["kimg"], line["extractor"], line["n"], line["verdict"], scores)


def keep_best(snapshot: Path, best: Path) -> None:
    """Copy a snapshot to `best`, which is whole at any moment, but for one between two renamings when it is absent."""
    with temporary_sibling(best) as fresh:
        shutil.copytree(snapshot, fresh, dirs_exist_ok=True)
        old = fresh.with_name(f"{fresh.name}.old")
        if best.exists():
            best.rename(old)
        fresh.rename(best)
        shutil.rmtree(old, ignore_errors=True)


def _figures(found: Look, reals: Tensor) -> dict[str, Any]:
    """What a look found, as JSON values."""
    verdict, distance = found.verdict, kid(found.features, reals, found.extractor)
    return {
        "n": len(found.features),
        "judged": verdict.fakes,
        "reals": verdict.reals,
        "extractor": found.extractor,
        "verdict": str(verdict.state),
        "reason": verdict.reason,
        "kid_x1000": round(distance.value, 3),
        "kid_error": round(distance.error or 0.0, 3),
        "kid_spread": round(kid_spread(found.features, reals), 3),
        "occupancy_loss": round(verdict.axis("occupancy").loss, 4),
        "vendi_ratio": round(verdict.vendi_ratio, 4),
        "vendi": round(vendi(found.features), 2),
        "duplicates": round(verdict.axis("duplicates").statistic, 4),
        "copy_rate": None if verdict.copying is None else round(verdict.copying.rate, 4),
        "precision": round(verdict.precision, 4),
    }
