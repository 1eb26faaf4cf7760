"""Fidelity: each number is that of a closed form, of another implementation, or of a case where nobody can doubt."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from gan_transfer.diagnostics.fidelity import (
    Score,
    frechet,
    inception_score,
    kid,
    kid_floor,
    kid_spread,
    precision_recall,
)
from gan_transfer.errors import DataError


def gaussian(count: int, dimension: int, seed: int, mean: float = 0.0) -> Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed)) + mean


def exact(count: int, mean: Tensor, spread: Tensor) -> Tensor:
    """Features whose mean is exactly `mean` and whose covariance is exactly diag(spread^2)."""
    x = gaussian(count, len(mean), 0).double()
    x = x - x.mean(0)
    white = x @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T))).T
    return (white * spread + mean).float()


def unbiased_mmd(x: Tensor, y: Tensor) -> float:
    """The same in a few lines: mean kernel within each side without the diagonal, less twice that between them."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a.double() @ b.double().T / a.shape[1] + 1) ** 3

    within = [float((kernel(a, a).sum() - kernel(a, a).trace()) / (len(a) * (len(a) - 1))) for a in (x, y)]
    return sum(within) - 2 * float(kernel(x, y).mean())


def mean_kernel(d: int, m: float, a: float, b: float) -> float:
    """E (x y / d + 1)^3 for independent x ~ N(u, I), y ~ N(v, I) with m = u v, a = |u|^2, b = |v|^2.

    Given x, x y is normal with mean x v and variance |x|^2; the moments of x follow.
    """
    second = m * m + a + b + d
    third = m**3 + 3 * m * b + 3 * m * (a + d + 2)
    return 1 + 3 * m / d + 3 * second / d**2 + third / d**3


def true_kid(d: int, shift: float) -> float:
    """KID of N(0, I) and N(shift, I), times 1000."""
    far = d * shift**2
    return 1000 * (mean_kernel(d, 0, 0, 0) + mean_kernel(d, far, far, far) - 2 * mean_kernel(d, 0, 0, far))


def test_the_frechet_distance_of_two_gaussians_is_the_closed_form() -> None:
    mean, spread = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([2.0, 0.5, 1.5])
    fakes, reals = exact(500, mean, spread), exact(400, torch.zeros(3), torch.ones(3))
    wanted = float((mean**2).sum() + ((spread - 1) ** 2).sum())
    assert frechet(fakes, reals, "toy").value == pytest.approx(wanted, rel=1e-4)
    assert frechet(reals, reals, "toy").value == pytest.approx(0.0, abs=1e-5)


def test_the_name_tells_the_pictures_and_only_inception_gives_an_fid() -> None:
    fakes, reals = gaussian(2000, 8, 0), gaussian(3000, 8, 1)
    assert frechet(fakes, reals, "inception").metric == "fid2k"
    assert frechet(fakes, reals, "builtin").metric == "fd2k"
    assert frechet(fakes[:1500], reals, "builtin").metric == "fd1500"
    assert (frechet(fakes, reals, "builtin").n, frechet(fakes, reals, "builtin").extractor) == (2000, "builtin")


def test_a_frechet_distance_needs_more_pictures_than_features() -> None:
    with pytest.raises(DataError) as caught:
        frechet(gaussian(100, 64, 0), gaussian(64, 64, 1), "inception")
    assert str(caught.value) == (
        "fid100 (inception) needs at least 65 pictures on each side, as its features are 64; got 64. "
        "Give more, or take KID: --metrics kid"
    )
    assert frechet(gaussian(65, 64, 0), gaussian(65, 64, 1), "inception").value > 0


def test_kid_agrees_with_another_implementation() -> None:
    fakes, reals = gaussian(512, 16, 0, mean=0.3), gaussian(512, 16, 1)
    score = kid(fakes, reals, "builtin")
    assert score.value == pytest.approx(1000 * unbiased_mmd(fakes, reals), rel=0.02)
    assert (score.metric, score.n, score.extractor) == ("kid_x1000", 512, "builtin")


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_the_interval_of_kid_covers_the_truth_as_often_as_it_says(shift: float) -> None:
    scores = [kid(gaussian(128, 8, 2 * s, mean=shift), gaussian(128, 8, 2 * s + 1), "toy") for s in range(120)]
    covered = [low <= true_kid(8, shift) <= high for score in scores for low, high in [score.interval or (1, 0)]]
    assert sum(covered) >= 108
    spread = torch.tensor([score.value for score in scores]).std().item()
    wide = sum(score.error or 0 for score in scores) / 120 / spread
    assert 0.8 < wide < 2.0


def test_kid_is_unbiased_when_fakes_are_few() -> None:
    scores = [kid(gaussian(64, 8, s), gaussian(2000, 8, 1000 + s), "toy").value for s in range(40)]
    assert abs(sum(scores) / 40) < 3 * torch.tensor(scores).std().item() / 40**0.5


