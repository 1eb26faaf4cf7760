"""Severity: what is read from a curve was planted, and the curves of real modes tell the share that was lost."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from mixtures import mixture

from gan_transfer.diagnostics import severity
from gan_transfer.diagnostics.diversity import k_means, missing_modes, nearest_center, occupancy
from gan_transfer.diagnostics.nulls import Yardstick, lay
from gan_transfer.diagnostics.severity import LOST_MODES, Curve, lost_modes

STRAIGHT = Curve((0.0, 0.1, 0.5), (1.0, 2.0, 4.0))


@pytest.fixture(scope="module")
def yardstick() -> Yardstick:
    return lay(mixture(300, 1), mixture(1200, 0), 256)


@pytest.fixture(scope="module")
def lost(yardstick: Yardstick) -> Curve:
    return lost_modes(yardstick)


def test_a_planted_dose_is_read_back_and_between_two_a_straight_line() -> None:
    assert [STRAIGHT.dose(response) for response in STRAIGHT.responses] == list(STRAIGHT.doses)
    assert STRAIGHT.dose(1.5) == pytest.approx(0.05)
    assert STRAIGHT.dose(3.5) == pytest.approx(0.4)


def test_no_dose_is_below_none_or_above_the_largest() -> None:
    assert STRAIGHT.dose(-5.0) == 0
    assert STRAIGHT.dose(math.inf) == 0.5


def test_a_response_on_a_plateau_is_the_least_dose_that_gives_it() -> None:
    plateau = Curve((0.0, 0.1, 0.2, 0.3), (1.0, 1.0, 2.0, 2.0))
    assert plateau.dose(1.0) == 0
    assert plateau.dose(2.0) == pytest.approx(0.2)
    assert plateau.dose(2.1) == 0.3


def test_a_larger_response_is_never_a_smaller_dose(lost: Curve) -> None:
    for curve in (STRAIGHT, lost):
        doses = [curve.dose(step / 50) for step in range(-10, 250)]
        assert all(0 <= less <= more for less, more in itertools.pairwise(doses))


def test_the_curve_rises_from_the_mean_of_the_null(yardstick: Yardstick, lost: Curve) -> None:
    assert lost.doses == (0.0, *LOST_MODES)
    assert lost.responses[0] == pytest.approx(yardstick.nulls["occupancy"].mean, abs=1e-6)
    assert all(less <= more for less, more in itertools.pairwise(lost.responses))
    assert lost.responses[-1] > yardstick.nulls["occupancy"].critical(1e-6)


@pytest.mark.parametrize("kept", [36, 32, 26, 20, 12])
def test_the_share_of_lost_modes_is_told_within_seven_points(yardstick: Yardstick, lost: Curve, kept: int) -> None:
    found = [lost.dose(yardstick.compare(mixture(256, seed, kept)).occupancy) for seed in range(10, 14)]
    assert sum(found) / 4 == pytest.approx(1 - kept / 40, abs=0.07)


def test_reals_have_lost_nothing_and_the_same_reals_give_the_same_curve(yardstick: Yardstick, lost: Curve) -> None:
    assert lost.dose(yardstick.compare(mixture(256, 20)).occupancy) < 0.1
    assert lost_modes(yardstick) == lost


def test_planted_modes_are_dropped_whole_and_found_in_the_pictures_of_the_codebooks(yardstick: Yardstick) -> None:
    order = severity._by_mode(yardstick, torch.Generator().manual_seed(5))
    centers = k_means(yardstick.fitted, severity.MODES, torch.Generator().manual_seed(5))
    modes = nearest_center(yardstick.pool, centers)[order]
    assert sorted(order.tolist()) == list(range(len(yardstick.pool)))
    assert 1 + int((modes.diff() != 0).sum()) == len(set(modes.tolist()))


def test_the_response_is_that_of_as_many_fakes_as_are_judged_even_where_fewer_pictures_are_left(
    yardstick: Yardstick,
) -> None:
    pool, everything = yardstick.pool, torch.arange(len(yardstick.pool))
    for known in (everything, everything[: yardstick.size], everything[:9]):
        found = severity._response(yardstick, known, torch.Generator().manual_seed(5))
        random = torch.Generator().manual_seed(5)
        few = torch.randint(len(known), (yardstick.size,), generator=random) if len(known) == 9 else None
        rows = known[torch.randperm(len(known), generator=random)[: yardstick.size] if few is None else few]
        occupied = occupancy(pool, yardstick.books)
        assert found == pytest.approx(missing_modes(pool[rows], pool, yardstick.books, occupied))
