"""The image convention: uint8 [N, C, H, W] outside the networks, float in [-1, 1] inside. Only this file converts."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .files import atomic


def to_float(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 [N, C, H, W] in 0..255 -> float [N, C, H, W] in [-1, 1]; the memory format is kept."""
    return images.to(dtype).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Float [N, C, H, W] in [-1, 1] -> uint8, rounded to the nearest of 0..255; the inverse of `to_float`."""
    return images.float().mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8)


def grid(images: Tensor, columns: int | None = None, gap: int = 2) -> Tensor:
    """Lay pictures out in rows: uint8 [N, C, H, W] -> uint8 [3, rows, columns of pixels], white between them.

    Args:
        images: uint8 [N, C, H, W], C = 1 or 3.
        columns: pictures in a row; None makes the grid as square as it can be.
        gap: pixels between two pictures.
    """
    count, _, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = torch.full((3, rows * (height + gap) - gap, columns * (width + gap) - gap), 255, dtype=torch.uint8)
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def to_pillow(image: Tensor) -> Image.Image:
    """uint8 [C, H, W] -> a Pillow picture, grey for C = 1."""
    array = image.permute(1, 2, 0).contiguous().cpu().numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def save_png(path: Path, image: Tensor) -> None:
    """Write uint8 [C, H, W] as a PNG, atomically."""
    with atomic(path) as temporary:
        to_pillow(image).save(temporary, format="PNG")
