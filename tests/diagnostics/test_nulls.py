"""Nulls: a p-value is a chance, a yardstick finds nothing in reals, and features that say nothing are refused."""

from __future__ import annotations

import dataclasses
import math
import statistics

import pytest
import torch
from mixtures import drawn, mixture, noise
from torch import Tensor

from gan_transfer.diagnostics.diversity import TWIN_RANK, nearest_center, occupancy, twin_ratios, vendi
from gan_transfer.diagnostics.nulls import (
    BOOKS,
    COUNTED,
    FAR,
    LEAST_HELD_OUT,
    LEAST_REALS,
    MODES,
    SPLITS,
    Comparison,
    Null,
    Yardstick,
    kernel_distance,
    lay,
)
from gan_transfer.errors import DataError

NAMES = [field.name for field in dataclasses.fields(Comparison)]
TRAINING = max(400, LEAST_REALS)


@pytest.fixture(scope="module")
def yardstick() -> Yardstick:
    return lay(mixture(200, 1), mixture(TRAINING, 0), 100)


def normal() -> Null:
    """A null of the quantiles of the normal law with mean 5 and standard deviation 2."""
    places = (torch.arange(1, 1000, dtype=torch.float64)) / 1000
    return Null(5 + 2 * torch.special.ndtri(places))


def naive_kernel_distance(a: Tensor, b: Tensor) -> float:
    """KID's kernel, pair by pair."""
    x, y = a.double().tolist(), b.double().tolist()

    def kernel(u: list[float], v: list[float]) -> float:
        return (sum(p * q for p, q in zip(u, v, strict=True)) / len(u) + 1) ** 3

    def within(rows: list[list[float]]) -> float:
        values = [kernel(u, v) for i, u in enumerate(rows) for j, v in enumerate(rows) if i != j]
        return statistics.fmean(values)

    return within(x) + within(y) - 2 * statistics.fmean(kernel(u, v) for u in x for v in y)


def test_a_p_value_counts_the_splits_beyond_the_value_and_the_value_itself() -> None:
    null = Null(torch.arange(99, dtype=torch.float64))
    counted = (-1.0, 0.0, 49.0, 99.0 - COUNTED)
    assert [null.p_value(value) for value in counted] == [1, 1, 0.51, (1 + COUNTED) / 100]
    assert (null.mean, null.sd) == (49, pytest.approx(statistics.stdev(range(99))))


def test_where_few_splits_reach_a_value_the_tail_stands_in_but_never_says_more_than_the_count() -> None:
    outlier = Null(torch.cat([normal().values, torch.tensor([25.0], dtype=torch.float64)]))
    assert outlier.p_value(25.0) < 1e-6  # 2 / 1001 by counting, but no normal law goes ten deviations far
    short = Null(torch.arange(SPLITS, dtype=torch.float64))  # no value as far as the tail of any gamma law
    assert [short.p_value(SPLITS - 1.0 - rank) for rank in range(3)] == pytest.approx([k / 301 for k in (2, 3, 4)])


@pytest.mark.parametrize("null", [normal(), Null(torch.arange(SPLITS).double()), Null(normal().values.exp())])
def test_a_larger_value_never_has_a_larger_p_value(null: Null) -> None:
    low, high = float(null.values.min()), float(null.values.max())
    places = torch.linspace(low - 1, high + 1, 2000).tolist() + null.values.tolist()
    p_values = [null.p_value(value) for value in sorted(places)]
    assert p_values == sorted(p_values, reverse=True)


@pytest.mark.parametrize("places", [4.0, 5.0, 6.0])
def test_beyond_all_splits_the_p_value_is_that_of_a_gamma_law_as_skew(places: float) -> None:
    null = Null((normal().values + 10).square())
    shape = torch.tensor(4 / null.skewness**2, dtype=torch.float64)
    expected = float(torch.special.gammaincc(shape, shape + places * shape.sqrt()))
    assert null.p_value(null.mean + places * null.sd) == pytest.approx(expected, rel=0.15)


