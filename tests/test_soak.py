"""Claims about long runs: they hold no more memory at their end than at their beginning, and are no slower.

`GAN_TRANSFER_SOAK_KIMG=300 pytest -s -m slow tests/test_soak.py` does the long one, at 64 pixels; without it a short
one is done at 16.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest
from conftest import TINY, Cli, sets
from reading import events, stats

from gan_transfer.training.telemetry import STATM

KIMG = float(os.environ.get("GAN_TRANSFER_SOAK_KIMG", "0"))
SMALL = TINY | {"train.kimg": "20", "train.batch": "16", "train.tick_kimg": "0.2"}
SMALL |= {"train.snapshot_kimg": "1", "train.checkpoint_kimg": "0.5"}
RUN = Path("runs/00000-imagenet-builtin-covers")
GROWTH = 0.01
SLOWING = 0.2 if KIMG else 0.5  # other programs of the machine come and go, such as tests beside this one


def words() -> list[str]:
    """The run: the recipe's own but for its length, or a small one."""
    if KIMG:
        return ["--data", "builtin:covers", "--kimg", str(KIMG), "--device", "cpu"]
    return sets(SMALL)


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="only Linux tells the memory held now")
@pytest.mark.usefixtures("home")
def test_a_long_run_grows_by_less_than_a_hundredth_and_keeps_its_speed(cli: Cli) -> None:
    done = cli("pretrain", "imagenet", *words())
    assert done.code == 0, done.err
    ticks = stats(RUN)
    tenth = len(ticks) // 10
    early, late = ticks[tenth : 2 * tenth], ticks[-tenth:]
    memory = [statistics.mean(line["rss_mb"] for line in part) for part in (early, late)]
    speed = [statistics.median(line["img_per_sec"] for line in part) for part in (early, late)]
    print(f"memory {memory[0]:.1f} -> {memory[1]:.1f} MB, speed {speed[0]:.1f} -> {speed[1]:.1f} img/s")
    assert memory[1] < memory[0] * (1 + GROWTH)
    assert speed[1] > speed[0] * (1 - SLOWING)
    assert events(RUN) == ["started", "finished"]
