"""Curves of a run as a PNG, from its books alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import atomic
from .curves import LEAST_KID, steep

MOST_POINTS = 2000  # in a curve; more are thinned
MARKED = ("collapse", "collapsed", "rolled back", "patience")
"""Events that are drawn as a line across."""

Lines = Sequence[dict[str, Any]]


def plot_curves(stats: Path, destination: Path, looks: Lines = (), events: Lines = ()) -> None:
    """Draw the two losses, and D(x) with D(G(z)), against kimg; below them what the looks at the generator found.

    Args:
        stats: `stats.jsonl` of a run.
        destination: the PNG to write.
        looks: of its `metric-panel.jsonl`; without any there is no third panel.
        events: of its `events.jsonl`; those in `MARKED` are drawn.

    Raises:
        ValueError: fewer than two ticks, so no curve.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read_stats(stats)
    if len(lines) < 2:
        raise ValueError(f"{stats} holds {len(lines)} ticks; a curve needs two")
    panels = 3 if looks else 2
    figure = Figure(figsize=(9, 3 * panels), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower, *below = figure.subplots(panels, 1, sharex=True)
    kimg = [line["kimg"] for line in lines]
    for key, label in (("loss_d", "discriminator"), ("loss_g", "generator")):
        upper.plot(kimg, [line[key] for line in lines], label=label, linewidth=1)
    upper.set(ylabel="loss (nats)", title=stats.parent.name)
    for key, label in (("d_real", "D(x), real pictures"), ("d_fake", "D(G(z)), fakes")):
        lower.plot(kimg, [line[key] for line in lines], label=label, linewidth=1)
    lower.set(ylabel="probability of real", ylim=(0, 1))
    for axes in below:
        _plot_looks(axes, looks)
    for axes in (upper, lower, *below):
        for event in (event for event in events if event.get("event") in MARKED):
            axes.axvline(event["kimg"], color="crimson", linestyle="--", linewidth=1, label=event["event"])
        named = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))  # each kind of event once
        axes.legend(named.values(), named.keys(), loc="upper right")
        axes.grid(alpha=0.3)
    axes.set_xlabel("kimg (thousands of real images shown)")
    with atomic(destination) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


def _plot_looks(axes: Any, looks: Lines) -> None:
    """KID, and on the right the Vendi ratio."""
    kimg = [line["kimg"] for line in looks]
    extractor = looks[-1]["extractor"]
    kids = [line["kid_x1000"] for line in looks]
    wide = steep(list(zip(kimg, kids, strict=True)))
    kids = [max(kid, LEAST_KID) for kid in kids] if wide else kids
    (low,) = axes.plot(kimg, kids, "o-", markersize=3, linewidth=1)
    low.set_label("KID x 1000, left")
    axes.set(ylabel=f"KID x 1000 ({extractor})")
    right = axes.twinx()
    right.plot(kimg, [line["vendi_ratio"] for line in looks], "s-", color="tab:orange", markersize=3, linewidth=1)
    right.set_ylabel("Vendi ratio")
    for side in (right,) if wide else (axes, right):
        side.set_ylim(bottom=min(0, side.get_ylim()[0]))
    if wide:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.plot(
        [], [], "s-", color="tab:orange", markersize=3, linewidth=1, label="Vendi score of the fakes / the reals, right"
    )


def read_stats(stats: Path) -> list[dict[str, float]]:
    """The ticks of a run, evenly thinned to at most `MOST_POINTS`, the first and the last kept.

    A line cut off by a kill is passed over.
    """
    lines = []
    for text in stats.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    count = min(len(lines), MOST_POINTS)
    return [lines[number * (len(lines) - 1) // max(count - 1, 1)] for number in range(count)]
