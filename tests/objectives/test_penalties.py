"""The gradient penalty against a closed form and against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_transfer.models.dcgan import Discriminator, initialise
from gan_transfer.objectives.penalties import gradient_penalty
from gan_transfer.recipe import Model


def drawn(norm_d: str = "none") -> Discriminator:
    network = Discriminator(Model(resolution=16, channels=1, base_channels=4, latent_dim=8, norm_d=norm_d))  # type: ignore[arg-type]
    initialise(network, torch.Generator().manual_seed(0))
    return network


def pictures(count: int) -> Tensor:
    return torch.randn(count, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def slow_penalty(network: Discriminator, images: Tensor, step: float = 1e-6) -> Tensor:
    """Half the mean squared gradient, pixel by pixel, by central differences."""
    total = torch.zeros((), dtype=images.dtype)
    directions = torch.eye(images[0].numel(), dtype=images.dtype).reshape(-1, *images.shape[1:])
    with torch.no_grad():
        for image in images:
            slopes = (network(image + step * directions) - network(image - step * directions)) / (2 * step)
            total = total + slopes.square().sum()
    return total / (2 * len(images))


def test_the_penalty_of_a_linear_discriminator_is_half_its_squared_weights() -> None:
    weight = torch.randn(3, 5, 5, requires_grad=True)
    penalty = gradient_penalty(lambda x: (x * weight).sum(dim=(1, 2, 3)), torch.randn(7, 3, 5, 5))
    torch.testing.assert_close(penalty, weight.square().sum() / 2)
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, weight.detach())


@pytest.mark.parametrize("norm_d", ["none", "spectral"])
def test_the_penalty_equals_finite_differences(norm_d: str) -> None:
    network, images = drawn(norm_d).double().eval(), pictures(2).double()
    found = gradient_penalty(network, images).detach()
    torch.testing.assert_close(found, slow_penalty(network, images), rtol=1e-5, atol=0)


def test_the_gradient_of_the_penalty_at_a_weight_equals_finite_differences() -> None:
    network, images = drawn().double(), pictures(2).double()
    weight = network.blocks["d4"].conv.weight
    assert isinstance(weight, torch.nn.Parameter)
    (gradient,) = torch.autograd.grad(gradient_penalty(network, images), weight)
    place, step = (2, 1, 3, 0), 1e-5
    values = []
    for change in (step, -step):
        with torch.no_grad():
            weight[place] += change
        values.append(gradient_penalty(network, images).detach())
        with torch.no_grad():
            weight[place] -= change
    torch.testing.assert_close(gradient[place], (values[0] - values[1]) / (2 * step), rtol=1e-4, atol=0)


def test_the_gradient_of_the_penalty_reaches_every_weight_and_not_the_pictures() -> None:
    network, images = drawn(), pictures(4).requires_grad_()
    gradient_penalty(network, images).backward()  # type: ignore[no-untyped-call]
    reached = {n: p.grad is not None and bool(p.grad.count_nonzero()) for n, p in network.named_parameters()}
    assert {n for n in reached if n.endswith("weight")} == {n for n, there in reached.items() if there}
    assert images.grad is None


def test_each_picture_counts_the_same() -> None:
    network, images = drawn(), pictures(3)
    alone = torch.stack([gradient_penalty(network, image[None]) for image in images])
    torch.testing.assert_close(gradient_penalty(network, images), alone.mean())
