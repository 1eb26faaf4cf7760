"""Claims about `--tensorboard` and `--wandb`: what the books of a run say arrives there, once and whole."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

from gan_transfer import trackers
from gan_transfer.errors import RecipeError
from gan_transfer.files import append_line
from gan_transfer.run_folder import RunFolder
from gan_transfer.trackers import Tracker, make_trackers

TRAIN = ("finetune", "--target", "coverart", "--from", "none")


@dataclasses.dataclass
class Notes:
    """A writer that keeps what it is told."""

    told: list[tuple[int, str, float]] = dataclasses.field(default_factory=list)
    closed: bool = False

    def scalars(self, values: Mapping[str, float], images_seen: int) -> None:
        self.told += [(images_seen, name, value) for name, value in values.items()]

    def picture(self, name: str, path: Path, images_seen: int) -> None:
        self.told.append((images_seen, name, 0.0))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[Notes]:
    """All writers that were opened in place of TensorBoard's."""
    opened: list[Notes] = []

    def make(folder: RunFolder) -> Notes:
        opened.append(Notes())
        return opened[-1]

    monkeypatch.setitem(trackers.WRITERS, "tensorboard", make)
    return opened


def tick(folder: RunFolder, kimg: float) -> dict[str, Any]:
    line = {"kimg": kimg, "loss_d": kimg + 1, "loss_g": None, "time": 1.0}
    append_line(folder.stats, line)
    return line


def look(folder: RunFolder, kimg: float) -> None:
    append_line(folder.panel, {"kimg": kimg, "verdict": "healthy", "kid_x1000": 20.0, "n": 512})
    (folder.path / f"fakes{kimg:010.3f}.png").touch()


def test_ticks_looks_and_grids_arrive_in_the_order_of_the_clock(tmp_path: Path, notes: list[Notes]) -> None:
    folder, tracker = RunFolder(tmp_path), Tracker("tensorboard", print)
    tracker.open(folder)
    tracker.tick(tick(folder, 0.1))
    look(folder, 0.1)
    tracker.tick(tick(folder, 0.2))
    look(folder, 0.2)
    tracker.close()
    assert [(moment, name) for moment, name, _ in notes[0].told] == [
        (100, "stats/loss_d"), (100, "fakes"), (100, "look/kid_x1000"),
        (200, "stats/loss_d"), (200, "fakes"), (200, "look/kid_x1000"),
    ]  # fmt: skip
    assert notes[0].closed


def test_a_resumed_run_is_shown_from_its_beginning(tmp_path: Path, notes: list[Notes]) -> None:
    folder, tracker = RunFolder(tmp_path), Tracker("tensorboard", print)
    tick(folder, 0.1)
    look(folder, 0.1)
    tracker.open(folder)
    tracker.tick(tick(folder, 0.2))
    assert [moment for moment, _, _ in notes[0].told] == [100, 100, 100, 200]


def test_a_run_that_is_rolled_back_is_shown_anew(tmp_path: Path, notes: list[Notes]) -> None:
    folder, tracker = RunFolder(tmp_path), Tracker("tensorboard", print)
    tracker.open(folder)
    tracker.tick(tick(folder, 0.1))
    tracker.tick(tick(folder, 0.2))
    folder.stats.unlink()
    tick(folder, 0.1)
    tracker.tick(tick(folder, 0.15))
    assert [moment for moment, _, _ in notes[-1].told] == [100, 150]
    assert (len(notes), notes[0].closed) == (2, True)


def test_a_service_that_fails_is_given_up_and_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Notes):
        def scalars(self, values: Mapping[str, float], images_seen: int) -> None:
            raise RuntimeError("the line is dead")

    said: list[str] = []
    monkeypatch.setitem(trackers.WRITERS, "tensorboard", lambda folder: Broken())
    folder, tracker = RunFolder(tmp_path), Tracker("tensorboard", said.append)
    tracker.open(folder)
    for kimg in (0.1, 0.2):
        tracker.tick(tick(folder, kimg))
    tracker.close()
    assert said == ["warning: --tensorboard is given up: the line is dead"]


def test_a_missing_package_is_told_before_training_with_its_command(
    cli: Cli, tiny: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError) as caught:
        make_trackers({"tensorboard": True, "wandb": True}, print)
    assert str(caught.value).splitlines() == [
        "--tensorboard needs the package tensorboard: pip install 'gan-transfer[tensorboard]'",
        "--wandb needs the package wandb: pip install 'gan-transfer[wandb]'",
    ]
    assert make_trackers({"tensorboard": False, "wandb": False}, print) == []
    assert cli(*TRAIN, *tiny, "--wandb").code == 2
    assert not (home / "runs").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TensorBoard's own imports
def test_tensorboard_reads_back_what_stats_say(cli: Cli, tiny: list[str], home: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert cli(*TRAIN, *tiny, "--set", "diagnose.extractor=none", "--tensorboard").code == 0
    (run,) = (home / "runs").iterdir()
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    ticks = RunFolder(run).ticks()
    told = [(event.step, event.value) for event in events.Scalars("stats/loss_d")]
    assert [step for step, _ in told] == [round(line["kimg"] * 1000) for line in ticks]
    assert [value for _, value in told] == pytest.approx([line["loss_d"] for line in ticks], abs=1e-5)
    assert [event.step for event in events.Images("fakes")] == [0, 128, 256]
    assert events.Images("fakes")[0].width > 32


@pytest.mark.filterwarnings("ignore")  # of its own imports
def test_weights_and_biases_keeps_a_run_offline(
    cli: Cli, tiny: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    done = cli(*TRAIN, *tiny, "--set", "diagnose.extractor=none", "--wandb")
    assert (done.code, "given up" in done.err) == (0, False), done.err
    (run,) = (home / "runs").iterdir()
    sys.modules["wandb"].teardown()  # which waits for its other process
    (kept,) = run.glob("wandb/offline-run-*/*.wandb")
    content = kept.read_bytes()
    assert b"stats/loss_d" in content
    assert run.name.encode() in content
