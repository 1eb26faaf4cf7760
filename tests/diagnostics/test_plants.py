"""Planted faults: each alteration keeps the form and does what it says, each loss has the share that was asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from mixtures import DIMENSION, mixture
from torch import Tensor

from gan_transfer.diagnostics import plants
from gan_transfer.diagnostics.diversity import k_means, nearest_center

COUNT, SIDE = 6, 32
ALTERATIONS = plants.FIDELITY | plants.REPLAYS
DRAWN = ["noise", "crop"]
"""Of the alterations, those that hang on the generator."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(channels: int = 3, side: int = SIDE) -> Tensor:
    """Smooth ones without black or white, so that nothing is clipped, uint8 [6, channels, side, side]."""
    small = torch.randint(60, 196, (COUNT, channels, 6, 6), generator=seeded()).float()
    return torch.nn.functional.interpolate(small, (side, side), mode="bilinear").to(torch.uint8)


def change(after: Tensor, before: Tensor) -> Tensor:
    return after.float() - before.float()


def roughness(given: Tensor) -> float:
    """Mean difference of neighbouring pixels."""
    return float(given.float().diff(dim=-1).abs().mean())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_alteration_changes_every_picture_and_nothing_about_their_form(name: str, channels: int) -> None:
    before = pictures(channels)
    after = ALTERATIONS[name](before, seeded())
    assert (after.dtype, after.shape) == (torch.uint8, before.shape)
    assert (after != before).flatten(1).any(1).all()
    assert torch.equal(before, pictures(channels))


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_alteration_is_decided_by_its_generator_alone(name: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    found = [ALTERATIONS[name](pictures(), seeded(seed)) for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2]) == (name not in DRAWN)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", [name for name in ALTERATIONS if name not in DRAWN])
def test_an_alteration_without_chance_does_the_same_to_a_picture_in_any_company(name: str) -> None:
    alone = torch.cat([ALTERATIONS[name](picture[None], seeded()) for picture in pictures()])
    assert torch.equal(alone, ALTERATIONS[name](pictures(), seeded()))


@pytest.mark.parametrize(("alteration", "sd"), [(plants.noise, 8.0), (plants.grain, plants.GRAIN)])
def test_noise_has_the_standard_deviation_that_is_named_and_no_mean(alteration: plants.Alteration, sd: float) -> None:
    added = change(alteration(pictures(), seeded()), pictures())
    assert float(added.mean()) == pytest.approx(0, abs=0.2)
    assert float(added.std()) == pytest.approx(sd, rel=0.03)


def test_noise_ends_at_black_and_white() -> None:
    for level in (0, 255):
        flat = torch.full((2, 3, SIDE, SIDE), level, dtype=torch.uint8)
        noisy = plants.noise(flat, seeded(), 40.0)
        assert float((noisy == level).double().mean()) == pytest.approx(0.5, abs=0.03)


def test_two_copies_with_grain_differ_in_nearly_every_pixel_but_by_little() -> None:
    random, same = seeded(), pictures()
    first, second = plants.grain(same, random), plants.grain(same, random)
    assert float((first != second).double().mean()) > 0.9
    assert float(change(first, second).abs().mean()) < 2 * plants.GRAIN


def test_blur_is_a_gaussian_of_seven_tenths_of_a_pixel() -> None:
    dot = torch.zeros(1, 1, 15, 15, dtype=torch.uint8)
    dot[..., 7, 7] = 255
    row = plants.blur(dot, seeded())[0, 0].float().sum(0)
    places = torch.arange(15.0) - 7
    assert float((row * places.square()).sum() / row.sum()) == pytest.approx(0.7**2, rel=0.05)
    assert roughness(plants.blur(pictures(), seeded())) < roughness(pictures())


def test_the_contrast_is_four_fifths_about_the_mean_of_each_picture() -> None:
    before, after = (given[:, 0].float() for given in (pictures(1), plants.contrast(pictures(1), seeded())))
    middle = before.mean((1, 2), keepdim=True)
    assert torch.allclose(after, middle + 0.8 * (before - middle), atol=1.5)


def test_jpeg_keeps_a_picture_but_for_little() -> None:
    for channels in (1, 3):
        found = change(plants.jpeg(pictures(channels), seeded()), pictures(channels)).abs()
        assert 0 < float(found.mean()) < 8


def test_a_flip_is_undone_by_another() -> None:
    once = plants.flip(pictures(), seeded())
    assert torch.equal(once[..., 0], pictures()[..., -1])
    assert torch.equal(plants.flip(once, seeded()), pictures())


