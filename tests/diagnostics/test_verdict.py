"""The verdict on a mixture of Gaussians: planted losses are found and named, and poor pictures are no collapse."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import pytest
import torch
from mixtures import CENTERS, drawn, mixture, noise
from torch import Tensor

from gan_transfer.diagnostics import verdict, verdict_words
from gan_transfer.diagnostics.nulls import LEAST_REALS
from gan_transfer.diagnostics.verdict import (
    LEAST_FAKES,
    LEAST_PRECISION,
    LEAST_TRAINING,
    LIMITS,
    NEIGHBOURS,
    Grade,
    Judge,
    State,
    Verdict,
    prepare,
)
from gan_transfer.errors import DataError

FAKES = 256
TRAINING, HELD_OUT = mixture(1300, 0), mixture(400, 1)
MIRRORED = mixture(1300, 2)
ALARMS = {State.PARTIAL, State.COLLAPSED}


@pytest.fixture(scope="module")
def judge() -> Judge:
    return prepare(HELD_OUT, TRAINING, FAKES, MIRRORED)


def repeated(distinct: int, seed: int, sd: float = 0.1) -> Tensor:
    """So many distinct pictures, each with noise of its own whenever it is shown."""
    return mixture(distinct, seed).repeat(FAKES // distinct, 1) + noise(FAKES, seed + 1, sd)


def test_of_very_few_pictures_no_number_is_told(judge: Judge) -> None:
    found = judge(repeated(FAKES // 16, 20, 0.02))
    assert found.state is State.COLLAPSED
    assert "repeat another one" in found.reason
    assert "as if there were" not in found.reason


def twins(share: float, seed: int) -> Tensor:
    """Pictures of which the last ones repeat the first ones, but for some noise."""
    fakes, count = mixture(FAKES, seed), round(share * FAKES)
    fakes[FAKES - count :] = fakes[:count] + noise(count, seed + 1, 0.05)
    return fakes


def narrowed(factor: float, seed: int) -> Tensor:
    fakes, centers = drawn(FAKES, seed)
    return centers + factor * (fakes - centers)


def test_reals_that_were_not_trained_on_are_healthy(judge: Judge) -> None:
    found = [judge(mixture(FAKES, seed)) for seed in range(100, 120)]
    assert sum(given.state is State.HEALTHY for given in found) >= 19
    assert {given.state.exit_code for given in found} <= {0, 10}
    assert sum(given.kid > given.kid_floor for given in found) <= 4
    assert min(given.precision for given in found) > 7 * LEAST_PRECISION  # smaller balls hold about half of the reals


@pytest.mark.parametrize("kept", [20, 12])
def test_a_generator_that_lost_half_of_its_modes_is_collapsed(judge: Judge, kept: int) -> None:
    found = judge(mixture(FAKES, 10, kept))
    assert found.state is State.COLLAPSED
    assert found.axis("occupancy").loss == pytest.approx(1 - kept / 40, abs=0.1)
    assert found.reason.startswith(f"looks like about {found.axis('occupancy').loss:.0%} of the modes are missing")


def test_a_fifth_of_the_modes_is_a_partial_collapse(judge: Judge) -> None:
    assert [judge(mixture(FAKES, seed, 32)).state for seed in range(5)] == [State.PARTIAL] * 5


@pytest.mark.parametrize("sd", [0.02, 0.1, 0.3])
def test_a_quarter_of_distinct_pictures_is_collapsed(judge: Judge, sd: float) -> None:
    found = judge(repeated(FAKES // 4, 20, sd))
    assert found.state is State.COLLAPSED
    assert found.axis("duplicates").grade is Grade.SEVERE
    told = re.search(r"(\d+)% of the pictures repeat another one, as if there were about (\d+) in all", found.reason)
    assert told, found.reason
    # Each is shown four times over, so that with the twins found among them about as many are behind all.
    assert FAKES // 6 <= int(told[2]) <= FAKES // 2


def test_near_duplicates_are_an_alarm_and_are_paired(judge: Judge) -> None:
    found = judge(twins(0.15, 30))
    assert found.state is State.PARTIAL
    assert found.axis("duplicates").loss == pytest.approx(0.15, abs=0.02)
    assert {(row, FAKES - 38 + row) for row in range(38)} <= {(min(pair), max(pair)) for pair in found.repeats.twins}


def test_modes_drawn_together_are_an_alarm(judge: Judge) -> None:
    found = judge(narrowed(0.6, 40))
    assert found.state in ALARMS
    assert found.axis("spread").grade > Grade.NONE
    assert found.vendi_ratio < 1 - LIMITS["spread"][0]


def test_a_smaller_loss_than_the_least_is_not_told_however_sure(judge: Judge) -> None:
    spread = judge(narrowed(0.85, 40)).axis("spread")
    assert spread.p_value < 1e-9
    assert 0.05 < spread.loss < LIMITS["spread"][0] == spread.seen_from
    assert spread.grade is Grade.NONE


@pytest.mark.parametrize("seed", range(50, 56))
def test_eight_pictures_again_and_again_are_collapsed(judge: Judge, seed: int) -> None:
    assert judge(repeated(8, seed)).state is State.COLLAPSED


@pytest.mark.parametrize("center", [0, 7, 21, 39])
def test_one_picture_is_severe_in_all_respects_and_collapsed_if_it_is_like_real_ones(judge: Judge, center: int) -> None:
    found = judge(CENTERS[center].repeat(FAKES, 1))
    assert [one.grade for one in found.axes] == [Grade.SEVERE] * 3
    assert found.precision in (0, 1)
    assert found.state is (State.COLLAPSED if found.precision else State.UNTRAINED)
    assert ("and they are much alike" in found.reason) == (found.state is State.UNTRAINED)


@pytest.mark.parametrize("mirrored", [False, True])
def test_replayed_training_pictures_are_memorised_and_named(judge: Judge, mirrored: bool) -> None:
    rows = torch.randperm(len(TRAINING), generator=torch.Generator().manual_seed(0))[:FAKES]
    found = judge((MIRRORED if mirrored else TRAINING)[rows] + noise(FAKES, 3, 0.1))
    assert found.state is State.MEMORISED
    assert found.reason == "100% of the pictures are copies of training pictures"
    assert all((rows[copy.fake], copy.mirrored) == (copy.training, mirrored) for copy in found.copies)
    assert len(found.copies) == len(found.repeats.kept)


def test_copies_are_named_by_their_place_among_all_fakes(judge: Judge) -> None:
    repeats, copies = mixture(1, 0).repeat(40, 1), TRAINING[500:560] + noise(60, 3, 0.1)
    found = judge(torch.cat([repeats, mixture(FAKES - 100, 4), copies]))
    named = {(copy.fake, copy.training) for copy in found.copies}
    assert found.state is State.MEMORISED
    assert len(named & {(FAKES - 60 + row, 500 + row) for row in range(60)}) > 50


def test_a_mirrored_copy_is_unnoticed_without_the_mirror_images(judge: Judge) -> None:
    blind = dataclasses.replace(judge, mirrored=None)
    assert blind(MIRRORED[:FAKES]).state is State.HEALTHY


def test_noise_in_the_huge_balls_of_a_few_outliers_is_not_like_real_pictures() -> None:
    fakes, reals = noise(FAKES, 63, 20), torch.cat([mixture(FAKES - 20, 64), noise(20, 65, 100)])
    radii = torch.cdist(reals, reals).fill_diagonal_(torch.inf).kthvalue(NEIGHBOURS, dim=1).values
    assert (torch.cdist(fakes, reals) <= radii).any(1).double().mean() > 0.5  # they would be by the balls of all reals
    assert verdict._precision(fakes, reals) == 0
    assert verdict._precision(mixture(FAKES, 66), reals) > 7 * LEAST_PRECISION


def test_pictures_like_no_real_ones_are_untrained(judge: Judge) -> None:
    found = [judge(fakes) for fakes in (mixture(FAKES, 60) + 30, noise(FAKES, 61, 20), repeated(4, 62) + 30)]
    assert [given.state for given in found] == [State.UNTRAINED] * 3
    assert found[0].reason == "0% of the pictures are like real ones; so diversity is not judged"
    assert "and they are much alike" in found[2].reason


@pytest.mark.parametrize("seed", [70, 71, 72])
def test_what_costs_fidelity_alone_is_no_collapse(judge: Judge, seed: int) -> None:
    fakes = mixture(FAKES, seed)
    for poor in (0.8 * fakes, fakes + 0.3, fakes + noise(FAKES, 5, 0.6), 0.8 * fakes + noise(FAKES, 6, 0.3) - 0.2):
        assert judge(poor).state not in ALARMS


def test_pictures_that_are_poor_and_lost_modes_are_collapsed(judge: Judge) -> None:
    assert judge(mixture(FAKES, 80, 20) + noise(FAKES, 81, 0.6)).state is State.COLLAPSED


def test_more_looks_never_make_an_axis_worse(judge: Judge) -> None:
    for fakes in (mixture(FAKES, 1, 36), mixture(FAKES, 2, 32), twins(0.04, 3), narrowed(0.9, 4), mixture(FAKES, 5)):
        given = [judge(fakes, looks) for looks in (1, 3, 10, 100, 10_000)]
        assert [found.state.exit_code for found in given] == sorted((f.state.exit_code for f in given), reverse=True)
        for name in LIMITS:
            grades = [found.axis(name).grade for found in given]
            assert grades == sorted(grades, reverse=True)
            seen = [found.axis(name).seen_from for found in given]
            assert seen == sorted(seen)


def test_more_looks_at_a_loss_that_is_plain_change_nothing(judge: Judge) -> None:
    assert judge(mixture(FAKES, 1, 20), 1000).state is State.COLLAPSED
    assert judge(TRAINING[:FAKES], 1000).state is State.MEMORISED


def test_the_same_reals_and_seed_give_the_same_verdict_and_no_state_is_left() -> None:
    fakes, training, held_out = mixture(60, 1, 30), mixture(LEAST_REALS + 100, 0), mixture(50, 1)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = prepare(held_out, training, 60, seed=3)
    given = [first(fakes).to_dict(), first(fakes).to_dict(), prepare(held_out, training, 60, seed=3)(fakes).to_dict()]
    assert given[0] == given[1] == given[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_any_float_and_more_fakes_than_wanted_are_taken(judge: Judge) -> None:
    fakes = mixture(FAKES + 50, 1)
    assert judge(fakes.double()).to_dict() == judge(fakes[:FAKES]).to_dict()
    half = prepare(HELD_OUT[:60].half(), TRAINING[:200].half(), 50, MIRRORED[:200].half())
    assert half(fakes.half()).fakes == 50


def test_few_fakes_or_few_reals_are_said_to_have_low_power() -> None:
    small = prepare(mixture(40, 1), mixture(LEAST_REALS + 60, 0), 60)(mixture(60, 2))
    assert small.notes[0].startswith(f"low power: {small.fakes} fakes were compared; wanted {LEAST_FAKES} fakes")
    assert small.axis("occupancy").seen_from >= LIMITS["occupancy"][1]
    assert "of the modes would not be noticed" in small.notes[1]


def test_without_training_pictures_copies_are_not_looked_for_and_that_is_said() -> None:
    for count in (0, LEAST_TRAINING - 1):
        found = prepare(mixture(LEAST_REALS + 20, 1), TRAINING[:count], 40)(mixture(40, 2))
        assert (found.copying, found.copies) == (None, ())
        assert found.notes[-1].endswith(f"not looked for: wanted at least {LEAST_TRAINING} of these, got {count}")
        assert "copy_rate" not in found.to_dict()


def test_a_verdict_is_json_and_holds_each_number(judge: Judge) -> None:
    extreme = [mixture(1, 0).repeat(FAKES, 1), mixture(FAKES, 1) * 1e18, torch.zeros(FAKES, 64), mixture(FAKES, 2)]
    for fakes in extreme:
        found = judge(fakes, looks=10**9)
        read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert (read["verdict"], read["looks"], read["fakes"]) == (str(found.state), 10**9, FAKES)
        assert read["reals"] == len(judge.yardstick.pool)
        assert set(read["axes"]) == set(LIMITS)
        assert read["axes"]["spread"]["grade"] == found.axis("spread").grade.name.lower()
        assert all(math.isfinite(value) for one in found.axes for value in (one.loss, one.p_value, one.seen_from))


def test_the_words_of_a_verdict_are_at_hand_beside_the_judge() -> None:
    assert verdict.Verdict is verdict_words.Verdict is Verdict
    assert all(hasattr(verdict, name) for name in verdict.__all__)


@pytest.mark.parametrize(
    ("fakes", "message"),
    [
        (mixture(FAKES - 1, 0), f"too few fakes: wanted at least {FAKES}, got {FAKES - 1}"),
        (mixture(FAKES, 0)[:, :32], rf"fakes are \[{FAKES}, 32\], wanted \[N, 64\]; take one extractor for all"),
        (mixture(FAKES, 0).reshape(FAKES, 8, 8), rf"fakes are \[{FAKES}, 8, 8\], wanted \[N, 64\]"),
        (mixture(FAKES, 0) / 0, "features of the fakes are not finite; the pictures or the extractor are damaged"),
    ],
)
def test_fakes_that_cannot_be_judged_are_refused(judge: Judge, fakes: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        judge(fakes)


@pytest.mark.parametrize(
    ("mirrored", "message"),
    [
        (mixture(100, 0), "too few mirror images: wanted at least 400, got 100"),
        (mixture(400, 0)[:, :9], r"features of the mirror images are \[400, 9\], wanted \[N, 64\]"),
    ],
)
def test_mirror_images_of_other_pictures_are_refused(mirrored: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(mixture(40, 1), mixture(400, 0), 60, mirrored)
