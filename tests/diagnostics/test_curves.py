"""Curves against closed forms: levels, areas, and intervals that hold what they should as often as they should."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gan_transfer.diagnostics.curves import Interval, Point, area, best, difference, lowest, ratio, reached


def curve(text: str) -> list[Point]:
    """`h300 c200` -> points ten kimg apart with these KIDs; the letter is the verdict's first."""
    verdicts = {"h": "healthy", "c": "collapsed", "m": "memorised", "p": "partial collapse"}
    return [
        Point(10.0 * n, float(word[1:]), 1.0, 0.5, 0.4, 0.6, 0.9, 0.0, verdicts[word[0]])
        for n, word in enumerate(text.split())
    ]


def test_the_best_point_is_usable_and_the_lowest_need_not_be() -> None:
    points = curve("h300 c100 m90 p200 h250")
    assert (best(points).kid, lowest(points).kid) == (200, 90)
    assert best(curve("c300 c200")).kid == 200


@pytest.mark.parametrize(("kid", "kimg"), [(400, 0.0), (300, 0.0), (299, 10.0), (150, 20.0), (99, None)])
def test_a_level_is_reached_at_the_first_point_that_is_as_low(kid: float, kimg: float | None) -> None:
    assert reached(curve("h300 h200 h100 h180"), kid) == kimg


def test_the_area_is_the_mean_under_straight_lines_whatever_the_order() -> None:
    points = curve("h300 h100 h200")
    assert area(points) == area(points[::-1]) == pytest.approx((200 + 150) / 2)
    assert area(points[:1]) == 300


def test_a_copy_of_the_training_pictures_reaches_nothing() -> None:
    assert reached(curve("h300 m100 h200"), 250) == 20.0


def test_a_ratio_of_equal_values_is_one_without_doubt() -> None:
    assert ratio([2, 3, 4], [2, 3, 4]) == Interval(1, 1, 1)
    assert difference([2, 3], [1, 2]) == Interval(1, 1, 1)


def test_one_pair_has_no_interval_and_excludes_no_number() -> None:
    found = ratio([1.0], [4.0])
    assert found.value == pytest.approx(0.25)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert not found.excludes(1)


def test_the_interval_is_students() -> None:
    found = difference([3.0, 5.0, 7.0], [2.0, 2.0, 2.0])  # mean 3, standard deviation 2
    assert found == pytest.approx((3, 3 - 4.303 * 2 / 3**0.5, 3 + 4.303 * 2 / 3**0.5))


def test_a_ratio_is_that_of_geometric_means_and_counts_no_value_below_the_floor() -> None:
    assert ratio([1.0, 4.0], [2.0, 8.0]) == pytest.approx((0.5, 0.5, 0.5))
    assert ratio([-3.0], [4.0], floor=2.0).value == pytest.approx(0.5)


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_a_difference_is_found_where_there_is_none_about_as_seldom_as_is_said(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    pairs = random.normal(10, 1, (2000, 2, seeds)).tolist()
    assert 0.035 <= sum(difference(*pair).excludes(0) for pair in pairs) / 2000 <= 0.065


def test_what_is_not_paired_is_refused() -> None:
    with pytest.raises(ValueError, match="pairs"):
        difference([1, 2], [1])
