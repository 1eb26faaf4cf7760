"""Claims about the advice: right for the data sets that people bring, and silent where nothing is known."""

from __future__ import annotations

import dataclasses
import shlex
from itertools import pairwise
from typing import Any

import pytest
from test_real_pictures import real

from gan_transfer.cli.options import overrides
from gan_transfer.data.advice import advice, command
from gan_transfer.data.covers import CoversSource
from gan_transfer.data.diversity import Diversity
from gan_transfer.data.inspect import Findings, Sides, inspect
from gan_transfer.data.mirroring import Handedness
from gan_transfer.data.sources import open_source
from gan_transfer.recipe import load_recipe

PHOTOS = Findings(
    source="folder:/photos",
    count=15_000,
    seen=15_000,
    broken=[],
    formats={"JPEG": 15_000},
    modes={"RGB": 15_000},
    grey=300,
    alpha=0,
    deep=0,
    animated=0,
    sides=Sides(64, 64, 64),
    square=15_000,
    wider=0,
    taller=0,
    framed=10,
    barred=150,
    exact_duplicates=0,
    near_duplicates=0,
    groups=[],
    lettered=1_200,
    handedness=Handedness(0.5, 2000),
    diversity=Diversity(36.0, 500, 0.97),
)
"""Varied photographs."""


def flags(**changes: Any) -> list[str]:
    """What is advised for photographs that differ in some findings; `count` sets the pictures seen too."""
    if "count" in changes:
        changes = {"seen": changes["count"], "lettered": 0, "grey": 0} | changes
    return [line.flag for line in advice(dataclasses.replace(PHOTOS, **changes))]


def test_many_varied_photographs_make_a_pair_of_their_own() -> None:
    assert flags() == ["pretrain imagenet", "--augment translation", "--mirror", "--batch 64"]


def test_the_augmentation_of_a_pretraining_on_very_many_pictures_is_left_to_its_recipe() -> None:
    assert flags(count=1_281_167) == ["pretrain imagenet", "--mirror", "--batch 128"]


@pytest.mark.parametrize(
    ("count", "augment"),
    [
        (100, "--augment color,translation,cutout"),
        (999, "--augment color,translation,cutout"),
        (1_000, "--augment translation,cutout"),
        (3_000, "--augment translation"),
        (59_999, "--augment translation"),
        (60_000, "--augment none"),
    ],
)
def test_the_more_pictures_the_less_augmentation(count: int, augment: str) -> None:
    assert flags(count=count, diversity=Diversity(20.0, 500, 0.5))[1] == augment


def test_many_pictures_of_one_kind_are_as_faces() -> None:
    assert flags(count=8_000, diversity=Diversity(20.0, 500, 0.53))[0] == "finetune --target celeba"


def test_about_a_hundred_pictures_are_tiny() -> None:
    few = flags(count=120)
    assert few[0] == "finetune --target tiny"
    assert {"--kimg 40", "--batch 32"} <= set(few)


def test_lettering_is_not_mirrored() -> None:
    found = flags(count=5_000, lettered=1_000)
    assert (found[0], "--no-mirror" in found) == ("finetune --target coverart", True)


def test_a_handedness_that_could_be_chance_is_mirrored() -> None:
    assert "--no-mirror" in flags(handedness=Handedness(0.62, 2000))
    assert "--mirror" in flags(handedness=Handedness(0.62, 60))


def test_without_a_measurement_nothing_is_said_of_mirroring() -> None:
    assert [flag for flag in flags(count=30, handedness=None, diversity=None) if "mirror" in flag] == []


def test_a_batch_is_a_power_of_two_that_the_pictures_fill() -> None:
    wanted = {1: [], 2: ["--batch 2"], 20: ["--batch 16"], 33: ["--batch 32"], 300: ["--batch 64"]}
    for count, expected in wanted.items():
        assert [flag for flag in flags(count=count) if flag.startswith("--batch")] == expected


@pytest.mark.parametrize(("side", "resolution"), [(16, 16), (22, 16), (28, 32), (32, 32), (45, 32)])
def test_small_pictures_are_trained_on_at_the_nearest_size(side: int, resolution: int) -> None:
    assert f"--set model.resolution={resolution}" in flags(sides=Sides(side, side, side))
    assert [flag for flag in flags(sides=Sides(48, 48, 48)) if "resolution" in flag] == []


