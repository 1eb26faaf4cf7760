"""Claims about runs that collapse: they are told, stopped or rolled back; healthy ones are left alone."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, sets
from reading import Witness, clock, config, differing, events, stats
from spoilt import SETTINGS, SpoilingStep, draw_own_pictures, train

from gan_transfer import monitor, policies, runs
from gan_transfer.errors import Collapsed, Interrupted, RunError

FIRST = Path("runs/00000-coverart-own")
STOP, ROLLBACK = {"diagnose.on_collapse": "stop"}, {"diagnose.on_collapse": "rollback"}
AT = 0.192
"""The kimg of the first look at a spoilt generator."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """The settings that name a data set that the pair is good at from the first, and a cache for all tests."""
    return draw_own_pictures(tmp_path_factory.mktemp("drawn")), tmp_path_factory.mktemp("shared-cache")


@pytest.fixture(autouse=True)
def looked_at(drawn: tuple[dict[str, str], Path], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snapshot of that data set is looked at, however long that takes."""
    for key, value in drawn[0].items():
        monkeypatch.setitem(SETTINGS, key, value)
    monkeypatch.setenv("GAN_TRANSFER_CACHE", str(drawn[1]))
    monkeypatch.setattr(monitor, "SHARE", math.inf)


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> type[SpoilingStep]:
    """From 0.128 kimg on the generator draws one picture only."""

    class Spoilt(SpoilingStep):
        span = range(128, 10**9)

    monkeypatch.setattr(runs, "Step", Spoilt)
    return Spoilt


def looks(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metric-panel.jsonl").read_text().splitlines()]


def event(run: Path, name: str) -> dict[str, Any]:
    """The one event of this name."""
    (found,) = [
        line for line in map(json.loads, (run / "events.jsonl").read_text().splitlines()) if line["event"] == name
    ]
    return dict(found)


def snapshots(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "snapshots").iterdir())


def test_a_healthy_run_is_left_alone_and_its_best_snapshot_kept() -> None:
    run = train(ROLLBACK)
    assert events(run) == ["started", "finished"]
    assert {line["verdict"] for line in looks(run)} <= {"healthy", "warning"}
    best = min(looks(run)[1:], key=lambda line: line["kid_x1000"])
    assert config(run / "best")["kimg"] == best["kimg"]
    assert 0 < event(run, "finished")["diagnosis_share"] < 1


def test_warn_tells_a_collapse_once_and_goes_on(spoilt: type[SpoilingStep]) -> None:
    witness = Witness()
    run = train({}, witness=witness)
    assert events(run) == ["started", "collapse", "finished"]
    told = event(run, "collapse")
    assert (told["kimg"], told["verdict"]) == (AT, looks(run)[3]["verdict"])
    (warning,) = [line for line in witness.talk if line.startswith("warning: ")]
    assert warning.endswith(f"The best snapshot is {run}/best.")
    assert config(run / "best")["kimg"] < AT
    assert clock(run)[-1] == 0.32


def test_stop_ends_the_run_with_a_checkpoint_and_the_states_exit_code(spoilt: type[SpoilingStep]) -> None:
    with pytest.raises(Collapsed, match=r"^stopped at 0\.19 kimg: .* The best snapshot is \S+/best\. Next: ") as caught:
        train(STOP)
    assert caught.value.exit_code == {"collapsed": 30, "untrained": 50}[looks(FIRST)[-1]["verdict"]]
    assert events(FIRST) == ["started", "collapsed"]
    assert "stopped after a collapse" in (FIRST / "report.html").read_text()
    assert max((FIRST / "state-latest").iterdir()).name == "checkpoint-000000000192.safetensors"


