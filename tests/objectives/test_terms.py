"""LeCam, ADA and mode seeking against closed forms and loops written out; and that augmentation does not leak."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor

from gan_transfer.conflicts import MOST_ADA
from gan_transfer.models.dcgan import Discriminator, initialise
from gan_transfer.objectives.augment import augment, color, moved_p, translation
from gan_transfer.objectives.penalties import LECAM_KEEP, lecam, moved_averages
from gan_transfer.objectives.terms import BLUR, contrast, mode_seeking, moments
from gan_transfer.recipe import Augment, Model


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_lecam_charges_what_lies_beyond_the_other_kinds_average() -> None:
    real, fake = torch.tensor([3.0, -5.0]), torch.tensor([-2.0, 4.0])
    averages = torch.tensor([1.0, -1.0, 7.0])
    # Reals beyond a_F = -1: 4 and nothing. Fakes below a_R = 1: 3 and nothing.
    assert lecam(real, fake, averages).item() == pytest.approx((16 + 0) / 2 + (9 + 0) / 2)


def test_lecams_averages_begin_with_the_first_look_and_then_follow_slowly() -> None:
    first = moved_averages(torch.zeros(3), torch.tensor([1.0, 3.0]), torch.tensor([-4.0]))
    assert first.tolist() == [2.0, -4.0, 1.0]
    second = moved_averages(first, torch.tensor([0.0]), torch.tensor([0.0]))
    assert second.tolist() == pytest.approx([2.0 * LECAM_KEEP, -4.0 * LECAM_KEEP, 2.0])


def ada(beliefs: list[float], settings: Augment, move: float) -> list[float]:
    """p after each step."""
    state, seen = torch.zeros(3), []
    for belief in beliefs:
        state = moved_p(state, torch.tensor(belief), move, settings)
        seen.append(round(state[0].item(), 6))
    return seen


def test_ada_moves_every_fourth_step_by_the_sign_of_the_mean_over_those() -> None:
    settings = Augment(("color",), p=0.8, ada_target=0.6)
    assert ada([1, 1, 0.5, 0.5, 0, 0, 0, 1], settings, 0.25) == [0, 0, 0, 0.25, 0.25, 0.25, 0.25, 0]


def test_ada_stays_between_nothing_and_the_recipes_p() -> None:
    settings = Augment(("color",), p=0.8, ada_target=0.6)
    assert max(ada([1.0] * 40, settings, 0.3)) == pytest.approx(0.8)
    assert min(ada([-1.0] * 40, settings, 0.3)) == 0.0


@pytest.mark.parametrize("p", [0.3, 0.8])
def test_a_probability_on_the_device_augments_as_the_same_number_does(p: float) -> None:
    images, operations = torch.rand(16, 3, 16, 16, generator=seeded()) * 2 - 1, ("color", "translation", "cutout")
    plain = augment(images, operations, p, seeded(1))
    assert torch.equal(plain, augment(images, operations, torch.tensor(p), seeded(1)))


def spectrum(values: Tensor, p: float) -> float:
    """The least that is left of any frequency of a distribution when an operation that moves by one of some `values`
    is applied with probability p: |1 - p + p E exp(-i f v)|, negative where the sign turns."""
    frequencies = torch.linspace(0, 40, 4001)
    left = torch.cos(frequencies[:, None] * (values - values.mean())).mean(dim=1)
    return float((1 - p + p * left).min())


def test_below_adas_cap_no_frequency_is_lost_and_at_1_some_are() -> None:
    """So that the distribution before augmentation follows from the one after it: nothing leaks into the fakes."""
    grey = torch.zeros(4000, 1, 16, 16)
    brightness = color(grey, seeded())[:, 0, 8, 8]  # of a grey picture only brightness changes
    picture = torch.zeros(4000, 1, 64, 64)
    picture[:, :, 32, 32] = 1
    shifts = translation(picture, seeded(1))[:, 0].amax(dim=1).argmax(dim=1) / 16.0
    for moved in (brightness / brightness.std(), shifts / shifts.std()):
        assert spectrum(moved, MOST_ADA - 0.02) > 0
        assert spectrum(moved, 1.0) < 0


def test_mode_seeking_is_the_ratio_of_distances_between_two_halves() -> None:
    z, fakes = torch.tensor([[0.0], [0.0], [1.0], [3.0]]), torch.zeros(4, 1, 1, 1)
    fakes[2:] = 0.5
    reals = torch.tensor([-1.0, -1.0, 1.0, 1.0])[:, None, None, None]
    assert mode_seeking(z, fakes, reals).item() == pytest.approx(1 / (0.5 / 2.0 + BLUR))


def test_mode_seeking_rewards_no_more_difference_than_reals_have() -> None:
    z, reals = torch.randn(8, 4, generator=seeded()), torch.rand(8, 3, 4, 4, generator=seeded(1))
    wild = (torch.rand(8, 3, 4, 4, generator=seeded(2)) * 2 - 1).requires_grad_()
    mode_seeking(z, wild, reals).backward()
    assert wild.grad is None or not wild.grad.any()
    alike = (0.01 * torch.rand(8, 3, 4, 4, generator=seeded(2))).requires_grad_()
    loss = mode_seeking(z, alike, reals)
    loss.backward()
    assert loss < 1 / BLUR
    assert alike.grad is not None
    assert alike.grad.any()


def test_mode_seeking_is_finite_where_all_fakes_are_the_same() -> None:
    same = torch.zeros(8, 3, 4, 4, requires_grad=True)
    loss = mode_seeking(torch.randn(8, 4, generator=seeded()), same, torch.rand(8, 3, 4, 4))
    assert loss.item() == pytest.approx(1 / BLUR)


def test_moments_are_squared_differences_of_means_and_deviations_by_channel() -> None:
    reals = torch.stack([torch.full((4, 4), -0.5), torch.full((4, 4), 0.5)])[:, None].expand(2, 3, 4, 4)
    assert moments(reals, reals).item() == 0
    assert moments(reals + torch.tensor([0.1, 0.0, 0.2])[:, None, None], reals).item() == pytest.approx(0.01 + 0.04)
    assert moments(0.6 * reals, reals).item() == pytest.approx(3 * 0.2**2)  # deviations of 0.3 and 0.5


def test_moments_give_back_brightness_and_contrast_and_leave_the_rest_alone() -> None:
    reals = 0.5 * torch.randn(64, 3, 8, 8, generator=seeded())
    start = 0.2 * torch.randn(64, 3, 8, 8, generator=seeded(1)) - 0.4
    fakes = start.clone().requires_grad_()
    adam = torch.optim.SGD([fakes], 2000.0)
    for _ in range(200):
        adam.zero_grad()
        moments(fakes, reals).backward()
        adam.step()
    found = fakes.detach()
    assert (found.mean((0, 2, 3)) - reals.mean((0, 2, 3))).abs().max() < 1e-3
    assert (found.std((0, 2, 3)) - reals.std((0, 2, 3))).abs().max() < 1e-3
    for before, after in zip(start.transpose(0, 1).flatten(1), found.transpose(0, 1).flatten(1), strict=True):
        assert torch.corrcoef(torch.stack([before, after]))[0, 1] > 0.9999


def test_contrast_is_a_ratio_of_deviations_whatever_the_brightness() -> None:
    reals = torch.rand(8, 3, 4, 4, generator=seeded())
    assert contrast(0.8 * reals - 0.3, reals).item() == pytest.approx(0.8, abs=1e-5)
    assert contrast(reals, torch.zeros(8, 3, 4, 4)).isfinite()


def test_flat_fakes_have_a_finite_gradient() -> None:
    flat = torch.zeros(4, 3, 8, 8, requires_grad=True)
    moments(flat, torch.rand(4, 3, 8, 8)).backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize(("norm", "blind"), [("batch", True), ("none", False), ("spectral", False)])
def test_batch_norm_hides_contrast_from_a_discriminator(
    norm: Literal["batch", "none", "spectral"], blind: bool
) -> None:
    discriminator = Discriminator(Model(resolution=32, base_channels=8, norm_d=norm)).train()
    initialise(discriminator, seeded())
    pictures = torch.rand(8, 3, 32, 32, generator=seeded(1)) * 2 - 1
    logits, paler = discriminator(pictures), discriminator(0.5 * pictures)
    assert torch.allclose(logits, paler, atol=0.02 * float(logits.std())) is blind
