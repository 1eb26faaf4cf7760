"""Diversity of features: each number is that of a closed form, and that of a naive implementation in loops."""

from __future__ import annotations

import collections
import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from mixtures import mixture, noise
from torch import Tensor

from gan_transfer.diagnostics import diversity
from gan_transfer.diagnostics.diversity import TWIN_RANK, k_means, near_duplicates, nearest_center, vendi

Array = npt.NDArray[np.float64]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distance(a: Array, b: Array) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True)))


def distances(features: Tensor, others: Tensor) -> Array:
    """A table of distances, one pair at a time."""
    a, b = features.double().numpy(), others.double().numpy()
    return np.array([[distance(x, y) for y in b] for x in a])


def naive_vendi(features: Tensor, center: Tensor) -> float:
    """exp of the entropy of the eigenvalues of the whole table of cosines."""
    rows = (features - center).double().numpy()
    cosines = np.array([[x @ y / math.sqrt((x @ x) * (y @ y)) for y in rows] for x in rows])
    weights = [float(value) for value in np.linalg.eigvalsh(cosines / len(rows)) if value > 1e-12]
    return math.exp(-sum(value * math.log(value) for value in weights))


def naive_density_coverage(fakes: Tensor, reals: Tensor, k: int) -> tuple[float, float]:
    """Naeem et al. 2020, formulas 4 and 5."""
    among, between = distances(reals, reals), distances(reals, fakes)
    radii = [sorted(row)[k] for row in among]  # the 0th is the picture itself
    inside = [[d < radius for d in row] for row, radius in zip(between, radii, strict=True)]
    return sum(map(sum, inside)) / k / len(fakes), sum(map(any, inside)) / len(reals)


def naive_kept(features: Tensor, threshold: float) -> int:
    """Groups of pictures, when every near-duplicate is tied to its nearest: as many as can be kept."""
    table = distances(features, features)
    group = list(range(len(table)))
    for row, found in enumerate(table):
        order = sorted((other for other in range(len(table)) if other != row), key=lambda other: found[other])
        if found[order[0]] < threshold * found[order[TWIN_RANK - 1]]:
            old, new = group[row], group[order[0]]
            group = [new if number == old else number for number in group]
    return len(set(group))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_vendi_score_of_k_equal_groups_of_orthogonal_directions_is_k(k: int) -> None:
    groups = torch.eye(8)[:k].repeat(7, 1) * torch.arange(1, 7 * k + 1)[:, None]  # lengths do not matter
    assert vendi(groups, torch.zeros(8)) == pytest.approx(k)


def test_the_vendi_score_of_unequal_groups_is_the_exponential_of_their_entropy() -> None:
    groups = torch.eye(3)[[0] * 6 + [1] * 3 + [2]]
    entropy = -sum(share * math.log(share) for share in (0.6, 0.3, 0.1))
    assert vendi(groups, torch.zeros(3)) == pytest.approx(math.exp(entropy))


@pytest.mark.parametrize("count", [30, 90])
def test_the_vendi_score_is_that_of_the_whole_table_of_cosines(count: int) -> None:
    features = mixture(count, 0)  # fewer, and more, than there are dimensions
    assert vendi(features, torch.ones(64)) == pytest.approx(naive_vendi(features, torch.ones(64)), rel=1e-5)
    assert vendi(features) == pytest.approx(naive_vendi(features, features.mean(0)), rel=1e-5)


def test_the_vendi_score_about_the_mean_ignores_a_shift_and_a_scale_and_is_one_for_equal_features() -> None:
    features = mixture(60, 0)
    assert vendi(3 * features + 7) == pytest.approx(vendi(features), rel=1e-4)
    assert vendi(torch.ones(9, 4)) == 1


def test_the_divergence_of_disjoint_shares_is_log_two_and_their_missing_mass_one() -> None:
    p, q = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.4, 0.6]])
    assert diversity.jensen_shannon(p, q) == pytest.approx(math.log(2))
    assert diversity.missing_mass(p, q) == pytest.approx(1)
    assert diversity.deficit(p, q) == pytest.approx(1)
    assert (diversity.jensen_shannon(p, p), diversity.missing_mass(p, p), diversity.deficit(p, p)) == (0, 0, 0)


