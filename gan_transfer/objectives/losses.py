"""The adversarial losses: logits in, a scalar out. Each has a discriminator's and a generator's half.

All take float32 logits [N] and return the mean over the batch. softplus(x) = log(1 + exp(x)), so that
-log sigmoid(x) = softplus(-x) and -log(1 - sigmoid(x)) = softplus(x), without overflow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import relu, softplus


class AdversarialLoss(NamedTuple):
    """The two halves of one game.

    Attributes:
        discriminator: (real_logits [N], fake_logits [N], real_label) -> scalar.
        generator: (fake_logits [N], real_logits [N]) -> scalar; only a relativistic loss looks at the reals.
        needs_reals: whether the generator's half uses real_logits.
    """

    discriminator: Callable[[Tensor, Tensor, float], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    needs_reals: bool = False


def cross_entropy_d(real_logits: Tensor, fake_logits: Tensor, real_label: float) -> Tensor:
    """Binary cross-entropy with target `real_label` for reals and 0 for fakes (Goodfellow et al. 2014).

    -[y log s(r) + (1 - y) log(1 - s(r))] - log(1 - s(f)) = softplus(r) - y r + softplus(f).
    """
    return (softplus(real_logits) - real_label * real_logits).mean() + softplus(fake_logits).mean()


def non_saturating_g(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """-log D(G(z)): the form that Goodfellow et al. 2014 train with."""
    return softplus(-fake_logits).mean()


def minimax_g(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """log(1 - D(G(z))), minimised: the value function of Goodfellow et al. 2014 as it stands."""
    return -softplus(fake_logits).mean()


def hinge_d(real_logits: Tensor, fake_logits: Tensor, real_label: float) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))) (Lim & Ye 2017); `real_label` has no meaning here."""
    return relu(1.0 - real_logits).mean() + relu(1.0 + fake_logits).mean()


def hinge_g(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """-D(G(z))."""
    return -fake_logits.mean()


def least_squares_d(real_logits: Tensor, fake_logits: Tensor, real_label: float) -> Tensor:
    """((D(x) - y)^2 + D(G(z))^2) / 2 on raw outputs (Mao et al. 2017, labels 1 and 0)."""
    return 0.5 * ((real_logits - real_label).square().mean() + fake_logits.square().mean())


def least_squares_g(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """(D(G(z)) - 1)^2 / 2."""
    return 0.5 * (fake_logits - 1.0).square().mean()


def relativistic_d(real_logits: Tensor, fake_logits: Tensor, real_label: float) -> Tensor:
    """softplus(-(D(x) - D(G(z)))), pair by pair (R3GAN, arXiv:2501.05441); `real_label` has no meaning here."""
    return softplus(fake_logits - real_logits).mean()


def relativistic_g(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """softplus(-(D(G(z)) - D(x))), pair by pair."""
    return softplus(real_logits - fake_logits).mean()


LOSSES: dict[str, AdversarialLoss] = {
    "non-saturating": AdversarialLoss(cross_entropy_d, non_saturating_g),
    "minimax": AdversarialLoss(cross_entropy_d, minimax_g),
    "hinge": AdversarialLoss(hinge_d, hinge_g),
    "least-squares": AdversarialLoss(least_squares_d, least_squares_g),
    "relativistic": AdversarialLoss(relativistic_d, relativistic_g, needs_reals=True),
}
