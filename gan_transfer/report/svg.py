"""Charts as inline SVG: curves over kimg with bands and marks, and bars against what chance gives.

Colours are classes of the page's style sheet, so that they follow light and dark. Each curve carries its range, from
which the page's script reads figures back under the pointer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from markupsafe import Markup

Point = tuple[float, float]

WIDTH, HEIGHT = 440, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 36
"""Margins around the plot, which hold the labels."""

DOTTED = 60
"""Points up to which each gets a dot."""


@dataclasses.dataclass(frozen=True)
class Series:
    """A curve.

    Attributes:
        label: what it shows.
        points: (kimg, value), in order.
        band: (kimg, half height) around it, such as 1.96 standard errors.
    """

    label: str
    points: Sequence[Point]
    band: Sequence[Point] = ()


@dataclasses.dataclass(frozen=True)
class Chart:
    """Curves over one clock.

    Attributes:
        title: what it tells.
        unit: of the values.
        series: its curves.
        bounds: values that the axis must hold.
        levels: (value, label) of lines across, such as what reals get.
        marks: (kimg, label) of lines from top to bottom, such as rollbacks.
        note: how to read it.
        least: of a logarithmic axis, the value at its foot, where smaller ones lie too; None for an even axis.
    """

    title: str
    unit: str
    series: Sequence[Series]
    bounds: Sequence[float] = ()
    levels: Sequence[tuple[float, str]] = ()
    marks: Sequence[tuple[float, str]] = ()
    note: str = ""
    least: float | None = None


@dataclasses.dataclass(frozen=True)
class Plane:
    """Maps values to places in the picture; `low_y` and `high_y` are logarithms where there is a `least`."""

    low_x: float
    high_x: float
    low_y: float
    high_y: float
    least: float | None = None

    def x(self, value: float) -> float:
        """From the left, in units of the picture."""
        share = (value - self.low_x) / (self.high_x - self.low_x)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """From the top."""
        share = (scaled(value, self.least) - self.low_y) / (self.high_y - self.low_y)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def holds(self, kimg: float) -> bool:
        """Whether a moment is on the picture."""
        return self.low_x <= kimg <= self.high_x


def draw(chart: Chart) -> Markup:
    """A chart as SVG; its words are escaped."""
    plane = _plane(chart)
    low, high = plane.low_x, plane.high_x
    parts = [
        Markup(
            '<svg class="chart" viewBox="0 0 {} {}" role="img" tabindex="0" aria-label="{}" data-range="{} {} {} {}" '
            'data-box="{} {} {} {}" data-least="{}">'
        ).format(
            WIDTH, HEIGHT, _summary(chart), low, high, plane.low_y, plane.high_y,
            LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM, chart.least or "",
        ),
        _axes(plane),
        *(_level(plane, value, label) for value, label in chart.levels),
        *(_mark(plane, kimg, label) for kimg, label in chart.marks if plane.holds(kimg)),
        *(_curve(plane, series, place) for place, series in enumerate(chart.series, 1)),
    ]  # fmt: skip
    return Markup("").join([*parts, Markup("</svg>")])


def bars(counts: Sequence[int], expected: Sequence[float], chance: Sequence[float]) -> Markup:
    """A bar per mode against what as many reals would give.

    Args:
        counts: of fakes.
        expected: of as many reals.
        chance: 1.96 standard deviations of that.
    """
    most = max([*counts, *(mean + more for mean, more in zip(expected, chance, strict=True))], default=1) or 1
    step = (WIDTH - LEFT - RIGHT) / max(len(counts), 1)
    plane = Plane(0, max(len(counts), 1), 0, most)
    parts = [_rows_of(plane, nice(0, most))]
    for place, (count, mean, more) in enumerate(zip(counts, expected, chance, strict=True)):
        low, high = max(mean - more, 0), mean + more
        kind = "few" if count < low else "many" if count > high else "usual"
        left, wide, ground = plane.x(place), step, plane.y(0)
        said = f"mode {place + 1}: {count} fakes; {low:.0f} to {high:.0f} of as many real pictures"
        parts.append(
            Markup(
                '<g><title>{}</title><rect class="null" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                '<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/></g>'
            ).format(
                said, left + 0.08 * wide, plane.y(high), 0.84 * wide, plane.y(low) - plane.y(high),
                kind, left + 0.25 * wide, plane.y(count), 0.5 * wide, ground - plane.y(count),
            )
        )  # fmt: skip
    label = f"Fakes in each of {len(counts)} modes, with the range that real pictures would give"
    head = Markup('<svg class="bars" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        WIDTH, HEIGHT - BOTTOM + 8, label
    )
    return Markup("").join([head, *parts, Markup("</svg>")])


def scaled(value: float, least: float | None) -> float:
    """The value on an even axis, its logarithm on one that has a `least`."""
    return value if least is None else math.log10(max(value, least))


def decades(low: float, high: float) -> list[float]:
    """Round numbers between two logarithms: 1, 2 and 5 times the powers of ten, or these alone where they are many."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    found = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    shown = [value for value in found if low <= math.log10(value) <= high]
    return shown if len(shown) <= 6 else [value for value in shown if math.log10(value).is_integer()]


