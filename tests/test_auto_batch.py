"""Claims about `--batch auto`: measured once, kept when resumed, never more than fits."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from conftest import TINY, Cli
from reading import Witness, newest_snapshot

from gan_transfer import planning, runs
from gan_transfer.auto_batch import settle_batch
from gan_transfer.errors import DataError, Interrupted
from gan_transfer.recipe import load_recipe_with_origin

pytestmark = pytest.mark.usefixtures("home")
AUTO = TINY | {"train.auto_batch": "true", "train.kimg": "2", "train.snapshot_kimg": "1"}


def auto_plan(settings: dict[str, str], new: bool = False) -> planning.Plan:
    recipe, origin = load_recipe_with_origin("pretrain", "imagenet", [f"{k}={v}" for k, v in (AUTO | settings).items()])
    return settle_batch(planning.plan(recipe, origin, Path("runs")), Path("runs"), new)


def test_the_measured_batch_is_a_power_of_two_that_the_pictures_fill() -> None:
    plan = auto_plan({})
    assert plan.recipe.train.batch in (8, 16, 32, 64)
    assert plan.origin["train.batch"] == "measured"


def test_too_few_pictures_for_the_smallest_batch_are_told() -> None:
    with pytest.raises(DataError, match="has 6 pictures, fewer than the batch size 8"):
        auto_plan({"data.source": "builtin:covers?count=6"})


def test_a_resumed_run_keeps_the_batch_that_it_began_with() -> None:
    with pytest.raises(Interrupted):
        runs.run(auto_plan({}), Path("runs"), Witness(2, signal.SIGTERM))
    (recipe,) = Path("runs").glob("*/recipe.json")
    told = json.loads(recipe.read_text())
    told["train"]["batch"] = began = 4  # whatever would be measured now
    recipe.write_text(json.dumps(told))
    plan = auto_plan({})
    assert (plan.recipe.train.batch, plan.origin["train.batch"]) == (began, "begun with")
    assert auto_plan({}, new=True).origin["train.batch"] == "measured"


def test_the_flag_says_auto_or_a_number(cli: Cli, tiny: list[str]) -> None:
    assert cli("pretrain", "imagenet", *tiny, "--batch", "auto").code == 0
    (run,) = Path("runs").iterdir()
    told = json.loads((run / "recipe.json").read_text())["train"]
    assert (told["auto_batch"], told["batch"] % 8) == (True, 0)
    assert "as many as fit and pay" in (run / "log.txt").read_text()
    assert newest_snapshot(run).exists()
    (fault,) = cli("pretrain", "imagenet", *tiny, "--batch", "many").faults
    assert fault == '--batch many: train.batch: wanted a whole number >= 2; got "many"'
