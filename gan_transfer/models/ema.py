"""The moving average of the generator, and batch-norm statistics taken anew for it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ..devices import send
from .dcgan import Generator


def decay(batch: int, half_life: float, images_seen: int, rampup: float) -> float:
    """The share of the old average that one step of `batch` images keeps: 0.5 ** (batch / half-life).

    Args:
        batch: images in the step.
        half_life: in images; 0 keeps nothing.
        images_seen: images before this step.
        rampup: the half-life is at most this share of `images_seen` (0: no ramp), so that the random
            weights of the start are forgotten quickly (StyleGAN2's rule).
    """
    if rampup > 0:
        half_life = min(half_life, images_seen * rampup)
    return float(0.5 ** (batch / half_life)) if half_life > 0 else 0.0


class Ema:
    """Average of a generator's weights. Buffers are not averaged: `recalibrate` takes them anew.

    Attributes:
        network: the averaged generator, in eval mode.
    """

    def __init__(self, generator: Generator) -> None:
        self.network = copy.deepcopy(generator).eval().requires_grad_(False)
        pairs = [
            (averaged, live)
            for name, block in self.network.blocks.items()
            if not block.frozen  # a frozen block is equal in both, for good
            for averaged, live in zip(block.parameters(), generator.blocks[name].parameters(), strict=True)
        ]
        self._averaged: list[Tensor] = [averaged for averaged, _ in pairs]
        self._live: list[Tensor] = [live for _, live in pairs]

    @torch.no_grad()
    def update(self, keep: float) -> None:
        """Move the average towards the live weights: average <- keep * average + (1 - keep) * live."""
        torch._foreach_lerp_(self._averaged, self._live, 1.0 - keep)


@torch.no_grad()
def recalibrate(generator: Generator, batch: int, batches: int, seed: int = 0) -> None:
    """Take the batch-norm statistics of a generator anew from its own samples, in place.

    Averaged weights have other activations than the weights that the statistics were collected from.
    Frozen blocks keep theirs.

    Args:
        generator: left in eval mode.
        batch: latents in a batch.
        batches: how many; every one counts the same.
        seed: of the latents; training randomness is not touched.
    """
    generator.train()
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over all batches
    device = next(generator.parameters()).device
    random = torch.Generator().manual_seed(seed)
    for _ in range(batches if norms else 0):
        generator(send(torch.randn(batch, generator.model.latent_dim, generator=random), device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    generator.eval()
