"""Claims about the classical toys, a ring of 8 and a grid of 25 Gaussians: a GAN of points that loses modes is noticed.

Points are seen by soft counts in a lattice of cells. Their two coordinates would make poor features: by the cosine that
the Vendi score goes by no set of them is more diverse than two pictures.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gan_transfer.diagnostics.diversity import vendi
from gan_transfer.diagnostics.fidelity import kid, kid_spread
from gan_transfer.diagnostics.history import Alarm, Entry, alarm
from gan_transfer.diagnostics.verdict import prepare
from gan_transfer.objectives.losses import cross_entropy_d, non_saturating_g
from gan_transfer.objectives.penalties import gradient_penalty

FAKES, TRAINING, HELD_OUT = 512, 3200, 800
BATCH, LATENT, WIDTH, RATE = 64, 100, 128, 5e-4
SPREAD = 0.05  # standard deviation of a mode; the modes' own is 1

pytestmark = pytest.mark.slow


def ring() -> Tensor:
    """Eight centres, float32 [8, 2]."""
    angles = torch.arange(8) * math.pi / 4
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def grid() -> Tensor:
    """Five by five centres, float32 [25, 2]."""
    places = torch.arange(5) - 2.0
    return torch.cartesian_prod(places, places)


def seen(points: Tensor) -> Tensor:
    """Features of points, float32 [N, 2] -> [N, 144]: how near each is to every cell, with a mean square of about 1."""
    places = torch.linspace(-2.6, 2.6, 12)
    return 4.5 * torch.exp(-torch.cdist(points, torch.cartesian_prod(places, places)).square() / (2 * 0.35**2))


def perceptron(inputs: int, outputs: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs)
    )


def train(
    centers: Tensor, kimg: int, snapshot_kimg: int, gamma: float, decay: float, seed: int = 0
) -> tuple[list[Entry], Alarm | None]:
    """The looks at a GAN whose discriminator learns ten times as fast, up to the first alarm.

    Args:
        centers: of the modes, float32 [K, 2].
        kimg: how long it goes.
        snapshot_kimg: kimg from look to look.
        gamma: weight of the gradient penalty.
        decay: of the generator's average, a step.
        seed: of everything.
    """
    torch.manual_seed(seed)
    centers = centers / centers.std()

    def drawn(count: int) -> Tensor:
        return centers[torch.randint(len(centers), (count,))] + SPREAD * torch.randn(count, 2)

    reals, unseen = seen(drawn(TRAINING)), seen(drawn(HELD_OUT))
    judge = prepare(unseen, reals, FAKES)
    generator, average, discriminator = perceptron(LATENT, 2), perceptron(LATENT, 2), perceptron(2, 1)
    average.load_state_dict(generator.state_dict())
    optimizer_g = torch.optim.Adam(generator.parameters(), RATE, (0.5, 0.999))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), 10 * RATE, (0.5, 0.999))
    fixed = torch.randn(FAKES, LATENT)
    between, steps = round(snapshot_kimg * 1000 / BATCH), round(kimg * 1000 / BATCH)
    looks: list[Entry] = []
    for step in range(steps + 1):
        if step % between == 0:
            with torch.inference_mode():
                fakes = seen(average(fixed))
            found, score = judge(fakes, steps // between + 1), kid(fakes, reals, "cells")
            error, variety = kid_spread(fakes, reals), vendi(fakes)
            looks.append(Entry(step * BATCH / 1000, found.state, score.value, error, found.precision, variety))
            if raised := alarm(looks):
                return looks, raised
        points, fakes = drawn(BATCH), generator(torch.randn(BATCH, LATENT))
        loss = cross_entropy_d(discriminator(points), discriminator(fakes.detach()), 1.0)
        if gamma:
            loss = loss + gamma * gradient_penalty(lambda x: discriminator(x.flatten(1))[:, 0], points[..., None, None])
        optimizer_d.zero_grad()
        loss.backward()
        optimizer_d.step()
        loss = non_saturating_g(discriminator(generator(torch.randn(BATCH, LATENT))), points)
        optimizer_g.zero_grad()
        loss.backward()
        optimizer_g.step()
        for slow, fast in zip(average.parameters(), generator.parameters(), strict=True):
            slow.data.lerp_(fast.data, 1 - decay)
    return looks, None


@pytest.mark.parametrize(("centers", "decay"), [(ring(), 0.995), (grid(), 0.998)], ids=["ring", "grid"])
def test_a_toy_that_loses_modes_gives_the_alarm_before_the_kid_has_doubled(centers: Tensor, decay: float) -> None:
    looks, raised = train(centers, kimg=240, snapshot_kimg=2, gamma=0.0, decay=decay)
    assert raised is not None
    assert max(look.kid / min(at.kid for at in looks[: place + 1]) for place, look in enumerate(looks)) < 2


@pytest.mark.parametrize(("centers", "decay"), [(ring(), 0.995), (grid(), 0.998)], ids=["ring", "grid"])
def test_the_same_toy_with_a_gradient_penalty_is_left_alone(centers: Tensor, decay: float) -> None:
    looks, raised = train(centers, kimg=240, snapshot_kimg=8, gamma=0.1, decay=decay)
    assert raised is None
    assert looks[-1].fit
    assert looks[-1].kid < 0.1 * looks[0].kid
