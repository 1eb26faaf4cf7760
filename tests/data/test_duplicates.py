"""Claims about duplicates: what is one, that all are found, and which picture of a group is kept."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from test_real_pictures import real

from gan_transfer.data import duplicates
from gan_transfer.data.covers import CoversSource, cover
from gan_transfer.data.duplicates import (
    MAX_DISTANCE,
    MIN_CLEAR,
    Hashes,
    Prints,
    difference_hash,
    exact_groups,
    groups,
    joined,
    near_pairs,
    prints,
    without_duplicates,
)
from gan_transfer.data.folder import FolderSource
from gan_transfer.data.look import look
from gan_transfer.data.sources import open_source

RANDOM = np.random.default_rng(0)


def flipped(hashes: Hashes, bits: int) -> Hashes:
    """The hashes with some of their bits flipped, other ones in each."""
    flips = np.zeros((len(hashes), 256), np.uint8)
    for row in flips:
        row[RANDOM.permutation(256)[:bits]] = 1
    return hashes ^ np.packbits(flips, axis=1).view(np.uint64)


def random_hashes(count: int) -> Hashes:
    return RANDOM.integers(0, 2**64, (count, 4), np.uint64)


def found_in(folder: Path) -> list[list[str]]:
    """The names in each group of duplicates of a folder."""
    source = FolderSource(str(folder))
    seen = joined(list(look(source, range(len(source)), prints)))
    return [[source.label(place) for place in group] for group in groups(seen)]


def again_as_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.resize((90, 90)).save(file, "JPEG", quality=60)
    return Image.open(file)


def recoloured(image: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    return Image.merge("RGB", (blue, red, green))


def photo(seed: int) -> Image.Image:
    """A picture with gradients everywhere, as photographs have."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return Image.fromarray(small).resize((128, 128), Image.Resampling.BICUBIC)


def test_a_pair_at_the_largest_distance_is_near_and_one_beyond_is_not() -> None:
    hashes = random_hashes(1)
    assert near_pairs(np.concatenate([hashes, flipped(hashes, MAX_DISTANCE)])).tolist() == [[0, 1]]
    assert near_pairs(np.concatenate([hashes, flipped(hashes, MAX_DISTANCE + 1)])).tolist() == []


def test_each_is_compared_with_each() -> None:
    near = random_hashes(1)
    hashes = np.concatenate([random_hashes(150), near, random_hashes(150), flipped(near, 5), random_hashes(10)])
    words = [int.from_bytes(row.tobytes(), "big") for row in hashes]
    expected = [
        [left, right]
        for right in range(len(words))
        for left in range(right)
        if (words[left] ^ words[right]).bit_count() <= MAX_DISTANCE
    ]
    assert near_pairs(hashes).tolist() == expected == [[150, 301]]


def test_bands_find_the_very_pairs_that_brute_force_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    base = random_hashes(1500)
    hashes = np.concatenate([base, *(flipped(base[:100], bits) for bits in range(0, 30, 2)), base[:5]])
    brute = near_pairs(hashes)
    monkeypatch.setattr(duplicates, "BRUTE_FORCE", 0)
    banded = near_pairs(hashes)
    assert len(brute) > 1500
    assert banded.tolist() == sorted(brute.tolist())


def test_no_pictures_and_one_picture_have_no_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (duplicates.BRUTE_FORCE, 0):
        monkeypatch.setattr(duplicates, "BRUTE_FORCE", limit)
        assert [near_pairs(random_hashes(count)).shape for count in (0, 1)] == [(0, 2), (0, 2)]


def test_groups_are_sorted_by_size_and_chains_are_one_group() -> None:
    first, last = random_hashes(2).reshape(2, 1, 4)
    chain = flipped(first, 20)
    hashes = np.concatenate([last, last, first, chain, flipped(chain, 20), random_hashes(1)])
    seen = Prints(
        np.arange(6, dtype=np.uint64), hashes, clear=np.ones(6, np.bool_), colours=np.zeros((6, 48), np.uint8)
    )
    assert groups(seen) == [[2, 3, 4], [0, 1]]