def test_grey_pictures_are_trained_on_in_one_channel() -> None:
    small = flags(grey=15_000, sides=Sides(28, 28, 28))
    assert small[0] == "finetune --target mnist"
    assert "--set model.channels=1" in small
    assert "--set model.channels=1" not in flags(grey=14_999)


def test_many_duplicates_are_left_out_and_few_are_not_worth_it() -> None:
    wanted = "gan-transfer data pack SOURCE --dedupe"
    assert wanted in flags(near_duplicates=150)
    assert wanted not in flags(near_duplicates=8)


def test_more_pictures_are_asked_for_when_they_are_few_or_nearly_one() -> None:
    assert "more pictures" in flags(count=99)
    assert "more pictures" in flags(diversity=Diversity(1.1, 500, 0.03))
    assert "more pictures" not in flags(count=100)


def test_duplicates_do_not_count() -> None:
    assert flags(count=5_000, near_duplicates=4_950)[0] == "finetune --target tiny"


def test_a_source_that_a_pack_would_refuse_is_to_be_repaired() -> None:
    repair = "repair or remove broken pictures"
    assert flags(count=1_000, seen=0, broken=["x: y"] * 1_000) == [repair]
    assert repair in flags(count=1_000, seen=850, broken=["x: y"] * 150)
    assert repair not in flags(count=1_000, seen=950, broken=["x: y"] * 50)


def test_every_reason_is_one_line_that_fits_a_terminal() -> None:
    changed = dataclasses.replace(PHOTOS, near_duplicates=3_000, grey=15_000, sides=Sides(28, 28, 28))
    for line in [*advice(PHOTOS), *advice(changed)]:
        assert len(line.flag) <= 38
        assert len(line.reason) <= 110
        assert line.reason.isprintable()


def test_the_advised_command_names_the_source_and_all_flags() -> None:
    found = dataclasses.replace(PHOTOS, source="folder:/my photos", near_duplicates=3_000)
    assert command(found, advice(found)) == (
        "gan-transfer pretrain imagenet --data 'folder:/my photos' --augment translation --mirror --batch 64"
    )


@pytest.mark.parametrize("changes", [{}, {"count": 120}, {"sides": Sides(28, 28, 28), "grey": 15_000}])
def test_the_advised_flags_are_ones_that_a_recipe_takes(changes: dict[str, Any]) -> None:
    found = dataclasses.replace(PHOTOS, **({"seen": changes["count"]} if "count" in changes else {}), **changes)
    kind, _, *words = shlex.split(command(found, advice(found)))[1:]
    name = words[0] if kind == "finetune" else "imagenet"
    settings: list[Any] = [word for flag, word in pairwise(words) if flag == "--set"]
    settings += overrides(augment=words[words.index("--augment") + 1])
    recipe = load_recipe(kind, name, settings)
    assert recipe.model.resolution == (32 if "sides" in changes else 64)
    assert "translation" in recipe.augment.operations


def test_the_built_in_covers_are_cover_art() -> None:
    found = [line.flag for line in advice(inspect(CoversSource(300)))]
    assert found[:3] == ["finetune --target coverart", "--augment color,translation,cutout", "--no-mirror"]


@pytest.mark.parametrize(
    ("name", "limit", "expected"),
    [
        ("album_covers_500_96px.zip", None, "coverart --augment color,translation,cutout --no-mirror --kimg 100"),
        ("song_jackets_6000_96px.zip", 1000, "coverart --augment translation --no-mirror --kimg 100"),
        ("celeba_8k_89x109.zip", 1000, "celeba --augment translation --mirror --kimg 100"),
        ("imagenet_sample150_original.zip", None, "tiny --augment color,translation,cutout --mirror --kimg 40"),
        ("cifar10_10k_jpg.zip", 1000, "cifar10 --augment translation --mirror --kimg 100"),
        ("mnist", 1000, "mnist --augment none --no-mirror --kimg 100"),
    ],
)
def test_the_advice_is_right_for_real_pictures(name: str, limit: int | None, expected: str) -> None:
    source = open_source(str(real(name)))
    found = inspect(source, limit=limit)
    source.close()
    assert " ".join(line.flag for line in advice(found)).startswith(f"finetune --target {expected}")


def test_real_photographs_of_two_hundred_kinds_are_for_pretraining() -> None:
    source = open_source(str(real("tiny_imagenet_a_15k_64px.zip")))
    found = inspect(source, limit=1000)
    source.close()
    assert [line.flag for line in advice(found)][:3] == ["pretrain imagenet", "--augment translation", "--mirror"]
