"""Claims about `--json`: every command that prints a result has it, and prints one document and nothing else.

A new command goes into one of the three tables; the first test says so until it is in one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, Cli, sets
from hub_server import HubServer
from strangers import tutorial_g
from typer.main import get_command

from gan_transfer.cli import app
from gan_transfer.cli.for_scripts import print_json

EXAMPLES: dict[str, list[str]] = {
    "pretrain": ["pretrain", "imagenet", *sets(TINY), "--dry-run"],
    "finetune": ["finetune", "--target", "coverart", *sets(TINY), "--from", "pair", "--set", "diagnose.extractor=none"],
    "report": ["report", "runs/00000-coverart-builtin-covers"],
    "sample": ["sample", "--network", "pair", "--seeds", "0-1"],
    "doctor": ["doctor"],
    "publish": ["publish", "pair", "--repo", "tester/pair", "--license", "mit"],
    "import": ["import", "netG.pth"],
    "download": ["download", "tester/there"],
    "data ls": ["data", "ls"],
    "data inspect": ["data", "inspect", "builtin:covers?count=16"],
    "data pack": ["data", "pack", "builtin:covers?count=16", "--resolution", "16", "--output", "whole"],
    "data merge": ["data", "merge", "part1", "part2", "--output", "merged"],
    "models ls": ["models", "ls"],
    "models show": ["models", "show", "pair"],
    "selfcheck diagnostics": [
        *("selfcheck", "diagnostics", "--data", "builtin:covers?count=300", "--resolution", "16"),
        *("-n", "64", "--nulls", "1", "--plants", "1"),
    ],
    "recipes ls": ["recipes", "ls"],
    "recipes show": ["recipes", "show", "coverart"],
    "recipes methods": ["recipes", "methods"],
    "recipes copy": ["recipes", "copy", "coverart", "mine.toml"],
    "recipes check": ["recipes", "check", "coverart"],
}
"""Commands that are run here, in a folder with what they need."""

ELSEWHERE = {
    "diagnose": "test_diagnose.py",
    "export": "models/test_export.py",
    "explore": "explorer/test_folder.py",
    "compare": "test_study.py",
    "bench": "test_bench.py",
    "bench data": "test_bench_data.py",
    "bench scale": "test_scaling.py",
}
"""Commands whose `--json` is read in a test of their own."""

WITHOUT: dict[str, str] = {"watch": "it serves a page until it is stopped"}
"""Commands that print no result, such as one that serves a page until it is stopped, each with the reason."""


def leaves(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All commands below a group, and the group where it is one itself: `data ls` with its parameters."""
    inner = getattr(command, "commands", {})
    if not inner or (name and command.invoke_without_command):
        yield name, command
    for word, below in inner.items():
        yield from leaves(below, f"{name} {word}".strip())


COMMANDS = dict(leaves(get_command(app)))


@pytest.fixture
def furnished(home: Path, pair: Path, hub: HubServer, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pair, two parts of a pack, a stranger's weights, and a Hub that holds a pair."""
    torch.save(tutorial_g().state_dict(), home / "netG.pth")
    hub.add_repo("tester/there", {path.name: path.read_bytes() for path in pair.iterdir()})
    monkeypatch.setenv("HF_TOKEN", hub.token)
    for part in (1, 2):
        words = ("--resolution", "16", "--shard", f"{part}/2", "--output", f"part{part}")
        assert cli("data", "pack", "builtin:covers?count=1030", *words).code == 0
    return home


def test_every_command_is_in_one_of_the_tables() -> None:
    told = [*EXAMPLES, *ELSEWHERE, *WITHOUT]
    assert sorted(told) == sorted(COMMANDS)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in WITHOUT])
def test_every_command_that_prints_a_result_prints_it_for_scripts_too(name: str) -> None:
    assert "--json" in {word for parameter in COMMANDS[name].params for word in parameter.opts}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_tested_elsewhere_is(name: str) -> None:
    assert '"--json"' in (Path(__file__).parent / ELSEWHERE[name]).read_text(encoding="utf-8")


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def test_all_commands_print_one_document_and_nothing_coloured(
    furnished: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All in one test, since making the folder takes longer than most of them."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    for name, words in EXAMPLES.items():
        done = cli(*words, "--json")
        assert (name, done.code in (0, 1, 10), done.err.count("error: ")) == (name, True, 0), done.err
        document = json.loads(done.out, parse_constant=refuse)
        assert (name, bool(document), "\x1b" in done.out) == (name, True, False)


def test_an_error_leaves_stdout_empty_and_is_one_line(cli: Cli, home: Path) -> None:
    done = cli("sample", "--network", "nowhere", "--json")
    assert (done.code, done.out, len(done.faults)) == (2, "", 1)


def test_a_run_tells_where_it_is_and_what_it_came_to(cli: Cli, home: Path, pair: Path) -> None:
    told = json.loads(cli(*EXAMPLES["finetune"], "--json").out)
    assert told["run"] == "runs/00000-coverart-builtin-covers"
    assert (home / told["snapshot"] / "config.json").is_file()
    assert (told["tick"]["kimg"], told["look"], told["best"]) == (0.256, None, None)


def test_a_dry_run_tells_its_figures(cli: Cli, home: Path) -> None:
    told = json.loads(cli(*EXAMPLES["pretrain"], "--json").out)
    assert told["recipe"]["model"]["resolution"] == 16
    assert told["origin"]["train.kimg"] == "--set train.kimg=0.256"
    assert told["rehearsal"]["pictures"] == 64
    assert [row["start"]["block"] for row in told["rehearsal"]["blocks"]] == ["g4", "g8", "g16", "d8", "d4", "d1"]


def test_a_number_that_is_not_finite_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": math.nan, "b": [math.inf, 1.5], "c": (Path("x"),)})
    assert capsys.readouterr().out == '{"a": null, "b": [null, 1.5], "c": ["x"]}\n'
