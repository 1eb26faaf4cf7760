"""A study for people: its table and conclusion in the terminal, its curves as a PNG, all its points as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..diagnostics.outcome import Run, Summary
from ..files import atomic

CURVES = {
    "kid": "KID x 1000",
    "coverage": "coverage",
    "recall": "recall",
    "vendi_ratio": "Vendi ratio",
    "copy_rate": "copy rate",
}


def show_study(summaries: Sequence[Summary], lines: Sequence[str], about: str) -> None:
    """Print the table, a row for each method, and the conclusion."""
    console = Console(highlight=False)
    console.print(f"\n[bold]{about}[/]")
    table = Table(
        header_style="bold", box=None, padding=(0, 1, 0, 0), title="KID x 1000 at the start, at best, at the end"
    )
    for name in ("method", "start", "best", "last", "coverage", "recall", "Vendi", "copies", "collapsed", "img/s"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for row in summaries:
        copies = "-" if row.copy_rate is None else f"{row.copy_rate:.0%}"
        kids = (
            f"{kid:.0f}" if abs(kid) >= 100 else f"{kid:.3g}" for kid in (row.start_kid, row.best_kid, row.final_kid)
        )
        shares = (f"{share:.2f}" for share in (row.coverage, row.recall, row.vendi_ratio))
        fallen = f"{row.collapsed} of {row.seeds}"
        table.add_row(row.label, *kids, *shares, copies, fallen, f"{row.img_per_sec:.0f}")
    console.print(table)
    for line in lines:
        console.print(f"- {line}", markup=False, soft_wrap=True)


def write_csv(rows: Sequence[dict[str, Any]], destination: Path) -> None:
    """Write all points of all trials, a row each."""
    with atomic(destination) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def plot_study(runs: Sequence[Run], destination: Path, title: str) -> None:
    """Draw the curves of each method against kimg: the mean over its seeds in a band from the lowest to the highest."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6 * len(CURVES)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(CURVES), 1, sharex=True)
    for axes, (name, told) in zip(panels, CURVES.items(), strict=True):
        for label in dict.fromkeys(run.label for run in runs):
            _plot_method(axes, [run for run in runs if run.label == label], name)
        axes.set(ylabel=told)
        axes.grid(alpha=0.3)
    panels[0].set(title=title, yscale="symlog")  # a KID near its floor may be negative
    panels[0].yaxis.set_major_formatter("{x:g}")
    panels[0].set_ylim(bottom=min(0.0, *(point.kid for run in runs for point in run.points)))
    panels[0].legend(loc="upper right")
    panels[-1].set_xlabel("kimg (thousands of real images shown)")
    with atomic(destination) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


def _plot_method(axes: Any, runs: Sequence[Run], name: str) -> None:
    by_kimg: dict[float, list[float]] = {}
    for run in runs:
        for point in run.points:
            value = getattr(point, name)
            by_kimg.setdefault(point.kimg, []).append(math.nan if value is None else value)
    kimg = sorted(by_kimg)
    means = [sum(by_kimg[k]) / len(by_kimg[k]) for k in kimg]
    (line,) = axes.plot(kimg, means, "o-", markersize=3, linewidth=1, label=f"{runs[0].label} ({len(runs)})")
    low, high = ([choose(by_kimg[k]) for k in kimg] for choose in (min, max))
    axes.fill_between(kimg, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
