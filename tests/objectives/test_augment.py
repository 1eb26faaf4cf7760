"""DiffAugment against a slow version that changes one picture at a time with the same random numbers."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from gan_transfer.distributed import WHOLE
from gan_transfer.objectives.augment import OPERATIONS, _Cut, _gather, augment, cutout, translation
from gan_transfer.recipe import Augmentation

ALL = ("color", "translation", "cutout")
SHAPES = [(8, 3, 16, 16), (8, 1, 32, 32), (5, 3, 9, 12)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(shape: tuple[int, ...] = (8, 3, 16, 16), seed: int = 9) -> Tensor:
    """Values in [-1, 1], never zero."""
    values = torch.rand(shape, generator=seeded(seed)) * 1.8 - 0.9
    return values + 0.1 * values.sign()


def slow_color(images: Tensor, random: torch.Generator) -> Tensor:
    brightness, saturation, contrast = (torch.rand(len(images), 1, 1, 1, generator=random).flatten() for _ in range(3))
    done = []
    for n, image in enumerate(images):
        x = image + brightness[n] - 0.5
        grey = x.sum(dim=0) / x.shape[0]
        x = torch.stack([(channel - grey) * (2 * saturation[n]) + grey for channel in x])
        done.append((x - x.mean()) * (0.5 + contrast[n]) + x.mean())
    return torch.stack(done)


def slow_translation(images: Tensor, random: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    down, right = round(height / 8 + 1e-9), round(width / 8 + 1e-9)
    tops = torch.randint(0, 2 * down + 1, (count,), generator=random)
    lefts = torch.randint(0, 2 * right + 1, (count,), generator=random)
    moved = torch.zeros_like(images)
    for n in range(count):
        for y in range(height):
            for x in range(width):
                from_y, from_x = y + int(tops[n]) - down, x + int(lefts[n]) - right
                if 0 <= from_y < height and 0 <= from_x < width:
                    moved[n, :, y, x] = images[n, :, from_y, from_x]
    return moved


def slow_cutout(images: Tensor, random: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    tall, wide = int(height / 2 + 0.5), int(width / 2 + 0.5)
    rows = torch.randint(0, height + (1 - tall % 2), (count, 1), generator=random)
    columns = torch.randint(0, width + (1 - wide % 2), (count, 1), generator=random)
    images = images.clone()
    for n in range(count):
        top, left = int(rows[n]) - tall // 2, int(columns[n]) - wide // 2
        images[n, :, max(top, 0) : max(top + tall, 0), max(left, 0) : max(left + wide, 0)] = 0
    return images


SLOW = {"color": slow_color, "translation": slow_translation, "cutout": slow_cutout}


def test_every_operation_of_a_recipe_is_here_and_no_other() -> None:
    assert set(OPERATIONS) == set(get_args(Augmentation)) == set(SLOW)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_operation_equals_its_slow_version(name: str, shape: tuple[int, ...]) -> None:
    images = pictures(shape)
    for seed in range(5):
        found = OPERATIONS[name](images, seeded(seed), WHOLE)
        torch.testing.assert_close(found, SLOW[name](images, seeded(seed)), atol=2e-6, rtol=1e-5)


def test_operations_follow_one_another_in_the_order_given() -> None:
    images = pictures()
    random = seeded()
    slow = slow_cutout(slow_translation(slow_color(images, random), random), random)
    torch.testing.assert_close(augment(images, ALL, 1.0, seeded()), slow, atol=2e-6, rtol=1e-5)


def test_with_probability_p_each_picture_is_changed_or_left_bit_for_bit() -> None:
    images, random = pictures(), seeded(4)
    changed = slow_color(images, random)
    touched = torch.rand(8, 1, 1, 1, generator=random) < 0.5
    wanted = torch.where(touched, changed, images)
    torch.testing.assert_close(augment(images, ["color"], 0.5, seeded(4)), wanted, atol=2e-6, rtol=1e-5)
    assert 0 < touched.sum() < 8


def test_with_probability_zero_nothing_is_touched_nor_drawn() -> None:
    images, random = pictures(), seeded()
    before = random.get_state()
    assert augment(images, ALL, 0.0, random) is images
    assert torch.equal(random.get_state(), before)


@pytest.mark.parametrize("name", ["color", "cutout"])
def test_with_probability_one_half_about_half_are_touched(name: str) -> None:
    images = pictures((2000, 1, 8, 8))
    touched = (augment(images, [name], 0.5, seeded()) != images).flatten(1).any(dim=1)
    assert 0.46 < touched.float().mean() < 0.54


def test_each_picture_draws_its_own_values() -> None:
    images = pictures((1, 3, 16, 16)).repeat(6, 1, 1, 1)
    for name in ALL:
        assert len({tuple(x.flatten().tolist()) for x in OPERATIONS[name](images, seeded(1), WHOLE)}) > 1, name


def test_the_same_state_of_the_generator_gives_the_same_pictures() -> None:
    random = seeded()
    state = random.get_state()
    once = augment(pictures(), ALL, 0.7, random)
    other = augment(pictures(), ALL, 0.7, random)
    random.set_state(state)
    assert torch.equal(augment(pictures(), ALL, 0.7, random), once)
    assert not torch.equal(other, once)


def test_the_global_randomness_is_not_touched() -> None:
    before = torch.get_rng_state()
    augment(pictures(), ALL, 0.5, seeded())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_gradients_flow_through_to_the_pictures_that_are_seen(p: float) -> None:
    images = pictures().double().requires_grad_()

    def changed(x: Tensor) -> Tensor:
        result: Tensor = augment(x, ALL, p, seeded(3))
        return result

    assert torch.autograd.gradcheck(changed, images[:2].detach()[:, :, :8, :8].clone().requires_grad_())
    (gradient,) = torch.autograd.grad(changed(images).sum(), images)
    assert (gradient.flatten(1).count_nonzero(dim=1) > 0).all()


def test_a_translation_moves_by_at_most_an_eighth_and_reaches_every_such_place() -> None:
    images = torch.zeros(4000, 1, 16, 16)
    images[:, 0, 8, 8] = 1.0
    places = translation(images, seeded()).nonzero()[:, 2:]
    assert len(places) == len(images)
    assert {tuple(place) for place in (places - 8).tolist()} == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def test_a_translation_brings_zeros_in() -> None:
    moved = translation(torch.ones(50, 1, 16, 16), seeded())
    kept = moved.flatten(1).sum(dim=1)
    assert set(moved.flatten().tolist()) == {0.0, 1.0}
    assert (int(kept.min()), int(kept.max())) == (14 * 14, 16 * 16)


def test_a_cutout_erases_a_square_of_half_the_side_cut_by_the_border() -> None:
    erased = cutout(torch.ones(2000, 1, 16, 16), seeded()) == 0
    rows, columns = erased.any(dim=3)[:, 0], erased.any(dim=2)[:, 0]
    assert torch.equal(erased[:, 0], rows[:, :, None] & columns[:, None, :])
    heights = rows.sum(dim=1)
    assert (int(heights.min()), int(heights.max())) == (4, 8)
    top, bottom = rows[:, 0], rows[:, -1]
    assert (heights[~top & ~bottom] == 8).all()
    # The centre is anywhere from 0 to 16, 17 places; a whole square needs one of the 9 from 4 to 12.
    assert abs((heights == 8).float().mean() - 9 / 17) < 0.05


def test_every_channel_loses_the_same_square() -> None:
    erased = cutout(pictures((20, 3, 16, 16)), seeded()) == 0
    assert torch.equal(erased[:, 0], erased[:, 1])
    assert torch.equal(erased[:, 0], erased[:, 2])


def test_the_kind_of_number_is_kept() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        assert augment(pictures().to(dtype), ALL, 0.5, seeded()).dtype == dtype


def test_pictures_that_come_in_are_not_changed() -> None:
    images = pictures()
    before = images.clone()
    augment(images, ALL, 1.0, seeded())
    assert torch.equal(images, before)


def test_on_a_gpu_windows_are_gathered_as_a_cpu_cuts_them_out() -> None:
    top, left = torch.randint(-2, 3, (2, 8), generator=seeded())
    looked, learned = [], []
    for way in (
        lambda images: _Cut.apply(images, top.tolist(), left.tolist()),
        lambda images: _gather(images, top, left),
    ):
        images = pictures((8, 3, 16, 20)).requires_grad_()
        found = way(images)
        (gradient,) = torch.autograd.grad((found * found.detach().cos()).sum(), images)
        looked.append(found.detach())
        learned.append(gradient)
    assert torch.equal(*looked)
    assert torch.equal(*learned)


def test_a_translation_can_be_differentiated_twice_for_penalties() -> None:
    def moved(images: Tensor) -> Tensor:
        return translation(images, seeded(3)).square()

    assert torch.autograd.gradgradcheck(moved, pictures((2, 1, 8, 8)).double().requires_grad_())


@pytest.mark.parametrize("name", ALL)
def test_pictures_stay_channels_last_in_memory(name: str) -> None:
    images = pictures((8, 3, 16, 16)).contiguous(memory_format=torch.channels_last).requires_grad_()
    changed = OPERATIONS[name](images, seeded(), WHOLE)
    assert changed.is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(changed, images, torch.ones_like(changed))
    assert gradient.is_contiguous(memory_format=torch.channels_last)
