"""Claims about whole runs from the outside: what they write and say, and what a dry run says and does not write."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path

import pytest
from conftest import Cli, tree
from PIL import Image
from reading import clock, config, events, newest_snapshot, stats

from gan_transfer.snapshots import Snapshots

FIRST = Path("runs/00000-imagenet-builtin-covers")
TICKS = [0.032, 0.064, 0.096, 0.128, 0.16, 0.192, 0.224, 0.256]
PRETRAIN = ("pretrain", "imagenet")
FINETUNE = ("finetune", "--target", "coverart")
pytestmark = pytest.mark.usefixtures("home")


def test_a_run_writes_its_folder_and_nothing_else(
    cli: Cli, tiny: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_transfer.training.checkpoint.SHARE", math.inf)  # each checkpoint that is due is written
    done = cli(*PRETRAIN, *tiny)
    assert (done.code, done.out) == (0, f"{FIRST}\n")
    assert [path.name for path in home.iterdir()] == ["runs"]
    names = {str(path.relative_to(FIRST)) for path in FIRST.rglob("*") if path.is_file()} - {".lock"}
    snapshot = {"config.json", "recipe.json", "model.safetensors", "discriminator.safetensors"}
    assert names == {
        *("recipe.json", "origin.json", "blocks.json", "stats.jsonl", "events.jsonl", "log.txt"),
        *("reals.png", "fakes_init.png", "fakes000000.128.png", "fakes000000.256.png", "curves.png", "report.html"),
        *(f"snapshots/{label}/{name}" for label in ("000000.128", "000000.256") for name in snapshot),
        *(f"state-latest/checkpoint-{seen:012d}.safetensors" for seen in (192, 256)),
    }


def test_the_books_of_a_run_say_what_happened(cli: Cli, tiny: list[str]) -> None:
    cli(*PRETRAIN, *tiny, "--seed", 3)
    assert clock(FIRST) == TICKS
    assert [
        line for line in stats(FIRST) if not line.keys() >= {"img_per_sec", "loss_g", "loss_d", "d_real", "d_fake"}
    ] == []
    assert events(FIRST) == ["started", "finished"]
    assert json.loads((FIRST / "recipe.json").read_text())["train"]["seed"] == 3
    assert json.loads((FIRST / "origin.json").read_text())["train.seed"] == "--seed 3"
    assert "64 pictures, 0.3 kimg to go (4.0 epochs)" in (FIRST / "log.txt").read_text()
    assert config(newest_snapshot(FIRST)).items() >= {"kimg": 0.256, "recipe": "imagenet", "from": None}.items()


def test_curves_and_report_are_drawn_again_where_that_is_cheap_and_at_the_end(
    cli: Cli, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []

    class Counted(Snapshots):
        def plot(self) -> str:
            drawn.append(time.perf_counter())
            return super().plot()

    monkeypatch.setattr("gan_transfer.runs.Snapshots", Counted)
    assert cli(*PRETRAIN, *tiny, "--set", "train.snapshot_kimg=0.016").code == 0
    assert 2 <= len(drawn) < len(list((FIRST / "snapshots").iterdir())) == 16
    assert "kimg, finished" in (FIRST / "report.html").read_text()


def test_the_grids_of_a_run_are_pictures_of_the_same_latents_that_change(cli: Cli, tiny: list[str]) -> None:
    cli(*PRETRAIN, *tiny)
    pictures = {path.name: Image.open(path).tobytes() for path in FIRST.glob("*s*.png") if path.name != "curves.png"}
    assert len(pictures) == len(set(pictures.values())) == 4
    assert {len(content) for content in pictures.values()} == {34 * 34 * 3}  # 2 x 2 of 16 pixels, 2 between them


def test_a_run_tells_its_eta_first_and_the_next_command_last(cli: Cli, tiny: list[str]) -> None:
    lines = cli(*PRETRAIN, *tiny).err.splitlines()
    assert lines[0] == "Training on built-in synthetic covers. Real ones: --data folder:PATH or --data zip:FILE"
    assert len([line for line in lines if " img/s on cpu (float32): ETA " in line]) == 1
    assert lines[-1] == f"next: gan-transfer sample --network {FIRST} --seeds 0-63 --grid 8x8 --output out"
    assert lines[-2] == f"report: {FIRST}/report.html"
    assert lines[-3] == f"samples: {FIRST}/fakes000000.256.png"
    assert f"follow it: gan-transfer watch {FIRST}" in lines


def test_a_run_can_be_sampled(cli: Cli, tiny: list[str]) -> None:
    cli(*PRETRAIN, *tiny)
    done = cli("sample", "--network", FIRST, "--seeds", "0-3", "--grid", "2x2")
    assert (done.code, done.out, done.err) == (0, "out/grid.png\n", "")
    assert sorted(path.name for path in Path("out").iterdir()) == ["grid.png", *(f"seed000{n}.png" for n in range(4))]


# The dry run


def test_a_dry_run_writes_nothing_at_all(cli: Cli, tiny: list[str], home: Path, cache: Path, pair: Path) -> None:
    before = tree(home, cache)
    assert cli(*FINETUNE, *tiny, "--from", "pair", "--freeze", "early", "--dry-run").code == 0
    assert tree(home, cache) == before


def test_a_dry_run_prints_recipe_layers_pictures_speed_eta_and_disk(cli: Cli, tiny: list[str], pair: Path) -> None:
    done = cli(*FINETUNE, *tiny, "--from", "pair", "--freeze", "early", "-n")
    assert "freeze_d_image = 2  # --freeze early" in done.out
    assert 'source = "pair"  # --from pair' in done.out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.out.splitlines() if line.startswith("│")]
    assert rows == [
        ["G g4", "4,160", "kept", "0.0002", "batch"],
        ["G g8", "8,224", "kept", "0.0002", "batch"],
        ["G g16", "768", "kept", "0.0002", "-"],
        ["D d8", "768", "kept", "frozen", "-"],
        ["D d4", "8,256", "kept", "frozen", "fixed"],
        ["D d1", "512", "kept", "0.0002", "-"],
    ]
    assert re.search(r"^pictures +64 \(4\.0 epochs in 0\.256 kimg\)$", done.out, re.MULTILINE)
    assert re.search(r"^speed +\d+ img/s on cpu \(float32\), measured over 10 steps$", done.out, re.MULTILINE)
    assert re.search(r"^ETA +\d+ s, ", done.out, re.MULTILINE)
    assert re.search(r"^disk +0\.00 GB ", done.out, re.MULTILINE)
    assert done.out.endswith("dry run: nothing was written\n")


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        ("--data builtin:covers?count=65", 'source = "builtin:covers?count=65"'),
        ("--kimg 0.5", "kimg = 0.5"),
        ("--batch 16", "batch = 16"),
        ("--seed 3", "seed = 3"),
        ("--glr 0.001", "glr = 0.001"),
        ("--dlr 0.002", "dlr = 0.002"),
        ("--augment color,cutout", 'operations = ["color", "cutout"]'),
        ("--augment none", "operations = []"),
        ("--freeze-d-image 1", "freeze_d_image = 1"),
        ("--freeze-g-image 1", "freeze_g_image = 1"),
        ("--freeze-g-latent 1", "freeze_g_latent = 1"),
        ("--mirror", "mirror = true"),
        ("--no-mirror", "mirror = false"),
        ("--device auto", 'device = "auto"'),
        ("--precision bfloat16", 'precision = "bfloat16"'),
    ],
)
def test_a_flag_is_a_shorthand_for_a_setting_and_its_origin(
    cli: Cli, tiny: list[str], pair: Path, flag: str, line: str
) -> None:
    done = cli(*FINETUNE, *tiny, "--from", "pair", *flag.split(), "--dry-run")
    assert done.code == 0, done.err
    assert f"{line}  # {flag}" in done.out.splitlines()
