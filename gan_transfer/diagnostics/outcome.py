"""What the trials of a study say: each method against another one, in figures and in plain words.

There is a difference where the 95 % interval of the ratio of the KIDs leaves out 1; else it is said that none was
found. A KID below the smallest standard error counts as that. Which method to take: the one with the lowest KID at its
best snapshot among those that collapsed least often; plain fine-tuning where no difference to that was found.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Protocol

from .curves import Interval, Point, area, best, difference, lowest, ratio, reached

SCRATCH, PLAIN = "scratch", "finetune"

FEW_SEEDS = 3
"""Seeds below which hardly any difference can be told from none."""

MANY = 4
"""Comparisons from which on it is said that chance will show some difference: of intervals that hold the truth in 95 of
100 cases, one in twenty does not."""


class Run(Protocol):
    """One measured run; see `gan_transfer.study.Trial`."""

    @property
    def label(self) -> str:
        """Of the method."""

    @property
    def seed(self) -> int:
        """Of the run."""

    @property
    def points(self) -> Sequence[Point]:
        """In order, the first before the first step."""

    @property
    def collapsed(self) -> bool:
        """Whether it ended so."""

    @property
    def img_per_sec(self) -> float:
        """Its speed."""

    @property
    def memory_gb(self) -> float:
        """The most memory that it held."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """A method by itself, over its seeds.

    Attributes:
        label: of the method.
        seeds: how many.
        start_kid: mean KID times 1000 before the first step.
        start_recall: mean improved recall then.
        best_kid: mean KID at each run's best snapshot.
        final_kid: mean KID at the end.
        coverage: mean at the end.
        recall: mean at the end.
        vendi_ratio: mean at the end.
        copy_rate: the largest at a best snapshot; None where it is not known.
        collapsed: how many ended collapsed.
        verdicts: at the best snapshots, in order of the seeds.
        img_per_sec: the middle speed.
        memory_gb: the most.
    """

    label: str
    seeds: int
    start_kid: float
    start_recall: float
    best_kid: float
    final_kid: float
    coverage: float
    recall: float
    vendi_ratio: float
    copy_rate: float | None
    collapsed: int
    verdicts: tuple[str, ...]
    img_per_sec: float
    memory_gb: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One method against another, over the seeds that both have.

    Attributes:
        label: the method.
        against: the other.
        seeds: how many.
        final: ratio of the KIDs at the end.
        best: ratio of those at the best snapshots.
        area: ratio of the mean KIDs over the runs.
        reached: kimg at which each run had a KID as low as the other's lowest; None where it never had.
        others: kimg at which the other had that.
        coverage: difference at the end.
        recall: likewise.
        vendi_ratio: likewise.
        speed: ratio of the images per second.
    """

    label: str
    against: str
    seeds: int
    final: Interval
    best: Interval
    area: Interval
    reached: tuple[float | None, ...]
    others: tuple[float, ...]
    coverage: Interval
    recall: Interval
    vendi_ratio: Interval
    speed: float

    @property
    def images_share(self) -> float:
        """The largest share of the other's images, over the seeds; infinite where the level was missed once, or the
        other had it before its first step."""
        pairs = list(zip(self.reached, self.others, strict=True))
        if any(mine is None or (mine and not other) for mine, other in pairs):
            return math.inf
        return max(mine / other if mine else 0.0 for mine, other in pairs)


