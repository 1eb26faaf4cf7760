"""Claims about whole runs from the outside: what they write, how they stop and go on, what a fine-tune keeps."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, Cli, sets, tree
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_transfer import planning, runs
from gan_transfer.errors import Interrupted
from gan_transfer.files import sha256
from gan_transfer.models.weights import load_pair
from gan_transfer.recipe import load_recipe_with_origin
from gan_transfer.resources import resource_dir
from gan_transfer.run_folder import open_run

FIRST = Path("runs/00000-imagenet-builtin-covers")
TICKS = [0.032, 0.064, 0.096, 0.128, 0.16, 0.192, 0.224, 0.256]
PRETRAIN = ("pretrain", "imagenet")
FINETUNE = ("finetune", "--target", "coverart")
EVERYTHING = {
    "model.norm_d": "none",
    "model.dropout_d": "0.2",
    "data.mirror": "true",
    "augment.operations": '["color", "translation", "cutout"]',
    "augment.p": "0.5",
    "objective.r1_gamma": "1",
    "objective.penalty_interval": "4",
    "train.batch": "6",
}
LONG = {"train.kimg": "2", "train.snapshot_kimg": "0.5", "train.checkpoint_kimg": "0.2"}  # some seconds: to be killed


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stats(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def events(run: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()]


def newest_snapshot(run: Path) -> Path:
    return max((run / "snapshots").iterdir())


def config(snapshot: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((snapshot / "config.json").read_text())
    return settings


def weights(snapshot: Path) -> dict[str, Tensor]:
    files = {"g": "model.safetensors", "d": "discriminator.safetensors"}
    return {f"{part}.{k}": v for part, name in files.items() for k, v in load_file(snapshot / name).items()}


def assert_same_weights(run: Path, other: Path) -> None:
    ours, theirs = weights(newest_snapshot(run)), weights(newest_snapshot(other))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


# What a run writes


def test_a_run_writes_its_folder_and_nothing_else(cli: Cli, tiny: list[str], home: Path) -> None:
    done = cli(*PRETRAIN, *tiny)
    assert (done.code, done.out) == (0, f"{FIRST}\n")
    assert [path.name for path in home.iterdir()] == ["runs"]
    names = {str(path.relative_to(FIRST)) for path in FIRST.rglob("*") if path.is_file()} - {".lock"}
    snapshot = {"config.json", "model.safetensors", "discriminator.safetensors"}
    assert names == {
        *("recipe.json", "origin.json", "blocks.json", "stats.jsonl", "events.jsonl", "log.txt"),
        *("reals.png", "fakes_init.png", "fakes000000.128.png", "fakes000000.256.png", "curves.png"),
        *(f"snapshots/{label}/{name}" for label in ("000000.128", "000000.256") for name in snapshot),
        *(f"state-latest/checkpoint-{seen:012d}.safetensors" for seen in (192, 256)),
    }


def test_the_books_of_a_run_say_what_happened(cli: Cli, tiny: list[str]) -> None:
    cli(*PRETRAIN, *tiny, "--seed", 3)
    lines = stats(FIRST)
    assert [line["kimg"] for line in lines] == TICKS
    assert [line for line in lines if not line.keys() >= {"img_per_sec", "loss_g", "loss_d", "d_real", "d_fake"}] == []
    assert events(FIRST) == ["started", "finished"]
    assert json.loads((FIRST / "recipe.json").read_text())["train"]["seed"] == 3
    assert json.loads((FIRST / "origin.json").read_text())["train.seed"] == "--seed 3"
    assert "64 pictures, 0.3 kimg to go (4.0 epochs)" in (FIRST / "log.txt").read_text()
    assert config(newest_snapshot(FIRST)).items() >= {"kimg": 0.256, "recipe": "imagenet", "from": None}.items()


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
    assert lines[-2] == f"samples: {FIRST}/fakes000000.256.png"


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
        ["G g4", "4,160", "kept", "yes", "batch"],
        ["G g8", "8,224", "kept", "yes", "batch"],
        ["G g16", "768", "kept", "yes", "-"],
        ["D d8", "768", "kept", "frozen", "-"],
        ["D d4", "8,256", "kept", "frozen", "fixed"],
        ["D d1", "512", "kept", "yes", "-"],
    ]
    assert re.search(r"^pictures +64 \(4\.0 epochs in 0\.256 kimg\)$", done.out, re.MULTILINE)
    assert re.search(r"^speed +\d+ img/s on cpu \(float32\), measured over 10 steps$", done.out, re.MULTILINE)
    assert re.search(r"^ETA +\d+ s, ", done.out, re.MULTILINE)
    assert re.search(r"^disk +0\.00 GB ", done.out, re.MULTILINE)
    assert done.out.endswith("dry run: nothing was written\n")


# Stopping and going on


@dataclasses.dataclass
class Witness:
    """Follows a run, and sends this process a signal at one of its ticks."""

    signal_at: int = 0
    signum: int = 0
    ticks: list[float] = dataclasses.field(default_factory=list)
    talk: list[str] = dataclasses.field(default_factory=list)

    def say(self, text: str) -> None:
        self.talk.append(text)

    def packing(self, done: int, total: int) -> None:
        pass

    def blocks(self, rows: list[planning.BlockRow]) -> None:
        pass

    def training(self, line: dict[str, float] | None, total_kimg: float) -> None:
        if line is not None:
            self.ticks.append(line["kimg"])
            if len(self.ticks) == self.signal_at:
                os.kill(os.getpid(), self.signum)


def go(outdir: str, settings: dict[str, str], witness: Witness) -> Path:
    """Pretrain without the command line."""
    changes = [f"{key}={value}" for key, value in (TINY | settings).items()]
    recipe, origin = load_recipe_with_origin("pretrain", "imagenet", changes)
    return runs.run(planning.plan(recipe, origin, Path(outdir)), Path(outdir), witness)


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything random"])
def test_stopped_three_times_and_resumed_a_run_equals_an_unbroken_one_bit_for_bit(settings: dict[str, str]) -> None:
    torch.manual_seed(random.randrange(2**32))  # what ran before in this process does not matter
    unbroken = go("unbroken", settings, Witness())
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        with pytest.raises(Interrupted) as caught:
            go("stopped", settings, Witness(random.choice([1, 2]), signum))
        assert caught.value.exit_code == 128 + signum
        torch.manual_seed(random.randrange(2**32))
    last = Witness()
    stopped = go("stopped", settings, last)
    assert_same_weights(stopped, unbroken)
    assert [line["kimg"] for line in stats(stopped)] == [line["kimg"] for line in stats(unbroken)]
    assert events(stopped) == ["started", *["interrupted", "resumed"] * 3, "finished"]
    assert last.talk[0].startswith(f"resuming {stopped} at 0.")


def test_a_damaged_newest_checkpoint_costs_only_the_time_since_the_one_before(cli: Cli, tiny: list[str]) -> None:
    go("unbroken", {}, Witness())
    with pytest.raises(Interrupted):
        go("runs", {}, Witness(5, signal.SIGTERM))
    newest = max((FIRST / "state-latest").iterdir())
    newest.write_bytes(newest.read_bytes()[:-50])
    done = cli(*PRETRAIN, *tiny)
    assert f"warning: {newest.name} is damaged" in done.err
    assert_same_weights(FIRST, Path("unbroken") / FIRST.name)
    assert [line["kimg"] for line in stats(FIRST)] == TICKS


def spawn(*words: str) -> subprocess.Popen[str]:
    """The command line in a process of its own, to be killed."""
    command = [sys.executable, "-m", "gan_transfer", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_at_tick(process: subprocess.Popen[str], run: Path, tick: int, signum: int) -> tuple[int, str]:
    """Wait until a run has written a tick, and some milliseconds more; kill it; give back exit code and stderr."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (run / "stats.jsonl").exists() and (run / "stats.jsonl").read_text().count("\n") >= tick:
            break
        time.sleep(0.005)
    time.sleep(random.uniform(0, 0.03))
    process.send_signal(signum)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


