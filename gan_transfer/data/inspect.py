"""The doctor of a data source: what its pictures are, and what may be wrong with them. Free of torch."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import numpy.typing as npt

from .diversity import Diversity, diversity
from .duplicates import exact_groups, groups, joined
from .look import look
from .mirroring import Handedness, handedness
from .pack_index import Progress
from .source import Source
from .tally import Tally, glance

SAMPLE = 2000
"""Thumbnails, evenly spread, that are kept for what only a set as a whole can show: 25 MB."""

SQUARE_TOLERANCE = 0.02
"""Share by which width and height of a square picture may differ."""

MOST_GROUPS = 20
"""Groups of duplicates, largest first, that are told by name."""


@dataclasses.dataclass(frozen=True)
class Sides:
    """Shorter sides of the pictures, pixels."""

    minimum: int
    median: int
    maximum: int


@dataclasses.dataclass(frozen=True)
class Group:
    """Pictures that are duplicates of each other."""

    rows: list[int]
    """Their numbers in the source."""
    labels: list[str]
    """Their names."""


@dataclasses.dataclass(frozen=True)
class Findings:
    """What is known of a source after one look at its pictures. `dataclasses.asdict` makes it fit for JSON."""

    source: str
    """Spec of the source."""
    count: int
    """Pictures in the source."""
    seen: int
    """Pictures that were looked at and are whole; the counts below are of these."""
    broken: list[str]
    """Label and reason of those that were looked at and are broken."""
    formats: dict[str, int]
    """By Pillow's name of the file format, most frequent first; `none` where pixels come without a file."""
    modes: dict[str, int]
    """By Pillow's colour mode, most frequent first."""
    grey: int
    """Without colour, whatever their mode."""
    alpha: int
    """That can be transparent; they will be flattened onto white."""
    deep: int
    """With more than 8 bits per channel; they will be cut to 8."""
    animated: int
    """Of which only the first frame will be taken."""
    sides: Sides | None
    """Sizes; None if no picture is whole."""
    square: int
    """Within `SQUARE_TOLERANCE`."""
    wider: int
    """Wider than high."""
    taller: int
    """Higher than wide."""
    framed: int
    """Whose centre square has one flat colour all round: a frame, or a plain ground."""
    barred: int
    """With a flat colour on two opposite sides only, as letterboxing leaves it."""
    exact_duplicates: int
    """That could be left out because an earlier one has the very same pixels."""
    near_duplicates: int
    """That could be left out because an earlier one has the same or nearly the same; holds the exact ones."""
    groups: list[Group]
    """The `MOST_GROUPS` largest groups of them."""
    lettered: int
    """That seem to hold a line of text."""
    handedness: Handedness | None
    """Whether flips would show; None for fewer than 50 pictures."""
    diversity: Diversity | None
    """How varied they are beside photographs; None for fewer than 50 pictures."""

    def share(self, some: int) -> float:
        """A number of pictures as a share of those seen; 0 where none was."""
        return some / self.seen if self.seen else 0.0

    @property
    def distinct(self) -> int:
        """Pictures in the source but for broken ones and near-duplicates, extrapolated if not all were looked at."""
        looked = self.seen + len(self.broken)
        return round(self.count * (self.seen - self.near_duplicates) / looked) if looked else 0


def inspect(
    source: Source, *, workers: int = 0, progress: Progress | None = None, limit: int | None = None
) -> Findings:
    """Look at the pictures of a source, each decoded once at its full size; little is kept of each.

    Args:
        source: opened and fetched by the caller, who closes it.
        workers: decoding threads; 0 takes one per processor. The findings do not depend on it.
        progress: told after every chunk how far it is.
        limit: pictures to look at, evenly spread; None looks at all. Duplicates are then found among these only.

    Raises:
        DataError: the source itself cannot be read on. Broken pictures are counted.
    """
    rows = evenly_spread(len(source), len(source) if limit is None else limit)
    kept = frozenset(rows[place] for place in evenly_spread(len(rows), SAMPLE))
    tally = Tally()
    for part in look(source, rows, partial(glance, kept=kept), workers, progress):
        tally.add(part)
    return _findings(source, tally)


