"""Discriminators that look at several pictures: stacks with one logit, and groups whose deviation is shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_transfer.models.dcgan import Discriminator, Generator, initialise, with_deviation
from gan_transfer.models.weights import Pair, load_pair, public_state, save_pair
from gan_transfer.objectives.penalties import gradient_penalty
from gan_transfer.recipe import Model

TINY = Model(resolution=16, base_channels=4, latent_dim=8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def discriminator(**changes: object) -> Discriminator:
    made = Discriminator(dataclasses.replace(TINY, norm_d="none", **changes))  # type: ignore[arg-type]
    initialise(made, seeded())
    return made.eval()


def pictures(count: int) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=seeded(1)) * 2 - 1


def test_a_stack_has_one_logit_and_reads_the_pictures_that_follow_each_other() -> None:
    network, shown = discriminator(stack=2), pictures(8)
    logits, features = network(shown, with_features=True)
    assert (logits.shape, len(features)) == ((4,), 4)
    third = network(torch.cat([shown[4], shown[5]])[None].view(2, 3, 16, 16))
    assert torch.allclose(third, logits[2:3], atol=1e-6)


def test_the_penalty_of_a_stack_is_that_of_its_logit_with_all_its_pictures() -> None:
    network, shown = discriminator(stack=2), pictures(8)
    points = shown.view(4, 6, 16, 16).clone().requires_grad_()
    logits = network(points.view(8, 3, 16, 16))
    (gradient,) = torch.autograd.grad(logits.sum(), points)
    expected = 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()
    assert gradient_penalty(network, shown).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("count", "size"), [(8, 4), (6, 3), (10, 2), (7, 1)])
def test_deviation_is_the_mean_over_places_of_the_deviation_in_a_group(count: int, size: int) -> None:
    features = torch.randn(count, 5, 2, 2, generator=seeded())
    out = with_deviation(features)
    assert torch.equal(out[:, :5], features)
    for row in range(count):
        members = features[[other for other in range(count) if other % (count // size) == row % (count // size)]]
        assert len(members) == size
        deviation = (members.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        assert torch.allclose(out[row, 5], deviation.expand(2, 2), atol=1e-6)


def test_equal_pictures_have_no_deviation_and_its_gradient_is_finite() -> None:
    same = pictures(1).expand(4, -1, -1, -1).clone().requires_grad_()
    network = discriminator(minibatch_std=True)
    network(same).sum().backward()
    assert same.grad is not None
    assert same.grad.isfinite().all()
    assert with_deviation(same)[:, -1].max() < 1.1e-4


def test_what_the_last_block_saw_is_told_without_the_deviation() -> None:
    plain, grouped = discriminator(), discriminator(minibatch_std=True)
    assert plain(pictures(8), with_features=True)[1].shape == grouped(pictures(8), with_features=True)[1].shape


@pytest.mark.parametrize("norm_d", ["batch", "spectral", "none"])
def test_a_pair_with_both_is_saved_and_loaded_bit_for_bit(tmp_path: Path, norm_d: str) -> None:
    model = dataclasses.replace(TINY, stack=2, minibatch_std=True, norm_d=norm_d)  # type: ignore[arg-type]
    pair = Pair(Generator(model).eval(), Discriminator(model).eval(), {})
    save_pair(tmp_path / "pair", pair)
    loaded = load_pair(tmp_path / "pair")
    assert loaded.model == model
    assert torch.equal(loaded.discriminator(pictures(8)), pair.discriminator(pictures(8)))


def test_all_other_weights_have_the_shapes_of_a_plain_discriminators() -> None:
    plain, both = public_state(discriminator()), public_state(discriminator(stack=2, minibatch_std=True))
    assert {name for name in plain if plain[name].shape != both[name].shape} == {"d8.conv.weight", "d1.conv.weight"}
