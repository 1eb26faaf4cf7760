"""The charts of a run: losses, what the discriminator says, and what the looks found."""

from __future__ import annotations

from collections.abc import Sequence

from .books import Books, Line, number, series
from .svg import Chart, Point, Series

Z95 = 1.96
MARKED = ("collapse", "collapsed", "rolled back", "patience", "not finite", "resumed", "interrupted")
"""Events that are drawn as a line."""

LEAST_KID, STEEP = 1.0, 30.0
"""KID times 1000 below which all are alike good, and the ratio of the first ones to the last ones from which on an even
axis shows nothing but the first."""


def steep(points: Sequence[Point]) -> bool:
    """Whether KIDs are of such different sizes that they want a logarithmic axis."""
    values = [value for _, value in points]
    return bool(values) and max(values) > STEEP * max(min(values), LEAST_KID)


def charts(books: Books) -> list[Chart]:
    """All charts that there are figures for."""
    marks = _marks(books.events)
    made = [*_of_ticks(books.ticks, marks), *_of_looks(books.looks, marks)]
    return [chart for chart in made if any(len(curve.points) > 1 for curve in chart.series)]


def _of_ticks(ticks: list[Line], marks: list[tuple[float, str]]) -> list[Chart]:
    losses = [Series("discriminator", series(ticks, "loss_d")), Series("generator", series(ticks, "loss_g"))]
    said = [Series("D(x), real pictures", series(ticks, "d_real")), Series("D(G(z)), fakes", series(ticks, "d_fake"))]
    return [
        Chart("Losses", "nats", losses, marks=marks),
        Chart("What D says", "probability of real", said, (0, 1), [(0.5, "cannot tell")], marks),
    ]


def _of_looks(looks: list[Line], marks: list[tuple[float, str]]) -> list[Chart]:
    band = [(kimg, Z95 * error) for kimg, error in series(looks, "kid_error")]
    floors = [value for _, value in series(looks, "kid_floor")][-1:]
    expected = [value for _, value in series(looks, "copy_expected")][-1:]
    eyes = str(looks[-1].get("extractor", "")) if looks else ""

    def curves(**named: str) -> list[Series]:
        return [Series(label, points) for key, label in named.items() if (points := series(looks, key))]

    distance = [Series("KID x 1000", series(looks, "kid_x1000"), band)]
    floor = [(value, "95 of 100 sets of real pictures are below") for value in floors]
    chance = [(value, "copies expected by chance") for value in expected]
    quality = curves(precision="precision", recall="recall", coverage="coverage")
    faults = curves(occupancy_loss="modes missing", duplicates="repeats", copy_rate="copies")
    least, read = (LEAST_KID, "logarithmic; ") if steep(distance[0].points) else (None, "")
    note = f"Lower is better; {read}shaded: 95 %."
    return [
        Chart("KID", f"times 1000, by {eyes}", distance, (least or 0,), floor, marks, note, least),
        Chart("Precision, recall, coverage", "share", quality, (0, 1), (), marks, "Higher is better."),
        Chart("Vendi ratio", "of the reals'", curves(vendi_ratio="Vendi ratio"), (0,), [(1, "like the reals")], marks),
        Chart("Modes missing, repeats, copies", "share", faults, (0,), chance, marks, "Lower is better."),
    ]


def _marks(events: list[Line]) -> list[tuple[float, str]]:
    told = [(number(event.get("kimg")), str(event["event"])) for event in events if event.get("event") in MARKED]
    return [(kimg, word) for kimg, word in told if kimg is not None][-50:]
