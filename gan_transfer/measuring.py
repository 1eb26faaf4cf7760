"""Measures the snapshots of runs on pictures that were held out of their training; each measurement is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from .data.cache import cache_dir
from .data.pack import PackSettings
from .data.selection import split
from .data.sources import open_source
from .diagnostics.curves import Point
from .diagnostics.extractors import Extractor
from .diagnostics.reference import reference
from .diagnostics.scores import measure
from .diagnostics.verdict import Judge, prepare
from .errors import DataError
from .examine import MOST_REALS, mirrored, pictures_of
from .fakes import View, pack_of
from .files import append_line
from .models.dcgan import Generator
from .sampling import sample
from .transfer.start import open_generator

LEAST_HELD_OUT = 64
"""Held-out pictures below which coverage and recall are mostly luck."""

SCORES = ("kid", "coverage", "recall", "precision")


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """Held-out and training pictures, made ready.

    Attributes:
        extractor: whose features they are.
        held_out: float32 [H, D], of pictures that no run was trained on.
        judge: gives the verdict, and looks for copies of training pictures.
        fakes: how many pictures of a generator are measured.
        looks: how many times a run is measured, over which the verdict shares out its chance of a false alarm.
    """

    extractor: Extractor
    held_out: Tensor
    judge: Judge
    fakes: int
    looks: int

    def point(self, generator: Generator, kimg: float) -> Point:
        """Measure a generator, in eval mode, by its pictures of the seeds 0, 1, 2 ..."""
        features = self.extractor.features(sample(generator, range(self.fakes)))
        found = measure(SCORES, features, self.held_out, self.extractor.name)
        kid, coverage, recall, precision = (measured.score for measured in found)
        verdict = self.judge(features, self.looks)
        copies = None if verdict.copying is None else verdict.copying.rate
        return Point(
            kimg, kid.value, kid.error or 0.0, coverage.value, recall.value, precision.value,
            verdict.vendi_ratio, copies, str(verdict.state),
        )  # fmt: skip


def yardstick(
    data: str, held_out: int, cut: PackSettings, extractor: Extractor, fakes: int, looks: int, view: View | None = None
) -> Yardstick:
    """Make the pictures of a study ready.

    Args:
        data: the data source, as the runs have it.
        held_out: how many of its pictures the runs do not see.
        cut: as the runs cut them.
        extractor: what sees them.
        fakes: how many pictures of a generator will be measured.
        looks: how many times a run will be.
        view: is told what happens.

    Raises:
        DataError: the pictures cannot be had, or there are too few.
        WeightsError: the extractor gives features that are not finite.
    """
    if held_out < LEAST_HELD_OUT:
        raise DataError(f"{held_out} held-out pictures are too few; wanted {LEAST_HELD_OUT}. Give --held-out, or more")
    with contextlib.closing(open_source(data)) as source:
        source.fetch()
        packs = [pack_of(part, cut, view) for part in split(source, held_out)]
        training, out = (pictures_of(packed, source.origin) for packed in packs)
        count, cache = min(training.count, MOST_REALS), cache_dir()
        seen = reference(training, extractor, count, 0, cache).features
        flipped = reference(mirrored(training), extractor, count, 0, cache).features
        unseen = reference(out, extractor, min(out.count, MOST_REALS), 0, cache).features
    judge = prepare(unseen, seen, fakes, flipped)
    return Yardstick(extractor, unseen, judge, max(fakes, judge.yardstick.size), looks)


@dataclasses.dataclass(frozen=True)
class Measurements:
    """The measurements of a study, one JSON object a line; what is there is not measured again.

    Attributes:
        path: `measurements.jsonl`.
        yardstick: measures what is missing.
    """

    path: Path
    yardstick: Yardstick

    def of_snapshots(self, label: str, run: Path) -> Iterator[Point]:
        """The snapshots of a run, in order.

        Args:
            label: of the run in the file, the same whenever it is asked for.
            run: its folder.
        """
        known = self._known(label)
        for folder in sorted((run / "snapshots").glob("[0-9]*/"), key=lambda path: float(path.name)):
            if not (folder / "config.json").is_file():
                continue
            kimg = float(folder.name)
            yield known.get(kimg) or self.measured(label, open_generator(folder), kimg)

    def start(self, label: str) -> Point | None:
        """The measurement before the first step, if it is there."""
        return self._known(label).get(0.0)

    def measured(self, label: str, generator: Generator, kimg: float) -> Point:
        """Measure a generator and keep what was found."""
        point = self.yardstick.point(generator, kimg)
        append_line(self.path, {"run": label, **self._about(), **dataclasses.asdict(point)})
        return point

    def _about(self) -> dict[str, Any]:
        eyes = self.yardstick.extractor
        return {"extractor": eyes.name, "n": self.yardstick.fakes, "looks": self.yardstick.looks}

    def _known(self, label: str) -> dict[float, Point]:
        wanted, found = {"run": label, **self._about()}, {}
        for text in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            with contextlib.suppress(ValueError):  # a line cut off by a kill
                line = json.loads(text)
                if all(line.get(key) == value for key, value in wanted.items()):
                    found[line["kimg"]] = Point(**{f.name: line[f.name] for f in dataclasses.fields(Point)})
        return found
