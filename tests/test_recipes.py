"""Claims about the shipped recipes, the checks across sections, and the `recipes` commands."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gan_transfer import config
from gan_transfer.cli import recipes
from gan_transfer.config import flatten, to_dict
from gan_transfer.errors import RecipeError
from gan_transfer.explain import toml
from gan_transfer.recipe import Model, Objective, Recipe, Transfer, check_together, load_recipe, load_recipe_with_origin
from gan_transfer.resources import resource_dir

FILES = sorted(resource_dir("recipes").glob("*/*.toml"))
NAMES = [f"{path.parent.name}/{path.stem}" for path in FILES]
FROM_PAIR = Transfer(source="builtin")


# Shipped recipes


def test_the_shipped_recipes_are_these() -> None:
    finetune = ["celeba", "cifar10", "coverart", "fashion-mnist", "mnist", "tiny"]
    assert [*(f"finetune/{name}" for name in finetune), "pretrain/imagenet"] == NAMES


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_shipped_recipe_is_valid_and_bears_its_files_name(path: Path) -> None:
    assert load_recipe(path.parent.name, path.stem).name == path.stem


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_shipped_recipe_opens_with_its_command_and_its_purpose(path: Path) -> None:
    command = {"finetune": "finetune --target", "pretrain": "pretrain"}[path.parent.name]
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert f"{first} ".startswith(f"# gan-transfer {command} {path.stem} ")
    assert len(recipes.purpose(path)) > 10


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_shipped_recipe_repeats_no_value_of_what_it_extends(path: Path) -> None:
    given = config.flatten(tomllib.loads(path.read_text(encoding="utf-8")))
    base = given.pop("extends", None)
    before = load_recipe(path.parent.name, str(base)) if base else Recipe()
    shared = {key for key, value in config.flatten(config.to_dict(before)).items() if given.get(key) == value}
    assert shared <= {"train.kimg", "data.source"}  # the two that a reader looks for first


def test_fine_tuning_starts_from_the_embedded_pair_and_freezes_nothing() -> None:
    for path in (path for path in FILES if path.parent.name == "finetune"):
        assert load_recipe("finetune", path.stem).transfer == FROM_PAIR


def test_tiny_is_coverart_with_smaller_steps() -> None:
    lines = config.difference(*(config.to_dict(load_recipe("finetune", name)) for name in ("coverart", "tiny")))
    assert lines == [
        'name: "coverart" -> "tiny"',
        "optim.glr: 0.0002 -> 0.0001",
        "optim.dlr: 0.0002 -> 0.0001",
        "ema.half_life_kimg: 5.0 -> 2.0",
        "train.kimg: 50.0 -> 40.0",
        "train.batch: 64 -> 32",
    ]


def test_lettering_and_digits_are_not_mirrored() -> None:
    mirrored = {path.stem for path in FILES if load_recipe(path.parent.name, path.stem).data.mirror}
    assert mirrored == {"celeba", "cifar10", "imagenet"}


def test_an_own_recipe_extends_a_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "my covers.toml"
    path.write_text('extends = "finetune/coverart"\n[train]\nkimg = 7\n')
    recipe, origin = load_recipe_with_origin("finetune", str(path), ["train.batch=8"])
    base = load_recipe("finetune", "coverart")
    assert recipe == dataclasses.replace(
        base, name="my covers", train=dataclasses.replace(base.train, kimg=7.0, batch=8)
    )
    assert (origin["name"], origin["train.kimg"], origin["train.batch"]) == (
        "default",
        str(path),
        "--set train.batch=8",
    )


def test_an_own_recipe_may_bear_a_shipped_name_and_extend_it(tmp_path: Path) -> None:
    path = tmp_path / "coverart.toml"
    path.write_text('extends = "finetune/coverart"\n')
    assert load_recipe("finetune", str(path)) == load_recipe("finetune", "coverart")


# Checks across sections


def faults(recipe: Recipe) -> list[str]:
    """What `check_together` says, without the origins."""
    try:
        check_together(recipe, dict.fromkeys(flatten(to_dict(recipe)), "here"))
    except RecipeError as error:
        return [line.removeprefix("here: ") for line in str(error).splitlines()]
    return []


def test_a_default_recipe_has_no_faults() -> None:
    assert faults(Recipe()) == []


def test_dropout_and_penalties_are_refused_with_batch_norm_in_the_discriminator() -> None:
    recipe = Recipe(model=Model(dropout_d=0.3), objective=Objective(r1_gamma=0.2, r2_gamma=1.0))
    wanted = 'wanted 0, or model.norm_d = "none" or "spectral"'
    assert faults(recipe) == [
        f"model.dropout_d: 0.3 before batch norm shifts its variance; {wanted}",
        f"objective.r1_gamma: 0.2 has the wrong scale with batch norm; {wanted}",
        f"objective.r2_gamma: 1.0 has the wrong scale with batch norm; {wanted}",
    ]
    for norm in ("none", "spectral"):
        model = dataclasses.replace(recipe.model, norm_d=norm)
        assert faults(dataclasses.replace(recipe, model=model)) == []


def test_the_relativistic_loss_goes_with_any_norm() -> None:
    assert faults(Recipe(objective=Objective(loss="relativistic"))) == []


def test_freezing_a_network_from_scratch_is_refused() -> None:
    wanted = 'nothing to keep with transfer.source = "none"; wanted 0, or a transfer.source such as "builtin"'
    assert faults(Recipe(transfer=Transfer(freeze_d_image=1, freeze_g_latent=2))) == [
        f"transfer.freeze_d_image: {wanted}",
        f"transfer.freeze_g_latent: {wanted}",
    ]


def test_a_block_of_each_network_must_stay_trainable() -> None:
    frozen = dataclasses.replace(FROM_PAIR, freeze_d_image=4, freeze_g_image=2, freeze_g_latent=2)
    assert faults(Recipe(transfer=frozen)) == []
    assert faults(Recipe(transfer=frozen, model=Model(resolution=32))) == [
        "transfer.freeze_d_image: 4 frozen leave none of the discriminator's 4 blocks at 32 pixels; wanted at most 3",
        "transfer.freeze_g_image: 2 frozen on the image side and 2 on the latent side leave none of the generator's "
        "4 blocks at 32 pixels; wanted at most 3 together",
    ]


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "", " ", ".hidden"])
def test_a_name_that_leaves_the_folder_of_runs_is_refused(name: str) -> None:
    assert faults(Recipe(name=name)) == [f"name: wanted text that can be part of a folder's name; got {toml(name)}"]


def test_faults_across_sections_are_told_together_with_their_origin(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    shape = '[model]\nnorm_d = "batch"\nresolution = 64\n'
    path.write_text(f'extends = "coverart"\n{shape}[objective]\nr1_gamma = 1\n')
    with pytest.raises(RecipeError) as caught:
        load_recipe("finetune", str(path), [config.Override("transfer.freeze_d_image=5", "--freeze-d-image 5")])
    assert [line.partition("; ")[0] for line in str(caught.value).splitlines()] == [
        f"{path}: objective.r1_gamma: 1.0 has the wrong scale with batch norm",
        "--freeze-d-image 5: transfer.freeze_d_image: 5 frozen leave none of the discriminator's 5 blocks at 64 pixels",
    ]


def test_what_the_source_pair_decides_is_not_judged_before_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('extends = "coverart"\n[transfer]\nfreeze_d_image = 5\n[objective]\nr1_gamma = 1\n')
    assert load_recipe("finetune", str(path)).transfer.freeze_d_image == 5
    with pytest.raises(RecipeError, match=r"r1_gamma: 1.0 has the wrong scale"):
        load_recipe("finetune", str(path), ["transfer.source=none", "transfer.freeze_d_image=0"])


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("finetune", "tiny", ["train.batch=1"])
    assert str(caught.value) == "--set train.batch=1: train.batch: wanted a whole number >= 2; got 1"


def test_every_setting_is_described_in_place() -> None:
    for section in (type(getattr(Recipe(), field.name)) for field in dataclasses.fields(Recipe)[1:]):
        lines = inspect.getsource(section).splitlines()
        for field in dataclasses.fields(section):
            above = next(i for i, line in enumerate(lines) if line.startswith(f"    {field.name}: "))
            assert lines[above + 1].startswith('    """'), field.name


