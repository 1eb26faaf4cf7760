"""Claims about `gan-transfer doctor`: on this machine, and on folders of real runs, whole and spoilt."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, Cli, sets
from filelock import FileLock
from huggingface_hub import constants

from gan_transfer import symptoms
from gan_transfer.cli import main
from gan_transfer.doctor import read_figures
from gan_transfer.rerun import Rerun, read_rerun

NO_LOOKS = {"diagnose.extractor": "none", "train.tick_kimg": "0.016"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a real run lies, trained to its end."""
    home = tmp_path_factory.mktemp("trained")
    words = ["finetune", "--target", "coverart", *sets(TINY | NO_LOOKS), "--from", "none", "--no-mirror"]
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
        patch.chdir(home)
        patch.setenv("GAN_TRANSFER_CACHE", str(home / "cache"))
        patch.setattr(sys, "argv", ["gan-transfer", *words])
        main()
    return home


@pytest.fixture
def run(trained: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, to be spoilt; the Hub is not asked."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    shutil.copytree(trained / "runs", home / "runs")
    (found,) = Path("runs").iterdir()
    return found


def examine(run: Path) -> dict[str, tuple[str, str]]:
    """Level and next step by subject."""
    return {line.what: (str(line.level), line.todo) for line in symptoms.examine(read_figures(run))}


def unfinish(run: Path) -> None:
    path = run / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"finished"' not in line))


def test_a_finished_run_is_well_but_for_its_few_pictures(run: Path) -> None:
    found = examine(run)
    assert found.pop("state") == ("ok", "")
    assert found.pop("pictures")[0] == "warn"
    assert found.keys() <= {"speed", "balance", "contrast"}  # which depend on the machine and on luck


def test_the_command_of_a_killed_run_resumes_it(run: Path, cli: Cli) -> None:
    unfinish(run)
    level, command = examine(run)["state"]
    assert level == "warn"
    assert "--set model.resolution=16" in command
    assert "--no-mirror" in command
    done = cli(*shlex.split(command)[1:])
    assert (done.code, done.out.strip()) == (0, str(run))
    assert f"resuming {run}" in done.err
    assert examine(run)["state"][0] == "ok"


def test_a_lock_that_is_held_means_a_living_process(run: Path) -> None:
    unfinish(run)
    with FileLock(run / ".lock"):
        assert read_figures(run).locked
    assert not read_figures(run).locked


def test_a_checkpoint_with_a_flipped_byte_is_found_and_left_where_it_is(run: Path) -> None:
    unfinish(run)
    newest = max((run / "state-latest").glob("*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[-5] ^= 1
    newest.write_bytes(content)
    assert examine(run)["checkpoints"][0] == "warn"
    for path in (run / "state-latest").glob("*.safetensors"):
        path.write_bytes(b"cut")
    assert examine(run)["checkpoints"][0] == "fail"
    assert newest.exists()


def test_a_loss_that_is_not_finite_is_found_in_a_real_run(home: Path, cli: Cli, tiny: list[str]) -> None:
    wild = {"objective.loss": "relativistic", "model.norm_d": "none", "train.kimg": "10"}
    wild |= {"objective.r1_gamma": "1e18", "objective.r2_gamma": "1e18"}
    assert cli("pretrain", "imagenet", *tiny, *sets(wild), "--glr", "1", "--dlr", "1").code == 1
    (run,) = Path("runs").iterdir()
    level, command = examine(run)["state"]
    assert level == "fail"
    assert "--glr 0.5 --dlr 0.5 " in command
    assert command.endswith(" --new")
    assert cli("doctor", run).code == 20


def test_half_written_books_are_read_as_far_as_they_go(run: Path) -> None:
    for name in ("stats.jsonl", "events.jsonl"):
        with (run / name).open("a", encoding="utf-8") as file:
            file.write('7\n{"kimg": "x"}\n{"kimg": 1, "event": "collapse", "d_real": "x"}\n{"kimg": 1')
        with (run / name).open("ab") as raw:
            raw.write(b"\xff\n")
    (run / "origin.json").write_text("{")
    assert examine(run)["state"] == ("ok", "")


@pytest.mark.parametrize("content", ["", "[1]", '{"train": {"kimg": "x"}}', '{"from_the_future": 1}'])
def test_a_recipe_that_cannot_be_understood_is_told_in_a_line(run: Path, cli: Cli, content: str) -> None:
    (run / "recipe.json").write_text(content)
    done = cli("doctor", run)
    assert (done.code, done.out) == (2, "")
    assert len(done.faults) == 1
    assert str(run) in done.faults[0]


def test_a_snapshot_is_no_run(run: Path, cli: Cli) -> None:
    (fault,) = cli("doctor", run / "snapshots" / "000000.256").faults
    assert "is a snapshot, wanted a run folder" in fault


def test_a_folder_that_is_none_is_told(cli: Cli, home: Path) -> None:
    assert cli("doctor", "nowhere").faults == [
        "nowhere is no run folder: no such folder. Give one below runs/, or no folder for the machine alone"
    ]


def test_the_machine_alone_is_told_line_by_line_and_no_token_is_shown(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    done = cli("doctor")
    assert done.code in (0, 10)
    assert "hf_secret" not in done.out + done.err
    told = {line.split()[1] for line in done.out.splitlines()[1:] if "->" not in line}
    assert told >= {"gan-transfer", "libraries", "torch", "memory", "runs", "cache", "weights", "token"}
    assert "offline, as HF_HUB_OFFLINE says" in done.out


def test_json_is_one_document_with_the_next_command(run: Path, cli: Cli) -> None:
    done = cli("doctor", run, "--json")
    told: dict[str, Any] = json.loads(done.out)
    assert done.err == ""
    assert told.keys() == {"level", "machine", "run", "next"}
    assert done.code == {"ok": 0, "warn": 10, "fail": 20}[told["level"]]


def test_a_hub_out_of_reach_is_a_warning(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    done = cli("doctor")
    assert done.code == 10
    assert "http://127.0.0.1:9 cannot be reached" in done.out


def test_a_command_is_put_together_again_with_its_flags_and_its_files() -> None:
    recipe = {
        "name": "mine",
        "optim": {"beta1": 0.9},
        "data": {"source": "folder:my covers"},
        "augment": {"operations": []},
    }
    origin = {
        "name": "default", "optim.beta1": "--set optim.beta1=.9", "data.source": "--data folder:my covers",
        "augment.operations": "--augment none", "optim.glr": "my/mine.toml", "gone.key": "--set gone.key=1",
    }  # fmt: skip
    command = str(read_rerun(recipe, origin, Path("my runs")))
    words = "--set optim.beta1=0.9 --data 'folder:my covers' --augment none --outdir 'my runs'"
    assert command == f"gan-transfer finetune --target my/mine.toml {words}"


def test_methods_and_rates_by_block_are_put_together_as_they_were_given() -> None:
    """A method gives several settings by one flag, and `--lr-mult` is repeated."""
    recipe = {
        "name": "coverart",
        "objective": {"lecam": 0.01},
        "augment": {"p": 0.8},
        "optim": {"lr_mult": {"d32": 0.1, "d16": 0.5}},
    }
    method = "--method lecam+ada"
    origin = {
        "objective.lecam": method, "augment.p": method,
        "optim.lr_mult.d32": "--lr-mult d32=0.1", "optim.lr_mult.d16": "--lr-mult d16=0.5",
    }  # fmt: skip
    command = str(read_rerun(recipe, origin, Path("runs")))
    assert command == f"gan-transfer finetune --target coverart {method} --lr-mult d32=0.1 --lr-mult d16=0.5"


def test_a_run_of_python_and_one_of_pretraining_are_put_together_too() -> None:
    origin = {"train.kimg": "settings['train.kimg']", "data.source": "data='x'"}
    recipe = {"name": "imagenet", "train": {"kimg": 2.0}, "data": {"source": "x"}}
    expected = "gan-transfer pretrain imagenet --set train.kimg=2.0 --set 'data.source=\"x\"'"
    assert str(read_rerun(recipe, origin, Path("runs"))) == expected


def test_a_change_that_a_run_cannot_be_resumed_with_begins_a_new_one() -> None:
    rerun = Rerun(("gan-transfer", "pretrain", "imagenet"), {"--kimg": "3"})
    assert rerun.but({"--kimg": "4"}) == "gan-transfer pretrain imagenet --kimg 4 --new"
    assert rerun.but({"--patience": "4"}) == "gan-transfer pretrain imagenet --kimg 3 --patience 4"


def test_a_run_goes_on_from_its_pair_with_all_that_was_typed() -> None:
    given = {"--data": "zip:a b.zip", "--method": "scratch+lecam", "--set optim.beta1": "0.9", "--kimg": "3"}
    rerun = Rerun(("gan-transfer", "finetune", "--target", "coverart"), given)
    words = "--data 'zip:a b.zip' --set optim.beta1=0.9 --method lecam --from runs/00000-a/best --kimg 6 --new"
    assert rerun.onward(Path("runs/00000-a/best"), 6.0) == f"gan-transfer finetune --target coverart {words}"
    plain = Rerun(("gan-transfer", "pretrain", "imagenet"), {"--method": "scratch", "--from": "none"})
    assert plain.onward(Path("a"), 1500.0) == "gan-transfer pretrain imagenet --from a --kimg 1500 --new"
