"""Claims about several processes that train together: real ones, started by torchrun, on the CPU with Gloo."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from conftest import TINY, Cli, sets
from reading import clock, differing, events, newest_snapshot, stats, weights
from spoilt import draw_own_pictures

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
HERE = Path(__file__).parent
ADDED = "loss_d", "loss_g", "d_real", "d_fake", "real_right", "fake_right", "r_t", "penalty"


def torchrun(*words: str, count: int = 2, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program in several processes."""
    command = [*TORCHRUN, f"--nproc-per-node={count}", *words]
    paths = os.pathsep.join([str(HERE.parent), str(HERE)])
    environment = os.environ | {"PYTHONPATH": paths, "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, env=environment, check=False)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The folders in which one process and two have trained the same."""
    folders = {world: tmp_path_factory.mktemp(f"world{world}") for world in (1, 2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_TRANSFER_CACHE", str(folders[1] / "cache"))
        ranks.train_all(folders[1])
        done = torchrun(str(HERE / "ranks.py"), str(folders[2]))
    assert (done.returncode, done.stderr) == (0, "")
    return folders


def outcome(folder: Path, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"rank{rank}.json").read_text())
    return found


@pytest.mark.parametrize("case", ranks.CASES)
def test_two_processes_train_as_one_does(both: dict[int, Path], case: str) -> None:
    one, two = (next((both[world] / case).iterdir()) for world in (1, 2))
    assert ranks.furthest(weights(newest_snapshot(one)), weights(newest_snapshot(two))) < 1e-5
    assert [line["kimg"] for line in stats(one)] == [line["kimg"] for line in stats(two)]
    for ours, theirs in zip(stats(one), stats(two), strict=True):
        assert [ours[name] for name in ADDED] == pytest.approx([theirs[name] for name in ADDED], abs=1e-5)


def test_without_batch_norm_nothing_has_to_be_synchronised(both: dict[int, Path]) -> None:
    players, told = ranks.steps({"model.norm_d": "none"}, without_norms=True)
    found = outcome(both[2], 0)
    theirs = {name: torch.tensor(value) for name, value in found["plain"].items()}
    assert ranks.furthest(ranks.state(players), theirs) < 1e-5
    torch.testing.assert_close(torch.tensor(found["told"])[:, :7], told[:, :7], atol=1e-5, rtol=0)


def test_all_ranks_end_with_the_same_weights_and_statistics_though_they_saw_other_pictures(
    both: dict[int, Path],
) -> None:
    assert [outcome(both[2], rank)["equal"] for rank in (0, 1)] == [[True, True, True]] * 2


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_batch_in_parts_whose_gradients_are_added_up_trains_as_a_whole_one(parts: int) -> None:
    settings = {"model.norm_d": "none", "augment.operations": '["color", "translation"]', "objective.r1_gamma": "1"}
    whole, told = ranks.steps(settings, without_norms=True)
    pieces, told_in_parts = ranks.steps(settings, without_norms=True, parts=parts)
    assert ranks.furthest(ranks.state(whole), ranks.state(pieces)) < 1e-5
    torch.testing.assert_close(told_in_parts[:, :7], told[:, :7], atol=1e-5, rtol=0)


RUN = "00000-imagenet-builtin-covers"
LONG = {"train.kimg": "3", "train.snapshot_kimg": "1", "train.checkpoint_kimg": "0.2", "train.sync_bn": "true"}


def words(settings: dict[str, str], *more: str) -> list[str]:
    return ["-m", "gan_transfer", "pretrain", "imagenet", *sets(TINY | settings), *more]


def spawn(home: Path, *options: str, settings: dict[str, str] = LONG) -> subprocess.Popen[str]:
    """Two processes that train for some seconds."""
    command = [*TORCHRUN, "--nproc-per-node=2", *options, *words(settings)]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home, env=environment
    )


def rank_pid(process: subprocess.Popen[str], rank: int) -> int:
    """The process of a rank."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if f"\0RANK={rank}\0" in f"\0{Path(f'/proc/{child}/environ').read_text()}":
            return int(child)
    raise AssertionError(f"no process has rank {rank}")


def await_ticks(process: subprocess.Popen[str], run: Path, count: int) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if (run / "stats.jsonl").exists() and (run / "stats.jsonl").read_text().count("\n") >= count:
            return
        time.sleep(0.01)


def told(err: str) -> list[str]:
    """What the run itself complained of."""
    return [line for line in err.splitlines() if line.startswith("error: ")]


@pytest.fixture
def settings() -> dict[str, str]:
    """Those of a run of some seconds."""
    return LONG


@pytest.fixture
def unbroken(home: Path, settings: dict[str, str]) -> Path:
    """A run of two processes that nothing disturbed."""
    assert torchrun(*words(settings, "--outdir", "unbroken"), cwd=home).returncode == 0
    return home / "unbroken" / RUN


@pytest.mark.slow
@pytest.mark.parametrize("settings", [LONG, LONG | {"train.sync_bn": "false"}], ids=["sync_bn", "own statistics"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_is_survived_from_the_last_checkpoint(
    home: Path, unbroken: Path, rank: int, settings: dict[str, str]
) -> None:
    process = spawn(home, "--max-restarts=1", settings=settings)
    await_ticks(process, home / "runs" / RUN, 20)
    os.kill(rank_pid(process, rank), signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    assert (process.returncode, out) == (0, f"runs/{RUN}\n")
    assert events(home / "runs" / RUN) == ["started", "resumed", "finished"]
    assert differing(home / "runs" / RUN, unbroken) == set()
    assert clock(home / "runs" / RUN) == clock(unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["torchrun", "rank 1"])
def test_sigterm_ends_all_with_a_checkpoint_from_which_another_number_of_processes_goes_on(
    home: Path, unbroken: Path, target: str, cli: Cli
) -> None:
    process = spawn(home)
    await_ticks(process, home / "runs" / RUN, 5)
    os.kill(process.pid if target == "torchrun" else rank_pid(process, 1), signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode != 0
    assert re.fullmatch(r"error: stopped at \d\.\d\d kimg; everything is saved\. Resume with:", "".join(told(err)))
    assert events(home / "runs" / RUN) == ["started", "interrupted"]
    assert cli(*words(LONG)[2:]).code == 0
    assert events(home / "runs" / RUN) == ["started", "interrupted", "resumed", "finished"]
    assert clock(home / "runs" / RUN) == clock(unbroken)
    shown = [stats(run)[-1] for run in (home / "runs" / RUN, unbroken)]
    assert shown[0]["loss_d"] == pytest.approx(shown[1]["loss_d"], abs=0.2)  # Adam makes much of rounding in 375 steps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (("--batch", "9"), "a batch of 9 cannot be shared equally by 2 processes; use --batch 8"),
        (("--batch", "6", "--set", "model.stack=2"), "each of 2 processes gets 3 pictures of a batch. model.stack: 2"),
        (("--batch", "10", "--set", "model.minibatch_std=true"), "5 looks of the discriminator split into no groups"),
        (("--kimg", "-1"), "--kimg -1.0: train.kimg: wanted a number > 0; got -1.0"),
        (("--data", "folder:nowhere"), "nowhere"),
    ],
)
def test_what_is_wrong_for_all_is_told_once(home: Path, more: tuple[str, ...], fault: str) -> None:
    done = torchrun(*words({}, *more), cwd=home)
    (line,) = told(done.stderr)
    assert fault in line
    assert re.search(r"exitcode  : 2 ", done.stderr)
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_a_dry_run_of_two_processes_is_told_once_and_writes_nothing(home: Path) -> None:
    done = torchrun(*words({}, "--dry-run"), cwd=home)
    assert (done.returncode, done.stdout.count("dry run: nothing was written")) == (0, 1)
    assert "img/s on 2 x cpu (float32)" in done.stdout
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_two_processes_roll_back_together(home: Path) -> None:
    (home / "settings.json").write_text(json.dumps(draw_own_pictures(home)))
    done = torchrun(str(HERE / "ranks.py"), "roll back", str(home))
    assert done.returncode == 0, done.stderr
    (run,) = (home / "runs").iterdir()
    assert events(run) == ["started", "rolled back", "finished"]
    looks = [json.loads(line) for line in (run / "metric-panel.jsonl").read_text().splitlines()]
    assert [line["kimg"] for line in looks] == [0.0, 0.064, 0.128, 0.192, 0.256, 0.32]
    assert looks[-1]["verdict"] in ("healthy", "warning")


@pytest.mark.slow
def test_a_fault_of_another_rank_ends_all_and_is_told_once(home: Path) -> None:
    done = torchrun(str(HERE / "ranks.py"), "fault", cwd=home)
    assert done.returncode != 0
    assert told(done.stderr) == ["error: rank 1 has a fault of its own"]
