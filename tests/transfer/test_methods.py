"""The registry of methods: every one is a recipe that can be run, they compose, and contradictions are refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from gan_transfer.cli import app
from gan_transfer.config import Override
from gan_transfer.errors import RecipeError
from gan_transfer.recipe import load_recipe
from gan_transfer.transfer.methods import METHODS, resolve


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_a_usable_recipe_of_the_covers(name: str) -> None:
    load_recipe("finetune", "coverart", resolve(name))


def test_a_method_sets_what_it_is_called_after() -> None:
    assert load_recipe("finetune", "coverart", resolve("scratch")).transfer.source == "none"
    zhao = load_recipe("finetune", "coverart", resolve("zhao")).transfer
    assert (zhao.freeze_d_image, zhao.freeze_g_image, zhao.freeze_g_latent) == (2, 2, 0)
    assert resolve("finetune")[0] == Override("transfer.freeze_d_image=0", "--method finetune")


def test_methods_compose_and_the_order_of_names_changes_nothing() -> None:
    assert load_recipe("finetune", "coverart", resolve("freeze-d2+freeze-g1")) == load_recipe(
        "finetune", "coverart", resolve("freeze-g1 + freeze-d2")
    )
    assert resolve("freeze-d2+freeze-d2") == [Override("transfer.freeze_d_image=2", "--method freeze-d2+freeze-d2")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("freeze-d2+freeze-d3", "freeze-d2 sets transfer.freeze_d_image to 2, freeze-d3 to 3"),
        ("scratch+freeze-d2", "scratch begins from no pair, and freeze-d2 keeps something of one"),
        ("finetune+scratch", "scratch begins from no pair, and finetune keeps something of one"),
        ("finetune+zhao", "finetune sets transfer.freeze_d_image to 0, zhao to 2"),
    ],
)
def test_contradictions_are_refused_by_name(text: str, told: str) -> None:
    one, other = text.split("+")
    with pytest.raises(RecipeError) as caught:
        resolve(text)
    assert f"methods {one} and {other} exclude each other: {told}. See: gan-transfer recipes methods" == str(
        caught.value
    )


def test_an_unknown_method_is_told_with_the_list() -> None:
    with pytest.raises(RecipeError, match=r"method 'freezed2' is not known; did you mean 'freeze-d2'\? \(known: scr"):
        resolve("finetune+freezed2")
    with pytest.raises(RecipeError, match="method '' is not known"):
        resolve("")


def test_the_registry_needs_no_torch() -> None:
    code = "import sys, gan_transfer.transfer.methods; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_command_lists_them_all() -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["recipes", "methods"], env={"COLUMNS": "200"})
    assert set(METHODS) <= set(listed.output.split())