def test_the_floor_is_the_kid_of_reals_against_other_reals() -> None:
    reals = gaussian(1000, 8, 0)
    floor = kid_floor(reals, 256, "builtin")
    assert (floor.metric, floor.n) == ("kid_floor_x1000", 256)
    assert floor.interval is not None
    assert floor.interval[0] < 0 < floor.interval[1]
    assert floor == kid_floor(reals, 256, "builtin")
    assert floor != kid_floor(reals, 256, "builtin", seed=1)
    assert kid_floor(reals, 900, "builtin").n == 500
    assert kid(reals[:256] + 0.5, reals[256:], "builtin").value > floor.interval[1]


def test_precision_and_recall_agree_with_another_implementation() -> None:
    def inside(points: Tensor, support: Tensor) -> float:
        radii = torch.stack([(support - s).norm(dim=1).sort().values[3] for s in support])
        return float(torch.stack([((support - p).norm(dim=1) <= radii).any() for p in points]).float().mean())

    fakes, reals = gaussian(100, 3, 0) * 0.7, gaussian(100, 3, 1)
    precision, recall = precision_recall(fakes, reals, "builtin")
    assert precision.value == pytest.approx(inside(fakes, reals))
    assert recall.value == pytest.approx(inside(reals, fakes))
    assert recall.value < precision.value
    assert (precision.metric, recall.metric) == ("precision", "recall")


def test_precision_and_recall_are_one_for_the_same_pictures_and_zero_for_others() -> None:
    reals = gaussian(50, 4, 0)
    assert [score.value for score in precision_recall(reals, reals, "toy")] == [1.0, 1.0]
    assert [score.value for score in precision_recall(reals + 100, reals, "toy")] == [0.0, 0.0]


def test_precision_and_recall_are_taken_from_as_many_fakes_as_reals() -> None:
    fakes, reals = gaussian(80, 4, 0), gaussian(200, 4, 1)
    assert precision_recall(fakes, reals, "toy") == precision_recall(fakes, reals[:80], "toy")


def test_the_inception_score_is_the_number_of_classes_at_best_and_one_at_worst() -> None:
    certain = 100 * torch.eye(10).repeat(100, 1)
    best = inception_score(certain, "file:lenet.pth")
    assert best.value == pytest.approx(10, rel=0.1)
    assert inception_score(certain, "file:lenet.pth", splits=1).value == pytest.approx(10)
    assert (best.metric, best.extractor, best.n) == ("is1k", "file:lenet.pth", 1000)
    assert inception_score(torch.zeros(1000, 10), "toy").value == pytest.approx(1)
    assert inception_score(certain[:1].repeat(1000, 1), "toy").value == pytest.approx(1)


def test_a_number_has_an_interval_only_if_its_error_is_known() -> None:
    assert Score("precision", 0.5, 100, "toy").interval is None
    assert Score("kid_x1000", 10.0, 100, "toy", error=1.0).interval == pytest.approx((8.04, 11.96))


@pytest.mark.parametrize(
    ("fakes", "reals", "expected"),
    [
        (torch.zeros(9, 3), torch.zeros(9, 4), "must be [N, D] with one D, got [9, 3] and [9, 4]"),
        (torch.zeros(9), torch.zeros(9), "must be [N, D] with one D, got [9] and [9]"),
        (torch.zeros(3, 4), torch.zeros(9, 4), "wanted at least 4 on each side, got 3"),
        (torch.full((9, 4), torch.nan), torch.zeros(9, 4), "features are not finite"),
    ],
)
def test_unusable_features_are_refused(fakes: Tensor, reals: Tensor, expected: str) -> None:
    for metric in (frechet, kid, precision_recall):
        with pytest.raises(DataError) as caught:
            metric(fakes, reals, "toy")  # type: ignore[operator]
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)


def test_too_few_logits_for_the_splits_are_refused() -> None:
    with pytest.raises(DataError, match="wanted at least 100 on each side, got 99"):
        inception_score(torch.zeros(99, 10), "toy")


def test_importing_the_module_does_not_import_torch_fidelity() -> None:
    code = "import sys, gan_transfer.diagnostics.fidelity; print('torch_fidelity' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_spread_of_kid_is_that_of_many_draws_of_fakes() -> None:
    random = torch.Generator().manual_seed(0)
    reals = torch.randn(100, 8, generator=random)
    draws = [1.3 * torch.randn(200, 8, generator=random) + 0.4 for _ in range(300)]
    found = [kid_spread(fakes, reals) for fakes in draws[:20]]
    values = torch.tensor([_unbiased(fakes, reals) for fakes in draws])
    assert float(values.std()) == pytest.approx(sum(found) / 20, rel=0.15)


def _unbiased(fakes: torch.Tensor, reals: torch.Tensor) -> float:
    """Squared MMD times 1000 with KID's kernel, by the definition."""
    within, across, both = (
        (a @ b.T / a.shape[1] + 1) ** 3 for a, b in ((fakes, fakes), (fakes, reals), (reals, reals))
    )
    means = [(k.sum() - k.diag().sum()) / (len(k) * (len(k) - 1)) for k in (within, both)]
    return 1000 * float(means[0] + means[1] - 2 * across.mean())
