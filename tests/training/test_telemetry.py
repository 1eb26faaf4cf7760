"""Claims about the lines of `stats.jsonl`: averages, clock, speed, and what a resumption keeps of them."""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import time
from pathlib import Path

import pytest
import torch

from gan_transfer.errors import TrainingError
from gan_transfer.training import telemetry as telemetry_module
from gan_transfer.training.step import STATISTICS
from gan_transfer.training.telemetry import STATM, Telemetry, memory_gb

KEYS = {"kimg", "img_per_sec", "data_wait", "loss_g", "loss_d", "d_real", "d_fake"}


def step(loss_d: float, loss_g: float, d_real: float, d_fake: float, penalty: float) -> torch.Tensor:
    """The statistics of one step, in the order of `STATISTICS`; those that are not given are 0.5."""
    given = {"loss_d": loss_d, "loss_g": loss_g, "d_real": d_real, "d_fake": d_fake, "penalty": penalty}
    return torch.tensor([given.get(name, 0.5) for name in STATISTICS])


def lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_tick_is_one_line_with_the_average_of_its_steps(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "stats.jsonl", 0, 1000)
    telemetry.add(step(1.0, 2.0, 0.5, 0.25, 0.0), 64, 0.0)
    telemetry.add(step(3.0, 4.0, 0.7, 0.75, 1.0), 64, 0.0)
    line = telemetry.tick(128)
    wanted = {"loss_d": 2.0, "loss_g": 3.0, "d_real": 0.6, "d_fake": 0.5, "penalty": 0.5}
    assert {name: line[name] for name in STATISTICS} == pytest.approx(dict.fromkeys(STATISTICS, 0.5) | wanted)
    assert line["kimg"] == 0.128
    assert lines(tmp_path / "stats.jsonl") == [line]
    assert line.keys() >= KEYS


def test_the_next_tick_forgets_the_steps_before_it(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "stats.jsonl", 0, 1000)
    telemetry.add(step(9.0, 9.0, 0.9, 0.9, 9.0), 64, 0.0)
    telemetry.tick(64)
    telemetry.add(step(1.0, 2.0, 0.5, 0.25, 0.0), 64, 0.0)
    assert telemetry.tick(128)["loss_d"] == 1.0


def test_speed_and_eta_follow_the_clock_on_the_wall(tmp_path: Path) -> None:
    begin = time.perf_counter()
    telemetry = Telemetry(tmp_path / "stats.jsonl", 1000, 3000)
    telemetry.add(step(1, 1, 1, 1, 0), 500, 0.0)
    time.sleep(0.2)
    line = telemetry.tick(1500)
    most = time.perf_counter() - begin
    assert 500 / most - 1 <= line["img_per_sec"] <= 500 / 0.2
    assert 0.6 - 0.05 <= line["eta_sec"] <= most * 3 + 0.05  # 1,500 of the last 2,000 images are left


def test_the_wait_for_data_is_a_share_of_the_ticks_time(tmp_path: Path) -> None:
    begin = time.perf_counter()
    telemetry = Telemetry(tmp_path / "stats.jsonl", 0, 1000)
    telemetry.add(step(1, 1, 1, 1, 0), 64, 0.02)
    telemetry.add(step(1, 1, 1, 1, 0), 64, 0.03)
    time.sleep(0.1)
    line = telemetry.tick(128)
    most = time.perf_counter() - begin
    assert 0.05 / most - 0.001 <= line["data_wait"] <= 0.05 / 0.1
    telemetry.add(step(1, 1, 1, 1, 0), 64, 0.0)
    assert telemetry.tick(192)["data_wait"] == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_and_is_named(tmp_path: Path, bad: float) -> None:
    telemetry = Telemetry(tmp_path / "stats.jsonl", 0, 1000)
    telemetry.add(step(1, 1, 1, 1, 0), 64, 0.0)
    telemetry.add(step(1, bad, 1, 1, 0), 64, 0.0)
    with pytest.raises(TrainingError, match=r"^loss_g is not finite at 0\.13 kimg$"):
        telemetry.tick(128)
    assert len(lines(tmp_path / "stats.jsonl")) == 1


def test_resuming_drops_the_lines_that_a_killed_run_wrote_behind_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    telemetry = Telemetry(path, 0, 1000)
    for seen in (64, 128, 192):
        telemetry.add(step(1, 1, 1, 1, 0), 64, 0.0)
        telemetry.tick(seen)
    with open(path, "a") as file:
        file.write('{"kimg": 0.1')
    Telemetry(path, 128, 1000)
    assert [line["kimg"] for line in lines(path)] == [0.064, 0.128]


def test_resuming_at_the_last_line_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    Telemetry(path, 0, 1000).add(step(1, 1, 1, 1, 0), 64, 0.0)
    path.write_text('{"kimg": 0.064}\n')
    before = path.stat()
    Telemetry(path, 64, 1000)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_fresh_run_writes_nothing_before_its_first_tick(tmp_path: Path) -> None:
    Telemetry(tmp_path / "stats.jsonl", 0, 1000).add(step(1, 1, 1, 1, 0), 64, 0.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not STATM.exists(), reason="Linux says it there")
def test_a_tick_tells_the_memory_held_now(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "stats.jsonl", 0, 1000)
    telemetry.add(step(1, 1, 1, 1, 0), 64, 0.0)
    before = telemetry.tick(64)["rss_mb"]
    own = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # not malloc's, which may still have what others gave back
    with contextlib.closing(mmap.mmap(-1, 50_000_000, flags=own)) as held:
        held[::4096] = bytes(len(range(0, 50_000_000, 4096)))
        telemetry.add(step(1, 1, 1, 1, 0), 64, 0.0)
        assert telemetry.tick(128)["rss_mb"] - before == pytest.approx(50, abs=5)


def test_where_the_system_does_not_say_the_memory_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry_module, "STATM", tmp_path / "absent")
    telemetry = Telemetry(tmp_path / "stats.jsonl", 0, 1000)
    telemetry.add(step(1, 1, 1, 1, 0), 64, 0.0)
    assert "rss_mb" not in telemetry.tick(64)


def test_memory_is_that_of_a_process_that_has_loaded_torch() -> None:
    assert 0.05 < memory_gb() < 1000
