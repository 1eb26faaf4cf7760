"""Faults planted in real pictures, of known kind and size: what a verdict must find, and what it must pass over."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import functional as transforms

from ..images import to_pillow
from .diversity import k_means, nearest_center, principal_space

Alteration = Callable[[Tensor, torch.Generator], Tensor]
"""uint8 [N, C, H, W] -> uint8 of the same shape."""

MODES = 50
"""Modes that a planted loss is made of, found anew for each plant so that the judge's own modes are not echoed."""

GRAIN = 4.0
"""Standard deviation of the noise on repeats and copies, grey levels: no two of them are equal, the eye sees none."""

_DIMENSION = 64  # principal components in which modes are found


def jpeg(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Saved as JPEG of quality 75."""
    return torch.stack([_through_jpeg(picture, 75) for picture in pictures])


def blur(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Gaussian blur of 0.7 pixels."""
    blurred: Tensor = transforms.gaussian_blur(pictures, [7, 7], [0.7, 0.7])
    return blurred


def noise(pictures: Tensor, random: torch.Generator, sd: float = 8.0) -> Tensor:
    """White noise with a standard deviation of `sd` grey levels."""
    noisy = pictures + sd * torch.randn(pictures.shape, generator=random)
    return noisy.round().clamp_(0, 255).to(torch.uint8)


def contrast(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Contrast of 0.8."""
    paler: Tensor = transforms.adjust_contrast(pictures, 0.8)
    return paler


def grain(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Noise that the eye hardly sees: copies with it differ in every pixel."""
    return noise(pictures, random, GRAIN)


def flip(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Left to right."""
    return pictures.flip(-1)


def crop(pictures: Tensor, random: torch.Generator) -> Tensor:
    """A window of 15/16 of the side, anywhere, enlarged."""
    side = pictures.shape[-1]
    size = side - max(1, side // 16)
    cut = []
    for picture in pictures:
        top, left = torch.randint(side - size + 1, (2,), generator=random).tolist()
        cut.append(picture[:, top : top + size, left : left + size])
    enlarged = interpolate(torch.stack(cut).float(), (side, side), mode="bicubic", antialias=True)
    return enlarged.round().clamp_(0, 255).to(torch.uint8)


FIDELITY: dict[str, Alteration] = {"JPEG 75": jpeg, "blur 0.7 px": blur, "noise": noise, "contrast 0.8": contrast}
"""What costs fidelity and no diversity."""

REPLAYS: dict[str, Alteration] = {"noise": grain, "flip": flip, "crop": crop}
"""How training pictures are replayed."""


def modes_of(features: Tensor, random: torch.Generator) -> Tensor:
    """The mode that each picture belongs to, by k-means in the principal components: float32 [N, D] -> int64 [N].

    Give all pictures of a set: modes of a few hundred are theirs alone, and others would fill the holes.
    """
    space = principal_space(features, _DIMENSION)(features)
    return nearest_center(space, k_means(space, min(MODES, len(features) // 10), random))


def without_modes(modes: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Rows that are left when modes that hold this share of the pictures are dropped: int64 [N] -> int64 [...]."""
    order = torch.randperm(int(modes.max()) + 1, generator=random)[modes].argsort(stable=True)
    return order[round(share * len(order)) :]


def narrowed(features: Tensor, factor: float, random: torch.Generator) -> Tensor:
    """Features drawn towards the centres of their modes: distances to them times `factor`."""
    centers = k_means(features, min(MODES, len(features) // 10), random)
    centers = centers[nearest_center(features, centers)]
    return centers + factor * (features - centers)


def few_distinct(count: int, distinct: int, random: torch.Generator) -> Tensor:
    """Which of `distinct` pictures each of `count` shows, at random: int64 [count]."""
    return torch.randint(distinct, (count,), generator=random)


def with_twins(count: int, share: float, random: torch.Generator) -> Tensor:
    """Which picture each of `count` shows, when a share of them, at most half, repeat another one: int64 [count]."""
    repeats = math.floor(share * count)
    firsts = torch.arange(count - repeats)
    again = torch.randperm(len(firsts), generator=random)[:repeats]
    return torch.cat([firsts, again])


def _through_jpeg(picture: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    to_pillow(picture).save(buffer, "JPEG", quality=quality)
    again = np.array(Image.open(buffer))
    return torch.from_numpy(again if again.ndim == 3 else again[:, :, None]).permute(2, 0, 1)
