"""Would mirroring harm? Two measures on thumbnails: handedness of the whole set, and lettering. Free of torch."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from .decode import Pixels
from .look import Floats, luma, shrink

LETTERING_SCORE = 0.24
"""From this score on a picture counts as lettered. One in eleven varied photographs does, some of them rightly."""

MIN_PICTURES = 50
"""Fewer say nothing about handedness."""

_SEED = 0  # of the halves that are told apart
_CELLS, _DIRECTIONS = 8, 8
_MIN_STEP = 8.0  # grey levels between neighbours, of a stroke's two edges
_STROKE = 3  # pixels, the widest stroke
_WIDTH = 32  # pixels, half a thumbnail: the shortest line of text
_HEIGHTS = (3, 5, 7, 10)  # pixels, of a line of text
_GAP = 3  # pixels above and below it that must be emptier


@dataclasses.dataclass(frozen=True)
class Handedness:
    """How well the pictures can be told from their mirror images."""

    share: float
    """Of the pictures told rightly: 0.5 is guessing, 1 means that every flip shows."""
    pictures: int
    """That were judged."""

    @property
    def error(self) -> float:
        """Standard error of the share, if it were guessing."""
        return 0.5 / math.sqrt(self.pictures)


def handedness(thumbnails: Pixels) -> Handedness | None:
    """Learn from one half of the pictures to tell a picture from its mirror image, try it on the other, and swap.

    What is learned is linear (ridge regression) in how much more edge a picture has than its mirror image, by eight
    directions in 8 x 8 cells (as in HOG, Dalal & Triggs 2005). The idea is that of visual chirality (Lin et al. 2020).
    Found that way: whatever is turned or placed alike in many pictures, such as digits, shoes that point left, a
    title at the upper left. Not seen: handedness that has no common place or shape, such as lettering anywhere; and
    it needs enough pictures, as a weak common trait takes hundreds to learn.
    Measured: MNIST .96, Fashion-MNIST .84, built-in covers .64, song jackets .55, CelebA .55, album covers .53,
    CIFAR-10 .51, Tiny-ImageNet .48 to .50 (2,000 pictures, or all of fewer).

    Args:
        thumbnails: uint8 [N, 64, 64, 3].

    Returns:
        None for fewer than `MIN_PICTURES` pictures.
    """
    count = len(thumbnails)
    if count < MIN_PICTURES:
        return None
    grey = shrink(luma(thumbnails), 32)
    odd = _edges(grey) - _edges(grey[:, :, ::-1])
    odd /= np.maximum(np.linalg.norm(odd, axis=1, keepdims=True), 1e-6)
    order = np.random.default_rng(_SEED).permutation(count)
    halves = order[: count // 2], order[count // 2 :]
    told = sum(_told(odd[learned], odd[tried]) for learned, tried in (halves, halves[::-1]))
    return Handedness(told / count, count)


def lettering(thumbnails: Pixels) -> Floats:
    """How much a line of text there seems to be in each picture: float32 [N], about 0 to 1.

    A stroke is an edge up and an edge down within three pixels of a row. The score is the density of strokes in a
    band that is half a picture wide and 3 to 10 pixels high, less that of the denser one of the strips above and
    below: lines of text stand out so, while grass and foliage are dense on all sides.
    Not seen: lettering that is upright, slanted, a single large word, or too small to show at 64 pixels, where a flip
    shows it as little. Mistaken for it: fences, rulers, rows of books. So it judges sets, not single pictures.
    Measured, share of pictures at `LETTERING_SCORE`: album covers .50, song jackets .32, built-in covers .29,
    Tiny-ImageNet .08 to .09, ImageNet originals .07, CelebA .02, CIFAR-10 and MNIST .00.

    Args:
        thumbnails: uint8 [N, 64, 64, 3].
    """
    density = _window_means(_strokes(luma(thumbnails)), _WIDTH, axis=2)[:, :, ::4]
    strips = np.pad(_window_means(density, _GAP, axis=1), ((0, 0), (_GAP, _GAP), (0, 0)))
    best = np.zeros(len(thumbnails), np.float32)
    for height in _HEIGHTS:
        band = _window_means(density, height, axis=1)
        above, below = strips[:, : band.shape[1]], strips[:, height + _GAP :]
        best = np.maximum(best, (band - np.maximum(above, below)).max((1, 2)))
    return best


def _edges(grey: Floats) -> Floats:
    # Strength of the edges by signed direction and cell: [N, 32, 32] -> [N, CELLS * CELLS * DIRECTIONS].
    across, down = np.zeros_like(grey), np.zeros_like(grey)
    across[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    strength = np.hypot(across, down)
    direction = np.rint(np.arctan2(down, across) * (_DIRECTIONS / (2 * np.pi))).astype(np.int8) % _DIRECTIONS
    cells = [shrink(strength * (direction == number), _CELLS) for number in range(_DIRECTIONS)]
    return np.sqrt(np.stack(cells, axis=3)).reshape(len(grey), -1)


def _told(learned: Floats, tried: Floats) -> float:
    # The mirror image of a row of features is its negative, so the classifier needs no second class.
    covariance = learned.T @ learned / len(learned)
    ridge = np.trace(covariance) / len(covariance) + 1e-9
    weights = np.linalg.solve(covariance + ridge * np.eye(len(covariance), dtype=np.float32), learned.mean(0))
    scores = tried @ weights
    return float((scores > 0).sum() + 0.5 * (scores == 0).sum())


def _strokes(grey: Floats) -> Floats:
    # At each pixel the weaker one of two opposite edges at most _STROKE pixels apart, 0 to 1.
    steps = np.diff(grey, axis=2)
    up, down = np.clip(steps, 0, None), np.clip(-steps, 0, None)
    strokes = np.zeros_like(grey)
    for width in range(1, _STROKE + 1):
        light = np.minimum(up[:, :, :-width], down[:, :, width:])
        dark = np.minimum(down[:, :, :-width], up[:, :, width:])
        here = strokes[:, :, 1:-width]
        np.maximum(here, np.maximum(light, dark), out=here)
    return np.where(strokes > _MIN_STEP, np.minimum(strokes, 64) / 64, 0).astype(np.float32)


def _window_means(values: Floats, length: int, axis: int) -> Floats:
    windows = np.lib.stride_tricks.sliding_window_view(values, length, axis)
    means: Floats = windows.mean(-1, dtype=np.float32)
    return means
