"""Claims about real pictures, where they are at hand: $GAN_TRANSFER_DATA, else shared/data beside the project."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli

from gan_transfer.data.pack import PackSettings, cached_pack
from gan_transfer.data.sources import open_source

GIVEN = os.environ.get("GAN_TRANSFER_DATA")
DATA = Path(GIVEN) if GIVEN else Path(__file__).resolve().parents[2].parent / "shared" / "data"
COLOR, GREY = PackSettings(16, 3, "center"), PackSettings(16, 1, "center")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="GAN_TRANSFER_DATA names no folder of real pictures")


def real(name: str) -> Path:
    """The path of one of the real data sets; without it the test is skipped."""
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not there")
    return DATA / name


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("album_covers_500_96px.zip", 500),
        ("celeba_8k_89x109.zip", 8_000),
        ("cifar10_10k_jpg.zip", 10_000),
        ("dcgan_celeba_generated256_dsnsathwik.zip", 256),
        ("imagenet_sample150_original.zip", 150),
        ("song_jackets_6000_96px.zip", 6_000),
        ("tiny_imagenet_a_15k_64px.zip", 15_000),
        ("tiny_imagenet_b_15k_64px.zip", 15_000),
        ("tiny_imagenet_c_15k_64px.zip", 15_000),
        ("mnist", 60_000),
        ("mnist/t10k-images-idx3-ubyte.gz", 10_000),
    ],
)
def test_a_real_data_set_is_recognised_and_all_of_its_pictures_are_found(name: str, count: int) -> None:
    source = open_source(str(real(name)))
    assert len(source) == count
    assert source.load(count - 1).size >= (28, 28)
    source.close()


@pytest.mark.parametrize("name", ["album_covers_500_96px.zip", "imagenet_sample150_original.zip"])
def test_every_real_picture_is_decoded_and_none_is_flat(name: str) -> None:
    source = open_source(f"zip:{real(name)}")
    made = cached_pack(source, COLOR)
    assert (made.count, made.quarantined) == (len(source), 0)
    assert made.images.shape == (len(source), 16, 16, 3)
    assert made.images.reshape(len(source), -1).std(axis=1).min() > 5
    source.close()


def test_the_grey_originals_among_colour_photographs_become_rgb() -> None:
    source = open_source(f"zip:{real('imagenet_sample150_original.zip')}")
    grey = [index for index in range(len(source)) if source.load(index, hint=16).mode == "L"]
    assert len(grey) == 23
    pictures = cached_pack(source, COLOR).images
    assert (pictures[grey] == pictures[grey][..., :1]).all()
    others = np.delete(pictures, grey, axis=0)
    assert (others != others[..., :1]).any(axis=(1, 2, 3)).mean() > 0.95
    source.close()


def test_real_digits_are_packed_in_grey() -> None:
    source = open_source(f"idx:{real('mnist/t10k-images-idx3-ubyte.gz')}")
    images = cached_pack(source, GREY).images
    assert images.shape == (10_000, 16, 16, 1)
    assert 20 < images.mean() < 50  # light strokes on black
    source.close()


def test_a_pair_is_fine_tuned_on_real_covers(cli: Cli, tiny: list[str], home: Path, pair: Path) -> None:
    covers = real("album_covers_500_96px.zip")
    done = cli("finetune", "--target", "coverart", *tiny, "--from", "pair", "--data", f"zip:{covers}", "--kimg", 0.016)
    assert (done.code, done.out) == (0, "runs/00000-coverart-album-covers-500-96px\n")
    assert "500 pictures, 0.0 kimg to go" in done.err
