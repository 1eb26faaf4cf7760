"""`builtin:covers`: a seeded generator of synthetic album covers, each of a known design family. Free of torch."""

from __future__ import annotations

import functools
import hashlib
import json

import numpy as np
from PIL import Image

from ..errors import DataError
from .cover_canvas import Canvas, Floats, coordinates
from .cover_figures import FIGURES, title_band
from .cover_patterns import PATTERNS

GENERATOR_VERSION = 1
"""Raised whenever the pictures of a seed change, so that no cache holds the old ones."""

DEFAULT_COUNT = 2000
DEFAULT_SEED = 0
DEFAULT_SIZE = 128
SUPERSAMPLING = 3  # drawn at three times the size and averaged: smooth edges
DESIGNS = PATTERNS | FIGURES
FAMILIES: tuple[str, ...] = tuple(DESIGNS)

_SELF_TITLED = {"lettering", "frame", "portrait"}  # a strip of text would hide what makes these


def cover(index: int, seed: int = DEFAULT_SEED, size: int = DEFAULT_SIZE) -> Image.Image:
    """Draw one cover as an RGB picture of `size` x `size` pixels; the design does not depend on the size.

    Raises:
        ValueError: index or seed is negative, or size is below 1.
    """
    name, rng = family(index, seed), _generator(seed, 1, index)
    canvas = Canvas.blank(size * SUPERSAMPLING, rng)
    DESIGNS[name](canvas)
    if name not in _SELF_TITLED and rng.random() < 0.35:
        title_band(canvas)
    return _print(canvas.image.reduce(SUPERSAMPLING), rng)


def family(index: int, seed: int = DEFAULT_SEED) -> str:
    """The design family of a cover, without drawing it; every run of `len(FAMILIES)` covers holds each family once.

    Raises:
        ValueError: index or seed is negative.
    """
    block, place = divmod(index, len(FAMILIES))
    order = _generator(seed, 0, block).permutation(len(FAMILIES))
    return FAMILIES[int(order[place])]


class CoversSource:
    """The data source `builtin:covers`: `count` covers of one seed, drawn when they are asked for."""

    name = "builtin-covers"

    def __init__(self, count: int = DEFAULT_COUNT, seed: int = DEFAULT_SEED) -> None:
        """Describe the covers; nothing is drawn yet.

        Raises:
            DataError: count is below 1 or seed is negative.
        """
        if count < 1 or seed < 0:
            raise DataError(
                f"builtin:covers needs a count of at least 1 and a seed of at least 0, got count={count}, seed={seed}; "
                f"the default is count={DEFAULT_COUNT}&seed={DEFAULT_SEED}"
            )
        self.count = count
        self.seed = seed

    @property
    def spec(self) -> str:
        """The source as a recipe names it; `?count=..&seed=..` follows where they are not the default."""
        if (self.count, self.seed) == (DEFAULT_COUNT, DEFAULT_SEED):
            return "builtin:covers"
        return f"builtin:covers?count={self.count}&seed={self.seed}"

    @property
    def origin(self) -> str:
        """The spec, which holds no path."""
        return self.spec

    def __len__(self) -> int:
        return self.count

    def fetch(self) -> None:
        """Nothing to do: covers are drawn here."""

    def label(self, index: int) -> str:
        """A name for one cover that tells its family, such as `0042-stripes`."""
        return f"{index:04d}-{family(index, self.seed)}"

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        """Draw one cover as RGB, `hint` pixels wide and high; None draws it at 128."""
        return cover(index, self.seed, hint or DEFAULT_SIZE)

    def fingerprint(self) -> str:
        """A SHA-256 that changes whenever any picture would."""
        identity = {"generator": "covers", "version": GENERATOR_VERSION, "count": self.count, "seed": self.seed}
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    def close(self) -> None:
        """Nothing is held open."""


def _generator(seed: int, stream: int, number: int) -> np.random.Generator:
    # The stream keeps the order of the families (0) and the drawing of a cover (1) independent.
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, stream, number])))


def _print(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    # Ink on card: blacks are never quite black, corners are darker, and the paper has a grain.
    size = image.width
    grain = rng.uniform(2.0, 5.0) * rng.standard_normal((size, size, 1), np.float32)
    ink = np.asarray(image, np.float32) * np.float32(0.92) + np.float32(12)
    return Image.fromarray(np.clip(ink * _vignette(size) + grain + 0.5, 0, 255).astype(np.uint8))


@functools.lru_cache(maxsize=8)
def _vignette(size: int) -> Floats:
    x, y = coordinates(size)
    shade = 1 - 0.3 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    shade.flags.writeable = False  # shared by all who ask
    return shade[:, :, None]
