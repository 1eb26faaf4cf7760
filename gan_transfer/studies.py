"""A study from its design to what people see of it; and the short one, by successive halving, that only advises."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Sequence
from typing import Any

from . import __version__
from .diagnostics import outcome
from .diagnostics.curves import Interval
from .errors import RecipeError
from .files import write_json
from .report.study_page import write_study_report
from .report.study_table import plot_study, write_csv
from .study import Trial, carry_out, table
from .study_runs import Design, View

ADVISED = "finetune,freeze-d2,freeze-g2,l2-sp,scratch"
"""Methods that `--advise` tries unless others are named: each kind that needs no settings of its own."""

FIRST_RUNG = 4
"""The first runs of an advice have this part of the kimg; each round doubles it and drops the worse half."""


@dataclasses.dataclass(frozen=True)
class Result:
    """A study that has been carried out.

    Attributes:
        design: as it was asked for.
        trials: every run, measured.
        summaries: each method by itself.
        conclusion: sentences.
        command: to fine-tune with the method to take.
    """

    design: Design
    trials: list[Trial]
    summaries: list[outcome.Summary]
    conclusion: list[str]
    command: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values: what `study.json` holds. A number that is not known is null."""
        told = {
            "version": __version__,
            "target": self.design.target,
            "kimg": self.design.kimg,
            "extractor": self.design.extractor,
            "fakes": self.design.fakes,
            "methods": [dataclasses.asdict(summary) for summary in self.summaries],
            "comparisons": [_plain(made) for made in outcome.comparisons(self.trials)],
            "conclusion": self.conclusion,
            "command": self.command,
            "trials": [dataclasses.asdict(trial) | {"collapsed": trial.collapsed} for trial in self.trials],
        }
        finite: dict[str, Any] = _finite(told)
        return finite


def compare(design: Design, view: View) -> Result:
    """Carry out a study and write `study.json`, `study.csv`, `study.png` and `report.html`; raises like `carry_out`."""
    trials = carry_out(design, view)
    chosen, _ = outcome.recommended(trials)
    lines = outcome.conclusion(trials)
    result = Result(design, trials, outcome.summarise(trials), lines, command(design, chosen))
    write_json(design.folder / "study.json", result.to_dict())
    write_csv(table(trials), design.folder / "study.csv")
    plot_study(trials, design.folder / "study.png", about(design))
    write_study_report(design.folder)
    return result


def advise(design: Design, view: View) -> Result:
    """Short runs of all methods, runs twice as long of the better half, and so on (successive halving, Jamieson &
    Talwalkar 2016), up to the design's kimg or one method.

    Raises:
        RecipeError: there is nothing to choose between.
        GanTransferError: as in `carry_out`.
    """
    if len(design.entries) < 2:
        raise RecipeError(f"--advise has one method, {design.entries[0].label}; wanted two or more to choose between")
    rung, kimg, entries = 0, design.kimg / FIRST_RUNG, design.entries
    while True:
        part = dataclasses.replace(design, folder=design.folder / f"round{rung}", kimg=kimg, entries=entries)
        view.say(f"round {rung}: {', '.join(entry.label for entry in entries)} for {kimg:g} kimg")
        result = compare(part, view)
        order = sorted(result.summaries, key=lambda summary: (summary.collapsed / summary.seeds, summary.best_kid))
        kept = {summary.label for summary in order[: math.ceil(len(order) / 2)]}
        if len(kept) == 1 or kimg >= design.kimg:
            chosen, _ = outcome.recommended(result.trials)
            return dataclasses.replace(result, command=command(design, chosen))
        rung, kimg, entries = rung + 1, kimg * 2, tuple(entry for entry in entries if entry.label in kept)


def about(design: Design) -> str:
    """A title: `coverart on zip:/pictures.zip, 100 kimg, extractor builtin`."""
    return f"{design.target} on {design.data or 'its own data'}, {design.kimg:g} kimg, extractor {design.extractor}"


def command(design: Design, label: str) -> str:
    """What to type to fine-tune with a method, on all pictures."""
    entry = next(entry for entry in design.entries if entry.label == label)
    words = ["gan-transfer", "finetune", "--target", design.target]
    words += ["--data", design.data] if design.data else []
    words += ["--kimg", f"{design.kimg:g}", "--method", entry.method]
    words += ["--from", entry.source] if entry.source else []
    changes = [text for text in design.changes if text.partition("=")[0].strip() not in entry.keys]
    words += [word for text in changes for word in ("--set", text)]
    return shlex.join(words)


def _plain(made: outcome.Comparison) -> dict[str, Any]:
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    told = {name: value._asdict() if isinstance(value, Interval) else value for name, value in fields.items()}
    return told | {"images_share": made.images_share}


def _finite(value: Any) -> Any:
    """JSON knows neither infinity nor NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
