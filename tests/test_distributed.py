"""Claims about several processes that train together: real ones, started by torchrun, on the CPU with Gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from conftest import TINY, sets
from reading import newest_snapshot, stats, weights

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