def evenly_spread(count: int, most: int) -> range | list[int]:
    """Numbers below `count`, at most `most` of them, evenly spread and ascending."""
    return range(count) if count <= most else [place * count // most for place in range(most)]


def describe(findings: Findings) -> list[tuple[str, str]]:
    """The findings for people: a short name and a line each; what was not found is not told."""
    lines = [
        ("pictures", _pictures(findings)),
        ("broken", _broken(findings)),
        ("formats", _counts(findings.formats)),
        ("colour modes", _counts(findings.modes)),
        ("grey", _some(findings, findings.grey)),
        ("transparent", _some(findings, findings.alpha)),
        ("over 8 bits", _some(findings, findings.deep)),
        ("animated", _some(findings, findings.animated)),
        ("short side", _sides(findings.sides)),
        ("shape", _shape(findings)),
        ("flat borders", _borders(findings)),
        ("duplicates", _duplicates(findings)),
        ("lettering", _lettering(findings)),
        ("handedness", _handedness(findings.handedness)),
        ("diversity", _diversity(findings.diversity)),
    ]
    return [(name, text) for name, text in lines if text]


def _findings(source: Source, tally: Tally) -> Findings:
    found, sample = joined(tally.prints), np.concatenate(tally.sample)
    near = groups(found)
    width, height = np.concatenate(tally.sizes).T
    square = np.abs(width - height) <= SQUARE_TOLERANCE * np.maximum(width, height)
    return Findings(
        source=source.spec,
        count=len(source),
        seen=len(tally.rows),
        broken=tally.broken,
        formats=dict(tally.formats.most_common()),
        modes=dict(tally.modes.most_common()),
        sides=_shorter_sides(np.minimum(width, height)),
        square=int(square.sum()),
        wider=int((~square & (width > height)).sum()),
        taller=int((~square & (width < height)).sum()),
        exact_duplicates=_surplus(exact_groups(found.digests)),
        near_duplicates=_surplus(near),
        groups=[_group(source, [tally.rows[place] for place in group]) for group in near[:MOST_GROUPS]],
        handedness=handedness(sample),
        diversity=diversity(sample),
        **tally.counts,
    )


def _shorter_sides(sides: npt.NDArray[np.int32]) -> Sides | None:
    if not len(sides):
        return None
    return Sides(int(sides.min()), int(np.median(sides)), int(sides.max()))


def _surplus(found: list[list[int]]) -> int:
    return sum(len(group) - 1 for group in found)


def _group(source: Source, rows: list[int]) -> Group:
    return Group(rows, [source.label(row) for row in rows])


def _pictures(findings: Findings) -> str:
    looked = findings.seen + len(findings.broken)
    some = "" if looked == findings.count else f", {looked:,} of them looked at"
    shares = f"; shares are of the {findings.seen:,} whole ones" if findings.broken and findings.seen else ""
    return f"{findings.count:,}{some}{shares}"


def _broken(findings: Findings) -> str:
    if not findings.broken:
        return ""
    more = f"; and {len(findings.broken) - 3:,} more" if len(findings.broken) > 3 else ""
    return f"{len(findings.broken):,}: {'; '.join(findings.broken[:3])}{more}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _some(findings: Findings, count: int) -> str:
    return f"{count:,} ({findings.share(count):.1%})" if count else ""


def _sides(sides: Sides | None) -> str:
    return f"{sides.minimum} to {sides.maximum} pixels, median {sides.median}" if sides else ""


def _shape(findings: Findings) -> str:
    shapes = {"square": findings.square, "wider": findings.wider, "taller": findings.taller}
    return ", ".join(f"{name} {findings.share(count):.0%}" for name, count in shapes.items() if count)


def _borders(findings: Findings) -> str:
    kinds = {"all round on": findings.framed, "on two opposite sides of": findings.barred}
    return ", ".join(f"{place} {findings.share(count):.1%}" for place, count in kinds.items() if count)


def _duplicates(findings: Findings) -> str:
    if not findings.near_duplicates:
        return "none found" if findings.seen else ""
    first = findings.groups[0].labels
    exact = f"{findings.exact_duplicates:,} exact, {findings.near_duplicates:,} exact or near"
    return f"{exact}; largest group {len(first)}: {', '.join(first[:3])}{' ...' if len(first) > 3 else ''}"


def _lettering(findings: Findings) -> str:
    return f"seems to be on {findings.share(findings.lettered):.0%} (varied photographs: 9%)" if findings.seen else ""


def _handedness(found: Handedness | None) -> str:
    return f"{found.share:.0%} told from their mirror images (50% is guessing)" if found else ""


def _diversity(found: Diversity | None) -> str:
    return f"{found.relative:.2f} of that of varied photographs (Vendi score of {found.pictures})" if found else ""
