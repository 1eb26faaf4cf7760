"""Further terms of the two losses, beside the adversarial one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

BLUR = 0.05
"""Added to the ratio of `mode_seeking`, so that a generator that says always the same has a finite loss: at most 20."""


class Fakes(NamedTuple):
    """What the generator made in a step, with its gradients.

    Attributes:
        z: latents, float [N, latent_dim].
        pictures: float32 [N, C, H, W] in [-1, 1].
        features: what its blocks but the last put out: float [N, C, H, W] each.
    """

    z: Tensor
    pictures: Tensor
    features: list[Tensor]


@dataclasses.dataclass(frozen=True)
class Term:
    """A term that a run adds to one player's loss.

    Attributes:
        name: in `stats.jsonl`.
        player: whose loss it is added to.
        value: weighted, a float32 scalar with gradients.
    """

    name: str
    player: Literal["generator", "discriminator"]
    value: Callable[[Fakes], Tensor]


def mode_seeking(z: Tensor, fakes: Tensor, reals: Tensor) -> Tensor:
    """1 / (d(G(z1), G(z2)) / d(z1, z2) + BLUR), d the mean absolute difference (Mao et al. 2019, MSGAN, 1903.05628).

    The batch's first half against its second, so that no further pictures are made. Where fakes differ as much as
    reals do, more is not rewarded: it would be noise.

    Args:
        z: float [N, latent_dim], N >= 2.
        fakes: float32 [N, C, H, W], of those latents.
        reals: float32 [N, C, H, W].
    """
    most = _halves_apart(reals).detach()
    return 1 / (_halves_apart(fakes).minimum(most) / _halves_apart(z) + BLUR)


def moments(fakes: Tensor, reals: Tensor) -> Tensor:
    """How far the fakes' colours are from the reals': squared differences of each channel's mean and standard deviation
    over all pixels of the batch, summed (the feature matching of Salimans et al. 2016, arXiv:1606.03498, of pixels).

    A discriminator with batch norm sees reals and fakes in batches of their own, each brought to the same deviation by
    its first norm. The contrast of the fakes as a whole is lost there, and drifts.

    Args:
        fakes: float32 [N, C, H, W] in [-1, 1].
        reals: the same.
    """
    return sum(((of(fakes) - of(reals).detach()).square().sum() for of in (_means, _deviations)), fakes.new_zeros(()))


def contrast(fakes: Tensor, reals: Tensor) -> Tensor:
    """The mean over the channels of the standard deviation of all pixels, of the fakes divided by that of the reals: a
    scalar, 1 where they are alike. Shapes as in `moments`."""
    return _deviations(fakes).mean() / _deviations(reals).mean()


def _means(pictures: Tensor) -> Tensor:
    return pictures.mean((0, 2, 3))


def _deviations(pictures: Tensor) -> Tensor:
    apart = pictures - _means(pictures)[:, None, None]  # `var` takes three times as long where channels lie last
    return (apart.square().mean((0, 2, 3)) + 1e-8).sqrt()  # flat pictures have a gradient too


def _halves_apart(rows: Tensor) -> Tensor:
    half = len(rows) // 2
    return (rows[:half] - rows[half : 2 * half]).abs().mean()
