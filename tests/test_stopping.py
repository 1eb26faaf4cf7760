"""Claims about SIGTERM in the midst of long work: it ends in seconds, and the same command makes up for it."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reading import clock, differing, events, train

from gan_transfer import followers, monitor, policies, runs
from gan_transfer.errors import Interrupted
from gan_transfer.transfer import freeze

SETTINGS = {"data.source": "builtin:covers?count=128"}
pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing befell, in a folder with its cache."""
    folder = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GAN_TRANSFER_CACHE", str(folder / "cache"))
        patched.setattr(monitor, "SHARE", math.inf)
        return train("imagenet", SETTINGS, str(folder))


@pytest.fixture(autouse=True)
def looked_at(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snapshot is looked at."""
    monkeypatch.setenv("GAN_TRANSFER_CACHE", str(whole.parent / "cache"))
    monkeypatch.setattr(monitor, "SHARE", math.inf)


def looks(run: Path) -> list[float]:
    """The kimg of each look."""
    return [json.loads(line)["kimg"] for line in (run / "metric-panel.jsonl").read_text().splitlines()]


def endless(work: Callable[..., Any], call: int, told: list[float]) -> Callable[..., Any]:
    """The work, which is told to stop at one of its calls and would then take a minute."""
    calls = iter(range(1, 10**6))

    def slow(*values: Any, **named: Any) -> Any:
        if next(calls) == call:
            told.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        return work(*values, **named)

    return slow


def stop_in(place: object, name: str, call: int = 1) -> str:
    """Do a run that is told to stop in a piece of work; give back what it said."""
    told = list[float]()
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Interrupted) as caught:
        patched.setattr(place, name, endless(getattr(place, name), call, told))
        train("imagenet", SETTINGS, "runs")
    assert time.monotonic() - told[0] < 10  # instead of sixty
    assert caught.value.exit_code == 143
    return str(caught.value)


@pytest.mark.parametrize(
    ("place", "name", "doing"),
    [
        (runs, "cached_pack", "packing"),
        (freeze, "recalibrate_frozen", "recalibrating"),
        (policies, "open_monitor", "making the diagnosis ready"),
        pytest.param(followers, "probe", "measuring the speed", marks=pytest.mark.slow),
    ],
)
def test_what_comes_before_the_first_step_stops_at_once(place: object, name: str, doing: str, whole: Path) -> None:
    assert stop_in(place, name) == f"stopped while {doing}"
    again = train("imagenet", SETTINGS, "runs")
    assert differing(again, whole) == set()
    assert looks(again) == looks(whole)


@pytest.mark.parametrize(("call", "at"), [(3, 0.256), pytest.param(1, 0.0, marks=pytest.mark.slow)])
def test_a_look_stops_at_once_and_is_taken_by_the_resumed_run(call: int, at: float, whole: Path) -> None:
    assert stop_in(monitor.Monitor, "examine", call) == f"stopped at {at:.2f} kimg; everything is saved"
    again = train("imagenet", SETTINGS, "runs")
    assert differing(again, whole) == set()
    assert looks(again) == looks(whole) == [0.0, 0.128, 0.256]
    assert clock(again) == clock(whole)
    assert events(again) == ["started", "look stopped", "interrupted", "resumed", "finished"]
    judged = Path("snapshots/000000.256/metrics.json")
    assert (again / judged).read_text() == (whole / judged).read_text()


@pytest.mark.slow
def test_a_snapshot_that_is_being_written_is_written_to_its_end(whole: Path) -> None:

    def told_to_stop(work: Callable[..., Any]) -> Callable[..., Any]:
        def told(*values: Any, **named: Any) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return work(*values, **named)

        return told

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Interrupted, match="everything is saved"):
        patched.setattr(runs.Snapshots, "write", told_to_stop(runs.Snapshots.write))
        train("imagenet", SETTINGS, "runs")
    again = train("imagenet", SETTINGS, "runs")
    assert differing(again, whole) == set()
    assert looks(again) == looks(whole)
