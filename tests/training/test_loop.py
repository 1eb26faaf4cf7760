"""Claims about the loop: the clock, its landmarks, stopping and going on bit for bit, losses that are not finite."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_transfer.data.loader import Loader
from gan_transfer.errors import TrainingError
from gan_transfer.models.dcgan import Discriminator, Generator, initialise
from gan_transfer.recipe import Model, Recipe, Train
from gan_transfer.training import hardware
from gan_transfer.training.checkpoint import Checkpoints
from gan_transfer.training.loop import Hooks, Progress, Then, due, tick_kimg, train
from gan_transfer.training.step import Step, make_players
from gan_transfer.training.telemetry import Telemetry

BATCH = 4
SETTINGS = Train(kimg=0.04, batch=BATCH, tick_kimg=0.012, snapshot_kimg=0.02, checkpoint_kimg=0.016)
RECIPE = Recipe(model=Model(resolution=16, base_channels=4, latent_dim=8), train=SETTINGS)


@dataclasses.dataclass
class Bench:
    """A run of ten steps on random pictures, and what its hooks were told."""

    folder: Path
    stop_at: int | None = None
    ticks: list[float] = dataclasses.field(default_factory=list)
    snapshots: list[int] = dataclasses.field(default_factory=list)
    at_snapshot: Callable[[], object] = lambda: None
    then: Then = Then.GO_ON

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        random = torch.Generator().manual_seed(0)
        generator, discriminator = Generator(RECIPE.model), Discriminator(RECIPE.model)
        initialise(generator, random)
        initialise(discriminator, random)
        cpu = hardware.choose("cpu", "float32")
        self.players = make_players(generator, discriminator, RECIPE, cpu)
        self.step = Step(self.players, RECIPE, cpu, random)
        self.checkpoints = Checkpoints(self.folder / "state")
        clock, _ = self.checkpoints.restore(self.players, random)
        self.clock: dict[str, Any] = clock or {"images_seen": 0}
        pictures = torch.randint(0, 256, (16, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
        self.loader = Loader(pictures.numpy(), BATCH, seed=0, position=self.clock["images_seen"])
        self.progress = Progress(self.loader, self.step, random, {"pack": "abc"})

    def train(self, settings: Train = SETTINGS) -> int:
        telemetry = Telemetry(self.folder / "stats.jsonl", self.loader.position, int(settings.kimg * 1000))
        hooks = Hooks(lambda line: self.ticks.append(line["kimg"]), self._snapshot, self._stop)
        return train(self.progress, settings, telemetry, self.checkpoints, hooks)

    def weights(self) -> dict[str, Tensor]:
        networks = {"g": self.players.generator, "d": self.players.discriminator, "ema": self.players.ema.network}
        return {f"{part}.{name}": value for part, net in networks.items() for name, value in net.state_dict().items()}

    def _snapshot(self, images_seen: int) -> Then:
        self.snapshots.append(images_seen)
        self.at_snapshot()
        return self.then

    def _stop(self) -> int:
        return 15 if self.loader.position == self.stop_at else 0


def saved(bench: Bench) -> list[int]:
    return [int(path.stem.removeprefix("checkpoint-")) for path in bench.checkpoints.paths()]


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize(
    ("images_seen", "batch", "every_kimg", "expected"),
    [(1000, 8, 1.0, True), (1001, 8, 1.0, True), (1007, 8, 1.0, True), (1008, 8, 1.0, False), (992, 8, 1.0, False)],
)
def test_a_landmark_is_due_in_the_one_step_that_crosses_it(
    images_seen: int, batch: int, every_kimg: float, expected: bool
) -> None:
    assert due(images_seen, batch, every_kimg) == expected


def test_a_gpu_is_waited_for_no_more_often_than_every_64_steps() -> None:
    settings, cpu, gpu = Train(batch=512, tick_kimg=1.0), torch.device("cpu"), torch.device("cuda", 0)
    assert (tick_kimg(settings, cpu), tick_kimg(settings, gpu)) == (1.0, 64 * 0.512)
    assert tick_kimg(Train(batch=64, tick_kimg=9.0), gpu) == 9.0


def test_landmarks_closer_than_a_batch_are_due_in_every_step() -> None:
    assert all(due(seen, 64, 0.01) for seen in range(64, 6400, 64))


def test_the_landmarks_fall_where_the_clock_says_and_always_at_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.train() == 0
    assert bench.ticks == [0.012, 0.02, 0.024, 0.036, 0.04]
    assert bench.snapshots == [20, 40]
    assert saved(bench) == [40, 32]  # the two newest
    assert bench.loader.position == 40


def test_each_tick_says_which_share_of_its_time_went_into_waiting_for_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    in_time = bench.loader.next_batch

    def late() -> Tensor:
        time.sleep(0.02)
        return in_time()

    monkeypatch.setattr(bench.loader, "next_batch", late)
    bench.train()
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [0 < line["data_wait"] < 1 for line in lines] == [True] * 5


def test_a_length_that_is_no_multiple_of_the_batch_ends_with_a_full_batch(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.train(dataclasses.replace(SETTINGS, kimg=0.0385))
    assert bench.loader.position == 40


def test_a_signal_ends_the_loop_between_two_steps_with_a_checkpoint(tmp_path: Path) -> None:
    bench = Bench(tmp_path, stop_at=24)
    assert bench.train() == 15
    assert bench.loader.position == 24
    assert saved(bench)[0] == 24


def test_stopping_before_the_first_step_saves_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, stop_at=0)
    assert bench.train() == 15
    assert saved(bench) == [0]


@pytest.mark.parametrize(("then", "newest"), [(Then.STOP, 20), (Then.ROLL_BACK, 16)])
def test_a_snapshots_hook_can_end_the_loop_with_or_without_a_checkpoint(
    tmp_path: Path, then: Then, newest: int
) -> None:
    bench = Bench(tmp_path, then=then)
    assert bench.train() == 0
    assert (bench.loader.position, bench.snapshots, saved(bench)[0]) == (20, [20], newest)


def test_a_checkpoint_holds_the_clock_it_was_given(tmp_path: Path) -> None:
    Bench(tmp_path, stop_at=24).train()
    assert Bench(tmp_path).clock == {"pack": "abc", "images_seen": 24}


def test_stopped_anywhere_and_resumed_the_weights_equal_those_of_an_unbroken_run(tmp_path: Path) -> None:
    unbroken = Bench(tmp_path / "unbroken")
    unbroken.train()
    for stop_at in range(0, 40, BATCH):
        folder = tmp_path / f"stopped{stop_at}"
        assert Bench(folder, stop_at=stop_at).train() == 15
        resumed = Bench(folder)
        assert resumed.train() == 0
        assert_equal(resumed.weights(), unbroken.weights())


def test_going_back_to_the_checkpoint_before_a_kill_gives_the_same_weights_and_no_tick_twice(tmp_path: Path) -> None:
    unbroken, killed = Bench(tmp_path / "unbroken"), Bench(tmp_path / "killed")
    unbroken.train()
    killed.at_snapshot = _raise_at(killed, 40)  # after the tick, before the checkpoint
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    resumed = Bench(tmp_path / "killed")
    assert resumed.clock["images_seen"] == 32
    resumed.train()
    assert_equal(resumed.weights(), unbroken.weights())
    stats = (tmp_path / "killed" / "stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["kimg"] for line in stats] == [0.012, 0.02, 0.024, 0.036, 0.04]


def test_a_finished_run_that_is_trained_again_stays_as_it_is(tmp_path: Path) -> None:
    Bench(tmp_path).train()
    again = Bench(tmp_path)
    before = {name: value.clone() for name, value in again.weights().items()}
    assert again.train() == 0
    assert_equal(again.weights(), before)
    assert (again.ticks, again.snapshots) == ([], [])


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_weight_that_is_not_finite_ends_the_run_and_the_last_good_checkpoint_stays(
    tmp_path: Path, network: str
) -> None:
    bench = Bench(tmp_path)

    def spoil() -> None:
        next(getattr(bench.players, network).parameters()).data.fill_(float("nan"))

    bench.at_snapshot = spoil
    with pytest.raises(TrainingError, match=r"not finite at 0\.02 kimg"):
        bench.train()
    assert saved(bench) == [16]


def _raise_at(bench: Bench, images_seen: int) -> Callable[[], None]:
    def hook() -> None:
        if bench.loader.position == images_seen:
            raise KeyboardInterrupt

    return hook
