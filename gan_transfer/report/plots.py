"""Curves of a run as a PNG, from its `stats.jsonl` alone."""

from __future__ import annotations

import json
from pathlib import Path

from ..files import atomic

MOST_POINTS = 2000  # in a curve; more are thinned


def plot_curves(stats: Path, destination: Path) -> None:
    """Draw the two losses, and D(x) with D(G(z)), against kimg.

    Args:
        stats: `stats.jsonl` of a run.
        destination: the PNG to write.

    Raises:
        ValueError: fewer than two ticks, so no curve.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read_stats(stats)
    if len(lines) < 2:
        raise ValueError(f"{stats} holds {len(lines)} ticks; a curve needs two")
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    kimg = [line["kimg"] for line in lines]
    for key, label in (("loss_d", "discriminator"), ("loss_g", "generator")):
        upper.plot(kimg, [line[key] for line in lines], label=label, linewidth=1)
    upper.set(ylabel="loss (nats)", title=stats.parent.name)
    for key, label in (("d_real", "D(x), real pictures"), ("d_fake", "D(G(z)), fakes")):
        lower.plot(kimg, [line[key] for line in lines], label=label, linewidth=1)
    lower.set(ylabel="probability of real", xlabel="kimg (thousands of real images shown)", ylim=(0, 1))
    for axes in (upper, lower):
        axes.legend(loc="upper right")
        axes.grid(alpha=0.3)
    with atomic(destination) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


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