@pytest.mark.parametrize("side", [8, 16, 64])
def test_a_crop_is_a_window_of_fifteen_sixteenths_enlarged_and_all_windows_occur(side: int) -> None:
    ramp = torch.linspace(20, 230, side).round().to(torch.uint8).expand(400, 1, side, side)
    found = plants.crop(ramp, seeded()).float()
    step, cut = 210 / (side - 1), max(1, side // 16)
    assert found.shape == ramp.shape
    left, right = found[:, 0, side // 2, 0], found[:, 0, side // 2, -1]
    assert torch.allclose(right - left, torch.tensor(step * (side - 1 - cut)), atol=step + 2)  # the side that is left
    offsets = (found.mean((1, 2, 3)) - ramp.float().mean()) / step + cut / 2
    assert sorted(set(offsets.round().int().tolist())) == list(range(cut + 1))


def test_modes_are_those_of_the_pictures_and_at_most_one_for_ten() -> None:
    features = 30 * torch.eye(8, DIMENSION).repeat(50, 1) + 0.1 * mixture(400, 0)
    modes = plants.modes_of(features, seeded())
    assert modes.shape == (400,)
    groups = [set(modes[group::8].tolist()) for group in range(8)]
    assert sum(map(len, groups)) == len(set.union(*groups))  # no mode has pictures of two groups
    assert int(modes.max()) < plants.MODES
    assert int(plants.modes_of(features[:60], seeded()).max()) < 6


def test_modes_do_not_hang_on_a_turn_of_the_space() -> None:
    features = 30 * torch.eye(6, DIMENSION).repeat(40, 1) + 0.1 * mixture(240, 0)
    turn = torch.linalg.qr(mixture(DIMENSION, 1)).Q
    given, turned = (plants.modes_of(rows, seeded()) for rows in (features, features @ turn + 5))
    assert torch.equal(given[:, None] == given, turned[:, None] == turned)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 0.8])
def test_dropped_modes_hold_the_share_and_all_but_one_are_whole(share: float) -> None:
    modes = plants.modes_of(mixture(600, 0), seeded())
    left = plants.without_modes(modes, share, seeded(1))
    assert len(left) == len(set(left.tolist())) == 600 - round(share * 600)
    whole, kept = torch.bincount(modes, minlength=50), torch.bincount(modes[left], minlength=50)
    assert int(((kept > 0) & (kept < whole)).sum()) <= 1
    assert int((kept == 0).sum()) == pytest.approx(share * 50, abs=0.15 * 50)


def test_other_draws_drop_other_modes_of_the_same_share() -> None:
    modes = plants.modes_of(mixture(600, 0), seeded())
    first, again, other = (set(plants.without_modes(modes, 0.5, seeded(seed)).tolist()) for seed in (1, 1, 2))
    assert first == again
    assert len(first) == len(other) == 300
    assert 60 < len(first & other) < 240


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0])
def test_narrowed_features_are_the_factor_as_far_from_the_centres_of_their_modes(factor: float) -> None:
    features = mixture(400, 0)
    centers = k_means(features, 40, seeded())
    centers = centers[nearest_center(features, centers)]
    found = plants.narrowed(features, factor, seeded())
    assert torch.allclose((found - centers).norm(dim=1), factor * (features - centers).norm(dim=1), atol=1e-4)
    assert torch.allclose(found.mean(0), features.mean(0), atol=0.05)


def test_a_few_distinct_pictures_are_shown_about_equally_often() -> None:
    shown = plants.few_distinct(1000, 8, seeded())
    counts = torch.bincount(shown)
    assert (shown.shape, counts.shape) == ((1000,), (8,))
    assert 90 < int(counts.min()) <= int(counts.max()) < 160


@pytest.mark.parametrize(("count", "share", "repeats"), [(100, 0.1, 10), (256, 0.05, 12), (50, 0.5, 25), (9, 0.0, 0)])
def test_the_share_of_the_pictures_repeats_another_one_and_none_a_third(count: int, share: float, repeats: int) -> None:
    shown = plants.with_twins(count, share, seeded())
    assert len(shown) == count
    assert torch.bincount(shown).tolist().count(2) == repeats
    assert sorted(set(shown.tolist())) == list(range(count - repeats))


@pytest.mark.parametrize(
    "plant",
    [
        lambda random: plants.modes_of(mixture(200, 0), random),
        lambda random: plants.narrowed(mixture(200, 0), 0.5, random),
        lambda random: plants.few_distinct(200, 16, random),
        lambda random: plants.with_twins(200, 0.2, random),
    ],
    ids=["modes_of", "narrowed", "few_distinct", "with_twins"],
)
def test_a_planted_loss_is_decided_by_its_generator_alone(plant: Callable[[torch.Generator], Tensor]) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = (plant(seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
