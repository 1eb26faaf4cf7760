"""Claims about what the project says of itself: its commands exist, its Python runs, its names and figures are true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Cli
from typer.main import get_command

from gan_transfer.cli import app, options
from gan_transfer.models.dcgan import Discriminator, Generator
from gan_transfer.recipe import Model, load_recipe
from gan_transfer.sampling import parse_grid, parse_seeds

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CARDS = sorted((ROOT / "pretrained").glob("*/README.md"))
PAIR_CARDS = [path for path in CARDS if (path.parent / "discriminator.safetensors").exists()]
RECIPES = sorted((ROOT / "recipes").glob("*/*.toml"))
COMMAND = re.compile(
    r"gan-transfer (?:import|pretrain|finetune|sample|diagnose|selfcheck|publish|download|models|data|bench|recipes"
    r"|report|watch)[^`\n]*"
)


def commands(text: str) -> list[str]:
    """All commands in a text; what stands for a number counts as 1."""
    return [re.sub(r" N\b", " 1", found.strip()) for found in COMMAND.findall(text)]


def opening(recipe: Path) -> str:
    """The comment that a recipe opens with."""
    return recipe.read_text(encoding="utf-8").partition("\n[")[0]


SAID = {
    "README.md": commands(README),
    **{f"{path.parent.name}/{path.name}": commands(path.read_text(encoding="utf-8")) for path in CARDS},
    **{f"{path.parent.name}/{path.name}": commands(opening(path)) for path in RECIPES},
}


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command that some words name, and its parameters as the real command line reads them; nothing is run."""
    command: Any = get_command(app)
    while hasattr(command, "commands") and words:
        name, *words = words
        command = command.commands[name]
    return command.name, command.make_context(command.name, words).params


def parameters(group: Any, name: str) -> list[Any]:
    """The parameters of a command, or of all commands of a group."""
    command = group.commands[name]
    inner = [p for below in getattr(command, "commands", {}) for p in parameters(command, below)]
    return [*command.params, *inner]


