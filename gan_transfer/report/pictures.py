"""Pictures of a run as data URIs, shrunk and recompressed until all of them fit into one page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

MOST_BYTES = 5 * 10**6
"""Of all grids in a page."""

SIZES = ((1056, 82), (792, 75), (528, 70), (396, 60))
"""Longest side in pixels and quality, from the best to the smallest."""

LOSSLESS = 320
"""Pixels up to which a grid is kept as it is."""


def embedded(paths: Sequence[Path], most_bytes: int = MOST_BYTES) -> list[str]:
    """Data URIs of pictures; empty where a file is missing or damaged."""
    for longest, quality in SIZES:
        made = [embed(path, longest, quality) for path in paths]
        if sum(map(len, made)) <= most_bytes:
            break
    return made


def embed(path: Path, longest: int = 1056, quality: int = 82, height: float = 1.0) -> str:
    """A picture as a data URI; empty where the file is missing or damaged.

    Args:
        path: of the PNG.
        longest: side in pixels that it is shrunk to.
        quality: of WebP; small pictures are kept without loss.
        height: share of the picture that is shown, from above.
    """
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB").crop((0, 0, opened.width, round(opened.height * height)))
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return ""
    small = max(picture.size) <= LOSSLESS
    picture.thumbnail((longest, longest))
    packed = io.BytesIO()
    picture.save(packed, "WEBP", quality=quality, lossless=small)
    return f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}"