def test_beyond_all_splits_the_p_value_is_less_than_any_counted_one_and_falls_to_none() -> None:
    null = normal()
    assert null.p_value(null.mean + 5 * null.sd) == pytest.approx(1 - statistics.NormalDist().cdf(5), rel=0.3)
    assert null.p_value(math.nextafter(float(null.values.max()), math.inf)) <= 1 / 1000
    assert null.p_value(1e9) == null.p_value(math.inf) == 0


def test_a_level_shared_out_over_many_looks_is_kept_by_a_skew_statistic() -> None:
    law = torch.distributions.Gamma(torch.tensor(16.0, dtype=torch.float64), 1.0)
    torch.manual_seed(0)
    critical = torch.tensor([Null(law.sample((SPLITS,))).critical(0.01 / 60) for _ in range(200)], dtype=torch.float64)
    beyond = torch.special.gammaincc(torch.full_like(critical, 16), critical).mean()
    assert float(beyond) <= 2.5 * 0.01 / 60  # 8 times as many by the normal law


@pytest.mark.parametrize("level", [0.5, 0.05, 0.01, 0.0033, 1e-3, 1e-4, 1e-8])
def test_the_critical_value_parts_what_is_significant_from_what_is_not(level: float) -> None:
    skew = Null((normal().values + 10).square())
    for null in (normal(), skew, Null(torch.arange(SPLITS, dtype=torch.float64))):
        critical = null.critical(level)
        assert null.p_value(critical + 1e-3) <= level
        assert null.p_value(critical - 1e-3) > level


def test_a_null_without_spread_finds_any_excess_significant_and_nothing_else() -> None:
    null = Null(torch.zeros(SPLITS, dtype=torch.float64))
    assert null.p_value(0.0) == 1
    assert null.p_value(0.01) == 0
    assert null.critical(1e-30) < 1e-7


def test_the_kernel_distance_is_the_unbiased_mmd_pair_by_pair() -> None:
    a, b = noise(30, 0), noise(20, 1) + 0.5
    assert kernel_distance(a, b) == pytest.approx(naive_kernel_distance(a, b))


def test_the_nulls_have_a_finite_value_for_each_split(yardstick: Yardstick) -> None:
    assert list(yardstick.nulls) == NAMES
    assert all(null.values.shape == (SPLITS,) and null.values.isfinite().all() for null in yardstick.nulls.values())


