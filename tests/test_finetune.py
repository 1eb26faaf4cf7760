"""Claims about fine-tuning from the outside: where a pair comes from, what is kept, what stays frozen."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from conftest import TINY, Cli, sets
from PIL import Image
from reading import Witness, config, differing, newest_snapshot, train, weights

from gan_transfer.errors import Interrupted
from gan_transfer.models.weights import load_pair
from gan_transfer.resources import resource_dir

FIRST = Path("runs/00000-imagenet-builtin-covers")
PRETRAIN = ("pretrain", "imagenet")
FINETUNE = ("finetune", "--target", "coverart")
pytestmark = pytest.mark.usefixtures("home")


def finetune(cli: Cli, *words: object) -> Path:
    done = cli(*FINETUNE, *words)
    assert done.code == 0, done.err
    return Path(done.out.strip())


def block_rows(run: Path) -> dict[str, tuple[str, bool]]:
    rows = json.loads((run / "blocks.json").read_text())
    return {row["start"]["block"]: (row["start"]["start"], row["frozen"]) for row in rows}


def test_a_fine_tune_begins_with_the_weights_of_its_pair_and_records_them(
    cli: Cli, tiny: list[str], pair: Path
) -> None:
    run = finetune(cli, *tiny, "--from", "pair")
    assert block_rows(run) == dict.fromkeys(["g4", "g8", "g16", "d8", "d4", "d1"], ("kept", False))
    source = config(pair)
    assert config(newest_snapshot(run))["from"] == {"pair": "pair", "kimg": 0.0, "sha256": source["sha256"]}
    assert weights(newest_snapshot(run)).keys() == weights(pair).keys()


def test_a_fine_tune_takes_the_shape_of_its_pair(cli: Cli, pair: Path) -> None:
    silent = {key: value for key, value in TINY.items() if not key.startswith("model.")}
    run = finetune(cli, *sets(silent), "--from", "pair")
    assert config(newest_snapshot(run))["model"] == config(pair)["model"]


def test_a_fine_tune_from_a_run_begins_with_its_newest_snapshot(cli: Cli, tiny: list[str]) -> None:
    cli(*PRETRAIN, *tiny)
    run = finetune(cli, *tiny, "--from", FIRST, "--kimg", 0.016)
    source = config(FIRST / "snapshots" / "000000.256")
    assert config(newest_snapshot(run))["from"] == {"pair": FIRST.name, "kimg": 0.256, "sha256": source["sha256"]}


def test_pretraining_goes_on_with_a_pair_that_it_is_given(cli: Cli, tiny: list[str], pair: Path) -> None:
    done = cli(*PRETRAIN, *tiny, "--from", "pair", "--kimg", 0.016)
    assert done.code == 0, done.err
    assert {start for start, _ in block_rows(FIRST).values()} == {"kept"}
    assert config(newest_snapshot(FIRST))["from"]["pair"] == "pair"


def test_a_fine_tune_from_none_draws_everything(cli: Cli, tiny: list[str]) -> None:
    run = finetune(cli, *tiny, "--from", "none", "--kimg", 0.016)
    assert block_rows(run) == dict.fromkeys(["g4", "g8", "g16", "d8", "d4", "d1"], ("re-drawn", False))
    assert config(newest_snapshot(run))["from"] is None


def test_a_fine_tune_may_change_channels_latent_and_resolution(cli: Cli, tiny: list[str], pair: Path) -> None:
    shape = {"model.channels": "1", "model.latent_dim": "12", "model.resolution": "32"}
    run = finetune(cli, *tiny, *sets(shape), "--from", "pair", "--kimg", 0.016)
    starts = {block: start for block, (start, _) in block_rows(run).items()}
    assert (starts["g4"], starts["g8"], starts["g32"], starts["d16"], starts["d1"]) == (
        "adapted",
        "kept",
        "re-drawn",
        "re-drawn",
        "kept",
    )
    with Image.open(run / "reals.png") as sheet:
        assert sheet.size == (66, 66)


def test_on_mismatch_decides_what_becomes_of_blocks_that_do_not_fit(cli: Cli, tiny: list[str], pair: Path) -> None:
    words = [*tiny, "--set", "model.channels=1", "--from", "pair", "--kimg", 0.016]
    adapted = finetune(cli, *words, "--outdir", "adapt")
    skipped = finetune(cli, *words, "--on-mismatch", "skip", "--outdir", "skip")
    assert (block_rows(adapted)["g16"], block_rows(skipped)["g16"]) == (("adapted", False), ("re-drawn", False))
    done = cli(*FINETUNE, *words, "--on-mismatch", "error", "--outdir", "error")
    (fault,) = done.faults
    assert fault == (
        "2 of 6 blocks do not fit: G g16 would be adapted 3 -> 1 channels; D d8 would be adapted 3 -> 1 channels. "
        "Give --on-mismatch adapt, or skip, or ask for the shape of the source pair"
    )
    assert not Path("error").exists()


def test_the_layer_table_tells_the_learning_rate_of_every_block(cli: Cli, tiny: list[str], pair: Path) -> None:
    run = finetune(cli, *tiny, "--from", "pair", "--freeze-d-image", 1, "--glr", 1e-3, "--dlr", 1e-4, "--kimg", 0.016)
    rows = json.loads((run / "blocks.json").read_text())
    rates = {row["start"]["block"]: row["learning_rate"] for row in rows}
    assert rates == {"g4": 1e-3, "g8": 1e-3, "g16": 1e-3, "d8": 0.0, "d4": 1e-4, "d1": 1e-4}


@pytest.mark.parametrize(
    ("words", "frozen"),
    [
        (["--freeze-d-image", 1], {"d8"}),
        (["--freeze-d-image", 2], {"d8", "d4"}),
        (["--freeze-g-image", 1], {"g16"}),
        (["--freeze-g-latent", 2], {"g4", "g8"}),
        (["--freeze-d-image", 2, "--freeze-g-image", 1, "--freeze-g-latent", 1], {"d8", "d4", "g4", "g16"}),
    ],
    ids=lambda value: "" if isinstance(value, set) else " ".join(map(str, value)),
)
def test_a_frozen_block_stays_bit_for_bit_and_the_others_learn(
    cli: Cli, tiny: list[str], pair: Path, words: list[object], frozen: set[str]
) -> None:
    run = finetune(cli, *tiny, "--from", "pair", *words)
    assert {block for block, (_, still) in block_rows(run).items() if still} == frozen
    source, end = weights(pair), weights(newest_snapshot(run))
    kept = {
        name for name in end if "running" not in name and "num_batches" not in name
    }  # these are taken on the target
    still = {name.split(".")[1] for name in kept if torch.equal(source[name], end[name])}
    moved = {name.split(".")[1] for name in kept if not torch.equal(source[name], end[name])}
    assert (still, moved & frozen) == (frozen, set())
    between = weights(run / "snapshots" / "000000.128")
    assert [name for name in end if name.split(".")[1] in frozen and not torch.equal(between[name], end[name])] == []


def test_freeze_early_is_freeze_d_image_2_and_says_so(cli: Cli, tiny: list[str], pair: Path) -> None:
    early = finetune(cli, *tiny, "--from", "pair", "--freeze", "early", "--outdir", "early")
    two = finetune(cli, *tiny, "--from", "pair", "--freeze-d-image", 2, "--outdir", "two")
    assert differing(early, two) == set()
    assert (early / "recipe.json").read_text() == (two / "recipe.json").read_text()
    assert json.loads((early / "origin.json").read_text())["transfer.freeze_d_image"] == "--freeze early"


def test_freezing_survives_a_stop(cli: Cli, tiny: list[str], pair: Path) -> None:
    words = [*FINETUNE, *tiny, "--from", "pair", "--freeze-d-image", 2, "--freeze-g-latent", 1]
    unbroken = cli(*words, "--outdir", "unbroken").out.strip()
    settings = {"transfer.source": "pair", "transfer.freeze_d_image": "2", "transfer.freeze_g_latent": "1"}
    with pytest.raises(Interrupted):
        train("coverart", settings, "runs", Witness(3, signal.SIGTERM))
    assert differing(Path(cli(*words).out.strip()), Path(unbroken)) == set()


@pytest.mark.skipif(not (resource_dir("pretrained") / "index.toml").is_file(), reason="no embedded pair")
def test_a_fine_tune_begins_with_the_embedded_pair_of_64_pixels(cli: Cli) -> None:
    silent = {key: value for key, value in TINY.items() if not key.startswith("model.")}
    run = finetune(cli, *sets(silent), "--kimg", 0.016)
    pair = load_pair(newest_snapshot(run))
    assert pair.model.resolution == 64
    assert {start for start, _ in block_rows(run).values()} == {"kept"}


@pytest.mark.parametrize(
    ("words", "blocks"),
    [
        (["--set", "model.resolution=32", "--freeze", "early"], "D d16"),
        (["--set", "model.resolution=32", "--freeze-g-image", "1"], "G g32"),
        (["--set", "model.latent_dim=12", "--freeze-g-latent", "1"], "G g4"),
    ],
)
def test_a_block_that_was_drawn_anew_cannot_be_frozen(
    cli: Cli, tiny: list[str], pair: Path, words: list[str], blocks: str
) -> None:
    done = cli(*FINETUNE, *tiny, "--from", pair, *words)
    assert done.code == 2
    assert f"{blocks}" in done.faults[0]
    assert done.faults[0].endswith(
        "cannot be frozen: drawn anew, because the source pair has another shape; freeze fewer"
    )
    assert not Path("runs").exists()
