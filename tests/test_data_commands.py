"""Claims about `gan-transfer data`: what it lists, says, packs and joins, and that a run trains from what it packed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli, tree
from PIL import Image

from gan_transfer.data.sources import READERS

COUNT = 2100
"""Pictures in three blocks."""


@pytest.fixture
def covers(tmp_path: Path) -> Path:
    """A folder of small pictures, all of them different."""
    folder = tmp_path / "covers"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(random.integers(0, 256, (24, 24, 3), np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def test_the_list_has_every_kind_and_every_recipe(cli: Cli) -> None:
    done = cli("data", "ls")
    assert done.code == 0
    assert [kind for kind in READERS if f"{kind}:" not in done.out] == []
    assert "hf:benjamin-paine/imagenet-1k-64x64" in done.out
    assert "coverart" in done.out


def test_an_inspection_ends_with_a_command_to_run(cli: Cli, covers: Path, tmp_path: Path) -> None:
    done = cli("data", "inspect", covers, "--output", tmp_path / "sheet.png")
    assert done.code == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
    assert "pictures       12" in done.out
    assert "next: gan-transfer finetune --target tiny --data folder:" in done.err


def test_an_inspection_as_json_is_one_object(cli: Cli, covers: Path) -> None:
    told = json.loads(cli("data", "inspect", covers, "--json", "--limit", 5).out)
    assert (told["count"], told["seen"]) == (12, 5)
    assert told["advice"][0]["flag"] == "finetune --target tiny"


def test_a_sheet_without_its_folder_is_refused_before_the_work(cli: Cli, covers: Path) -> None:
    done = cli("data", "inspect", covers, "--output", "none/sheet.png")
    assert (done.code, done.out) == (2, "")
    assert done.faults == ["no folder for the contact sheet 'none/sheet.png'; make it with mkdir -p none"]


def test_a_pack_is_what_a_run_trains_from(
    cli: Cli, tiny: list[str], covers: Path, home: Path, cache: Path, pair: Path
) -> None:
    assert cli("data", "pack", covers, "--resolution", 16, "--output", "packed").out == "packed\n"
    done = cli("finetune", "--target", "coverart", *tiny, "--from", pair, "--data", "packed")
    assert done.code == 0
    assert "decoding" not in done.err
    assert tree(cache) == {}


def test_another_resolution_is_made_from_the_pack(cli: Cli, covers: Path, home: Path) -> None:
    cli("data", "pack", covers, "--resolution", 32, "--output", "large")
    assert cli("data", "pack", "large", "--resolution", 16, "--output", "small").code == 0
    assert np.load("small/images.npy").shape == (12, 16, 16, 3)


def test_parts_made_apart_join_to_the_bytes_of_the_whole(cli: Cli, home: Path) -> None:
    source = f"builtin:covers?count={COUNT}"
    words = ("--resolution", 16, "--channels", 1)
    cli("data", "pack", source, *words, "--output", "whole")
    for part in ("1/2", "2/2"):
        cli("data", "pack", source, *words, "--shard", part, "--output", f"part{part[0]}")
    assert cli("data", "merge", "part2", "part1", "--output", "joined").out == "joined\n"
    for name in ("images.npy", "index.json"):
        assert Path("joined", name).read_bytes() == Path("whole", name).read_bytes()


def test_near_duplicates_are_left_out_on_demand(cli: Cli, covers: Path, home: Path) -> None:
    smooth = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
    for name in ("a", "b"):
        shutil.copy(covers / "00.png", covers / f"{name}.png")
        smooth.save(covers / f"smooth-{name}.jpg", quality=90 if name == "a" else 80)
    done = cli("data", "pack", covers, "--resolution", 16, "--dedupe", "--output", "packed")
    assert "near-duplicates of 16 pictures are left out" in done.err
    assert 12 <= len(np.load("packed/images.npy")) <= 14


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--resolution", 63), "data pack: resolution: wanted one of 16, 28, 32, 64, 128, 256; got 63"),
        (("--crop", "centre"), "data pack: crop: wanted"),
        (("--shard", "3/2"), "part '3/2' is not known; wanted i/n with i from 1 to n: --shard 2/8"),
    ],
)
def test_bad_words_are_refused_in_one_line(
    cli: Cli, covers: Path, home: Path, words: tuple[str, ...], fault: str
) -> None:
    before = tree(home)
    done = cli("data", "pack", covers, "--output", "packed", *words)
    assert done.code == 2
    (told,) = done.faults
    assert told.startswith(fault)
    assert tree(home) == before


def test_a_folder_with_something_else_in_it_is_left_alone(cli: Cli, covers: Path, home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "letter.txt").write_text("dear")
    before = tree(home)
    done = cli("data", "pack", covers, "--output", "mine")
    assert done.code == 2
    assert "letter.txt" in done.err
    assert tree(home) == before
