"""Synthetic features for the tests: a mixture of Gaussians with as many samples and as few modes as a claim needs."""

from __future__ import annotations

import torch
from torch import Tensor

MODES = 40
DIMENSION = 64
CENTERS = torch.randn(MODES, DIMENSION, generator=torch.Generator().manual_seed(99))


def drawn(count: int, seed: int, modes: int = MODES) -> tuple[Tensor, Tensor]:
    """Samples of the first `modes` equally likely modes, float32 [count, 64], and the centre of each."""
    random = torch.Generator().manual_seed(seed)
    centers = CENTERS[torch.randint(modes, (count,), generator=random)]
    return centers + torch.randn(count, DIMENSION, generator=random), centers


def mixture(count: int, seed: int, modes: int = MODES) -> Tensor:
    """Samples, float32 [count, 64]."""
    return drawn(count, seed, modes)[0]


def noise(count: int, seed: int, sd: float = 1.0) -> Tensor:
    """White noise, float32 [count, 64]."""
    return sd * torch.randn(count, DIMENSION, generator=torch.Generator().manual_seed(seed))
