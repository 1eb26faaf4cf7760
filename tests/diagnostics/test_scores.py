"""Claims about the metrics that are asked for by name: their names, their yardstick, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan_transfer.diagnostics.diversity import density_coverage, vendi
from gan_transfer.diagnostics.fidelity import kid, precision_recall
from gan_transfer.diagnostics.scores import CLASSIFIED, METRICS, check_enough, inception, measure, parse_metrics
from gan_transfer.errors import DataError, RecipeError


def features(count: int, seed: int, dimension: int = 8) -> Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


def test_metrics_are_named_in_any_order_and_each_once() -> None:
    assert parse_metrics(" recall,KID,,recall ") == ("recall", "kid")
    assert parse_metrics("") == ()
    with pytest.raises(RecipeError, match="metric 'presicion' is not known; did you mean 'precision'"):
        parse_metrics("kid,presicion")


def test_each_metric_is_that_of_its_own_function() -> None:
    fakes, reals = features(200, 0), features(300, 1)
    found = {row.score.metric: row.score for row in measure(list(METRICS), fakes, reals, "x")}
    density, coverage = density_coverage(fakes, reals[:200])
    precision, recall = precision_recall(fakes, reals, "x")
    assert found["kid_x1000"] == kid(fakes, reals, "x")
    assert (found["precision"], found["recall"]) == (precision, recall)
    assert (found["density"].value, found["coverage"].value, found["vendi"].value) == (density, coverage, vendi(fakes))
    assert {score.n for score in found.values()} == {200}


def test_a_mode_that_fakes_never_show_is_missing_by_its_share() -> None:
    kinds = torch.arange(1000) % 10
    reals = 50 * torch.eye(10)[kinds] + 0.1 * features(1000, 1, 10)
    fakes = (50 * torch.eye(10)[kinds] + 0.1 * features(1000, 0, 10))[kinds < 8]
    (js, missing), floors = zip(*measure(["js", "missing"], fakes, reals, "x"), strict=True)
    assert missing.value == pytest.approx(0.2, abs=0.12)
    assert missing.value > 1.5 * floors[1].value
    assert floors[0].value < js.value < math.log(2)


def test_beside_each_stands_what_reals_get_against_other_reals() -> None:
    reals = features(300, 1)
    for row in measure(["kid", "recall"], features(100, 0) + 3, reals, "x"):
        (floor,) = measure([row.score.metric.removesuffix("_x1000")], reals[:100], reals[100:], "x")
        assert row.reals == floor.score
        assert row.reals != row.score


def test_only_inceptions_frechet_distance_is_called_fid() -> None:
    fakes, reals = features(50, 0), features(50, 1)
    names = [measure(["fid"], fakes, reals, extractor)[0].score.metric for extractor in ("inception", "builtin")]
    assert names == ["fid50", "fd50"]


def test_where_half_of_the_reals_are_too_few_there_is_no_yardstick() -> None:
    (row,) = measure(["fid"], features(12, 0), features(12, 1), "inception")
    assert row.reals is None


def test_too_few_pictures_are_refused_before_the_work() -> None:
    check_enough(["kid", "fid", "is"], 257, 300, "builtin", 256)
    with pytest.raises(
        DataError, match=r"fid with the 2048 features of inception needs at least 2049 .* 1024 fakes and"
    ):
        check_enough(["fid"], 1024, 4096, "inception", 2048)
    with pytest.raises(
        DataError, match="metric is needs at least 100 pictures on each side, got 99 fakes and 100 reals"
    ):
        check_enough(["is"], 99, 100, "builtin", 256)


def test_an_inception_score_stands_beside_that_of_the_reals() -> None:
    sure = torch.eye(10).repeat(200, 1) * 100
    row = inception(torch.zeros(200, 10), sure, "digits")  # each of the ten parts has 200 reals
    assert row.reals is not None
    assert row.score.metric == "is200"
    assert row.score.value == pytest.approx(1)
    assert row.reals.value == pytest.approx(10, rel=0.05)


def test_the_metrics_of_features_and_of_classes_have_different_names() -> None:
    assert set(METRICS) & set(CLASSIFIED) == set()
