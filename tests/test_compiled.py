"""Networks that `torch.compile` has fused learn what plain ones learn, and their files do not tell of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import Cli, sets
from reading import newest_snapshot, weights

METHODS = {
    "paper": {},
    "others": {"optim.thaw_kimg": "0.016", "objective.loss": "relativistic", "augment.ada_target": "0.6"}
    | {"augment.p": "0.8", "objective.mode_seeking": "0.1"},
    "spectral": {"transfer.source": "none", "model.norm_d": "spectral", "model.minibatch_std": "true"},
}


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="no C++ compiler")
@pytest.mark.parametrize("name", METHODS)
def test_compiled_networks_learn_what_plain_ones_learn(name: str, tiny: list[str], tmp_path: Path) -> None:
    last = {}
    for compiled in ("false", "true"):
        settings = METHODS[name] | {"train.compile": compiled, "train.kimg": "0.128"}
        words = [*tiny, *sets(settings), "--outdir", str(tmp_path / compiled)]
        command = [sys.executable, "-m", "gan_transfer", "finetune", "--target", "coverart", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert (done.returncode, re.findall("Warning|recompile_limit", done.stderr)) == (0, []), done.stderr
        (run,) = (tmp_path / compiled).iterdir()
        last[compiled] = weights(newest_snapshot(run))
    assert last["true"].keys() == last["false"].keys()
    for key, tensor in last["false"].items():
        assert torch.allclose(last["true"][key], tensor, rtol=1e-3, atol=1e-4), key


@pytest.mark.parametrize("name", ["r1_gamma", "r2_gamma"])
def test_a_penalty_of_gradients_cannot_be_taken_of_compiled_networks(name: str, tiny: list[str], cli: Cli) -> None:
    settings = sets({"train.compile": "true", f"objective.{name}": "1"})
    done = cli("finetune", "--target", "coverart", *tiny, *settings)
    assert done.code == 2
    assert any(f"objective.{name} takes; wanted false" in line for line in done.faults)