def test_a_run_ended_by_sigterm_goes_on_with_the_command_that_it_printed(cli: Cli) -> None:
    words = [*PRETRAIN, *sets(TINY | LONG)]
    cli(*words, "--outdir", "unbroken")
    code, err = kill_at_tick(spawn(*words), FIRST, random.randint(1, 40), signal.SIGTERM)
    assert code == 143
    told, command = err.splitlines()[-2:]
    assert re.fullmatch(r"error: stopped at \d\.\d\d kimg; everything is saved\. Resume with:", told)
    assert shlex.split(command) == ["gan-transfer", *words]
    assert cli(*shlex.split(command)[1:]).code == 0
    assert_same_weights(FIRST, Path("unbroken") / FIRST.name)
    assert events(FIRST) == ["started", "interrupted", "resumed", "finished"]


@pytest.mark.slow
def test_killed_three_times_by_three_signals_a_run_equals_an_unbroken_one_bit_for_bit(cli: Cli) -> None:
    words = [*PRETRAIN, *sets(TINY | LONG | {"train.kimg": "6"})]
    cli(*words, "--outdir", "unbroken")
    unbroken = Path("unbroken") / FIRST.name
    ends = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
    signals = random.sample(list(ends), 3)
    for third, signum in enumerate(signals):
        tick = third * 50 + random.randint(1, 35)
        code, err = kill_at_tick(spawn(*words), FIRST, tick, signum)
        assert (code, "Traceback" in err) == (ends[signum], False)
        assert ("Resume with:" in err) == (signum != signal.SIGKILL)
    with spawn(*words) as last:
        out, _ = last.communicate()
    assert (last.returncode, out) == (0, f"{FIRST}\n")
    assert_same_weights(FIRST, unbroken)
    assert [line["kimg"] for line in stats(FIRST)] == [line["kimg"] for line in stats(unbroken)]
    assert [path.name for path in Path("runs").iterdir()] == [FIRST.name]


