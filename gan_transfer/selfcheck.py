"""The verdict put to the test on real pictures: faults of known kind and size are planted, and alarms are counted."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .diagnostics import plants
from .diagnostics.extractors import Extractor
from .diagnostics.reference import Pictures, reference
from .diagnostics.verdict import Judge, State, Verdict, prepare
from .errors import DataError
from .examine import HELD_OUT, MOST_REALS, mirrored

MOST_PLANTED = 2048
"""Pictures kept apart that stand for a generator's; a third of the set at most."""

DROPS = (0.2, 0.35, 0.5, 0.7)
"""Shares of the modes that are dropped."""

SEVERITY_MARGIN = 0.1
"""How far the mean severity may lie from the planted share."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What became of one kind of plant.

    Attributes:
        plant: its name.
        trials: how many there were.
        share: of the trials with the result that the bar is about.
        bar: what the share must be, such as `<= 0.02`; empty where nothing is asked.
        passed: whether it is.
        states: verdicts and how often each was given.
        severity: mean share of the modes that was told to be missing; None but for dropped modes.
    """

    plant: str
    trials: int
    share: float
    bar: str
    passed: bool
    states: dict[str, int]
    severity: float | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows for one set of pictures and one number of fakes.

    Attributes:
        pictures: name of the set.
        n: fakes in a verdict.
        extractor: its name.
        seconds: for making the reals ready and one verdict.
        rows: see `Row`.
    """

    pictures: str
    n: int
    extractor: str
    seconds: float
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether all rows are."""
        return all(row.passed for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Trials:
    """How many trials there are.

    Attributes:
        nulls: with nothing planted.
        plants: of each plant.
        partitions: of the pictures into reals and planted ones, over which the trials are spread.
    """

    nulls: int = 100
    plants: int = 30
    partitions: int = 10


def check_count(pictures: Pictures, n: int) -> None:
    """Raise `DataError` unless there are enough to plant in, and reals that a verdict can compare n fakes with."""
    if 2 * pictures.count < 9 * n:
        told = f"'{pictures.name}' has {pictures.count:,} pictures; checking n = {n} needs {math.ceil(4.5 * n):,}"
        most = 2 * pictures.count // 9
        raise DataError(f"{told}; {f'give -n {most}' if most >= 64 else 'give more pictures'}")


def check_diagnostics(
    pictures: Pictures, extractor: Extractor, n: int, trials: Trials, *, seed: int = 0, cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Table:  # fmt: skip
    """Plant faults in real pictures again and again and count what the verdict says.

    Args:
        pictures: at least four and a half times n.
        extractor: what sees the pictures.
        n: fakes in a verdict.
        trials: how many.
        seed: of all draws.
        cache: the folder to hold `features/`; None keeps nothing.
        progress: told partitions done and in all.

    Raises:
        DataError: too few pictures.
    """
    check_count(pictures, n)
    bench = _Bench.make(pictures, extractor, n, cache)
    random = torch.Generator().manual_seed(seed)
    found: dict[str, list[Verdict]] = {}
    seconds = []
    for part in range(trials.partitions):
        judge, took = bench.partition(random, part)
        seconds.append(took)
        for name, features in bench.trials(random, _share(trials, part, trials.partitions)):
            found.setdefault(name, []).append(judge(features))
        if progress:
            progress(part + 1, trials.partitions)
    rows = tuple(_row(name, verdicts) for name, verdicts in found.items())
    return Table(pictures.name, n, extractor.name, sum(seconds) / len(seconds), rows)


def _share(trials: Trials, part: int, parts: int) -> tuple[int, int]:
    """Nulls and plants of one partition, so that all add up."""
    nulls, planted = (count * (part + 1) // parts - count * part // parts for count in (trials.nulls, trials.plants))
    return nulls, planted


@dataclasses.dataclass
class _Bench:
    """All pictures with their features, and how they are divided at the moment."""

    pictures: Pictures
    extractor: Extractor
    n: int
    features: Tensor
    mirrors: Tensor
    planted: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    training: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    @classmethod
    def make(cls, pictures: Pictures, extractor: Extractor, n: int, cache: Path | None) -> _Bench:
        """Take the features, in the order of the rows."""
        count = min(pictures.count, MOST_REALS + MOST_PLANTED)
        found = [reference(kind, extractor, count, 0, cache) for kind in (pictures, mirrored(pictures))]
        rows = found[0].rows
        some = dataclasses.replace(
            pictures, count=count, load=lambda wanted: pictures.load(rows[list(wanted)].tolist())
        )
        return cls(some, extractor, n, found[0].features, found[1].features)

    def partition(self, random: torch.Generator, seed: int) -> tuple[Judge, float]:
        """Divide the pictures anew, and make the reals ready; with the seconds for that and a verdict."""
        order = torch.randperm(self.pictures.count, generator=random)
        apart = max(min(MOST_PLANTED, len(order) // 3), self.n)
        self.planted, reals = order[:apart], order[apart:]
        held_out, self.training = reals[: round(HELD_OUT * len(reals))], reals[round(HELD_OUT * len(reals)) :]
        begin = time.perf_counter()
        features = self.features
        judge = prepare(features[held_out], features[self.training], self.n, self.mirrors[self.training], seed)
        judge(features[self._draw(random)])
        return judge, time.perf_counter() - begin

    def trials(self, random: torch.Generator, counts: tuple[int, int]) -> Iterator[tuple[str, Tensor]]:
        """Name and features [n, D] of each trial of this partition."""
        for _ in range(counts[0]):
            yield "nothing", self.features[self._draw(random)]
        for _ in range(counts[1]):
            for name, alter in plants.FIDELITY.items():
                yield name, self._seen(self._draw(random), alter, random)
            yield from self._lost(random)
            for name, alter in plants.REPLAYS.items():
                yield f"replay, {name}", self._seen(self._draw(random, self.training), alter, random)

    def _lost(self, random: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Plants that cost diversity."""
        n, modes = self.n, plants.modes_of(self.features, random)[self.planted]
        for share in DROPS:
            left = self.planted[plants.without_modes(modes, share, random)]
            if len(left) >= n:
                yield f"{share:.0%} of modes dropped", self.features[self._draw(random, left)]
            else:  # some twice, which changes nothing in what is told of modes
                twice = torch.randint(len(left), (n,), generator=random)
                yield f"{share:.0%} of modes dropped", self.features[left[twice]]
        few = self._draw(random)[plants.few_distinct(n, n // 4, random)]
        yield "n/4 distinct, noise", self._seen(few, plants.grain, random)
        rows = self._draw(random)[plants.with_twins(n, 0.15, random)]
        yield "15% near-duplicates", self._seen(rows, plants.grain, random)
        narrow = plants.narrowed(self.features[self.planted], 0.7, random)
        yield "spread x 0.7", narrow[torch.randperm(len(narrow), generator=random)[:n]]

    def _draw(self, random: torch.Generator, rows: Tensor | None = None) -> Tensor:
        """n different pictures of these rows; by default of those kept apart."""
        rows = self.planted if rows is None else rows
        return rows[torch.randperm(len(rows), generator=random)[: self.n]]

    def _seen(self, rows: Tensor, alter: plants.Alteration, random: torch.Generator) -> Tensor:
        return self.extractor.features(alter(self.pictures.load(rows.tolist()), random))


BARS: dict[str, tuple[str, float, State | None]] = {
    "nothing": ("<=", 0.02, None),
    **dict.fromkeys(plants.FIDELITY, ("<=", 0.10, None)),
    "20% of modes dropped": (">=", 0.90, None),
    "n/4 distinct, noise": (">=", 0.99, State.COLLAPSED),
    "15% near-duplicates": (">=", 0.95, None),
    "spread x 0.7": (">=", 0.85, None),
    **{f"replay, {name}": (">=", 0.95, State.MEMORISED) for name in plants.REPLAYS},
}
"""What is asked of each plant: the share of the trials that must have an alarm, or this verdict."""


def _row(name: str, verdicts: list[Verdict]) -> Row:
    sign, limit, wanted = BARS.get(name, ("", 0.0, None))
    hits = [v.state is wanted if wanted else v.state is not State.HEALTHY for v in verdicts]
    share = sum(hits) / len(hits)
    passed = not sign or (share <= limit if sign == "<=" else share >= limit)
    states = {str(state): sum(v.state is state for v in verdicts) for state in State}
    severity = None
    if name.endswith("dropped"):
        severity = sum(v.axis("occupancy").loss for v in verdicts) / len(verdicts)
        passed = passed and abs(severity - float(name.partition("%")[0]) / 100) <= SEVERITY_MARGIN
    told = {state: count for state, count in states.items() if count}
    return Row(name, len(verdicts), share, f"{sign} {limit:.2f}" if sign else "", passed, told, severity)