def summarise(runs: Sequence[Run]) -> list[Summary]:
    """Each method of some trials by itself, in the order in which they come."""
    return [_summary(label, [run for run in runs if run.label == label]) for label in _labels(runs)]


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Each method against `scratch`, and each other one against `finetune`; without either against the first one."""
    labels = _labels(runs)
    found = []
    for base in [name for name in (SCRATCH, PLAIN) if name in labels] or labels[:1]:
        others = [label for label in labels if label not in (base, SCRATCH)]
        found += [made for label in others if (made := _compare(label, base, runs))]
    return found


def conclusion(runs: Sequence[Run]) -> list[str]:
    """What was found, a sentence or two for each comparison, and which method to take."""
    found = comparisons(runs)
    lines = [words(made) for made in found]
    if len(found) >= MANY and all(made.seeds > 1 for made in found):
        lines.append(f"of {len(found)} comparisons with 95 % intervals some show a difference by chance alone")
    fewest = min((summary.seeds for summary in summarise(runs)), default=0)
    if fewest < FEW_SEEDS:
        seeds = "one seed tells" if fewest == 1 else f"{fewest} seeds tell"
        lines.append(f"{seeds} little: the same study with --seeds {FEW_SEEDS} or more goes on from here")
    chosen, why = recommended(runs)
    return [*lines, f"take {chosen}: {why}"]


def recommended(runs: Sequence[Run]) -> tuple[str, str]:
    """The method to take, and why."""
    summaries = summarise(runs)
    least = min(summary.collapsed / summary.seeds for summary in summaries)
    sound = [summary for summary in summaries if summary.collapsed / summary.seeds == least]
    top = min(sound, key=lambda summary: summary.best_kid)
    plain = next((summary for summary in sound if summary.label == PLAIN), None)
    if (
        plain
        and top is not plain
        and (made := _compare(PLAIN, top.label, runs))
        and made.seeds > 1
        and not made.best.excludes(1)
    ):
        return PLAIN, f"{top.label} had the lowest best KID, but no difference to plain fine-tuning was found"
    few = "" if len(sound) == len(summaries) else " among those that collapsed least"
    return top.label, f"the lowest KID at the best snapshot{few}"


def words(made: Comparison) -> str:
    """A comparison as a person would put it."""
    seeds = "1 seed" if made.seeds == 1 else f"{made.seeds} seeds"
    return f"{made.label} against {made.against} ({seeds}): {_quality(made)}; {_speed(made)}; {_variety(made)}"


def _quality(made: Comparison) -> str:
    if made.seeds > 1 and not made.final.excludes(1):
        best = f", the best one is {_times(made.best)}" if made.best.excludes(1) else ""
        whole = f", the mean one over the run {_times(made.area)}" if made.area.excludes(1) else ""
        return f"no difference in the last KID ({_times(made.final)}){best}{whole}"
    return f"the last KID is {_times(made.final)}, the best one {_times(made.best)}"


def _speed(made: Comparison) -> str:
    missed = sum(kimg is None for kimg in made.reached)
    if missed:
        return f"{made.against}'s lowest KID was not reached by {missed} of {made.seeds}; {_pace(made)}"
    mine, others = (_span(values) for values in ([k for k in made.reached if k is not None], made.others))
    share = f", {made.images_share:.0%} of its images" if math.isfinite(made.images_share) else ""
    return f"{made.against}'s lowest KID, of {others} kimg, was reached after {mine}{share}"


def _pace(made: Comparison) -> str:
    return f"{made.speed:.2f} times its images per second"


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _variety(made: Comparison) -> str:
    told = []
    for name, interval in (("coverage", made.coverage), ("recall", made.recall), ("Vendi ratio", made.vendi_ratio)):
        same = made.seeds > 1 and not interval.excludes(0)
        told.append(f"{name} is no different" if same else f"{name} is {interval.value:+.2f}{_range(interval, '+.2f')}")
    return ", ".join(told)


def _times(interval: Interval) -> str:
    return f"{interval.value:.2f} times{_range(interval, '.2f')}"


def _range(interval: Interval, form: str) -> str:
    return "" if math.isnan(interval.low) else f" [{interval.low:{form}}, {interval.high:{form}}]"


def _labels(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.label for run in runs))


def _summary(label: str, runs: Sequence[Run]) -> Summary:
    tops = [best(run.points) for run in runs]
    ends, starts = [run.points[-1] for run in runs], [run.points[0] for run in runs]
    copies = [top.copy_rate for top in tops if top.copy_rate is not None]
    return Summary(
        label, len(runs), statistics.fmean(p.kid for p in starts), statistics.fmean(p.recall for p in starts),
        statistics.fmean(p.kid for p in tops), statistics.fmean(p.kid for p in ends),
        statistics.fmean(p.coverage for p in ends), statistics.fmean(p.recall for p in ends),
        statistics.fmean(p.vendi_ratio for p in ends), max(copies, default=None), sum(run.collapsed for run in runs),
        tuple(top.verdict for top in tops), statistics.median(run.img_per_sec for run in runs),
        max(run.memory_gb for run in runs),
    )  # fmt: skip


def _compare(label: str, against: str, runs: Sequence[Run]) -> Comparison | None:
    """None where they have no seed in common."""
    ours = {run.seed: run for run in runs if run.label == label}
    theirs = {run.seed: run for run in runs if run.label == against}
    pairs = [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
    if not pairs:
        return None

    def of_ends(name: str) -> Interval:
        values = [[getattr(run.points[-1], name) for run in side] for side in zip(*pairs, strict=True)]
        return difference(*values)

    def of_kids(choose: Callable[[Sequence[Point]], float]) -> Interval:
        ours, others = ([choose(run.points) for run in side] for side in zip(*pairs, strict=True))
        errors = [point.error for pair in pairs for run in pair for point in run.points]
        return ratio(ours, others, floor=min(errors) or 1e-9)

    mine, other = zip(*pairs, strict=True)
    levels = [lowest(run.points) for run in other]
    return Comparison(
        label, against, len(pairs),
        of_kids(lambda points: points[-1].kid), of_kids(lambda points: best(points).kid), of_kids(area),
        tuple(reached(run.points, level.kid) for run, level in zip(mine, levels, strict=True)),
        tuple(level.kimg for level in levels),
        of_ends("coverage"), of_ends("recall"), of_ends("vendi_ratio"),
        _share(statistics.median(run.img_per_sec for run in mine), statistics.median(run.img_per_sec for run in other)),
    )  # fmt: skip


def _share(mine: float, theirs: float) -> float:
    return mine / theirs if theirs else math.nan
