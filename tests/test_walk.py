"""Claims about `sample --explain`: what it tells of a pair is what the pair does."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from conftest import Cli

from gan_transfer import images, sampling
from gan_transfer.data.decode import decode, hint_for
from gan_transfer.data.sources import open_source
from gan_transfer.models.weights import load_pair
from gan_transfer.walk import losses, walk


def test_the_way_through_a_pair_has_every_block_with_its_shape(pair: Path) -> None:
    found = walk(load_pair(pair), 3, open_source("builtin:covers?count=4"))
    assert [(stop.block, stop.shape) for stop in found.generator] == [
        ("z", (8,)), ("g4", (32, 4, 4)), ("g8", (16, 8, 8)), ("g16", (3, 16, 16)),
    ]  # fmt: skip
    assert [(stop.block, stop.shape) for stop in found.discriminator] == [
        ("picture", (3, 16, 16)), ("d8", (16, 8, 8)), ("d4", (32, 4, 4)), ("d1", (1, 1, 1)),
    ]  # fmt: skip
    assert [stop.layers for stop in found.generator[1:]] == [
        "transposed 4x4/1, batch norm, ReLU", "transposed 4x4/2, batch norm, ReLU", "transposed 4x4/2, Tanh",
    ]  # fmt: skip
    assert found.discriminator[-1].layers == "convolution 4x4/1"


def test_the_answers_are_those_of_the_networks(pair: Path) -> None:
    loaded, source = load_pair(pair), open_source("builtin:covers?count=4")
    found = walk(loaded, 3, source)
    pixels = torch.from_numpy(decode(source.load(0, hint_for(16, "center")), 16, 3)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        fake = loaded.generator(sampling.latents([3], 8))
        expected = loaded.discriminator(images.to_float(pixels)).item(), loaded.discriminator(fake).item()
    assert (found.real_logit, found.fake_logit) == expected
    assert found.real_probability == pytest.approx(1 / (1 + math.exp(-expected[0])), abs=1e-6)
    assert (found.generator[-1].low, found.generator[-1].high) == (fake.min().item(), fake.max().item())


def test_the_losses_and_gradients_are_those_of_the_formulas() -> None:
    found = losses(torch.tensor([2.0]), torch.tensor([-3.0]))
    d_real, d_fake = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(3))
    expected = [-math.log(d_real) - math.log(1 - d_fake), math.log(1 - d_fake), -math.log(d_fake)]
    assert [loss.value for loss in found] == pytest.approx(expected, rel=1e-5)
    assert [loss.gradient for loss in found] == pytest.approx([d_fake, -d_fake, d_fake - 1], rel=1e-5)


def test_explain_prints_tables_and_writes_nothing(cli: Cli, home: Path, pair: Path) -> None:
    before = sorted(home.rglob("*"))
    done = cli("sample", "--explain", "--network", pair, "--seeds", "3")
    assert (done.code, done.err) == (0, "")
    assert [word for word in ("[16, 8, 8]", "D(G(z)), fake", "non-saturating", "0000-") if word not in done.out] == []
    assert sorted(home.rglob("*")) == before


def test_explain_as_json_holds_the_same(cli: Cli, home: Path, pair: Path) -> None:
    told = json.loads(cli("sample", "--explain", "--network", pair, "--seeds", "3", "--json").out)
    found = walk(load_pair(pair), 3, open_source("builtin:covers"))
    assert (told["seed"], told["fake_logit"]) == (3, found.fake_logit)
    assert [stop["block"] for stop in told["generator"]] == ["z", "g4", "g8", "g16"]


def test_pictures_that_cannot_be_read_are_passed_over_and_all_broken_ones_refused(
    cli: Cli, home: Path, pair: Path
) -> None:
    folder = home / "broken"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"no picture")
    words = ("sample", "--explain", "--network", pair, "--data", "folder:broken")
    assert "none of the first 16 pictures can be read" in cli(*words).faults[0]
    open_source("builtin:covers?count=1").load(0).save(folder / "b.png")
    assert "real picture: b.png" in cli(*words).out


@pytest.mark.parametrize("flags", [("--output", "out"), ("--grid", "2x2"), ("--interpolate",)])
def test_explain_with_flags_of_pictures_is_refused(cli: Cli, home: Path, flags: tuple[str, ...]) -> None:
    assert cli("sample", "--explain", *flags).faults == [
        "--explain writes nothing; leave out --output, --grid and --interpolate"
    ]


def test_data_without_explain_is_refused(cli: Cli, home: Path) -> None:
    assert cli("sample", "--data", "builtin:covers").faults == [
        "--data builtin:covers is the real picture of --explain; give both, or leave it out"
    ]
