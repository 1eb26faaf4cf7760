"""Gradient penalties on the discriminator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


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
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()