# Commands


def run(*words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `gan-transfer recipes WORDS`, errors as the tool tells them."""
    result = CliRunner().invoke(recipes.app, list(words))
    if isinstance(result.exception, RecipeError):
        return result.exception.exit_code, result.stdout, f"error: {result.exception}\n"
    return result.exit_code, result.stdout, result.stderr


def test_ls_lists_every_recipe() -> None:
    code, out, err = run("ls")
    rows = [line.split()[:4] for line in out.splitlines()]
    assert code == 0
    assert ["coverart", "finetune", "builtin:covers", "50"] in rows
    assert {row[0] for row in rows if len(row) == 4} >= {path.stem for path in FILES}
    assert err == "Run: gan-transfer recipes show NAME\n"


def test_show_prints_toml_with_the_origin_of_each_value() -> None:
    code, out, err = run("show", "tiny", "--set", "train.kimg=7")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert tomllib.loads(out) == config.to_dict(load_recipe("finetune", "tiny", ["train.kimg=7"]))
    assert {
        'name = "tiny" # default',
        'source = "builtin:covers" # finetune/coverart.toml',
        "glr = 0.0001 # finetune/tiny.toml",
        "kimg = 7.0 # --set train.kimg=7",
    } <= set(lines)


def test_show_prints_json_that_reads_back() -> None:
    code, out, _ = run("show", "pretrain/imagenet", "--json")
    assert code == 0
    assert config.from_dict(Recipe, json.loads(out)) == load_recipe("pretrain", "imagenet")


@pytest.mark.parametrize("name", NAMES)
def test_what_show_prints_is_a_recipe_itself(tmp_path: Path, name: str) -> None:
    path = tmp_path / "shown.toml"
    path.write_text(run("show", name)[1], encoding="utf-8")
    assert load_recipe(None, str(path)) == load_recipe(None, name)


def test_copy_makes_a_file_that_loads_as_the_original(tmp_path: Path) -> None:
    target = tmp_path / "mine.toml"
    code, out, err = run("copy", "tiny", str(target))
    assert (code, out.strip()) == (0, str(target))
    assert err == f"Edit it, then run: gan-transfer recipes check {target}\n"
    assert load_recipe("finetune", str(target)) == dataclasses.replace(load_recipe("finetune", "tiny"), name="mine")


def test_copy_to_a_folder_keeps_the_name_and_never_overwrites(tmp_path: Path) -> None:
    assert run("copy", "finetune/coverart", str(tmp_path))[0] == 0
    (tmp_path / "coverart.toml").write_text("# edited\n")
    code, out, err = run("copy", "coverart", str(tmp_path))
    wanted = "exists already and stays. Run: gan-transfer recipes copy coverart ANOTHER.toml"
    assert (code, out, err) == (2, "", f"error: {tmp_path / 'coverart.toml'}: {wanted}\n")
    assert (tmp_path / "coverart.toml").read_text() == "# edited\n"


def test_copy_refuses_a_file_that_would_not_be_found_as_a_recipe(tmp_path: Path) -> None:
    code, _, err = run("copy", "coverart", str(tmp_path / "mine"))
    way_out = f"Run: gan-transfer recipes copy coverart {tmp_path / 'mine'}.toml"
    assert (code, err) == (2, f"error: {tmp_path / 'mine'}: wanted a file that ends in .toml. {way_out}\n")
    assert list(tmp_path.iterdir()) == []


def test_copy_into_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    target = tmp_path / "no" / "mine.toml"
    assert run("copy", "coverart", str(target))[::2] == (
        2,
        f"error: {target}: cannot be written: No such file or directory\n",
    )


def test_check_says_ok_or_tells_all_faults() -> None:
    assert run("check", "coverart") == (0, "finetune/coverart.toml: ok\n", "")
    code, out, err = run("check", "coverart", "--set", "kimg=20", "--set", "optim.glr=fast")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        'error: --set optim.glr=fast: optim.glr: wanted a number > 0 and <= 1; got "fast"',
        "--set kimg=20: kimg: unknown key; did you mean 'train.kimg'?",
    ]


def test_an_unknown_recipe_is_told_with_the_nearest_name() -> None:
    code, _, err = run("show", "covrart")
    known = "celeba, cifar10, coverart, fashion-mnist, mnist, tiny, imagenet"
    hint = f"did you mean 'coverart'? (known: {known}). See: gan-transfer recipes ls"
    assert (code, err) == (2, f"error: shipped recipe 'covrart' is not known; {hint}\n")


def test_a_recipe_for_the_other_command_is_told_as_such() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("finetune", "imagenet")
    assert str(caught.value) == "recipe 'imagenet' is for pretrain, not for finetune. See: gan-transfer recipes ls"


def test_importing_the_commands_loads_neither_torch_nor_pydantic() -> None:
    code = "import sys, gan_transfer.cli.recipes; print({'torch', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
