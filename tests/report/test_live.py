"""Claims about what a run shows: plain lines without a terminal, one live table with one, and the dry run's figures."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from gan_transfer.report.live import (
    PLAIN_BLOCKS,
    PLAIN_SECONDS,
    ROWS,
    TerminalView,
    block_table,
    clock_text,
    show_end,
    spark,
    tick_cells,
)


@dataclasses.dataclass(frozen=True)
class Start:
    network: str = "D"
    block: str = "d32"
    parameters: int = 3072
    start: str = "kept"
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    start: Start = Start()
    frozen: bool = False
    learning_rate: float = 2e-4
    batch_norm: str = "-"
    learns: str = "all"
    from_kimg: float = 0.0


def tick(kimg: float, time: float) -> dict[str, float]:
    """A line of `stats.jsonl`."""
    return {
        "kimg": kimg,
        "img_per_sec": 123.4,
        "data_wait": 0.0123,
        "eta_sec": 75.0,
        "loss_d": 1.23456,
        "loss_g": 0.7,
        "d_real": 0.61,
        "d_fake": 0.4,
        "memory_gb": 0.5,
        "time": time,
    }


def view(terminal: bool) -> tuple[TerminalView, io.StringIO]:
    """A view that writes into a text, as on a terminal or as into a file."""
    out = io.StringIO()
    return TerminalView(Console(file=out, force_terminal=terminal, width=120, highlight=False)), out


def test_a_tick_as_text() -> None:
    assert tick_cells(tick(1.5, 0), 20) == [
        "1.5/20",
        "123",
        "1.2 %",
        "1 min 15 s",
        "1.235",
        "0.700",
        "0.61",
        "0.40",
        "0.50 GB",
    ]


def test_without_a_terminal_a_tick_is_one_plain_line() -> None:
    shown, out = view(terminal=False)
    shown.training(tick(1.0, 0), 20)
    assert out.getvalue() == (
        "1.0/20 kimg  img/s 123  wait 1.2 %  ETA 1 min 15 s  "
        "loss D 1.235  loss G 0.700  D(x) 0.61  D(G(z)) 0.40  memory 0.50 GB\n"
    )


def test_without_a_terminal_lines_come_now_and_then_and_always_at_the_end() -> None:
    shown, out = view(terminal=False)
    for number in range(11):
        shown.training(tick(2.0 * number, number * PLAIN_SECONDS / 4), 20)
    shown.training(None, 20)
    assert [line.split("/")[0] for line in out.getvalue().splitlines()] == ["0.0", "8.0", "16.0", "20.0"]


def test_on_a_terminal_the_last_ticks_stand_in_one_table() -> None:
    shown, out = view(terminal=True)
    for number in range(ROWS + 3):
        shown.training(tick(float(number), number), 20)
    out.seek(0)
    out.truncate()
    shown.training(tick(19.0, 99), 20)
    text = out.getvalue()
    shown.training(None, 20)
    assert "D(G(z))" in text
    assert [number for number in range(20) if f" {number}.0/20 " in text] == [4, 5, 6, 7, 8, 9, 10, 19]


def test_the_table_of_a_long_run_fits_into_80_characters() -> None:
    out = io.StringIO()
    shown = TerminalView(Console(file=out, force_terminal=True, width=80, highlight=False))
    shown.training(tick(123.4, 0) | {"img_per_sec": 12345.6, "eta_sec": 75_000.0, "memory_gb": 12.5}, 1000)
    shown.training(None, 1000)
    assert all(cell in out.getvalue() for cell in ("123.4/1000", "12346", "1.2 %", "20 h 50 min", "12.50 GB"))


def test_the_newest_verdict_stands_under_the_table_or_is_a_line() -> None:
    text = "at 20 kimg: partial collapse, KID x 1000 1234 (best 1198 at 10 kimg)"
    for terminal in (True, False):
        out = io.StringIO()
        shown = TerminalView(Console(file=out, force_terminal=terminal, width=80, highlight=False))
        shown.verdict(text, 1234.0)
        shown.training(tick(20.0, 0), 20)
        shown.training(None, 20)
        assert out.getvalue().count(text) >= 1
    assert out.getvalue().splitlines()[0] == text


def test_a_spark_line_goes_from_the_lowest_to_the_highest_and_is_thinned_to_its_width() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7], 20) == "▁▂▃▄▅▆▇█"
    assert spark([0, 0, 7, 7], 2) == "▁█"
    assert spark([3, 3], 5, PLAIN_BLOCKS) == "__"


@pytest.mark.parametrize("width", [80, 140])
def test_the_live_table_with_spark_lines_and_verdict_fits_the_terminal(width: int) -> None:
    out = io.StringIO()
    shown = TerminalView(Console(file=out, force_terminal=True, width=width, no_color=True, highlight=False))
    for number in range(200):
        shown.training(tick(float(number), number) | {"loss_d": number % 7}, 200)
        shown.verdict(f"at {number} kimg: healthy, KID x 1000 12", 12.0 + number)
    out.seek(0)
    out.truncate()
    shown.training(tick(199.5, 200), 200)
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line) for line in out.getvalue().splitlines()]
    shown.training(None, 200)
    assert max(map(len, lines)) <= width
    (sparks,) = [line for line in lines if re.search("loss D [▁-█]", line)]
    assert "loss G " in sparks
    assert sparks.rstrip().endswith("█")
    assert "\x1b[3" not in out.getvalue()  # no colour


@pytest.mark.parametrize("end", ["training", "close"])
def test_the_terminals_cursor_comes_back(end: str) -> None:
    shown, out = view(terminal=True)
    shown.training(tick(1.0, 0), 20)
    assert out.getvalue().count("\x1b[?25l") == 1
    shown.training(None, 20) if end == "training" else shown.close()
    assert out.getvalue().count("\x1b[?25h") == 1


def test_packing_shows_a_bar_on_a_terminal_only_and_removes_it() -> None:
    for terminal in (True, False):
        shown, out = view(terminal)
        for done in (64, 128, 200):
            shown.packing(done, 200)
        shown.close()
        assert ("decoding" in out.getvalue()) == terminal
        assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h")


def test_packing_is_told_now_and_then_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_transfer.report.live.PLAIN_SECONDS", 0.0)
    shown, out = view(terminal=False)
    for done in (64, 1128):
        shown.packing(done, 2000)
    assert out.getvalue() == "decoded 1,128 of 2,000 pictures, ETA 0 s\n"


def test_closing_a_view_that_showed_nothing_writes_nothing() -> None:
    shown, out = view(terminal=True)
    shown.close()
    shown.training(None, 20)
    assert out.getvalue() == ""


def test_talk_keeps_brackets_and_long_lines_whole() -> None:
    shown, out = view(terminal=False)
    text = "broken pictures skipped; see [red]/a/path[/red]/" + "x" * 300
    shown.say(text)
    assert out.getvalue() == f"{text}\n"


def test_the_layer_table_tells_blocks_parameters_start_freezing_learning_rate_and_batch_norm() -> None:
    rows = [
        Row(Start(), frozen=True),
        Row(Start(block="d16", parameters=131072, start="adapted", detail="3 -> 1 channels"), batch_norm="batch"),
    ]
    out = io.StringIO()
    Console(file=out, width=120).print(block_table(rows))
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.getvalue().splitlines() if "│" in line]
    assert cells == [
        ["D d32", "3,072", "kept", "frozen", "-"],
        ["D d16", "131,072", "adapted: 3 -> 1 channels", "0.0002", "batch"],
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (450, "7 min 30 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


def test_the_end_names_the_newest_grid_and_the_next_command_and_prints_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("fakes_init.png", "fakes000020.png", "fakes000100.png", "reals.png"):
        (tmp_path / name).touch()
    show_end(tmp_path)
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path}\n"
    assert captured.err.splitlines() == [
        f"samples: {tmp_path / 'fakes000100.png'}",
        f"next: gan-transfer sample --network {tmp_path} --seeds 0-63 --grid 8x8 --output out",
    ]
