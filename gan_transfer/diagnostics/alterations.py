"""Altered copies of pictures, and pictures that show nothing: what a network must have seen to judge generators.

Every operation takes a picture, uint8 [3, H, W], another one of that shape, and a random generator.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from ..images import to_pillow

Operation = Callable[[Tensor, Tensor, np.random.Generator], Tensor]


def alter(picture: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
    """Apply one operation, or two one after the other, drawn at random: uint8 [3, H, W] -> the same shape."""
    for name in random.choice(list(OPERATIONS), random.integers(1, 3), replace=False):
        picture = OPERATIONS[name](picture, other, random)
    return picture


def blur(picture: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
    """Gaussian, 0.4 to 2.5 pixels."""
    sigma = random.uniform(0.4, 2.5)
    blurred: Tensor = transforms.gaussian_blur(picture, [2 * math.ceil(2.5 * sigma) + 1] * 2, [sigma, sigma])
    return blurred


def jpeg(picture: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
    """JPEG of quality 5 to 95."""
    buffer = io.BytesIO()
    to_pillow(picture).save(buffer, "JPEG", quality=int(random.integers(5, 96)))
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)


def noise(picture: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
    """White noise with a standard deviation of 2 to 50 grey levels."""
    return _rounded(picture + _tensor(random.normal(0, random.uniform(2, 50), picture.shape)))


def color(picture: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue."""
    picture = transforms.adjust_brightness(picture, random.uniform(0.6, 1.4))
    picture = transforms.adjust_contrast(picture, random.uniform(0.4, 1.6))
    picture = transforms.adjust_saturation(picture, random.uniform(0.0, 2.0))
    if random.random() < 0.5:
        picture = transforms.adjust_hue(picture, random.uniform(-0.5, 0.5))
    return picture


def crop(picture: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
    """A window of 40 to 95 % of the side, anywhere, enlarged."""
    side = picture.shape[1]
    size = round(side * random.uniform(0.4, 0.95))
    top, left = random.integers(0, side - size + 1, 2).tolist()
    window = picture[:, top : top + size, left : left + size]
    return _resized(window, side, InterpolationMode.BICUBIC)


def shrink(picture: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
    """Made smaller, to 12 to 75 % of the side, and large again."""
    side = picture.shape[1]
    small = max(1, round(side * random.uniform(0.12, 0.75)))
    modes = InterpolationMode.NEAREST, InterpolationMode.BILINEAR, InterpolationMode.BICUBIC
    return _resized(_resized(picture, small, InterpolationMode.BILINEAR), side, modes[random.integers(3)])


def blend(picture: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
    """20 to 50 % of the other picture shine through."""
    return _rounded(torch.lerp(picture.float(), other.float(), random.uniform(0.2, 0.5)))


def patch(picture: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
    """A rectangle of the other picture, up to 70 % of the side, in its place (CutMix, Yun et al. 2019)."""
    side, mixed = picture.shape[1], picture.clone()
    height, width = (side * random.uniform(0.2, 0.7, 2)).astype(int).tolist()
    top, left = random.integers(0, side - height + 1), random.integers(0, side - width + 1)
    mixed[:, top : top + height, left : left + width] = other[:, top : top + height, left : left + width]
    return mixed


def chequer(picture: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
    """A pattern that repeats every 2 or 4 pixels, as strided convolutions leave it (Odena et al. 2016)."""
    side, period = picture.shape[1], int(random.choice([2, 4]))
    tile = _tensor(random.normal(0, random.uniform(5, 40), (3, period, period)))
    times = -(-side // period)
    return _rounded(picture + tile.repeat(1, times, times)[:, :side, :side])


def melt(picture: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
    """Shapes run: every pixel is fetched from up to about a seventh of the side away, neighbours from near by."""
    side, nodes = picture.shape[1], int(random.integers(3, 9))
    shifts = _tensor(random.normal(0, random.uniform(0.03, 0.15), (1, 2, nodes, nodes)))
    shifts = interpolate(shifts, (side, side), mode="bicubic", align_corners=True)
    line = torch.linspace(-1, 1, side)
    here = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
    places = here + shifts[0].permute(1, 2, 0)
    return _rounded(grid_sample(picture[None].float(), places[None], padding_mode="reflection", align_corners=True)[0])


OPERATIONS: dict[str, Operation] = {
    "blur": blur,
    "jpeg": jpeg,
    "noise": noise,
    "color": color,
    "crop": crop,
    "shrink": shrink,
    "blend": blend,
    "patch": patch,
    "chequer": chequer,
    "melt": melt,
}


def invent(side: int, random: np.random.Generator) -> Tensor:
    """A picture of nothing, uint8 [3, side, side]: flat, a gradient, white noise, or clouds of any fineness."""
    kind = random.integers(4)
    if kind == 0:
        return _tensor(random.integers(0, 256, (3, 1, 1))).to(torch.uint8).expand(3, side, side)
    if kind == 1:
        return _rounded(interpolate(_tensor(random.uniform(0, 255, (1, 3, 2, 2))), (side, side), mode="bilinear")[0])
    if kind == 2:
        return _tensor(random.integers(0, 256, (3, side, side))).to(torch.uint8)
    nodes = int(random.integers(3, max(4, side // 2)))
    clouds = _tensor(random.normal(0, random.uniform(20, 80), (1, 3, nodes, nodes)))
    level = _tensor(random.uniform(40, 215, (3, 1, 1)))
    return _rounded(interpolate(clouds, (side, side), mode="bicubic")[0] + level)


def _resized(picture: Tensor, side: int, mode: InterpolationMode) -> Tensor:
    resized: Tensor = transforms.resize(picture, [side, side], mode)
    return resized


def _tensor(values: np.typing.NDArray[np.float64] | np.typing.NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(values).float()


def _rounded(picture: Tensor) -> Tensor:
    """Grey levels of 0..255 as uint8."""
    return picture.round().clamp_(0, 255).to(torch.uint8)
