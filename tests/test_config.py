"""Claims about strict TOML settings: merging, origins, and faults that are told all at once."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Le

from gan_transfer import config
from gan_transfer.config import Override
from gan_transfer.errors import RecipeError
from gan_transfer.explain import toml

Forbid = {"extra": "forbid"}


@dataclasses.dataclass(frozen=True)
class Oven:
    __pydantic_config__ = Forbid
    heat: Annotated[float, Gt(0), Le(300)] = 180.0
    trays: Annotated[int, Ge(1)] = 2
    fan: bool = False
    mode: Literal["top", "bottom"] = "top"
    size: Literal[1, 3] = 3


@dataclasses.dataclass(frozen=True)
class Dough:
    __pydantic_config__ = Forbid
    flour: str = "wheat"
    seeds: tuple[Literal["poppy", "sesame"], ...] = ()


@dataclasses.dataclass(frozen=True)
class Bread:
    __pydantic_config__ = Forbid
    name: str = "bread"
    oven: Oven = dataclasses.field(default_factory=Oven)
    dough: Dough = dataclasses.field(default_factory=Dough)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(path: Path, *overrides: str | Override) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        config.load(Bread, path, overrides)
    return str(caught.value).splitlines()


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return write(tmp_path / "empty.toml", "")


# Values


def test_an_empty_file_gives_the_defaults(empty: Path) -> None:
    assert config.load(Bread, empty) == Bread()


def test_sections_of_a_file_become_dataclasses(tmp_path: Path) -> None:
    path = write(tmp_path / "rye.toml", 'name = "rye"\n[oven]\nheat = 250.5\n[dough]\nseeds = ["poppy"]\n')
    assert config.load(Bread, path) == Bread("rye", Oven(heat=250.5), Dough(seeds=("poppy",)))


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b'\xef\xbb\xbfname = "rye"\n')
    assert config.load(Bread, tmp_path / "a.toml").name == "rye"


def test_a_whole_number_is_taken_where_a_number_is_wanted(empty: Path) -> None:
    heat = config.load(Bread, empty, ["oven.heat=200"]).oven.heat
    assert (heat, type(heat)) == (200.0, float)


@pytest.mark.parametrize(
    ("item", "section", "expected"),
    [
        ("oven.heat=1e2", "oven", Oven(heat=100.0)),
        ("oven.fan=true", "oven", Oven(fan=True)),
        ("oven.mode=bottom", "oven", Oven(mode="bottom")),
        ('oven.mode="bottom"', "oven", Oven(mode="bottom")),
        ("oven={trays=4, fan=true}", "oven", Oven(trays=4, fan=True)),
        (" oven.trays = 4 ", "oven", Oven(trays=4)),
        ('dough.seeds=["sesame", "poppy"]', "dough", Dough(seeds=("sesame", "poppy"))),
        ("dough.flour=a = b", "dough", Dough(flour="a = b")),
        ("dough.flour=7", "dough", Dough(flour="7")),
        ("dough.flour=2024-01-01", "dough", Dough(flour="2024-01-01")),
        ("dough.flour=true", "dough", Dough(flour="true")),
        ("dough.flour=", "dough", Dough(flour="")),
        ("dough.flour=größe\u00a0ü", "dough", Dough(flour="größe\u00a0ü")),
    ],
)
def test_an_override_is_toml_and_a_bare_word_is_text(empty: Path, item: str, section: str, expected: object) -> None:
    assert getattr(config.load(Bread, empty, [item]), section) == expected


def test_later_overrides_win(empty: Path) -> None:
    assert config.load(Bread, empty, ["oven.trays=4", "oven.trays=5"]).oven.trays == 5


def test_any_text_survives_toml_in_an_override(empty: Path) -> None:
    for text in ['a"b', "C:\\new", "[x]", "é", "a = b # c"]:
        assert config.load(Bread, empty, [f"dough.flour={toml(text)}"]).dough.flour == text


# extends


def test_a_child_wins_over_what_it_extends_and_keeps_the_rest(tmp_path: Path) -> None:
    write(tmp_path / "base.toml", "[oven]\nheat = 200\ntrays = 7\n[dough]\nflour = 'rye'\n")
    child = write(tmp_path / "child.toml", 'extends = "base"\n[oven]\nheat = 220\n')
    assert config.load(Bread, child) == Bread(oven=Oven(heat=220.0, trays=7), dough=Dough(flour="rye"))


@pytest.mark.parametrize("name", ["base", "base.toml", "../a/base.toml", "../a/base"])
def test_extends_is_relative_to_the_file(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a/base.toml", "name = 'here'")
    write(tmp_path / "b/base.toml", "name = 'there'")
    assert config.load(Bread, write(tmp_path / "a/child.toml", f'extends = "{name}"')).name == "here"


def test_extends_looks_beside_the_file_and_then_along_the_search_path_but_not_at_strangers(tmp_path: Path) -> None:
    write(tmp_path / "all/stranger/base.toml", "name = 'stranger'")
    write(tmp_path / "far/base.toml", "name = 'far'")
    child = write(tmp_path / "all/mine/child.toml", 'extends = "base"')
    assert config.load(Bread, child, search=[tmp_path / "far"]).name == "far"
    write(tmp_path / "all/mine/base.toml", "name = 'mine'")
    assert config.load(Bread, child, search=[tmp_path / "far"]).name == "mine"


def test_a_loop_of_extends_is_refused_with_its_chain(tmp_path: Path) -> None:
    a = write(tmp_path / "a.toml", 'extends = "b"')
    b = write(tmp_path / "b.toml", 'extends = "c"')
    c = write(tmp_path / "c.toml", 'extends = "b"')
    assert faults_of(a) == [f"{a}: extends runs in a loop: {a} -> {b} -> {c} -> {b}"]


def test_a_file_that_extends_itself_is_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a.toml", 'extends = "a"')
    assert faults_of(a) == [f"{a}: extends runs in a loop: {a} -> {a}"]


def test_an_unknown_base_is_named_with_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "base.toml", "")
    child = write(tmp_path / "child.toml", 'extends = "bsae"')
    hint = "did you mean 'base'? (known: base). See: gan-transfer recipes ls"
    assert faults_of(child) == [f"{child}: extends: no recipe 'bsae'; {hint}"]


def test_extends_must_be_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", "extends = 3")
    assert faults_of(path) == [f"{path}: extends: wanted a recipe's name or path; got 3"]


def test_a_fault_names_the_file_of_the_chain_that_gave_the_value(tmp_path: Path) -> None:
    base = write(tmp_path / "base.toml", "[oven]\nheat = -1\ntrays = 0\n")
    child = write(tmp_path / "child.toml", 'extends = "base"\n[oven]\ntrays = -2\n')
    assert faults_of(child) == [
        f"{base}: oven.heat: wanted a number > 0 and <= 300; got -1",
        f"{child}: oven.trays: wanted a whole number >= 1; got -2",
    ]


# Origins


def test_every_key_has_an_origin(tmp_path: Path) -> None:
    base = write(tmp_path / "base.toml", "[oven]\nheat = 200\ntrays = 7\n")
    child = write(tmp_path / "child.toml", 'extends = "base"\n[oven]\nheat = 220\n')
    overrides: list[str | Override] = ["oven.fan=true", Override('dough.flour="rye"', "--flour rye")]
    bread, origin = config.load_with_origin(Bread, child, overrides)
    assert bread == Bread(oven=Oven(220.0, 7, True), dough=Dough("rye"))
    assert origin == {
        "name": "default",
        "oven.heat": str(child),
        "oven.trays": str(base),
        "oven.fan": "--set oven.fan=true",
        "oven.mode": "default",
        "oven.size": "default",
        "dough.flour": "--flour rye",
        "dough.seeds": "default",
    }


def test_defaults_hold_where_the_file_is_silent_even_if_its_base_speaks(tmp_path: Path) -> None:
    write(tmp_path / "base.toml", "name = 'base'")
    silent = write(tmp_path / "silent.toml", "extends = 'base'")
    bread, origin = config.load_with_origin(Bread, silent, defaults={"name": "silent"})
    assert (bread.name, origin["name"]) == ("silent", "default")
    speaking = write(tmp_path / "speaking.toml", "name = 'loud'")
    assert config.load(Bread, speaking, defaults={"name": "speaking"}).name == "loud"


# Faults


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.toml", '[oven]\nheat = "hot"\nmode = "side"\nfann = true\n[ovne]\nheat = 3\n')
    overrides: list[str | Override] = [
        "oven.trays=0",
        "oven.fan=1",
        "salt",
        Override("dough.seeds=poppy", "--seeds poppy"),
    ]
    assert faults_of(path, *overrides) == [
        "--set salt: wanted section.key=value; got 'salt'",
        f'{path}: oven.heat: wanted a number > 0 and <= 300; got "hot"',
        "--set oven.trays=0: oven.trays: wanted a whole number >= 1; got 0",
        "--set oven.fan=1: oven.fan: wanted true or false; got 1",
        f'{path}: oven.mode: wanted one of "top", "bottom"; got "side"',
        f"{path}: oven.fann: unknown key; did you mean 'fan'?",
        '--seeds poppy: dough.seeds: wanted a list, each one of "poppy", "sesame"; got "poppy"',
        f"{path}: ovne: unknown section; did you mean 'oven'?",
    ]


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        ("oven.heat=true", "oven.heat: wanted a number > 0 and <= 300; got true"),
        ('oven.heat="200"', 'oven.heat: wanted a number > 0 and <= 300; got "200"'),
        ("oven.heat=", 'oven.heat: wanted a number > 0 and <= 300; got ""'),
        ("oven.heat=nan", "oven.heat: wanted a number > 0 and <= 300; got nan"),
        ("oven.heat=inf", "oven.heat: wanted a number > 0 and <= 300; got inf"),
        ("oven.heat=0", "oven.heat: wanted a number > 0 and <= 300; got 0"),
        ("oven.heat=300.5", "oven.heat: wanted a number > 0 and <= 300; got 300.5"),
        ("oven.heat=[1]", "oven.heat: wanted a number > 0 and <= 300; got [1]"),
        ("oven.heat=2024-01-01", "oven.heat: wanted a number > 0 and <= 300; got 2024-01-01"),
        ("oven.trays=2.0", "oven.trays: wanted a whole number >= 1; got 2.0"),
        ("oven.trays=9223372036854775808", "oven.trays: wanted a whole number >= 1; got 9223372036854775808"),
        ("oven.fan=True", 'oven.fan: wanted true or false; got "True"'),
        ("oven.size=true", "oven.size: wanted one of 1, 3; got true"),
        ("oven.size=2", "oven.size: wanted one of 1, 3; got 2"),
        ('dough.flour="a\\nb"', 'dough.flour: wanted text; got "a\\nb"'),
        ('dough.seeds=["poppy", ""]', 'dough.seeds: wanted a list, each one of "poppy", "sesame"; got ["poppy", ""]'),
        ("dough.seeds=[1, 2]", 'dough.seeds: wanted a list, each one of "poppy", "sesame"; got [1, 2]'),
        ("oven=3", "oven: wanted a section; got 3"),
        ("name.x=1", "name: wanted text; got { x = 1 }"),
        ("heat=3", "heat: unknown key; did you mean 'oven.heat'?"),
        ("dough.heat=3", "dough.heat: unknown key; did you mean 'oven.heat'?"),
        ("oven.zzz=3", "oven.zzz: unknown key; known: heat, trays, fan, mode, size"),
        ("zzz.a=3", "zzz: unknown section; known: name, oven, dough"),
    ],
)  # fmt: skip
def test_an_unusable_override_is_one_line_with_key_wanted_and_got(tmp_path: Path, item: str, fault: str) -> None:
    full = write(tmp_path / "full.toml", "name = 'full'\n[oven]\nheat = 200\n[dough]\nflour = 'rye'\n")
    assert faults_of(full, item) == [f"--set {item}: {fault}"]


@pytest.mark.parametrize("item", ["", "oven", "=3", ".heat=3", "oven..heat=3", "oven.=3"])
def test_an_override_without_key_or_value_is_refused(empty: Path, item: str) -> None:
    assert faults_of(empty, item) == [f"--set {item}: wanted section.key=value; got {item!r}"]


def test_text_that_is_not_unicode_is_refused(empty: Path) -> None:
    assert faults_of(empty, Override("dough.flour=\udcff", "--flour ?")) == [
        '--flour ?: dough.flour: wanted text; got "\\\\udcff"'
    ]


def test_a_date_or_nan_in_a_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", "name = 2024-01-01\n[oven]\nheat = nan\n")
    assert faults_of(path) == [
        f"{path}: name: wanted text; got 2024-01-01",
        f"{path}: oven.heat: wanted a number > 0 and <= 300; got nan",
    ]


def test_broken_toml_is_told_with_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", "name = 'x'\n[oven\n")
    assert faults_of(path) == [
        f"{path}: not TOML: Expected ']' at the end of a table declaration (at line 2, column 6)"
    ]


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"name = 'x'\n# caf\xe9\n")
    assert faults_of(path) == [f"{path}: wanted UTF-8 text; got byte 0xe9 in line 2"]


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, "x = " + "9" * 5000])
def test_toml_that_python_cannot_hold_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.toml", text)
    assert faults_of(path)[0].startswith(f"{path}: not TOML: ")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    missing = tmp_path / "a.toml"
    assert faults_of(missing) == [f"{missing}: no such recipe file. See: gan-transfer recipes ls"]
    assert faults_of(tmp_path) == [f"{tmp_path}: wanted a recipe file; got a folder. See: gan-transfer recipes ls"]


# Names


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    for name in ("sweet/cake", "salty/rye", "salty/wheat"):
        write(tmp_path / f"{name}.toml", "")
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "name"), [("salty", "rye"), ("salty", "salty/rye"), (None, "rye"), (None, "salty/rye")]
)
def test_a_recipe_is_found_by_name(shelf: Path, kind: str | None, name: str) -> None:
    assert config.resolve(kind, name, shelf) == shelf / "salty/rye.toml"


def test_a_path_to_a_toml_file_is_a_recipe_of_any_kind(shelf: Path) -> None:
    assert config.resolve("sweet", str(shelf / "salty/rye.toml"), shelf) == shelf / "salty/rye.toml"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rey", "salty recipe 'rey' is not known; did you mean 'rye'? (known: rye, wheat)."),
        ("RYE", "salty recipe 'RYE' is not known; did you mean 'rye'? (known: rye, wheat)."),
        ("qqq", "salty recipe 'qqq' is not known; known: rye, wheat."),
        ("../salty/rye", "salty recipe '../salty/rye' is not known; known: rye, wheat."),
        ("cake", "recipe 'cake' is for sweet, not for salty."),
        ("rye.toml", "rye.toml: no such recipe file."),
    ],
)
def test_an_unknown_recipe_is_told_with_the_nearest_and_the_list(shelf: Path, name: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        config.resolve("salty", name, shelf)
    assert str(caught.value) == f"{message} See: gan-transfer recipes ls"


# Dictionaries


def test_a_dictionary_goes_through_json_and_back() -> None:
    bread = Bread("rye", Oven(heat=0.1 + 0.2, fan=True), Dough(seeds=("poppy",)))
    plain = config.to_dict(bread)
    assert plain["dough"] == {"flour": "wheat", "seeds": ["poppy"]}
    assert config.from_dict(Bread, json.loads(json.dumps(plain))) == bread


def test_a_dictionary_is_read_as_strictly_as_a_file() -> None:
    with pytest.raises(RecipeError) as caught:
        config.from_dict(Bread, {"oven": {"heat": math.inf, "trayz": 1}}, "run/recipe.json")
    assert str(caught.value).splitlines() == [
        "run/recipe.json: oven.heat: wanted a number > 0 and <= 300; got inf",
        "run/recipe.json: oven.trayz: unknown key; did you mean 'trays'?",
    ]


def test_a_difference_has_one_line_for_each_changed_key() -> None:
    old = config.to_dict(Bread(oven=Oven(heat=0.0002)))
    new = config.to_dict(Bread("rye", Oven(heat=0.0001), Dough(seeds=("poppy",))))
    assert config.difference(old, new) == [
        'name: "bread" -> "rye"',
        "oven.heat: 0.0002 -> 0.0001",
        'dough.seeds: [] -> ["poppy"]',
    ]
    assert config.difference(new, new) == []


def test_a_difference_tells_keys_that_came_or_went() -> None:
    assert config.difference({"a": {"x": 1}}, {"a": {"y": 2}}) == ["a.y: (absent) -> 2", "a.x: 1 -> (absent)"]


def test_importing_settings_loads_neither_torch_nor_pydantic() -> None:
    code = "import sys, gan_transfer.recipe; print({'torch', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
