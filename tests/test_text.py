"""Claims about names: what every file system takes stays, the rest is changed as little as possible."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from gan_transfer.data.paths import slug
from gan_transfer.recipe import load_recipe
from gan_transfer.run_folder import open_run
from gan_transfer.text import composed, portable

ODD = [
    "con", "NUL", "aux.pth", "com1", "LPT9.x.y", "a:b", "a/b", "a\\b", 'x"y<z>|?*', "tab\there", "dot.", "space ", "..",
    "", " ", ".hidden", "e\u0301te\u0301", "猫" * 100, "😀" * 80, "x" * 300, "a\ud800b",
]  # fmt: skip


def refused(name: str) -> list[str]:
    """Why a name cannot be used on some system, by the rules of Windows, macOS and Linux."""
    stem = name.partition(".")[0].lower()
    return [
        why
        for why, so in {
            "empty": not name,
            "a character": bool(re.search(r'[<>:"/\\|?*\x00-\x1f]', name)),
            "its end": name.endswith((".", " ")),
            "a device": stem in ("con", "prn", "aux", "nul") or bool(re.fullmatch(r"(com|lpt)\d", stem)),
            "its length": len(name.encode("utf-8", "replace")) > 255,
            "hidden": name.startswith("."),
            "its spelling": unicodedata.normalize("NFC", name) != name,
        }.items()
        if so
    ]


@pytest.mark.parametrize(
    "name", ["coverart", "my covers", "v1.2", "Straße", "été", "猫", "console", "nullify", "con-1"]
)
def test_a_name_that_every_system_takes_stays_as_it_is(name: str) -> None:
    assert (portable(name), refused(name)) == (name, [])


@pytest.mark.parametrize("name", ODD)
def test_any_other_name_becomes_one(name: str) -> None:
    assert refused(portable(name)) == []
    assert portable(portable(name)) == portable(name)


@pytest.mark.parametrize("name", ["con", "nul.v2", "dot.", "a:b"])
def test_a_recipes_file_may_have_a_name_that_no_folder_can_have(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.toml"
    path.write_text("")
    assert load_recipe("finetune", str(path)).name == portable(path.stem) != ""


@pytest.mark.parametrize("recipe", ODD)
@pytest.mark.parametrize("data", ["con", "ÜBER.", "x" * 300])
def test_a_run_folders_name_can_be_used_everywhere(tmp_path: Path, recipe: str, data: str) -> None:
    with open_run(tmp_path / "runs", f"{portable(recipe)}-{slug(data)}", {}) as folder:
        assert refused(folder.path.name) == []


def test_a_run_is_found_again_where_the_file_system_spells_accents_in_another_way(tmp_path: Path) -> None:
    (tmp_path / f"00000-{unicodedata.normalize('NFD', 'été')}-covers").mkdir()
    with open_run(tmp_path, composed("été-covers"), {}) as folder:
        assert folder.path.name.startswith("00000-")
