"""A diagnosis on the terminal: the verdict in its colour, the evidence axis by axis, scores, suspects, the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..diagnostics.findings import Alike, Classes, Diagnosis
from ..diagnostics.history import BAD
from ..diagnostics.scores import Measure
from ..diagnostics.verdict import MOST_COPIES, Grade, State, Verdict

COLORS = {
    State.HEALTHY: "green",
    State.WARNING: "yellow",
    State.PARTIAL: "dark_orange",
    State.COLLAPSED: "red",
    State.MEMORISED: "magenta",
    State.UNTRAINED: "red",
    State.BATCH_NORM: "cyan",
}
COLLAPSES = (State.WARNING, State.PARTIAL, State.COLLAPSED)
"""States in which it helps to see which fakes repeat which."""

GRADES = {Grade.NONE: "", Grade.MILD: "yellow", Grade.PARTIAL: "dark_orange", Grade.SEVERE: "red"}
AXES = {"occupancy": "modes missing", "spread": "Vendi score lost", "duplicates": "repeats of another fake"}

LISTED = 8
"""Suspects, and classes, in a table; JSON has more of them."""


def show(console: Console, found: Diagnosis) -> None:
    """Print a diagnosis."""
    console.print(
        Text.assemble((str(found.state), f"bold {COLORS[found.state]}"), f"  {found.verdict.reason}"), soft_wrap=True
    )
    console.print(
        f"{found.subject} against {found.data}: {found.verdict.fakes:,} fakes, {found.verdict.reals:,} reals, "
        f"{found.resolution} x {found.resolution}, crop {found.crop}, features of {found.extractor}, seed {found.seed}",
        markup=False,
        soft_wrap=True,
    )
    console.print(axis_table(found.verdict))
    console.print(score_table(found.verdict, found.measures, found.extractor))
    if found.classes:
        console.print(f"classes by {found.classes.classifier}", markup=False, soft_wrap=True)
        console.print(class_table(found.classes))
    if found.state is State.MEMORISED:
        console.print(alike_table("copy of", found.copies))
    if found.state in COLLAPSES and found.verdict.axis("duplicates").grade:
        console.print(alike_table("repeat of", found.repeats))
    for note in found.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)


def axis_table(verdict: Verdict) -> Table:
    """A row for each kind of lost diversity, and one for copies."""
    table = _table("judged", "fakes", "reals", "p-value", "noticed from")
    for axis in verdict.axes:
        base = axis.expected if axis.name == "duplicates" else 0.0  # the others are measured from the reals on
        cells = (base + axis.loss, base, base + axis.seen_from)
        fakes, reals, least = (_percent(cell) for cell in cells)
        table.add_row(AXES[axis.name], fakes, reals, _p_value(axis.p_value), least, style=GRADES[axis.grade])
    if copying := verdict.copying:
        least = _percent(copying.expected + MOST_COPIES)
        style = COLORS[State.MEMORISED] if verdict.state is State.MEMORISED else ""
        cells_of_copies = (_percent(copying.rate), _percent(copying.expected), _p_value(copying.p_value), least)
        table.add_row("copies of training pictures", *cells_of_copies, style=style)
    return table


def score_table(verdict: Verdict, measures: Sequence[Measure], extractor: str) -> Table:
    """The verdict's own measures of fidelity, then what was asked for; `reals` is real pictures against real ones."""
    table = _table("score", "fakes", "95 %", "reals", "n", "by")
    asked = {measure.score.metric for measure in measures}
    if "kid_x1000" not in asked:
        table.add_row(
            "kid_x1000", _number(verdict.kid), "", f"< {_number(verdict.kid_floor)}", f"{verdict.fakes:,}", extractor
        )
    if "precision" not in asked:
        table.add_row("precision", _number(verdict.precision), "", "", f"{verdict.fakes:,}", extractor)
    for score, reals in measures:
        interval = " to ".join(map(_number, score.interval)) if score.interval else ""
        floor = "" if reals is None else _number(reals.value) + ("" if reals.n == score.n else f" (n {reals.n:,})")
        table.add_row(score.metric, _number(score.value), interval, floor, f"{score.n:,}", score.extractor)
    return table


def class_table(classes: Classes) -> Table:
    """The shares of the classes; of many, those that differ most."""
    table = _table("class", "fakes", "reals")
    order = (classes.fakes - classes.reals).abs().argsort(descending=True).tolist()
    for number in sorted(order) if len(order) <= 2 * LISTED else order[:LISTED]:
        table.add_row(str(number), _percent(float(classes.fakes[number])), _percent(float(classes.reals[number])))
    return table


def alike_table(word: str, rows: Sequence[Alike]) -> Table:
    """The surest suspects."""
    table = _table("fake", word)
    table.columns[1].justify = "left"
    for row in rows[:LISTED]:
        table.add_row(Text(row.fake), Text(row.other + (", mirrored" if row.mirrored else "")))
    return table


def history_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The looks of a run: KID times 1000, share of the modes missing, Vendi score as a share of the reals' ..."""
    # Narrow, so that 80 characters hold it.
    names = ("kimg", "verdict", "KID", "missing", "Vendi", "repeats", "copies", "precision", "")
    table = _table(*names)
    table.box, table.padding = None, (0, 1, 0, 0)
    table.columns[1].justify, table.columns[1].no_wrap = "left", True
    best = best_look(rows)
    for row in rows:
        shares = [_percent(row.get(key)) for key in ("occupancy_loss", "vendi_ratio", "duplicates", "copy_rate")]
        word = str(row.get("verdict", ""))
        color = COLORS[State(word)] if word in set(State) else ""
        cells: list[str | Text] = [_number(row.get("kimg")), Text(word, color), _number(row.get("kid_x1000")), *shares]
        table.add_row(*cells, _number(row.get("precision")), "best" if row is best else "")
    return table


def best_look(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The look that is in `best/`: of those since training began by the newest extractor, the fit one of least KID;
    while there is none, such an untrained one."""
    eyes = rows[-1].get("extractor") if rows else None
    seen = [row for row in rows if row.get("kimg") and row.get("extractor") == eyes]
    seen = [row for row in seen if isinstance(row.get("kid_x1000"), (int, float))]
    fit = [row for row in seen if row.get("verdict") not in BAD]
    young = [row for row in seen if row.get("verdict") == State.UNTRAINED]
    return min(fit or young, key=lambda row: float(row["kid_x1000"]), default=None)


def _table(*columns: str) -> Table:
    """The first column to the left, figures to the right."""
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify, column.overflow = "right", "fold"
    return table


def _percent(value: Any) -> str:
    if not isinstance(value, (int, float)) or value != value:
        return "-"
    return f"{max(value, 0.0) * 100:.1f} %"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "-"


def _p_value(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
