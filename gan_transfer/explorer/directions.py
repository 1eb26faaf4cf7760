"""Directions in the space of latents that change pictures most: GANSpace (Härkönen et al. 2020, arXiv:2004.02546)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..models.dcgan import Generator

SAMPLES = 8192  # latents whose activations are looked at
_NUMBERS = 2**26  # of activations at once: fewer latents of a wide generator
_SPARE, _ITERATIONS = 8, 6  # of the randomised decomposition; the spectrum is flat, so it needs some


class Directions(NamedTuple):
    """What sliders move along."""

    vectors: Tensor
    """float32 [K, latent_dim], each of length 1: a step of 1 is one standard deviation of a latent."""
    shares: Tensor
    """float32 [K]: the share of the variance of the first block's activations that each explains, falling."""


@torch.inference_mode()
def principal_directions(generator: Generator, count: int, seed: int = 0) -> Directions:
    """The latent directions of the first block's principal components.

    The components are found in the activations of random latents, and each is mapped back by least squares: the
    latents are regressed on the coordinates. These have no covariance, so that it takes one product.

    Args:
        generator: in eval mode.
        count: of directions wanted; there are at most as many as a latent is long.
        seed: of the latents and of the decomposition.
    """
    count = min(count, generator.model.latent_dim)
    block = next(iter(generator.blocks.values()))
    with torch.random.fork_rng(devices=[]):  # the decomposition draws from the global generator
        torch.manual_seed(seed)
        features = block(torch.randn(2, generator.model.latent_dim, 1, 1)).flatten(1).shape[1]
        z = torch.randn(min(SAMPLES, max(256, _NUMBERS // features)), generator.model.latent_dim)
        activations = block(z[:, :, None, None]).flatten(1)
        rank = min(count + _SPARE, *activations.shape)
        coordinates, scales, _ = torch.pca_lowrank(activations, rank, niter=_ITERATIONS)
    vectors = torch.nn.functional.normalize(coordinates[:, :count].T @ z)
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    total = (activations - activations.mean(0)).square().sum()
    return Directions(vectors * largest.sign(), scales[:count].square() / total)