def test_dropping_a_mode_misses_its_mass_and_leaves_a_deficit_of_as_much() -> None:
    p, q = torch.tensor([0.25, 0.25, 0.5]), torch.tensor([0.0, 0.5, 0.5])
    divergence = (0.25 * math.log(2) + 0.25 * math.log(2 / 3) + 0.5 * math.log(4 / 3)) / 2
    assert diversity.jensen_shannon(p, q) == pytest.approx(divergence)
    assert diversity.missing_mass(p, q) == pytest.approx(0.25)
    assert diversity.deficit(p, q) == pytest.approx(0.25)


def test_divergence_and_missing_mass_and_deficit_are_those_of_naive_sums() -> None:
    p, q = torch.rand(2, 4, 12, generator=seeded(), dtype=torch.float64).softmax(-1)
    q[0, :3], p[1, 2:5] = 0, 0
    p, q = p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)
    divergence = missed = holes = 0.0
    for a, b in zip(p.flatten().tolist(), q.flatten().tolist(), strict=True):
        middle = (a + b) / 2
        divergence += sum(part * math.log(part / middle) for part in (a, b) if part) / 2
        missed += max(a - b, 0)
        holes += a * max(1 - b / a, 0) ** 3 if a else 0
    assert diversity.jensen_shannon(p, q) == pytest.approx(divergence / 4)
    assert diversity.missing_mass(p, q) == pytest.approx(missed / 4)
    assert diversity.deficit(p, q) == pytest.approx(holes / 4)


def test_each_center_of_k_means_is_the_mean_of_what_is_nearest_to_it() -> None:
    features = 20 * torch.eye(6).repeat(50, 1) + torch.randn(300, 6, generator=seeded())
    centers = k_means(features, 9, seeded(1))
    nearest = distances(features, centers).argmin(1)
    assert nearest_center(features, centers).tolist() == nearest.tolist()
    again = torch.stack([features[torch.from_numpy(nearest == row)].mean(0) for row in range(9)])
    assert torch.allclose(again, centers, atol=1e-3)


def test_as_many_centers_as_features_are_the_features_and_more_coincide() -> None:
    features = noise(12, 0)
    assert torch.allclose(k_means(features, 12, seeded()).sort(0).values, features.sort(0).values, atol=1e-5)
    twins = features[:3].repeat(4, 1)
    assert set(nearest_center(features[:3], k_means(twins, 8, seeded())).tolist()) <= set(range(8))


def test_k_means_finds_far_modes_and_occupancy_their_shares() -> None:
    features = torch.cat([200 * torch.eye(3, 64)[[row]] + noise(count, row) for row, count in enumerate((60, 30, 10))])
    books = torch.stack([k_means(features, 3, seeded(seed)) for seed in range(4)])
    found = diversity.occupancy(features, books)
    assert found.sort(1, descending=True).values.flatten().tolist() == pytest.approx([0.6, 0.3, 0.1] * 4)


def test_occupancy_counts_the_nearest_of_each_codebook() -> None:
    features, books = noise(50, 0), noise(14, 1).reshape(2, 7, 64)
    for book, found in zip(books, diversity.occupancy(features, books), strict=True):
        counts = collections.Counter(distances(features, book).argmin(1).tolist())
        assert found.tolist() == pytest.approx([counts[mode] / 50 for mode in range(7)])


def test_the_principal_space_holds_the_largest_eigenvalues_of_the_covariance() -> None:
    features = noise(200, 0)[:, :10] * torch.arange(1, 11) + 5
    space = diversity.principal_space(features, 4)
    largest = np.linalg.eigvalsh(np.cov(features.double().numpy().T))[::-1][:4]
    assert space(features).var(0).tolist() == pytest.approx(largest.tolist(), rel=1e-4)
    assert torch.allclose(space.directions.T @ space.directions, torch.eye(4), atol=1e-5)
    assert diversity.principal_space(features[:3], 4).directions.shape == (10, 2)


def test_displacement_is_one_for_a_shift_of_one_standard_deviation() -> None:
    features = mixture(100, 0)
    found = [diversity.displacement(features + shift * features.std(0), features) for shift in (0, 1)]
    assert found == pytest.approx([0, 1], rel=1e-4)


