"""Claims about diversity: what the score means, and that its yardstick was measured."""

from __future__ import annotations

import numpy as np
import pytest
from test_real_pictures import real

from gan_transfer.data.decode import Pixels, decode
from gan_transfer.data.diversity import PHOTO_COLOUR, PHOTO_SCORES, diversity, vendi
from gan_transfer.data.sources import open_source

RANDOM = np.random.default_rng(0)


def one_and_again(count: int, noise: int) -> Pixels:
    """One pattern many times, with noise."""
    pattern = RANDOM.integers(50, 200, (64, 64, 3))
    return (pattern + RANDOM.integers(-noise, noise + 1, (count, 64, 64, 3))).astype(np.uint8)


def test_copies_count_as_one_picture() -> None:
    assert vendi(one_and_again(50, 0)) == pytest.approx(1)


def test_opposite_pictures_count_as_two() -> None:
    half = np.zeros((64, 64, 3)) + PHOTO_COLOUR
    left, right = half.copy(), half.copy()
    left[:, :32] += 80
    right[:, 32:] += 80
    assert vendi(np.stack([left, right] * 10).astype(np.uint8)) == pytest.approx(2)


def test_the_largest_sample_that_there_is_is_compared_with_as_many_photographs() -> None:
    pictures = one_and_again(700, 2)
    sizes = {49: None, 50: 50, 199: 100, 499: 200, 700: 500}
    for count, expected in sizes.items():
        found = diversity(pictures[:count])
        assert (found and found.pictures) == expected


def test_copies_have_hardly_any_of_the_variety_of_photographs() -> None:
    found = diversity(one_and_again(500, 10))
    assert found is not None
    assert found.relative == pytest.approx(found.vendi / PHOTO_SCORES[500])
    assert found.relative < 0.05


@pytest.mark.slow
def test_the_yardstick_is_the_score_of_tiny_imagenet() -> None:
    parts = []
    for letter in "abc":
        source = open_source(f"zip:{real(f'tiny_imagenet_{letter}_15k_64px.zip')}")
        parts += [decode(source.load(row), 64, 3) for row in range(len(source))]
        source.close()
    pictures = np.stack(parts)
    assert pictures.mean((0, 1, 2)) == pytest.approx(PHOTO_COLOUR, abs=0.6)
    order = np.random.default_rng(0).permutation(len(pictures))
    for size, expected in PHOTO_SCORES.items():
        scores = [vendi(pictures[order[part * size : (part + 1) * size]]) for part in range(20)]
        assert np.mean(scores) == pytest.approx(expected, abs=0.05)
