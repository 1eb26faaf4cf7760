"""Claims about the curves that a run draws of itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gan_transfer.report.plots import MOST_POINTS, plot_curves, read_stats


def write_stats(path: Path, count: int, **changes: float) -> Path:
    """A `stats.jsonl` of `count` ticks, all alike but for the clock."""
    line = {"loss_d": 1.2, "loss_g": 0.8, "d_real": 0.6, "d_fake": 0.4} | changes
    path.write_text("".join(json.dumps({"kimg": float(number)} | line) + "\n" for number in range(count)))
    return path


def test_the_curves_are_a_readable_png_and_nothing_else_is_left(tmp_path: Path) -> None:
    plot_curves(write_stats(tmp_path / "stats.jsonl", 30), tmp_path / "curves.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "stats.jsonl"]
    with Image.open(tmp_path / "curves.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (900, 600))
        assert len(picture.convert("RGB").getcolors(900 * 600) or []) > 10


def test_other_figures_give_another_picture(tmp_path: Path) -> None:
    plot_curves(write_stats(tmp_path / "stats.jsonl", 30), tmp_path / "a.png")
    plot_curves(write_stats(tmp_path / "stats.jsonl", 30, d_fake=0.1), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def looks(*kids: float) -> list[dict[str, object]]:
    """Lines of `metric-panel.jsonl`."""
    rows = enumerate(kids)
    return [{"kimg": 5.0 * n, "kid_x1000": kid, "vendi_ratio": 0.5, "extractor": "builtin"} for n, kid in rows]


def test_looks_get_a_panel_of_their_own_and_events_a_line_each(tmp_path: Path) -> None:
    stats = write_stats(tmp_path / "stats.jsonl", 30)
    events: list[dict[str, Any]] = [
        {"event": "started"},
        {"event": "rolled back", "kimg": 12.0},
        {"event": "rolled back", "kimg": 14.0},
    ]
    tables: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
        "plain": ([], []),
        "looks": (looks(900, 400, -0.1), []),
        "all": (looks(900, 400), events),
    }
    for name, told in tables.items():
        plot_curves(stats, tmp_path / f"{name}.png", *told)
    for name, height in {"plain": 600, "looks": 900, "all": 900}.items():
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.size == (900, height)
    assert (tmp_path / "looks.png").read_bytes() != (tmp_path / "all.png").read_bytes()


def test_the_curves_are_drawn_anew_over_the_old_ones(tmp_path: Path) -> None:
    (tmp_path / "curves.png").write_bytes(b"old")
    plot_curves(write_stats(tmp_path / "stats.jsonl", 2), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_ticks_give_no_curve_and_no_file(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match=f"holds {count} ticks; a curve needs two"):
        plot_curves(write_stats(tmp_path / "stats.jsonl", count), tmp_path / "curves.png")
    assert [path.name for path in tmp_path.iterdir()] == ["stats.jsonl"]


def test_a_loss_that_is_not_finite_leaves_a_gap(tmp_path: Path) -> None:
    plot_curves(write_stats(tmp_path / "stats.jsonl", 3, loss_g=math.nan), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").is_file()


def test_a_line_cut_off_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    path = write_stats(tmp_path / "stats.jsonl", 3)
    path.write_text(path.read_text() + '{"kimg": 3.')
    assert [line["kimg"] for line in read_stats(path)] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("count", [MOST_POINTS, MOST_POINTS + 1, 2 * MOST_POINTS - 1, 3 * MOST_POINTS + 7])
def test_a_long_run_is_thinned_to_the_most_points_and_keeps_both_ends(tmp_path: Path, count: int) -> None:
    lines = read_stats(write_stats(tmp_path / "stats.jsonl", count))
    assert len(lines) <= MOST_POINTS
    assert (lines[0]["kimg"], lines[-1]["kimg"]) == (0.0, count - 1.0)
