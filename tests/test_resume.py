"""Claims about stopping and going on: signals, kills, damaged checkpoints, losses that are not finite."""

from __future__ import annotations

import json
import math
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import TINY, Cli, sets, tree
from reading import Witness, clock, differing, events, train
from safetensors.torch import load_file

from gan_transfer.errors import Interrupted
from gan_transfer.models.weights import load_pair, save_pair
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
pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything random"])
def test_stopped_three_times_and_resumed_a_run_equals_an_unbroken_one_bit_for_bit(settings: dict[str, str]) -> None:
    torch.manual_seed(random.randrange(2**32))  # what ran before in this process does not matter
    unbroken = train("imagenet", settings, "unbroken")
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        with pytest.raises(Interrupted) as caught:
            train("imagenet", settings, "stopped", Witness(random.choice([1, 2]), signum))
        assert caught.value.exit_code == 128 + signum
        torch.manual_seed(random.randrange(2**32))
    last = Witness()
    stopped = train("imagenet", settings, "stopped", last)
    assert differing(stopped, unbroken) == set()
    assert clock(stopped) == clock(unbroken)
    assert events(stopped) == ["started", *["interrupted", "resumed"] * 3, "finished"]
    assert last.talk[0].startswith(f"resuming {stopped} at 0.")


def test_a_damaged_newest_checkpoint_costs_only_the_time_since_the_one_before(cli: Cli, tiny: list[str]) -> None:
    train("imagenet", {}, "unbroken")
    with pytest.raises(Interrupted):
        train("imagenet", {}, "runs", Witness(5, signal.SIGTERM))
    newest = max((FIRST / "state-latest").iterdir())
    newest.write_bytes(newest.read_bytes()[:-50])
    done = cli(*PRETRAIN, *tiny)
    assert f"warning: {newest.name} is damaged" in done.err
    assert differing(FIRST, Path("unbroken") / FIRST.name) == set()
    assert clock(FIRST) == TICKS


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
    code, err = kill_at_tick(spawn(*words), FIRST, random.randint(1, 25), signal.SIGTERM)
    assert code == 143
    told, command = err.splitlines()[-2:]
    assert re.fullmatch(r"error: stopped at \d\.\d\d kimg; everything is saved\. Resume with:", told)
    assert shlex.split(command) == ["gan-transfer", *words]
    assert cli(*shlex.split(command)[1:]).code == 0
    assert differing(FIRST, Path("unbroken") / FIRST.name) == set()
    assert events(FIRST) == ["started", "interrupted", "resumed", "finished"]


@pytest.mark.slow
def test_killed_three_times_by_three_signals_a_run_equals_an_unbroken_one_bit_for_bit(cli: Cli) -> None:
    words = [*PRETRAIN, *sets(TINY | LONG | {"train.kimg": "6"})]
    cli(*words, "--outdir", "unbroken")
    unbroken = Path("unbroken") / FIRST.name
    ends = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
    signals = random.sample(list(ends), 3)
    for third, signum in enumerate(signals):
        tick = third * 60 + random.randint(1, 30)
        code, err = kill_at_tick(spawn(*words), FIRST, tick, signum)
        assert (code, "Traceback" in err) == (ends[signum], False)
        assert ("Resume with:" in err) == (signum != signal.SIGKILL)
    with spawn(*words) as last:
        out, _ = last.communicate()
    assert (last.returncode, out) == (0, f"{FIRST}\n")
    assert differing(FIRST, unbroken) == set()
    assert clock(FIRST) == clock(unbroken)
    assert [path.name for path in Path("runs").iterdir()] == [FIRST.name]


@pytest.mark.slow
def test_killed_before_its_first_checkpoint_a_run_begins_again_in_its_folder(cli: Cli) -> None:
    words = [*PRETRAIN, *sets(TINY | LONG | {"train.checkpoint_kimg": "1.5"})]
    cli(*words, "--outdir", "unbroken")
    code, _ = kill_at_tick(spawn(*words), FIRST, 20, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert cli(*words).out == f"{FIRST}\n"
    assert differing(FIRST, Path("unbroken") / FIRST.name) == set()
    assert clock(FIRST) == clock(Path("unbroken") / FIRST.name)
    assert events(FIRST) == ["started", "started", "finished"]


def test_a_finished_run_is_left_alone_and_a_new_number_begun(cli: Cli, tiny: list[str]) -> None:
    cli(*PRETRAIN, *tiny, "--kimg", 0.016)
    before = tree(FIRST)
    assert cli(*PRETRAIN, *tiny, "--kimg", 0.016).out == "runs/00001-imagenet-builtin-covers\n"
    assert tree(FIRST) == before


def test_new_leaves_an_unfinished_run_alone(cli: Cli, tiny: list[str]) -> None:
    with pytest.raises(Interrupted):
        train("imagenet", {}, "runs", Witness(1, signal.SIGTERM))
    before = tree(FIRST)
    assert cli(*PRETRAIN, *tiny, "--new").out == "runs/00001-imagenet-builtin-covers\n"
    assert tree(FIRST) == before


def test_an_unfinished_run_is_not_resumed_with_another_recipe(cli: Cli, tiny: list[str]) -> None:
    with pytest.raises(Interrupted):
        train("imagenet", {}, "runs", Witness(1, signal.SIGTERM))
    before = tree(Path("runs"))
    done = cli(*PRETRAIN, *tiny, "--glr", 1e-4, "--augment", "color", "--data", "builtin:covers?count=65")
    assert done.code == 2
    (fault,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert f"the unfinished run {FIRST} has another recipe: " in fault
    assert 'augment.operations: ["translation"] -> ["color"]; optim.glr: 0.0002 -> 0.0001; pack: ' in fault
    assert fault.endswith("Give the same command to resume it, or --new to begin another")
    assert tree(Path("runs")) == before


def test_the_printed_command_resumes_its_run_also_when_another_was_begun_since(cli: Cli, tiny: list[str]) -> None:
    for words in ([], ["--seed", "1", "--new"]):
        with pytest.raises(Interrupted):
            train("imagenet", {"train.seed": "1"} if words else {}, "runs", Witness(1, signal.SIGTERM), new=bool(words))
    assert cli(*PRETRAIN, *tiny).code == 0
    assert events(FIRST)[-1] == "finished"
    assert events(Path("runs/00001-imagenet-builtin-covers"))[-1] == "interrupted"


def test_a_run_in_use_is_not_touched(cli: Cli, tiny: list[str]) -> None:
    with pytest.raises(Interrupted):
        train("imagenet", {}, "runs", Witness(1, signal.SIGTERM))
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


def test_a_pair_with_a_weight_that_is_not_finite_is_refused_by_name(cli: Cli, tiny: list[str], pair: Path) -> None:
    loaded = load_pair(pair)
    with torch.no_grad():
        loaded.discriminator.blocks["d8"].conv.weight[0, 0, 0, 0] = float("nan")
    save_pair(pair, loaded)
    done = cli(*FINETUNE, *tiny, "--from", "pair")
    assert done.code == 2
    assert done.err.splitlines() == [
        "error: D d8.conv.weight of the pair pair is not finite. Take another pair: --from builtin"
    ]
    assert not Path("runs").exists()


def test_a_run_that_diverges_ends_with_code_1_and_names_the_last_good_checkpoint(
    cli: Cli, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gan_transfer.training.checkpoint.SHARE", math.inf
    )  # every checkpoint is written when it is due
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
