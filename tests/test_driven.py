"""Claims about whole trainings that are driven towards collapse, and about healthy ones, with `--on-collapse stop`.

Hardly any of the usual ways drives these networks to a collapse within minutes: a hundred pictures without augmentation
do. The others must then not have been let through: no look at a run that went on may have twice its best KID.
"""

from __future__ import annotations

import gzip
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from PIL import Image
from torch import nn

from gan_transfer.models import dcgan
from gan_transfer.recipe import Model

DATA = Path(os.environ.get("GAN_TRANSFER_DATA", Path(__file__).parents[2] / "shared" / "data"))
SMALL = ("--from", "none", "--set", "model.resolution=32", "--set", "model.base_channels=32")
PARTIAL, COLLAPSED = 20, 30

pytestmark = pytest.mark.slow


def given(name: str) -> Path:
    """A file of the shared pictures."""
    if not (DATA / name).exists():
        pytest.skip(f"no {name} here")
    return DATA / name


def worst_ratio(home: Path) -> float:
    """The highest KID of a look over the lowest before it."""
    (path,) = home.glob("runs/*/metric-panel.jsonl")
    kids = [json.loads(line)["kid_x1000"] for line in path.read_text().splitlines()]
    assert len(kids) > 3, kids
    return max(kid / min(kids[: place + 1]) for place, kid in enumerate(kids))


@pytest.fixture(autouse=True)
def _looks_at_any_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two kimg may take a second or two, of which looks would be too large a share."""
    monkeypatch.setattr("gan_transfer.monitor.SHARE", math.inf)


def train(cli: Cli, *words: str) -> int:
    """The exit code of a training that stops at a collapse and is looked at every two kimg."""
    ended = cli("finetune", *words, "--on-collapse", "stop", "--set", "train.snapshot_kimg=2")
    assert ended.code in (0, PARTIAL, COLLAPSED), ended.err
    return ended.code


def test_a_hundred_pictures_without_augmentation_are_stopped_before_the_kid_has_doubled(cli: Cli, home: Path) -> None:
    code = train(
        cli, "--target", "tiny", "--data", "builtin:covers?count=100", "--augment", "none", "--kimg", "40",
    )  # fmt: skip
    assert code in (PARTIAL, COLLAPSED)
    assert worst_ratio(home) < 2


def test_a_discriminator_ten_times_as_fast_is_not_let_through(cli: Cli, home: Path) -> None:
    code = train(cli, "--target", "coverart", "--data", "builtin:covers?count=2000", "--dlr", "2e-3", "--kimg", "14")
    assert code or worst_ratio(home) < 2


def test_a_generator_without_batch_norm_is_not_let_through(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = dcgan.Generator.__init__

    def build_bare(self: dcgan.Generator, model: Model) -> None:
        build(self, model)
        for block in self.blocks.values():
            block.norm = nn.Identity()

    monkeypatch.setattr(dcgan.Generator, "__init__", build_bare)
    code = train(cli, "--target", "coverart", "--data", "builtin:covers?count=2000", *SMALL, "--kimg", "30")
    assert code or worst_ratio(home) < 2


def test_stacked_digits_are_not_let_through(cli: Cli, home: Path) -> None:
    with gzip.open(given("mnist/train-images-idx3-ubyte.gz")) as file:
        digits = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)
    chosen = np.random.default_rng(0).integers(len(digits), size=(4000, 3))
    folder = home / "stacked"
    folder.mkdir()
    for number, rows in enumerate(chosen):
        Image.fromarray(np.ascontiguousarray(digits[rows].transpose(1, 2, 0))).save(folder / f"{number:04}.png")
    code = train(cli, "--target", "coverart", "--data", str(folder), *SMALL, "--augment", "none", "--kimg", "30")
    assert code or worst_ratio(home) < 2


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("coverart", "builtin:covers?count=2000"),
        ("celeba", "celeba_8k_89x109.zip"),
        ("coverart", "song_jackets_6000_96px.zip"),
    ],
)
def test_a_healthy_run_goes_on_to_its_end(cli: Cli, home: Path, target: str, name: str) -> None:
    data = name if ":" in name else f"zip:{given(name)}"
    assert train(cli, "--target", target, "--data", data, "--kimg", "16") == 0
    assert worst_ratio(home) < 2
