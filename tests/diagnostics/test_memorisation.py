"""Memorisation: copies are found with their originals, and originals seem copies as seldom as is told."""

from __future__ import annotations

import fractions
import math

import pytest
import torch
from mixtures import noise
from torch import Tensor

from gan_transfer.diagnostics.memorisation import EXPECTED, SURROUNDINGS, copy_rate, copy_ratios, exceedance


def features(count: int, seed: int) -> Tensor:
    return noise(count, seed)[:, :8]


def naive_ratios(pictures: Tensor, training: Tensor) -> tuple[list[float], list[int]]:
    """Pair by pair: the distances sorted, the first divided by the sixth."""
    ratios, nearest = [], []
    for picture in pictures.tolist():
        found = sorted((math.dist(picture, other), row) for row, other in enumerate(training.tolist()))
        ratios.append(found[0][0] / found[SURROUNDINGS - 1][0])
        nearest.append(found[0][1])
    return ratios, nearest


def hypergeometric(count: int, drawn: int, rank: int, sample: int) -> float:
    """The same chance by counting: of the first count + rank - 1 values of all, `count` or more are drawn ones."""
    first, total = count + rank - 1, drawn + sample
    ways = sum(math.comb(drawn, k) * math.comb(sample, first - k) for k in range(count, min(drawn, first) + 1))
    return float(fractions.Fraction(ways, math.comb(total, first)))


def test_ratios_and_the_nearest_are_those_of_a_search_pair_by_pair() -> None:
    pictures, training = features(300, 0), features(90, 1)
    ratios, nearest = copy_ratios(pictures, training)
    expected = naive_ratios(pictures, training)
    assert ratios.tolist() == pytest.approx(expected[0], rel=1e-3)
    assert nearest.tolist() == expected[1]


def test_the_ratio_of_a_known_place_is_that_of_two_distances() -> None:
    training = torch.arange(1.0, 11.0)[:, None].repeat(1, 4)
    ratios, nearest = copy_ratios(torch.zeros(1, 4), training)
    assert ratios.tolist() == pytest.approx([1 / SURROUNDINGS])
    assert nearest.tolist() == [0]


def test_the_ratio_does_not_change_with_a_scale_that_all_share() -> None:
    pictures, training = features(50, 0), features(80, 1)
    expected = copy_ratios(pictures, training)[0].tolist()
    assert copy_ratios(9 * pictures, 9 * training)[0].tolist() == pytest.approx(expected, rel=1e-3)


def test_where_all_training_pictures_are_one_nothing_seems_a_copy() -> None:
    assert copy_ratios(torch.zeros(3, 4), torch.zeros(9, 4))[0].tolist() == [1, 1, 1]


def test_noisy_copies_are_found_with_their_originals_the_surest_first() -> None:
    training = features(600, 0)
    fakes = torch.cat([features(70, 2), training[:30] + 0.01 * features(30, 3)])
    found = copy_rate(fakes, features(300, 1), training)
    assert {(copy.fake, copy.training) for copy in found.suspects[:30]} == {(70 + row, row) for row in range(30)}
    assert [copy.ratio for copy in found.suspects] == sorted(copy.ratio for copy in found.suspects)
    assert found.rate == len(found.suspects) / 100
    assert found.p_value < 1e-6


def test_mush_whose_neighbour_is_one_odd_training_picture_is_no_memory() -> None:
    odd = torch.full((1, 8), 40.0)
    training = torch.cat([features(100, 0), odd])
    mush = torch.full((300, 8), 60.0) + features(300, 2)
    found = copy_rate(mush, features(300, 1), training)
    assert {copy.training for copy in found.suspects} == {100}
    assert len(found.suspects) == 3 * 300 // 101
    assert found.rate < 0.03
    copies = training[torch.arange(300) % 101] + 0.001 * features(300, 3)
    assert copy_rate(copies, features(300, 1), training).rate == 1.0