def test_fakes_that_chance_displaces_are_compared_as_they_are_and_nothing_is_allowed_them() -> None:
    reals, fakes = mixture(100, 0), mixture(50, 1)
    fakes += reals.mean(0) - fakes.mean(0) + math.sqrt(0.99 * diversity.BY_CHANCE * 0.03) * reals.std(0)
    moved, allowed = diversity.compared(fakes, reals)
    assert moved is fakes
    assert allowed == 0


@pytest.mark.parametrize("part", [0.25, 0.5, 1.0, 3.0])
def test_the_more_fakes_are_displaced_beyond_chance_the_nearer_they_are_to_aligned_ones(part: float) -> None:
    reals, fakes = mixture(100, 0), 0.7 * mixture(50, 1)
    beyond = part * (diversity.BY_FAULT - diversity.BY_CHANCE) * 0.03  # chance: 1 / 50 + 1 / 100
    apart = diversity.BY_CHANCE * 0.03 + beyond
    fakes += reals.mean(0) - fakes.mean(0) + math.sqrt(apart) * reals.std(0)
    moved, allowed = diversity.compared(fakes, reals)
    weight = min(part, 1)
    assert torch.allclose(moved, (1 - weight) * fakes + weight * diversity.aligned(fakes, reals), atol=1e-3)
    assert allowed == pytest.approx(min(diversity.SHIFT_COST * beyond, diversity.MOST_ALLOWED), rel=1e-3)


def test_no_displacement_excuses_more_than_the_most() -> None:
    assert diversity.compared(mixture(100, 0) + 100, mixture(100, 0))[1] == diversity.MOST_ALLOWED


def test_aligned_fakes_have_the_mean_and_within_a_factor_of_two_the_spread_of_the_reals() -> None:
    reals, fakes = mixture(100, 0), mixture(100, 1)
    paler = diversity.aligned(0.7 * fakes + 5, reals)
    assert torch.allclose(paler.mean(0), reals.mean(0), atol=1e-4)
    assert torch.allclose(paler.std(0), reals.std(0), rtol=1e-4)
    speck = diversity.aligned(1e-3 * fakes, reals)
    assert torch.allclose(speck.std(0), 2e-3 * fakes.std(0), rtol=1e-2)


def test_lost_modes_are_missed_and_what_happens_to_all_pictures_alike_is_not() -> None:
    reals, fakes = mixture(600, 0), mixture(600, 1)
    books = torch.stack([k_means(reals, 40, seeded(seed)) for seed in range(4)])
    occupied = diversity.occupancy(reals, books)
    whole, pale, shifted, halved = (
        diversity.missing_modes(pictures, reals, books, occupied)
        for pictures in (fakes, 0.7 * fakes, fakes + 1, mixture(600, 2, modes=20))
    )
    assert max(whole, pale, shifted) < 0.1
    assert halved > 0.25


def test_the_occupancy_statistic_is_the_deficit_of_the_compared_fakes_less_what_they_are_allowed() -> None:
    reals = mixture(600, 0)
    books = torch.stack([k_means(reals, 40, seeded(seed)) for seed in range(2)])
    occupied = diversity.occupancy(reals, books)
    for fakes in (mixture(300, 1), 0.8 * mixture(300, 1) + 0.2):
        moved, allowed = diversity.compared(fakes, reals)
        expected = diversity.deficit(occupied, diversity.occupancy(moved, books)) - allowed
        assert diversity.missing_modes(fakes, reals, books, occupied) == pytest.approx(expected)


def test_known_modes_stand_for_fakes_as_they_are_and_are_not_those_of_moved_ones() -> None:
    reals, fakes = mixture(600, 0), mixture(300, 1)
    books = torch.stack([k_means(reals, 40, seeded(seed)) for seed in range(2)])
    occupied, wrong = diversity.occupancy(reals, books), torch.zeros(300, 2, dtype=torch.int64)
    for pictures, kept in {fakes: True, fakes + 1: False}.items():
        assert (diversity.compared(pictures, reals)[0] is pictures) == kept
        unknown = diversity.missing_modes(pictures, reals, books, occupied)
        assert diversity.missing_modes(pictures, reals, books, occupied, nearest_center(pictures, books)) == unknown
        assert (diversity.missing_modes(pictures, reals, books, occupied, wrong) == unknown) != kept