def nice(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from low to high, at most about `most`."""
    rough = max(high - low, 1e-9) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A figure in few characters."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _plane(chart: Chart) -> Plane:
    points = [point for series in chart.series for point in series.points]
    clock = [kimg for kimg, _ in points] or [0.0]
    spread = [value + sign * more for series in chart.series for value, more, sign in _edges(series)]
    told = [value for _, value in points] + spread + [value for value, _ in chart.levels]
    bounds = [scaled(value, chart.least) for value in chart.bounds]
    values = [scaled(value, chart.least) for value in told] + bounds
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * 0.04 or 0.5
    low = low if low in bounds else low - room
    high = high if high in bounds else high + room
    return Plane(min(clock), max(max(clock), min(clock) + 1e-6), low, high, chart.least)


def _edges(series: Series) -> list[tuple[float, float, int]]:
    at = dict(series.band)
    return [(value, at[kimg], sign) for kimg, value in series.points if kimg in at for sign in (-1, 1)]


def _axes(plane: Plane) -> Markup:
    columns = nice(plane.low_x, plane.high_x)
    labels = [
        Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            plane.x(value), HEIGHT - BOTTOM + 15, short(value)
        )
        for value in columns
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    unit = Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">kimg</text>').format(middle, HEIGHT - 6)
    rows = nice(plane.low_y, plane.high_y) if plane.least is None else decades(plane.low_y, plane.high_y)
    return Markup("").join([_rows_of(plane, rows), *labels, unit])


def _rows_of(plane: Plane, values: Sequence[float]) -> Markup:
    rows = [
        Markup(
            '<path class="rule" d="M{} {:.1f}H{}"/><text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        ).format(LEFT, plane.y(value), WIDTH - RIGHT, LEFT - 6, plane.y(value) + 4, short(value))
        for value in values
    ]
    return Markup("").join(rows)


def _level(plane: Plane, value: float, label: str) -> Markup:
    line = '<path class="level" d="M{} {:.1f}H{}"><title>{}: {}</title></path>'
    return Markup(line).format(LEFT, plane.y(value), WIDTH - RIGHT, label, short(value))


def _mark(plane: Plane, kimg: float, label: str) -> Markup:
    line = '<path class="mark" d="M{:.1f} {}V{}"><title>{} at {} kimg</title></path>'
    return Markup(line).format(plane.x(kimg), TOP, HEIGHT - BOTTOM, label, short(kimg))


def _curve(plane: Plane, series: Series, place: int) -> Markup:
    places = [(plane.x(kimg), plane.y(value)) for kimg, value in series.points]
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    line = Markup('<polyline class="line s{}" data-label="{}" points="{}"/>').format(place, series.label, drawn)
    dots = places if len(places) <= DOTTED else places[-1:]
    dotted = [Markup('<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="2.4"/>').format(place, x, y) for x, y in dots]
    return Markup("").join([_band(plane, series, place), line, *dotted])


def _band(plane: Plane, series: Series, place: int) -> Markup:
    at = dict(series.band)
    edges = [(plane.x(kimg), value, at[kimg]) for kimg, value in series.points if kimg in at]
    if not edges:
        return Markup("")
    above = [f"{x:.1f},{plane.y(value + more):.1f}" for x, value, more in edges]
    below = [f"{x:.1f},{plane.y(value - more):.1f}" for x, value, more in reversed(edges)]
    return Markup('<polygon class="band s{}" points="{}"/>').format(place, " ".join([*above, *below]))


def _summary(chart: Chart) -> str:
    """The chart in a sentence, for those who do not see it."""
    ends = [
        f"{series.label} from {short(series.points[0][1])} to {short(series.points[-1][1])}"
        for series in chart.series
        if series.points
    ]
    told = "; ".join(ends) or "nothing yet"
    return f"{chart.title}: {told}"