def test_repeats_among_the_reals_hide_no_copies() -> None:
    training, held_out = features(600, 0), features(300, 1)
    held_out[:9] = training[:9]  # 3 % of the data set stands there twice
    noise = 0.05 * features(100, 2)
    found = copy_rate(training[100:200] + noise, held_out, training)
    assert found.rate > 0.9
    assert found.p_value < 1e-6
    assert copy_rate(features(100, 3), held_out, training).rate < 0.1


def test_mirrored_copies_are_named_as_such_and_are_unnoticed_without_the_mirror_images() -> None:
    training, mirrored, held_out = features(600, 0), features(600, 3), features(300, 1)
    fakes = torch.cat([mirrored[:20] + 0.01, training[20:40] + 0.01, features(60, 2)])
    found = copy_rate(fakes, held_out, training, mirrored).suspects[:40]
    assert {(copy.fake, copy.training) for copy in found} == {(row, row) for row in range(40)}
    assert all(copy.mirrored == (copy.fake < 20) for copy in found)
    assert all(copy.fake >= 20 and not copy.mirrored for copy in copy_rate(fakes, held_out, training).suspects[:20])


@pytest.mark.parametrize(("held_out", "rank"), [(10, 1), (149, 1), (400, 4)])
def test_the_rate_is_that_of_fakes_below_a_low_quantile_of_the_reals(held_out: int, rank: int) -> None:
    fakes, reals, training = features(120, 0), features(held_out, 1), features(200, 2)
    limit = sorted(naive_ratios(reals, training)[0])[rank - 1]
    count = sum(ratio < limit for ratio in naive_ratios(fakes, training)[0])
    found = copy_rate(fakes, reals, training)
    assert rank == max(1, round(EXPECTED * held_out))
    assert (found.rate, found.expected) == (pytest.approx(count / 120), rank / (held_out + 1))
    assert found.p_value == pytest.approx(hypergeometric(count, 120, rank, held_out))


def test_fresh_pictures_seem_copies_as_seldom_as_is_told() -> None:
    found = [copy_rate(features(80, s), features(100, s + 200), features(150, s + 400)) for s in range(150)]
    assert sum(copying.rate for copying in found) / 150 == pytest.approx(found[0].expected, abs=0.004)
    assert sum(copying.p_value <= 0.05 for copying in found) <= 15


@pytest.mark.parametrize(
    ("count", "drawn", "rank", "sample"),
    [
        (0, 10, 1, 99),
        (1, 1, 1, 99),
        (2, 2, 1, 1),
        (3, 20, 2, 30),
        (7, 64, 5, 500),
        (128, 256, 1, 8),
        (50, 1024, 8, 820),
    ],
)
def test_the_chance_of_a_count_is_the_hypergeometric_one(count: int, drawn: int, rank: int, sample: int) -> None:
    assert exceedance(count, drawn, rank, sample) == pytest.approx(hypergeometric(count, drawn, rank, sample))


def test_the_chance_of_a_count_is_known_where_it_is_simple() -> None:
    assert exceedance(0, 10, 3, 99) == pytest.approx(1)
    assert exceedance(1, 1, 1, 99) == pytest.approx(1 / 100)  # any of 100 may be the smallest
    assert exceedance(5, 5, 1, 3) == pytest.approx(1 / math.comb(8, 3))  # all drawn ones come first
    assert exceedance(1, 4, 1, 12) == pytest.approx(4 / 16)  # the smallest is a drawn one


def test_the_chance_of_a_count_is_that_of_a_simulation() -> None:
    random = torch.Generator().manual_seed(0)
    drawn, sample = torch.rand(20_000, 20, generator=random), torch.rand(20_000, 30, generator=random)
    counts = (drawn < sample.kthvalue(2, dim=1, keepdim=True).values).sum(1)
    for count in range(1, 6):
        assert exceedance(count, 20, 2, 30) == pytest.approx(float((counts >= count).double().mean()), abs=0.012)