def fenced(text: str, kind: str = "") -> list[str]:
    """The blocks of one kind in a Markdown text."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for found, block in blocks if found == kind]


@pytest.mark.parametrize(("place", "line"), [(place, line) for place, lines in SAID.items() for line in lines])
def test_every_command_that_is_told_exists_with_its_options_and_its_recipe(place: str, line: str) -> None:
    name, given = parsed(shlex.split(line)[1:])
    if name in ("pretrain", "finetune"):
        flags = {key: value for key, value in given.items() if key in {*options.KEYS, "freeze", "augment"}}
        changes = [*(given["changes"] or []), *options.overrides(**flags)]
        load_recipe(name, given["recipe" if name == "pretrain" else "target"], changes)
    if name == "sample":
        assert len(parse_seeds(given["seeds"])) > 1
        assert parse_grid(given["grid"] or "8x8")


def test_every_recipe_and_the_readme_tell_commands() -> None:
    assert {place: len(lines) for place, lines in SAID.items() if len(lines) < 2 and place.endswith(".toml")} == {}
    assert "gan-transfer finetune --target coverart" in SAID["README.md"]
    assert len(SAID["README.md"]) > 8


def test_the_readme_opens_with_the_two_commands_that_do_all_the_set_up() -> None:
    assert [block.strip() for block in fenced(README)[:2]] == [
        "pip install -e . && gan-transfer finetune --target coverart",
        "pip install -e '.[test]' && pytest",
    ]


def test_every_flag_of_the_readme_is_one_of_fine_tuning() -> None:
    table = README.partition("| flag | meaning |")[2].partition("\n\n")[0]
    told = set(re.findall(r"--[a-z][a-z-]+", README))
    known = {word for p in get_command(app).commands["finetune"].params for word in p.opts}  # type: ignore[attr-defined]
    assert set(re.findall(r"--[a-z][a-z-]+", table)) - known == set()
    names = ("import", "sample", "diagnose", "report", "watch", "selfcheck", "publish", "data")
    others = {word for name in names for p in parameters(get_command(app), name) for word in p.opts}
    assert told - known - others == set()


@pytest.mark.parametrize("target", [path.stem for path in RECIPES if path.parent.name == "finetune"])
def test_the_readmes_table_of_targets_says_what_the_recipes_say(target: str) -> None:
    (row,) = [line for line in README.splitlines() if line.startswith("| `") and f"`{target}`" in line.split("|")[1]]
    _, _, picture, flips, augmentation = [cell.strip() for cell in row.strip("|").split("|")]
    recipe = load_recipe("finetune", target)
    side, color = recipe.model.resolution, {1: "grey", 3: "colour"}[recipe.model.channels]
    assert picture == f"{side}x{side} {color}"
    assert flips == ("yes" if recipe.data.mirror else "no")
    assert augmentation == (", ".join(recipe.augment.operations).replace("color", "colour") or "none")


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAIR_CARDS], ids=lambda path: path.parent.name)
def test_the_python_that_is_shown_runs_on_the_embedded_pair(path: Path) -> None:
    block = fenced(path.read_text(encoding="utf-8"), "python")[0]
    names: dict[str, Any] = {}
    exec(block, names)
    told = re.search(r"# uint8 (\[.*\])", block)
    assert told is not None
    assert (names["pictures"].dtype, str(list(names["pictures"].shape))) == (torch.uint8, told[1])
    if "logits" in names:
        assert names["logits"].shape == (16,)


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAIR_CARDS], ids=lambda path: path.parent.name)
def test_the_sizes_of_the_faithful_pair_are_told_right(path: Path) -> None:
    sizes = [sum(p.numel() for p in network(Model()).parameters()) for network in (Generator, Discriminator)]
    assert [size for size in sizes if f"{size:,}" not in path.read_text(encoding="utf-8")] == []


def test_the_blocks_of_the_faithful_pair_are_told_right() -> None:
    (chains,) = [block for block in fenced(README) if block.startswith("z [100]")]
    shapes = {}
    for network, x in (
        (Generator(Model()), torch.zeros(2, 100, 1, 1)),
        (Discriminator(Model()), torch.zeros(2, 3, 64, 64)),
    ):
        for name, block in network.blocks.items():
            x = block(x)
            shapes[name] = str(list(x.shape[1:]))
    told = dict(re.findall(r"([gd]\d+) (\[[\d, ]+\])", chains))
    assert told == shapes | {"d1": "[1]"}  # a logit is given back without its height and width


def test_the_files_that_a_run_is_told_to_leave_are_those_that_it_leaves(cli: Cli, tiny: list[str], home: Path) -> None:
    (block,) = [block for block in fenced(README) if block.startswith("runs/")]
    told = set(re.findall(r"[\w.-]+\.(?:jsonl|json|png|txt|html|safetensors)\b", block))
    words = ("--from", "none", "--data", "builtin:covers?count=128")  # enough pictures to be judged by
    assert cli("finetune", "--target", "coverart", *tiny, *words).code == 0
    run = home / block.splitlines()[0]
    left = {path.name for path in run.rglob("*") if path.is_file() and "state-latest" not in path.parts} - {".lock"}
    assert {re.sub(r"\d[\d.]*\d", "N", name) for name in told} == {re.sub(r"\d[\d.]*\d", "N", name) for name in left}


def test_the_house_in_the_readme_has_every_room() -> None:
    (block,) = [block for block in fenced(README) if block.startswith("gan_transfer/")]
    rooms = {path.stem for path in (ROOT / "gan_transfer").iterdir() if not path.name.startswith(("_", "."))}
    assert rooms - set(re.findall(r"\w+", block.replace("recipe.py", "recipe"))) == set()


@pytest.mark.parametrize("path", [ROOT / "README.md", *CARDS], ids=lambda path: path.parent.name)
def test_every_link_to_a_file_of_the_project_leads_there(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []
