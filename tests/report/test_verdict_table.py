"""Claims about what the terminal shows of a diagnosis: the word in its colour, every axis, suspects, the best look."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest
import torch
from rich.console import Console, RenderableType

from gan_transfer.diagnostics.diversity import Repeats
from gan_transfer.diagnostics.fidelity import Score
from gan_transfer.diagnostics.findings import Alike, Classes, Diagnosis
from gan_transfer.diagnostics.memorisation import Copying
from gan_transfer.diagnostics.scores import Measure
from gan_transfer.diagnostics.verdict import Axis, Grade, State, Verdict
from gan_transfer.report.verdict_table import COLORS, best_look, class_table, history_table, show

AXES = (
    Axis("occupancy", 0.2, 0.02, 0.01, 1e-9, 0.31, 0.06, Grade.PARTIAL),
    Axis("spread", 0.1, 0.0, 0.01, 0.0021, 0.12, 0.04, Grade.MILD),
    Axis("duplicates", 0.05, 0.01, 0.003, 0.04, 0.04, float("nan"), Grade.MILD),
)
VERDICT = Verdict(
    State.PARTIAL, "looks like about 31% of the modes are missing", AXES, Copying(0.08, 0.01, 0.3, []),
    Repeats(0.05, [], torch.arange(3)), 12.345, 0.5, 0.7, 1024, 2731, 0.01, 1, (),
)  # fmt: skip
FOUND = Diagnosis(
    VERDICT, "pair [new]", "folder:covers", "builtin", 1024, 64, "center", 0,
    (Measure(Score("fd1024", 88.0, 1024, "builtin", 2.0), Score("fd1024", 9.0, 500, "builtin")),), None,
    (Alike("seed 3", "a[b].png", True),), (Alike("seed 4", "seed 9"),), ("low power [here]",), "look", 1.234,
)  # fmt: skip


def printed(thing: RenderableType | Diagnosis, width: int = 120, color: bool = False) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, color_system="256" if color else None, highlight=False
    )
    if isinstance(thing, Diagnosis):
        show(console, thing)
    else:
        console.print(thing)
    return out.getvalue()


def with_state(state: State) -> Diagnosis:
    return dataclasses.replace(FOUND, verdict=dataclasses.replace(VERDICT, state=state))


def test_every_axis_has_its_row_in_plain_measure() -> None:
    rows = {line[:28].strip(): line[28:].replace(" %", "%").split() for line in printed(FOUND).splitlines()}
    assert rows["modes missing"] == ["31.0%", "0.0%", "<", "0.0001", "6.0%"]
    assert rows["Vendi score lost"] == ["12.0%", "0.0%", "0.0021", "4.0%"]
    assert rows["repeats of another fake"] == ["5.0%", "1.0%", "0.0400", "-"]
    assert rows["copies of training pictures"] == ["8.0%", "1.0%", "0.3000", "6.0%"]


def test_scores_stand_with_interval_yardstick_number_and_extractor() -> None:
    rows = [line.split() for line in printed(FOUND).splitlines()]
    assert ["kid_x1000", "12.35", "<", "0.5", "1,024", "builtin"] in rows
    assert ["precision", "0.7", "1,024", "builtin"] in rows
    assert ["fd1024", "88", "84.08", "to", "91.92", "9", "(n", "500)", "1,024", "builtin"] in rows


def test_names_with_brackets_are_not_taken_for_markup() -> None:
    text = printed(with_state(State.MEMORISED))
    assert "pair [new] against folder:covers" in text
    assert "a[b].png, mirrored" in text
    assert "note: low power [here]" in text


@pytest.mark.parametrize("state", State)
def test_each_verdict_has_a_colour_and_the_suspects_that_explain_it(state: State) -> None:
    found = with_state(state)
    assert printed(found).startswith(f"{state}  looks like about 31%")
    assert printed(found, color=True).startswith("\x1b[1;")
    assert COLORS[state]
    shown = printed(found)
    assert ("a[b].png" in shown) == (state is State.MEMORISED)
    assert ("seed 9" in shown) == (state in (State.WARNING, State.PARTIAL, State.COLLAPSED))


def test_of_many_classes_those_that_differ_most_are_shown() -> None:
    few = Classes("digits", torch.tensor([0.9, 0.1]), torch.tensor([0.5, 0.5]))
    assert [line.split()[0] for line in printed(class_table(few)).splitlines()[3:5]] == ["0", "1"]
    fakes = torch.full((100,), 0.01)
    fakes[70] = 0.5
    lines = printed(class_table(Classes("x", fakes, torch.full((100,), 0.01)))).splitlines()
    assert lines[3].split() == ["70", "50.0", "%", "1.0", "%"]
    assert len(lines) < 15


def test_the_best_look_is_the_one_with_the_lowest_kid_that_is_of_use() -> None:
    rows = [
        {"kimg": 0, "verdict": "untrained", "kid_x1000": 1.0},
        {"kimg": 20, "verdict": "healthy", "kid_x1000": 30.0, "vendi_ratio": 0.97, "copy_rate": None},
        {"kimg": 40, "verdict": "collapsed", "kid_x1000": 20.0},
        {"kimg": 60, "verdict": "memorised", "kid_x1000": 5.0},
        {"kimg": 80, "verdict": "warning", "kid_x1000": 40.0},
    ]
    assert best_look(rows) is rows[1]
    assert best_look(rows[2:4]) is None
    lines = printed(history_table(rows), width=80).splitlines()
    assert [line.split()[0] for line in lines if line.rstrip().endswith("best")] == ["20"]


def test_the_history_fits_into_eighty_characters() -> None:
    row = {
        "kimg": 123.5, "verdict": "partial collapse", "kid_x1000": 1234.5, "occupancy_loss": 0.85, "vendi_ratio": 1.12,
        "duplicates": 0.12, "copy_rate": 0.01, "precision": 0.1234,
    }  # fmt: skip
    (line,) = [line for line in printed(history_table([row]), width=80).splitlines() if "123.5" in line]
    assert line.replace(" %", "%").split() == [
        "123.5", "partial", "collapse", "1234", "85.0%", "112.0%", "12.0%", "1.0%", "0.1234", "best"
    ]  # fmt: skip


def test_a_diagnosis_is_json_without_nan() -> None:
    told = json.loads(json.dumps(FOUND.to_dict(), allow_nan=False))
    assert told["axes"]["duplicates"]["seen_from"] is None
    assert told["scores"] == [
        {
            "metric": "fd1024",
            "value": 88.0,
            "n": 1024,
            "extractor": "builtin",
            "interval": [84.08, 91.92],
            "reals": 9.0,
            "reals_n": 500,
        }
    ]
    assert (told["verdict"], told["exit_code"], told["n"], told["reals"]) == ("partial collapse", 20, 1024, 2731)
    with_classes = dataclasses.replace(FOUND, classes=Classes("x", torch.tensor([1.0]), torch.tensor([1.0])))
    assert with_classes.to_dict()["classes"] == {"classifier": "x", "fakes": [1.0], "reals": [1.0]}
