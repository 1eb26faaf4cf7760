"""Claims about runs by every method: finite, resumed bit for bit, told in the run folder; and what is refused."""

from __future__ import annotations

import json
import math
import random
import signal
from pathlib import Path

import pytest
import torch
from conftest import Cli, Refused, sets
from PIL import Image
from reading import Witness, config, differing, newest_snapshot, stats, train, weights

from gan_transfer.errors import Interrupted
from gan_transfer.run_folder import RunFolder
from gan_transfer.transfer.methods import METHODS

FINETUNE = ("finetune", "--target", "coverart")
SHORT = {"train.kimg": "0.064", "train.snapshot_kimg": "0.032", "diagnose.extractor": "none"}
FROM = {"transfer.source": "pair", "diagnose.extractor": "none"}
OBJECTIVES = {
    "objective.lecam": "0.3",
    "objective.mode_seeking": "1",
    "objective.moments": "10",
    "augment.ada_target": "0.1",
    "augment.ada_kimg": "0.2",
    "augment.p": "0.8",
    "model.stack": "2",
    "model.minibatch_std": "true",
}
HELD = {"anchor.l2_sp": "5", "anchor.ewc": "5", "anchor.cdc": "50"}
RATES = {"optim.thaw_kimg": "0.06", "optim.block_decay": "2", "optim.lr_mult.d8": "0.1"}
pytestmark = pytest.mark.usefixtures("home", "pair")


def finetune(cli: Cli, *words: object) -> Path:
    done = cli(*FINETUNE, *words, "--from", "pair")
    assert done.code == 0, done.err
    return Path(done.out.strip())


def moved(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in RunFolder(run).moved.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"scratch"}))
def test_a_run_by_any_method_stays_finite_and_keeps_its_snapshot(cli: Cli, tiny: list[str], method: str) -> None:
    augmented = ["--set", 'augment.operations=["translation"]']
    # A pair of three blocks: freeze-d3 would leave none of the discriminator.
    if method == "freeze-d3":
        done = cli(*FINETUNE, *tiny, "--from", "pair", "--method", method)
        assert "3 frozen leave none of the discriminator's 3 blocks" in done.err
        return
    run = finetune(cli, *tiny, *sets(SHORT), *augmented, "--method", method)
    assert all(math.isfinite(value) for line in stats(run) for value in line.values())
    assert all(value.isfinite().all() for value in weights(newest_snapshot(run)).values())
    assert [line["kimg"] for line in moved(run)] == [0.032, 0.064]


@pytest.mark.parametrize("settings", [OBJECTIVES | RATES, HELD], ids=["looks and rates", "held"])
def test_stopped_and_resumed_a_run_by_methods_equals_an_unbroken_one_bit_for_bit(settings: dict[str, str]) -> None:
    unbroken = train("coverart", FROM | settings, "unbroken")
    for signum in (signal.SIGTERM, signal.SIGINT):
        with pytest.raises(Interrupted):
            train("coverart", FROM | settings, "stopped", Witness(random.choice([1, 2, 3]), signum))
        torch.manual_seed(random.randrange(2**32))
    stopped = train("coverart", FROM | settings, "stopped")
    assert differing(stopped, unbroken) == set()
    assert moved(stopped) == moved(unbroken)
    timeless = ("kimg", "loss_g", "lecam", "ada_p", "ewc")
    last = [[stats(run)[-1].get(key) for key in timeless] for run in (stopped, unbroken)]
    assert last[0] == last[1]


def test_ticks_tell_the_terms_that_are_on_and_adas_p(cli: Cli, tiny: list[str]) -> None:
    words = sets(SHORT | {"augment.ada_kimg": "0.1", "augment.operations": '["color"]'})
    run = finetune(cli, *tiny, *words, "--method", "ada+l2-sp+cdc+lecam+mode-seeking+moments")
    assert {"ada_p", "l2_sp_g", "l2_sp_d", "cdc", "lecam", "mode_seeking", "moments"} <= stats(run)[-1].keys()
    assert all(0 <= line["ada_p"] <= 0.8 for line in stats(run))


def test_anchors_keep_the_pair_nearer_to_its_source(cli: Cli, tiny: list[str]) -> None:
    fast = [*tiny, *sets(SHORT), "--glr", 2e-3]
    free = moved(finetune(cli, *fast))[-1]
    held = moved(finetune(cli, *fast, "--method", "l2-sp", "--set", "anchor.l2_sp=1000", "--new"))[-1]
    assert held["generator"] < free["generator"] / 2


def test_a_fine_tune_tells_how_far_it_has_moved_and_shows_source_and_target(cli: Cli, tiny: list[str]) -> None:
    done = cli(*FINETUNE, *tiny, "--from", "pair")
    run = Path(done.out.strip())
    first, last = moved(run)
    assert first["kimg"] == 0.128
    assert list(last["blocks"]) == ["g4", "g8", "g16", "d8", "d4", "d1"]  # type: ignore[call-overload]
    assert last["generator"] > first["generator"] > 0
    assert last["pixels"] > 0
    assert last["pixels_apart"] > 0
    assert {"features", "extractor"} <= last.keys()
    with Image.open(run / "source_target.png") as strip:
        assert strip.size == (4 * 18 - 2, 34)  # the four latents of the tiny grid, two rows
    assert "moved from the source: G's weights by " in done.err
    assert f"source above, target below: {run / 'source_target.png'}" in done.err


