"""How varied pictures are, as a share of how varied photographs of two hundred kinds of things are. Free of torch."""

from __future__ import annotations

import dataclasses

import numpy as np

from .decode import Pixels
from .look import shrink

PHOTO_COLOUR = (123.0, 114.0, 102.0)
"""Mean colour of Tiny-ImageNet's photographs, RGB, 0 to 255."""

PHOTO_SCORES = {50: 19.15, 100: 25.87, 200: 31.51, 500: 37.16}
"""Vendi score of so many photographs: the mean of 20 disjoint random samples of 45,000 of Tiny-ImageNet's training
pictures (the files a, b and c); the standard deviation was 1.8, 2.0, 1.8 and 1.2.
`test_diversity.py` measures it again where the pictures are at hand."""

MOST = max(PHOTO_SCORES)
"""Pictures that are compared."""


@dataclasses.dataclass(frozen=True)
class Diversity:
    """How varied a sample of the pictures is."""

    vendi: float
    """Vendi score: the effective number of different pictures in the sample."""
    pictures: int
    """In the sample; scores of unequal samples cannot be compared."""
    relative: float
    """The score divided by that of as many varied photographs."""


def diversity(thumbnails: Pixels) -> Diversity | None:
    """Judge an even sample of 500, 200, 100 or 50 of the pictures, the most that there are.

    It sees layout and colour, not meaning: a thousand different faces in one pose are alike to it, and one thing
    in a thousand surroundings is varied. The same picture over and over gives nearly 0.
    Measured: built-in covers 1.10, Tiny-ImageNet .92 to 1.03, CIFAR-10 .80, song jackets .77, album covers .54,
    CelebA .52, MNIST .13.

    Args:
        thumbnails: uint8 [N, 64, 64, 3].

    Returns:
        None for fewer than 50 pictures.
    """
    count = max((size for size in PHOTO_SCORES if size <= len(thumbnails)), default=None)
    if count is None:
        return None
    score = vendi(thumbnails[np.linspace(0, len(thumbnails) - 1, count).astype(np.intp)])
    return Diversity(score, count, score / PHOTO_SCORES[count])


def vendi(thumbnails: Pixels) -> float:
    """The Vendi score (Friedman & Dieng 2023) of uint8 [N, 64, 64, 3]: exp of the entropy of K / N's eigenvalues.

    K holds the cosines of 16 x 16 colours less the mean colour of photographs; centred on their own mean, pictures
    that are all alike would seem to differ.
    """
    features = (shrink(thumbnails, 16).astype(np.float64) - PHOTO_COLOUR).reshape(len(thumbnails), -1)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    weights = np.linalg.eigvalsh(features @ features.T / len(features))
    weights = weights[weights > 1e-12]
    return float(np.exp(-(weights * np.log(weights)).sum()))