@pytest.mark.parametrize("threshold", [0.3, 0.8, 0.9])
def test_near_duplicates_are_as_many_as_a_search_pair_by_pair_finds(threshold: float) -> None:
    features = mixture(120, 0)
    features[60:80] = features[:20] + noise(20, 1, 0.1)
    features[80:90] = features[:10] + noise(10, 2, 0.1)
    found = near_duplicates(features, threshold)
    assert len(found.kept) == naive_kept(features, threshold)
    assert found.share == pytest.approx(1 - len(found.kept) / 120)
    left = {twin for twin, _ in found.twins}
    assert left | set(found.kept.tolist()) == set(range(120))
    assert len(left) + len(found.kept) == 120


def test_a_planted_pair_is_found_once_whatever_is_done_to_all_pictures() -> None:
    features = mixture(200, 0)
    features[150] = features[3] + 1e-2
    for changed in (features, 0.1 * features, features + 3):
        found = near_duplicates(changed, 0.1)
        assert [set(pair) for pair in found.twins] == [{3, 150}]


@pytest.mark.parametrize("distinct", [1, 2, 8, 16, 60])
def test_of_exact_repeats_one_of_each_is_kept(distinct: int) -> None:
    features = (mixture(distinct, 0) + 30).repeat(240 // distinct, 1)
    assert len(near_duplicates(features, 0.5).kept) == distinct


def test_density_and_coverage_of_the_reals_themselves_are_one_and_of_far_fakes_zero() -> None:
    reals = mixture(100, 0)
    assert diversity.density_coverage(reals, reals) == pytest.approx((1, 1), abs=0.01)  # ties, but for rounding
    assert diversity.density_coverage(reals + 1000, reals) == (0, 0)


@pytest.mark.parametrize(("fakes", "k"), [(40, 3), (70, 5)])
def test_density_and_coverage_are_those_of_the_formulas_in_loops(fakes: int, k: int) -> None:
    given, reals = noise(fakes, 0)[:, :5] + 0.3, noise(60, 1)[:, :5]
    assert diversity.density_coverage(given, reals, k) == pytest.approx(naive_density_coverage(given, reals, k))


def test_the_expected_density_and_coverage_of_equals_are_those_of_the_paper() -> None:
    k, n = 5, 120
    pairs = [(noise(n, 2 * seed)[:, :6], noise(n, 2 * seed + 1)[:, :6]) for seed in range(60)]
    found = torch.tensor([diversity.density_coverage(fakes, reals, k) for fakes, reals in pairs]).mean(0).tolist()
    uncovered = math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert found == pytest.approx([1, 1 - uncovered], abs=0.02)


def test_the_histogram_counts_the_likeliest_classes() -> None:
    logits = torch.randn(200, 7, generator=seeded())
    counts = collections.Counter(max(range(7), key=row.__getitem__) for row in logits.tolist())
    assert diversity.class_histogram(logits).tolist() == pytest.approx([counts[name] / 200 for name in range(7)])
    assert diversity.class_histogram(torch.eye(4)[[0, 0, 3, 1]]).tolist() == [0.5, 0.25, 0, 0.25]


@pytest.mark.parametrize(("pictures", "shown"), [(1, 50), (20, 50), (300, 256), (5000, 256)])
def test_the_number_of_pictures_behind_repeats_is_recovered(pictures: int, shown: int) -> None:
    expected = pictures * (1 - (1 - 1 / pictures) ** shown)
    assert diversity.distinct_pictures(shown, expected) == pytest.approx(pictures, rel=1e-6)


def test_the_number_of_pictures_is_that_of_a_simulation() -> None:
    draws = torch.randint(80, (400, 200), generator=seeded())
    distinct = sum(len(set(row)) for row in draws.tolist()) / 400
    assert diversity.distinct_pictures(200, distinct) == pytest.approx(80, rel=0.01)


def test_more_distinct_pictures_mean_more_behind_them_and_no_repeat_means_no_end() -> None:
    found = [diversity.distinct_pictures(64, distinct) for distinct in (1, 10, 30, 60, 63)]
    assert all(fewer < more for fewer, more in itertools.pairwise(found))
    assert diversity.distinct_pictures(64, 64) == math.inf
