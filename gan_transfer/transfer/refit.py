"""Weights of a convolution fitted to another number of channels, so that what the network says changes little."""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: the weights with which Pillow turns RGB into grey


def recolour(weight: Tensor, channels: int, into_image: bool) -> Tensor:
    """Change the picture's channels of a convolution [other, channels, 4, 4] so that grey pictures look the same.

    Writing grey: the luma-weighted mean of what the three colours got; reading grey: the sum over them,
    because a grey picture shows the same value in all three.
    """
    if channels == weight.shape[1]:
        return weight
    if channels == 1:
        mix = torch.tensor(LUMA) if into_image else torch.ones(3)
        return (weight * mix[None, :, None, None]).sum(dim=1, keepdim=True)
    return weight.repeat(1, channels, 1, 1) / (1 if into_image else channels)


def restack(weight: Tensor, stacks: tuple[int, int], channels: int) -> Tensor:
    """Change how many pictures a convolution [other, stack * channels, 4, 4] reads at once (PacGAN), and their
    channels, so that a stack of equal pictures gets the same answer: each shares what one alone was given.

    Args:
        weight: as it was.
        stacks: pictures in a stack, as it was and as it shall be.
        channels: of one picture, as they shall be.
    """
    before, after = stacks
    each = weight.chunk(before, dim=1)
    if before != after:
        each = (sum(each, torch.zeros(())) / after,) * after
    return torch.cat([recolour(part, channels, into_image=False) for part in each], dim=1)


def with_channel(weight: Tensor, wanted: bool) -> Tensor:
    """Add a last input channel of zeros to a convolution [other, channels, 4, 4], or take the last one away."""
    return torch.cat([weight, torch.zeros_like(weight[:, :1])], dim=1) if wanted else weight[:, :-1]
