"""The adversarial losses against closed forms in NumPy's float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from gan_transfer.objectives.losses import LOSSES
from gan_transfer.recipe import Loss

Array = npt.NDArray[np.float64] | np.float64


def log_sigmoid(x: Array) -> Array:
    smaller: Array = -np.logaddexp(0.0, -x)
    return smaller


def relu(x: Array) -> Array:
    return x * (x > 0)


def cross_entropy(real: Array, fake: Array, y: float) -> Array:
    loss: Array = -(y * log_sigmoid(real) + (1 - y) * log_sigmoid(-real)).mean() - log_sigmoid(-fake).mean()
    return loss


DISCRIMINATOR: dict[str, Callable[[Array, Array, float], Array]] = {
    "non-saturating": cross_entropy,
    "minimax": cross_entropy,
    "hinge": lambda real, fake, y: relu(1 - real).mean() + relu(1 + fake).mean(),
    "least-squares": lambda real, fake, y: ((real - y) ** 2).mean() / 2 + (fake**2).mean() / 2,
    "relativistic": lambda real, fake, y: -log_sigmoid(real - fake).mean(),
}
GENERATOR: dict[str, Callable[[Array, Array], Array]] = {
    "non-saturating": lambda fake, real: -log_sigmoid(fake).mean(),
    "minimax": lambda fake, real: log_sigmoid(-fake).mean(),
    "hinge": lambda fake, real: -fake.mean(),
    "least-squares": lambda fake, real: ((fake - 1) ** 2).mean() / 2,
    "relativistic": lambda fake, real: -log_sigmoid(fake - real).mean(),
}


def logits(scale: float) -> tuple[Array, Array]:
    random = np.random.default_rng(int(scale))
    return random.normal(1, scale, 32), random.normal(-1, scale, 32)


def tensor(array: Array) -> Tensor:
    return torch.from_numpy(array).float().requires_grad_()


def close(found: Tensor, wanted: Array) -> None:
    assert (found.shape, found.dtype) == ((), torch.float32)
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=2e-6, atol=1e-6)


def test_every_loss_of_a_recipe_is_here_and_no_other() -> None:
    assert set(LOSSES) == set(get_args(Loss)) == set(DISCRIMINATOR) == set(GENERATOR)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1.0, 10.0, 1000.0])
@pytest.mark.parametrize("real_label", [1.0, 0.9])
def test_a_discriminator_loss_equals_its_closed_form(name: str, scale: float, real_label: float) -> None:
    real, fake = logits(scale)
    found = LOSSES[name].discriminator(tensor(real), tensor(fake), real_label)
    close(found, DISCRIMINATOR[name](real, fake, real_label))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1.0, 10.0, 1000.0])
def test_a_generator_loss_equals_its_closed_form(name: str, scale: float) -> None:
    real, fake = logits(scale)
    close(LOSSES[name].generator(tensor(fake), tensor(real)), GENERATOR[name](fake, real))


@pytest.mark.parametrize("name", LOSSES)
def test_logits_of_any_size_give_finite_losses_and_gradients(name: str) -> None:
    real, fake = (torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], requires_grad=True) for _ in "rf")
    loss = LOSSES[name].discriminator(real, fake, 1.0) + LOSSES[name].generator(fake, real)
    gradients = torch.autograd.grad(loss, [real, fake])
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("real_label", [1.0, 0.9, 0.7])
def test_cross_entropy_is_that_of_torch_with_a_smoothed_label_for_reals_alone(real_label: float) -> None:
    real, fake = map(tensor, logits(3.0))
    wanted = binary_cross_entropy_with_logits(real, torch.full_like(real, real_label))
    wanted = wanted + binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    torch.testing.assert_close(LOSSES["minimax"].discriminator(real, fake, real_label), wanted)
    torch.testing.assert_close(LOSSES["non-saturating"].discriminator(real, fake, real_label), wanted)


def test_minimax_is_one_value_that_the_two_pull_in_opposite_directions() -> None:
    # Goodfellow et al. 2014, equation 1: V(D, G) = E log D(x) + E log(1 - D(G(z))).
    real, fake = logits(2.0)
    d_real, d_fake = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
    value = np.log(d_real).mean() + np.log(1 - d_fake).mean()
    close(-LOSSES["minimax"].discriminator(tensor(real), tensor(fake), 1.0), value)
    close(LOSSES["minimax"].generator(tensor(fake), tensor(real)), np.log(1 - d_fake).mean())


def test_smoothing_moves_the_best_logit_of_a_real_picture_to_that_of_the_label() -> None:
    real = torch.tensor([float(np.log(0.9 / 0.1))], requires_grad=True)
    (gradient,) = torch.autograd.grad(LOSSES["non-saturating"].discriminator(real, torch.zeros(1), 0.9), real)
    torch.testing.assert_close(gradient, torch.zeros(1), atol=1e-7, rtol=0)


def test_minimax_and_non_saturating_pull_the_same_way_and_only_one_saturates() -> None:
    fake = torch.tensor([-8.0], requires_grad=True)
    slopes = [
        float(torch.autograd.grad(LOSSES[n].generator(fake, fake), fake)[0]) for n in ("minimax", "non-saturating")
    ]
    np.testing.assert_allclose(slopes, [-1 / (1 + np.exp(8.0)), -1 / (1 + np.exp(-8.0))], rtol=1e-5)


def test_the_hinge_is_flat_beyond_its_margin() -> None:
    real, fake = torch.tensor([1.5], requires_grad=True), torch.tensor([-1.5], requires_grad=True)
    gradients = torch.autograd.grad(LOSSES["hinge"].discriminator(real, fake, 1.0), [real, fake])
    assert [float(gradient) for gradient in gradients] == [0.0, 0.0]


def test_only_a_relativistic_generator_looks_at_the_reals() -> None:
    fake, real = tensor(logits(1.0)[1]), tensor(logits(1.0)[0])
    moved = {
        n: not torch.equal(loss.generator(fake, real), loss.generator(fake, real + 1)) for n, loss in LOSSES.items()
    }
    assert moved == {name: loss.needs_reals for name, loss in LOSSES.items()}
    assert [name for name, loss in LOSSES.items() if loss.needs_reals] == ["relativistic"]


def test_a_relativistic_loss_ignores_what_is_added_to_all_logits() -> None:
    real, fake = map(tensor, logits(1.0))
    loss = LOSSES["relativistic"]
    torch.testing.assert_close(loss.discriminator(real + 5, fake + 5, 1.0), loss.discriminator(real, fake, 1.0))
