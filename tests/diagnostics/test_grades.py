"""From evidence to a word: significance by Holm's method, the grade of a loss, and what each combination is called."""

from __future__ import annotations

import math
import random

import pytest
import torch

from gan_transfer.diagnostics import verdict
from gan_transfer.diagnostics.diversity import Repeats
from gan_transfer.diagnostics.memorisation import Copying
from gan_transfer.diagnostics.severity import LOST_MODES
from gan_transfer.diagnostics.verdict import ALPHA, LIMITS, SHARES, Axis, Grade, State, holm

NO_REPEATS = Repeats(0.0, [], torch.arange(512))


def test_the_exit_codes_are_in_the_order_of_the_words() -> None:
    words = ["healthy", "warning", "partial collapse", "collapsed", "memorised", "untrained", "batch-norm mismatch"]
    assert [str(state) for state in State] == words
    assert [state.exit_code for state in State] == [0, 10, 20, 30, 40, 50, 60]


def test_holm_finds_what_is_worked_out_by_hand() -> None:
    p_values = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}  # 0.005 <= .05 / 4, 0.01 <= .05 / 3, 0.03 > .05 / 2
    assert holm(p_values, 0.05) == {"a", "d"}
    assert holm(p_values, 0.1) == {"a", "b", "c", "d"}  # 0.03 <= .1 / 2, 0.04 <= .1
    assert holm({"a": 0.04, "b": 0.002, "c": 0.02}, 0.01) == {"b"}
    assert holm({"a": 0.0034, "b": 0.001}, 0.01) == {"a", "b"}
    assert holm({"a": 0.0051, "b": 0.0051}, 0.01) == set()
    assert holm({}, 0.01) == set()


def test_holm_gives_each_name_its_share_of_what_the_significant_ones_leave() -> None:
    shares = {"a": 0.8, "b": 0.1, "c": 0.1}
    assert holm({"a": 0.0079, "b": 0.5, "c": 0.5}, 0.01, shares) == {"a"}
    assert holm({"a": 0.0081, "b": 0.5, "c": 0.5}, 0.01, shares) == set()
    assert holm({"a": 0.5, "b": 0.0011, "c": 0.5}, 0.01, shares) == set()
    assert holm({"a": 0.0079, "b": 0.0049, "c": 0.5}, 0.01, shares) == {"a", "b"}  # b: half of the level is left
    assert holm({"a": 0.0088, "b": 0.0009, "c": 0.5}, 0.01, shares) == {"a", "b"}  # a: 8 / 9 of it
    assert holm({"a": 0.0099, "b": 0.0009, "c": 0.0009}, 0.01, shares) == {"a", "b", "c"}


@pytest.mark.parametrize(
    "shares", [None, {"a": 0.7, "b": 0.1, "c": 0.15, "d": 0.05}, {"a": 9.0, "b": 3.0, "c": 4.0, "d": 1.0}]
)
def test_holm_is_the_closed_test_of_bonferroni_in_any_order(shares: dict[str, float] | None) -> None:
    draws, given = random.Random(0), shares or dict.fromkeys("abcd", 1.0)
    for _ in range(200):
        p_values = {name: draws.random() ** 4 for name in draws.sample("abcd", 4)}
        groups = [[name for i, name in enumerate("abcd") if mask >> i & 1] for mask in range(1, 16)]
        rejected = {
            "".join(group): min(p_values[name] / given[name] for name in group)
            <= 0.05 / sum(given[name] for name in group)
            for group in groups
        }
        expected = {name for name in "abcd" if all(found for group, found in rejected.items() if name in group)}
        assert holm(p_values, 0.05, shares) == expected


def test_the_shares_add_up_to_the_whole_level_and_each_axis_has_three_rising_limits() -> None:
    assert list(SHARES) == list(LIMITS)
    assert math.fsum(SHARES.values()) == pytest.approx(1)
    assert all(0 <= least < partial < severe < 1 for least, partial, severe in LIMITS.values())


@pytest.mark.parametrize("name", LIMITS)
def test_a_loss_is_told_from_the_least_partial_from_the_second_and_severe_beyond_the_third(name: str) -> None:
    least, partial, severe = LIMITS[name]
    grades = {
        least: Grade.MILD, partial - 1e-6: Grade.MILD, partial: Grade.PARTIAL, severe: Grade.PARTIAL,
        severe + 1e-6: Grade.SEVERE, 1.0: Grade.SEVERE, least - 1e-6: Grade.NONE,
    }  # fmt: skip
    assert {loss: verdict._grade(name, loss, 0.01) for loss in grades} == grades


def test_where_even_the_largest_loss_of_modes_could_go_unseen_it_is_only_a_warning() -> None:
    for unseen, grade in {LOST_MODES[-1] - 1e-6: Grade.SEVERE, LOST_MODES[-1]: Grade.MILD}.items():
        assert verdict._grade("occupancy", 0.8, unseen) is grade
    assert verdict._grade("spread", 0.8, LOST_MODES[-1]) is Grade.SEVERE


@pytest.mark.parametrize(
    ("loss", "state"),
    [(0.02, State.WARNING), (0.10, State.PARTIAL), (0.35, State.PARTIAL), (0.36, State.COLLAPSED)],
)
def test_a_significant_loss_is_graded_by_its_size(loss: float, state: State) -> None:
    axes = [axis("occupancy", loss), axis("spread", 0.0), axis("duplicates", 0.0)]
    assert verdict._judge(axes, None, NO_REPEATS, 1.0, ALPHA)[0] is state
    assert verdict._judge(axes, None, NO_REPEATS, 0.01, ALPHA)[0] is State.UNTRAINED


@pytest.mark.parametrize(
    ("rate", "p_value", "loss", "state"),
    [
        (0.2, 1e-9, 0.0, State.MEMORISED),
        (0.05, 1e-9, 0.0, State.HEALTHY),
        (0.2, 0.02, 0.0, State.HEALTHY),
        (0.2, 1e-9, 0.8, State.COLLAPSED),
        (0.6, 1e-9, 0.8, State.MEMORISED),
    ],
)
def test_copies_count_if_they_are_many_and_sure(rate: float, p_value: float, loss: float, state: State) -> None:
    copying = Copying(rate, 0.01, p_value, [])
    assert verdict._judge([axis("occupancy", loss)], copying, NO_REPEATS, 1.0, ALPHA)[0] is state


def axis(name: str, loss: float) -> Axis:
    grade = verdict._grade(name, loss, 0.01) if loss else Grade.NONE
    return Axis(name, loss, 0.0, 0.01, 1e-6 if loss else 0.5, loss, 0.01, grade)
