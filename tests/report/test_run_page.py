"""Claims about what the pages of a run say, read as text; `tests/browser` opens them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from gan_transfer.report import svg
from gan_transfer.report.books import read_books
from gan_transfer.report.curves import charts
from gan_transfer.report.page import live_values, render, write_report
from gan_transfer.report.watch import POLICY

TICK = {"loss_d": 1.2, "loss_g": 0.8, "d_real": 0.6, "d_fake": 0.4, "eta_sec": 9, "img_per_sec": 100}


def write_run(folder: Path, age: float = 0.0, **events: dict[str, object]) -> Path:
    """The books of a run of 20 kimg that told its last tick so many seconds ago."""
    folder.mkdir(parents=True)
    now = time.time() - age
    ticks = [{"kimg": kimg, "time": now - 10 + kimg} for kimg in range(1, 11)]
    (folder / "stats.jsonl").write_text("".join(json.dumps(line | TICK) + "\n" for line in ticks))
    recipe = {"name": "coverart", "data": {"source": "folder:a"}, "optim": {"beta1": 0.9}, "train": {"kimg": 20.0}}
    origin = {"data.source": "--data folder:a", "optim.beta1": "--set optim.beta1=0.9", "train.kimg": "default"}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "origin.json").write_text(json.dumps(origin))
    lines = [{"event": name.replace("_", " "), **told} for name, told in events.items()]
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def words(page: str) -> str:
    """What a reader sees of a page."""
    text = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_a_report_tells_every_event_in_words(tmp_path: Path) -> None:
    told: dict[str, object] = {"kimg": 5.0, "time": 1e9, "to": 3.0, "glr": 1e-4}
    folder = write_run(tmp_path / "runs" / "00000-a", rolled_back=told, strange={"time": 1e300, "kimg": "?"})
    page = words(write_report(folder).read_text())
    assert re.search(r"5 2001-09-09 \S+ rolled back to 3; glr 0.0001", page)
    assert "? – strange –" in page


def test_a_report_tells_how_far_the_pair_has_moved_in_words(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "00000-a")
    (folder / "metric-moved.jsonl").write_text(json.dumps({"kimg": 9.0, "generator": 0.25, "blocks": {"g4": 0.5}}))
    page = words(write_report(folder).read_text())
    assert "weights of G, relative change 0.25" in page
    assert "weights of g4, relative change 0.5" in page


def test_the_commands_keep_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    typed = "gan-transfer finetune --target coverart --data folder:a --set optim.beta1=0.9"
    going = write_run(tmp_path / "runs" / "00000-a").relative_to(tmp_path)
    page = words(write_report(going).read_text())
    assert f"{typed} --new" in page
    assert f"Resume it {typed} Draw samples" in page
    done = write_run(tmp_path / "runs" / "00001-a", finished={"kimg": 20.0}).relative_to(tmp_path)
    onward = f"{typed} --from runs/00001-a --kimg 40 --new"
    assert f"Go on from its best snapshot {onward} Draw samples" in words(write_report(done).read_text())


def with_kids(folder: Path, *kids: float) -> Path:
    """A run whose looks had these KIDs."""
    lines = [{"kimg": 10.0 * n, "kid_x1000": kid, "kid_error": 2.0, "kid_floor": 0.9} for n, kid in enumerate(kids)]
    (write_run(folder) / "metric-panel.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def heights(drawn: str) -> list[float]:
    """Places of a curve's points, from the top."""
    (points,) = re.findall(r'<polyline[^>]* points="([^"]+)"', drawn)
    return [float(pair.split(",")[1]) for pair in points.split()]


def test_kids_of_very_different_sizes_are_drawn_by_their_logarithms(tmp_path: Path) -> None:
    books = read_books(with_kids(tmp_path / "00000-a", 1000, 100, 10, -3))
    (kid,) = [chart for chart in charts(books) if chart.title == "KID"]
    drawn = svg.draw(kid)
    first, second, third, last = heights(drawn)
    assert second - first == pytest.approx(third - second, abs=0.2) == pytest.approx(last - third, abs=0.2)
    assert last == svg.HEIGHT - svg.BOTTOM  # a KID below 1 lies at the foot
    assert 'data-least="1.0"' in drawn
    assert "logarithmic" in kid.note


def test_kids_of_one_size_have_an_even_axis(tmp_path: Path) -> None:
    books = read_books(with_kids(tmp_path / "00000-a", 90, 60, 30))
    (kid,) = [chart for chart in charts(books) if chart.title == "KID"]
    first, second, last = heights(svg.draw(kid))
    assert second - first == pytest.approx(last - second, abs=0.2)
    assert kid.least is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 2.9, [1, 10, 100]), (0.0, 1.1, [1, 2, 5, 10]), (1.2, 1.4, [20]), (-0.5, 0.5, [0.5, 1, 2])],
)
def test_a_logarithmic_axis_has_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert svg.decades(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("age", "events", "eta"), [(0.0, {}, "9 s"), (400.0, {}, "–"), (0.0, {"finished": {"kimg": 20.0}}, "–")]
)
def test_no_time_left_is_promised_for_a_run_that_is_trained_no_more(
    tmp_path: Path, age: float, events: dict[str, dict[str, object]], eta: str
) -> None:
    folder = write_run(tmp_path / "00000-a", age, **events)
    page = words(render("watch.html", live_values(folder), POLICY))
    assert f"ETA {eta} loss D" in page
    assert ("nothing new for 6 min" in page) == (age > 0)