def test_a_stopped_run_does_not_run_into_the_same_wall_but_may_go_on_otherwise(
    spoilt: type[SpoilingStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Collapsed):
        train(STOP)
    with pytest.raises(RunError, match=r"was stopped after a collapse\. .* --on-collapse rollback or warn"):
        train(STOP)
    spoilt.below_rate = 6e-7  # halved learning rates mend it
    assert train(ROLLBACK) == FIRST
    assert events(FIRST) == ["started", "collapsed", "resumed", "rolled back", "finished"]
    assert looks(FIRST)[-1]["verdict"] in ("healthy", "warning")


def test_a_stopped_run_goes_on_where_it_was_with_warn(spoilt: type[SpoilingStep]) -> None:
    with pytest.raises(Collapsed):
        train(STOP)
    train({})
    assert events(FIRST) == ["started", "collapsed", "resumed", "finished"]
    assert [line["kimg"] for line in looks(FIRST)] == [0.0, 0.064, 0.128, 0.192, 0.256, 0.32]


def test_rollback_goes_back_to_the_last_good_look_with_half_the_learning_rates(spoilt: type[SpoilingStep]) -> None:
    spoilt.below_rate = 6e-7
    run = train(ROLLBACK)
    assert events(run) == ["started", "rolled back", "finished"]
    told = event(run, "rolled back")
    assert (told["kimg"], told["to"], told["rollbacks"]) == (AT, 0.128, 1)
    assert (told["glr"], told["dlr"]) == (5e-7, 5e-7)
    assert [line["kimg"] for line in looks(run)] == [0.0, 0.064, 0.128, 0.192, 0.256, 0.32]
    assert clock(run) == [0.064, 0.128, 0.192, 0.256, 0.32]
    assert looks(run)[-1]["verdict"] in ("healthy", "warning")


def test_after_three_rollbacks_the_run_stops_and_stays_stopped(spoilt: type[SpoilingStep]) -> None:
    with pytest.raises(Collapsed, match="Next: lower --glr and --dlr with --new"):
        train(ROLLBACK)
    assert events(FIRST) == ["started", *["rolled back"] * policies.MOST_ROLLBACKS, "collapsed"]
    with pytest.raises(RunError, match="was stopped after a collapse"):
        train(ROLLBACK)


@pytest.mark.parametrize("tick", [3, 5])
def test_interrupted_around_a_rollback_and_resumed_a_run_equals_an_unbroken_one(
    spoilt: type[SpoilingStep], tick: int
) -> None:
    spoilt.below_rate = 6e-7
    settings = ROLLBACK | {"train.checkpoint_kimg": "0.048"}
    unbroken = train(settings, "unbroken")
    with pytest.raises(Interrupted):
        train(settings, witness=Witness(tick, signal.SIGTERM))
    stopped = train(settings)
    assert differing(stopped, unbroken) == set()
    assert [strip(line) for line in looks(stopped)] == [strip(line) for line in looks(unbroken)]
    assert [line["loss_d"] for line in stats(stopped)] == [line["loss_d"] for line in stats(unbroken)]
    assert events(stopped).count("rolled back") == 1
    assert snapshots(stopped) == snapshots(unbroken)


def strip(line: dict[str, Any]) -> dict[str, Any]:
    """A look without what it took."""
    return {key: value for key, value in line.items() if key != "seconds"}


def test_patience_ends_a_run_that_gets_no_better() -> None:
    witness = Witness()
    run = train({"diagnose.patience": "1"}, witness=witness)
    assert events(run) == ["started", "patience", "finished"]
    assert looks(run)[-1]["kid_x1000"] >= looks(run)[-2]["kid_x1000"]
    assert any(line.startswith("no better KID in 1 looks") for line in witness.talk)


def test_the_command_ends_a_collapse_in_one_line_with_its_exit_code(cli: Cli, spoilt: type[SpoilingStep]) -> None:
    done = cli("finetune", "--target", "coverart", *sets(SETTINGS), "--on-collapse", "stop")
    assert done.code in (30, 50)
    assert done.err.splitlines()[-1].startswith("error: stopped at 0.19 kimg: ")


def test_an_unknown_policy_is_refused_before_anything_is_written(cli: Cli, home: Path) -> None:
    done = cli("finetune", "--target", "coverart", *sets(SETTINGS), "--on-collapse", "pray")
    assert done.code == 2
    assert "diagnose.on_collapse" in done.err
    assert not (home / "runs").exists()