@pytest.mark.slow
def test_killed_before_its_first_checkpoint_a_run_begins_again_in_its_folder(cli: Cli) -> None:
    words = [*PRETRAIN, *sets(TINY | LONG | {"train.checkpoint_kimg": "1.5"})]
    cli(*words, "--outdir", "unbroken")
    code, _ = kill_at_tick(spawn(*words), FIRST, 20, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert cli(*words).out == f"{FIRST}\n"
    assert_same_weights(FIRST, Path("unbroken") / FIRST.name)
    assert [line["kimg"] for line in stats(FIRST)] == [line["kimg"] for line in stats(Path("unbroken") / FIRST.name)]
    assert events(FIRST) == ["started", "started", "finished"]


def test_a_finished_run_is_left_alone_and_a_new_number_begun(cli: Cli, tiny: list[str]) -> None:
    cli(*PRETRAIN, *tiny, "--kimg", 0.016)
    before = tree(FIRST)
    assert cli(*PRETRAIN, *tiny, "--kimg", 0.016).out == "runs/00001-imagenet-builtin-covers\n"
    assert tree(FIRST) == before


def test_new_leaves_an_unfinished_run_alone(cli: Cli, tiny: list[str]) -> None:
    with pytest.raises(Interrupted):
        go("runs", {}, Witness(1, signal.SIGTERM))
    before = tree(FIRST)
    assert cli(*PRETRAIN, *tiny, "--new").out == "runs/00001-imagenet-builtin-covers\n"
    assert tree(FIRST) == before


def test_an_unfinished_run_is_not_resumed_with_another_recipe(cli: Cli, tiny: list[str]) -> None:
    with pytest.raises(Interrupted):
        go("runs", {}, Witness(1, signal.SIGTERM))
    before = tree(Path("runs"))
    done = cli(*PRETRAIN, *tiny, "--glr", 1e-4, "--augment", "color", "--data", "builtin:covers?count=65")
    assert done.code == 2
    (fault,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert f"the unfinished run {FIRST} has another recipe: " in fault
    assert 'augment.operations: [] -> ["color"]; optim.glr: 0.0002 -> 0.0001; pack: ' in fault
    assert fault.endswith("Give the same command to resume it, or --new to begin another")
    assert tree(Path("runs")) == before


def test_a_run_in_use_is_not_touched(cli: Cli, tiny: list[str]) -> None:
    with pytest.raises(Interrupted):
        go("runs", {}, Witness(1, signal.SIGTERM))
    recipe = json.loads((FIRST / "recipe.json").read_text())
    with open_run(Path("runs"), "imagenet-builtin-covers", recipe):
        before = tree(Path("runs"))
        done = cli(*PRETRAIN, *tiny)
        assert tree(Path("runs")) == before
    assert done.code == 2
    assert done.err.splitlines()[-1] == (
        f"error: {FIRST} is being trained by another process; wait for it, or take --new"
    )


# Losses that are not finite


def test_a_pair_with_a_weight_that_is_not_finite_ends_with_code_1(cli: Cli, tiny: list[str], pair: Path) -> None:
    path = pair / "discriminator.safetensors"
    tensors = load_file(path)
    tensors["d8.conv.weight"][0, 0, 0, 0] = float("nan")
    save_file(tensors, path, {"format": "pt"})
    settings = config(pair)
    settings["sha256"][path.name] = sha256(path)
    (pair / "config.json").write_text(json.dumps(settings))
    done = cli(*FINETUNE, *tiny, "--from", "pair")
    assert done.code == 1
    assert re.fullmatch(
        r"error: loss_d, loss_g, .* is not finite at 0\.03 kimg\. The last good checkpoint is none\. Next: lower --glr .*",
        done.err.splitlines()[-1],
    )


def test_a_run_that_diverges_ends_with_code_1_and_names_the_last_good_checkpoint(cli: Cli, tiny: list[str]) -> None:
    wild = {"objective.loss": "relativistic", "model.norm_d": "none"}
    wild |= {"objective.r1_gamma": "1e18", "objective.r2_gamma": "1e18", "train.kimg": "10"}
    words = [*PRETRAIN, *tiny, *sets(wild), "--glr", "1", "--dlr", "1"]
    done = cli(*words)
    assert done.code == 1
    last = done.err.splitlines()[-1]
    good = max((FIRST / "state-latest").iterdir())
    assert "is not finite at 0." in last
    assert f"The last good checkpoint is {good}. Next: lower --glr and --dlr" in last
    assert [name for name, value in load_file(good).items() if value.is_floating_point() and value.isnan().any()] == []
    assert events(FIRST) == ["started", "not finite"]
    again = cli(*words)
    assert (again.code, again.err.splitlines()[-1]) == (1, last)


# Fine-tuning


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
    assert config(newest_snapshot(run))["from"] == {"pair": str(FIRST), "kimg": 0.256, "sha256": source["sha256"]}


def test_a_fine_tune_from_none_draws_everything(cli: Cli, tiny: list[str]) -> None:
    run = finetune(cli, *tiny, "--from", "none", "--kimg", 0.016)
    assert block_rows(run) == dict.fromkeys(["g4", "g8", "g16", "d8", "d4", "d1"], ("re-drawn", False))
    assert config(newest_snapshot(run))["from"] is None


def test_a_fine_tune_may_change_channels_latent_and_resolution(cli: Cli, tiny: list[str], pair: Path) -> None:
    shape = {"model.channels": "1", "model.latent_dim": "12", "model.resolution": "32"}
    run = finetune(cli, *tiny, *sets(shape), "--from", "pair", "--kimg", 0.016)
    starts = {block: start for block, (start, _) in block_rows(run).items()}
    assert (starts["g4"], starts["g8"], starts["g32"], starts["d16"], starts["d1"]) == (
        "converted",
        "kept",
        "re-drawn",
        "re-drawn",
        "kept",
    )
    with Image.open(run / "reals.png") as sheet:
        assert sheet.size == (66, 66)


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
    kept = {name for name in end if "running" not in name and "num_batches" not in name}  # these are taken on the target
    still = {name.split(".")[1] for name in kept if torch.equal(source[name], end[name])}
    moved = {name.split(".")[1] for name in kept if not torch.equal(source[name], end[name])}
    assert (still, moved & frozen) == (frozen, set())
    between = weights(run / "snapshots" / "000000.128")
    assert [name for name in end if name.split(".")[1] in frozen and not torch.equal(between[name], end[name])] == []


def test_freeze_early_is_freeze_d_image_2_and_says_so(cli: Cli, tiny: list[str], pair: Path) -> None:
    early = finetune(cli, *tiny, "--from", "pair", "--freeze", "early", "--outdir", "early")
    two = finetune(cli, *tiny, "--from", "pair", "--freeze-d-image", 2, "--outdir", "two")
    assert_same_weights(early, two)
    assert (early / "recipe.json").read_text() == (two / "recipe.json").read_text()
    assert json.loads((early / "origin.json").read_text())["transfer.freeze_d_image"] == "--freeze early"


def test_freezing_survives_a_stop(cli: Cli, tiny: list[str], pair: Path) -> None:
    words = [*FINETUNE, *tiny, "--from", "pair", "--freeze-d-image", 2, "--freeze-g-latent", 1]
    unbroken = cli(*words, "--outdir", "unbroken").out.strip()
    changes = [f"{key}={value}" for key, value in TINY.items()]
    changes += ["transfer.source=pair", "transfer.freeze_d_image=2", "transfer.freeze_g_latent=1"]
    recipe, origin = load_recipe_with_origin("finetune", "coverart", changes)
    with pytest.raises(Interrupted):
        runs.run(planning.plan(recipe, origin, Path("runs")), Path("runs"), Witness(3, signal.SIGTERM))
    assert_same_weights(Path(cli(*words).out.strip()), Path(unbroken))


@pytest.mark.skipif(not (resource_dir("pretrained") / "index.toml").is_file(), reason="no embedded pair")
def test_a_fine_tune_begins_with_the_embedded_pair_of_64_pixels(cli: Cli) -> None:
    silent = {key: value for key, value in TINY.items() if not key.startswith("model.")}
    run = finetune(cli, *sets(silent), "--kimg", 0.016)
    pair = load_pair(newest_snapshot(run))
    assert pair.model.resolution == 64
    assert {start for start, _ in block_rows(run).values()} == {"kept"}