def test_a_run_from_scratch_has_moved_from_nowhere(cli: Cli, tiny: list[str]) -> None:
    done = cli(*FINETUNE, *tiny, *sets(SHORT), "--method", "scratch", "--new")
    run = Path(done.out.strip())
    assert done.code == 0
    assert not list(run.glob("source_target.png")) + list(run.glob("start.safetensors"))
    assert "moved from" not in done.err


def test_a_run_begun_before_a_setting_was_known_is_resumed(cli: Cli, tiny: list[str]) -> None:
    with pytest.raises(Interrupted):
        train("coverart", FROM, "runs", Witness(1, signal.SIGTERM))
    (run,) = Path("runs").iterdir()
    recipe = json.loads((run / "recipe.json").read_text())
    del recipe["anchor"], recipe["model"]["stack"], recipe["augment"]["ada_target"], recipe["optim"]["thaw_kimg"]
    (run / "recipe.json").write_text(json.dumps(recipe))
    (run / "start.safetensors").unlink()
    assert train("coverart", FROM, "runs") == run


def test_a_snapshot_with_a_stack_is_shown_sampled_and_diagnosed(cli: Cli, tiny: list[str]) -> None:
    run = finetune(cli, *tiny, *sets(SHORT), "--method", "pacgan+mbstd")
    assert config(newest_snapshot(run))["model"]["stack"] == 2
    assert "minibatch_std True" in cli("models", "show", run).out
    assert cli("sample", "--network", run, "--seeds", "0-3", "--output", "out").code == 0
    again = cli(*FINETUNE, *tiny, *sets(SHORT), "--from", run, "--new", "--set", "model.stack=2")
    assert again.code == 0, again.err


def test_the_block_table_tells_rates_what_learns_and_from_when(cli: Cli, tiny: list[str]) -> None:
    run = finetune(cli, *tiny, *sets(SHORT), "--lr-mult", "d8=0.5", "--train-only", "bn-affine", "--glr", 1e-4)
    rows = {row["start"]["block"]: row for row in json.loads((run / "blocks.json").read_text())}
    assert [rows[name]["learns"] for name in ("g4", "g8", "g16", "d8")] == ["affine", "affine", "all", "all"]
    assert rows["d8"]["learning_rate"] == rows["d4"]["learning_rate"] / 2
    done = cli(*FINETUNE, *tiny, *sets(SHORT), "--from", "pair", "--new", "--method", "gradual")
    assert "from 8 kimg" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--lr-mult", "d32"], "--lr-mult d32: wanted BLOCK=FACTOR; got 'd32'. Example: --lr-mult d32=0.1"),
        (["--lr-mult", "d64=2"], "--lr-mult d64=2: optim.lr_mult.d64: 2.0 for a block that is not there; did you mean"),
        (["--lr-mult", "d8=2", "--freeze-d-image", 1], "2.0 for a block that is frozen; wanted no rate for it"),
        (["--lr-mult", "d8=0"], "--lr-mult d8=0: optim.lr_mult.d8: wanted a number > 0 and <= 100; got 0"),
        (["--method", "freezeD"], "method 'freezeD' is not known; did you mean"),
        (["--method", "gradual+freeze-d2"], "gradual lets every block learn in the end, freeze-d2 keeps some for good"),
        (["--method", "scratch+cdc"], "scratch begins from no pair, and cdc keeps something of one"),
        (["--method", "ewc", "--from", "none"], "anchor.ewc: nothing to keep with transfer.source = \"none\""),
        (["--method", "lecam", "--set", "objective.loss=relativistic"], "only differences of logits count"),
        (["--method", "pacgan", "--batch", 7], "2 pictures at a time do not split train.batch = 7; wanted e.g. 8"),
        (["--method", "mbstd", "--batch", 7], "7 looks of the discriminator split into no groups of 2 to 4"),
        (["--method", "ada", "--augment", "none"], "nothing to apply with augment.operations = []"),
        (["--method", "ada", "--set", "augment.p=1"], "1 is the most that ADA may take, and above 0.82"),
        (["--train-only", "bn-affine", "--from", "none"], 'wanted "all", or a transfer.source such as "builtin"'),
        (["--train-only", "bn-affine", "--set", "model.base_channels=8"], 'take transfer.train_only = "all"'),
    ],
)  # fmt: skip
def test_methods_that_cannot_be_are_refused_before_anything_is_written(
    refused: Refused, words: list[object], told: str
) -> None:
    source = [] if "--from" in words else ["--from", "pair"]
    (fault,) = refused(*source, *words)
    assert told in fault
