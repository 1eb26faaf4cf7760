"""Penalties on the discriminator: on its gradients, and on logits far from their averages."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import relu

LECAM_KEEP = 0.99
"""Of LeCam's averages, from step to step; the paper's."""


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """E ||grad_x D(x)||^2 / 2, the core of R1 (at reals) and R2 (at fakes); Mescheder et al. 2018, arXiv:1801.04406.

    Args:
        discriminator: images [N, C, H, W] -> logits [N]; augmentation included, if there is any.
        images: float32 [N, C, H, W]; gradients are taken at these.

    Returns:
        A scalar whose gradient reaches the discriminator's weights. Multiply by gamma.
    """
    images = images.detach().requires_grad_(True)
    logits = discriminator(images)
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    together = len(images) / len(logits)  # a stack of pictures with one logit is one point
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean() * together


def lecam(real_logits: Tensor, fake_logits: Tensor, averages: Tensor) -> Tensor:
    """E max(0, D(x) - a_F)^2 + E max(0, a_R - D(G(z)))^2 (Tseng et al. 2021, arXiv:2104.03310, LeCam).

    With the max(0, .) of the authors' code, which their paper leaves out: logits pay for being further from the
    other kind's average than it is, not for being nearer.

    Args:
        real_logits: float32 [N].
        fake_logits: float32 [N].
        averages: float32 [2 or more], the moving averages a_R and a_F; see `moved_averages`.
    """
    return relu(real_logits - averages[1]).square().mean() + relu(averages[0] - fake_logits).square().mean()


@torch.no_grad()
def moved_averages(averages: Tensor, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The averages of `lecam` after a look: [a_R, a_F, looks so far], float32 [3].

    The first look sets them; afterwards each keeps `LECAM_KEEP` of itself.
    """
    now = torch.stack([real_logits.mean(), fake_logits.mean()])
    mixed = torch.lerp(now, averages[:2], LECAM_KEEP)
    return torch.cat([torch.where(averages[2] > 0, mixed, now), averages[2:] + 1])
