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


def test_a_ratio_of_equal_values_is_one_without_doubt() -> None:
    assert ratio([2, 3, 4], [2, 3, 4]) == Interval(1, 1, 1)
    assert difference([2, 3], [1, 2]) == Interval(1, 1, 1)


def test_one_pair_has_no_interval_and_leaves_out_no_number() -> None:
    found = ratio([1.0], [4.0])
    assert found.value == 0.25
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.includes(1)


def test_all_resamples_of_two_pairs_give_the_ends_of_their_range() -> None:
    found = ratio([1.0, 3.0], [2.0, 2.0])  # means of 1, 2, 2 and 3 over 2
    assert found.value == 1.0
    assert (found.low, found.high) == pytest.approx((0.5 + 0.5 * 0.075, 1.5 - 0.5 * 0.075))


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        theirs = random.normal(10, 1, 20)
        held += difference((theirs + random.normal(2, 1, 20)).tolist(), theirs.tolist()).includes(2)
    assert 0.85 <= held / 200 <= 1.0


def test_what_is_not_paired_is_refused() -> None:
    with pytest.raises(ValueError, match="pairs"):
        ratio([1, 2], [1])