def test_two_thirds_of_the_reals_are_split_and_at_most_half_of_these_compared(yardstick: Yardstick) -> None:
    total = TRAINING + 200
    assert (yardstick.size, len(yardstick.pool)) == (100, total - total // 3)
    assert (
        lay(mixture(LEAST_HELD_OUT, 1), mixture(LEAST_REALS, 0), 10_000).size
        == ((LEAST_REALS + LEAST_HELD_OUT) - (LEAST_REALS + LEAST_HELD_OUT) // 3) // 2
    )


def test_the_codebooks_have_one_mode_for_so_many_fakes_of_each_size_and_are_padded(yardstick: Yardstick) -> None:
    real = (yardstick.books < FAR).all(2)
    counts = [min(max(100 // share, 10), most) for share, most in MODES]
    assert real.sum(1).tolist() == [count for count in counts for _ in range(BOOKS)]
    assert (yardstick.books[~real] == FAR).all()
    assert yardstick.books.shape == (len(MODES) * BOOKS, max(counts), yardstick.pool.shape[1])


def test_a_centre_that_pads_a_codebook_is_never_the_nearest(yardstick: Yardstick) -> None:
    padding = (yardstick.books == FAR).all(2)
    for features in (yardstick.pool, yardstick.space(1e3 + mixture(100, 3)), -1e4 * yardstick.pool):
        assert not occupancy(features, yardstick.books)[padding].any()
    for book, kept, found in zip(yardstick.books, ~padding, yardstick.modes.T, strict=True):
        assert torch.equal(nearest_center(yardstick.pool, book[kept]), found)


def test_the_nulls_are_those_of_splits_made_one_by_one(yardstick: Yardstick) -> None:
    features, found, random = yardstick.features, [], torch.Generator().manual_seed(7)
    for _ in range(200):
        order = torch.randperm(len(features), generator=random)
        found.append((*yardstick.split(order), kernel_distance(features[order[:100]], features[order[100:]])))
    for name, values in zip(NAMES, zip(*found, strict=True), strict=True):
        null = yardstick.nulls[name]
        assert statistics.fmean(values) == pytest.approx(null.mean, abs=0.4 * null.sd)
        assert statistics.stdev(values) == pytest.approx(null.sd, rel=0.25)


def test_a_split_compares_the_first_with_the_others(yardstick: Yardstick) -> None:
    order = torch.arange(len(yardstick.pool)).flip(0)
    first, others = yardstick.pool[order[:100]], yardstick.pool[order[100:200]]
    assert yardstick.split(order)[1] == pytest.approx(math.log(vendi(others) / vendi(first)))


def test_one_in_a_hundred_reals_has_a_twin(yardstick: Yardstick) -> None:
    ratios = torch.cat([twin_ratios(yardstick.space(mixture(100, seed)))[0] for seed in range(30)])
    assert float((ratios < yardstick.threshold).double().mean()) == pytest.approx(0.01, abs=0.008)


def test_reals_that_were_not_seen_are_within_the_nulls(yardstick: Yardstick) -> None:
    found = [yardstick.compare(mixture(100, seed)) for seed in range(100, 140)]
    for name in NAMES:
        values, null = [float(getattr(row, name)) for row in found], yardstick.nulls[name]
        assert statistics.fmean(values) == pytest.approx(null.mean, abs=1.5 * null.sd)
        assert sum(null.p_value(value) < 0.01 for value in values) <= 3


def test_each_loss_raises_its_own_statistic(yardstick: Yardstick) -> None:
    whole, few = mixture(100, 5), mixture(100, 6, modes=12)
    twins = torch.cat([whole[:60], whole[:40] + noise(40, 7, 0.05)])
    spread, centers = drawn(100, 8)
    narrow = centers + 0.4 * (spread - centers)
    for name, fakes in {"occupancy": few, "duplicates": twins, "spread": narrow, "kid": whole + 1}.items():
        assert yardstick.nulls[name].p_value(getattr(yardstick.compare(fakes), name)) < 1e-4


def test_the_same_seed_gives_the_same_yardstick_and_another_another(yardstick: Yardstick) -> None:
    fakes = mixture(100, 5)
    again, other = (lay(mixture(200, 1), mixture(TRAINING, 0), 100, seed) for seed in (0, 1))
    assert again.compare(fakes) == yardstick.compare(fakes)
    assert other.compare(fakes) != yardstick.compare(fakes)


def test_reals_of_a_few_distinct_pictures_can_be_judged_by() -> None:
    reals = mixture(3, 0).repeat(LEAST_REALS, 1)
    few = lay(reals[: 2 * LEAST_HELD_OUT], reals, 50)
    assert all(null.values.isfinite().all() for null in few.nulls.values())


@pytest.mark.parametrize(
    ("held_out", "training", "fakes", "message"),
    [
        (mixture(LEAST_HELD_OUT - 1, 0), mixture(400, 1), 100, f"held-out reals: wanted at least {LEAST_HELD_OUT}"),
        (mixture(LEAST_HELD_OUT, 0), mixture(9, 1), 100, f"too few reals .*: wanted at least {LEAST_REALS} in all"),
        (mixture(200, 0), mixture(400, 1), TWIN_RANK, f"too few fakes to judge: wanted at least {TWIN_RANK + 1}, got"),
        (mixture(200, 0), mixture(400, 1)[:, :9], 100, r"training reals are \[400, 9\], wanted \[N, 64\]; take one"),
        (mixture(200, 0)[0], mixture(400, 1), 100, r"held-out reals are \[64\], wanted \[N, D\]"),
        (mixture(200, 0), mixture(400, 1).log(), 100, "features of the training reals are not finite"),
        (torch.full((200, 64), 7.1), torch.full((400, 64), 7.1), 100, "features of the reals are constant; give"),
        (torch.zeros(200, 64), torch.zeros(400, 64), 100, "features of the reals are constant; give"),
    ],
)
def test_features_that_say_nothing_are_refused(held_out: Tensor, training: Tensor, fakes: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        lay(held_out, training, fakes)