def test_exact_groups_hold_equal_digests() -> None:
    assert exact_groups(np.array([7, 5, 7, 9, 5, 7], np.uint64)) == [[0, 2, 5], [1, 4]]


def test_the_hash_tells_where_the_picture_brightens() -> None:
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    hashes, clear = difference_hash(np.stack([ramp, ramp[:, ::-1], np.zeros_like(ramp)]))
    assert np.bitwise_count(hashes).sum(1).tolist() == [256, 0, 0]
    assert clear.tolist() == [True, True, False]


@pytest.mark.parametrize("change", [again_as_jpeg, ImageOps.autocontrast, lambda image: image.resize((200, 200))])
def test_a_picture_saved_anew_is_a_near_duplicate(tmp_path: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    for seed in range(8):
        photo(seed).save(tmp_path / f"{seed}.png")
    change(photo(3)).save(tmp_path / "again.png")
    assert found_in(tmp_path) == [["3.png", "again.png"]]


def test_a_recoloured_picture_is_another_picture(tmp_path: Path) -> None:
    picture = ImageOps.colorize(photo(0).convert("L"), "black", (240, 200, 40))
    picture.save(tmp_path / "a.png")
    recoloured(picture).save(tmp_path / "b.png")
    assert found_in(tmp_path) == []


def test_flat_pictures_are_duplicates_only_when_their_pixels_are_equal(tmp_path: Path) -> None:
    for name, place in (("a", 10), ("b", 12), ("c", 10)):
        picture = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(picture).rectangle((place, 20, 50, 40), fill="black")
        picture.save(tmp_path / f"{name}.png")
    assert MIN_CLEAR > 100
    assert found_in(tmp_path) == [["a.png", "c.png"]]


def test_the_first_of_each_group_is_kept_and_broken_pictures_stay(tmp_path: Path) -> None:
    for index in range(4):
        cover(index).save(tmp_path / f"{index}.png")
    for name in ("1b.png", "2b.png", "2c.png"):
        shutil.copy(tmp_path / f"{name[0]}.png", tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    kept = [without_duplicates(FolderSource(str(tmp_path)), workers=workers) for workers in (1, 3)]
    assert [kept[0].label(index) for index in range(len(kept[0]))] == ["0.png", "1.png", "2.png", "3.png", "broken.png"]
    assert kept[0].fingerprint() == kept[1].fingerprint()
    assert kept[0].origin.endswith("(dedupe)")


def test_a_source_without_duplicates_stays_whole() -> None:
    assert len(without_duplicates(CoversSource(70))) == 70


def test_a_source_of_broken_pictures_stays_whole(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert len(without_duplicates(FolderSource(str(tmp_path)))) == 1


@pytest.mark.slow
def test_the_eight_pictures_that_occur_twice_in_tiny_imagenet_are_found() -> None:
    names: list[str] = []
    parts: list[Prints] = []
    for letter in "abc":
        source = open_source(f"zip:{real(f'tiny_imagenet_{letter}_15k_64px.zip')}")
        parts += look(source, range(len(source)), prints)
        names += [source.label(row) for row in range(len(source))]
        source.close()
    seen = joined(parts)
    exact = exact_groups(seen.digests)
    assert [len(group) for group in exact] == [2] * 8
    assert all(names[first].split("/")[0] != names[second].split("/")[0] for first, second in exact)
    assert [group for group in exact if group not in groups(seen)] == []


@pytest.mark.slow
def test_real_faces_hold_hardly_any_near_duplicates() -> None:
    source = open_source(f"zip:{real('celeba_8k_89x109.zip')}")
    assert len(source) - 5 <= len(without_duplicates(source)) < len(source)
    source.close()
