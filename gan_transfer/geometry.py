"""The chain of convolutions that a network is: by the paper's rule, or as an imported network has it. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Le


@dataclasses.dataclass(frozen=True)
class Layer:
    """One convolution; in a generator a transposed one."""

    __pydantic_config__ = {"extra": "forbid"}
    channels: Annotated[int, Ge(1), Le(16384)]
    """Of the feature map that it puts out. The last layer of a generator puts out those of a picture instead."""
    kernel: Annotated[int, Ge(1), Le(16)]
    """Height and width of the window, pixels."""
    stride: Annotated[int, Ge(1), Le(2)]
    """Pixels from one window to the next."""
    padding: Annotated[int, Ge(0), Le(8)]
    """Pixels of zeros around the larger map."""
    output_padding: Annotated[int, Ge(0), Le(1)] = 0
    """Rows and columns added to what a transposed convolution puts out."""


def generator_layers(resolution: int, base_channels: int, channels: int) -> tuple[Layer, ...]:
    """The generator of Radford et al. 2016, from latent to picture; at 28 pixels it begins with 7 x 7."""
    sizes = [resolution]
    while sizes[0] % 2 == 0 and sizes[0] > 4:
        sizes.insert(0, sizes[0] // 2)
    widths = [*(channels_at(size, base_channels) for size in sizes[:-1]), channels]
    first = Layer(widths[0], sizes[0], 1, 0)
    return (first, *(Layer(width, 4, 2, 1) for width in widths[1:]))


def discriminator_layers(resolution: int, base_channels: int) -> tuple[Layer, ...]:
    """The discriminator of Radford et al. 2016, from picture to logit; at 28 pixels it ends on 7 x 7."""
    sizes = [resolution]
    while sizes[-1] % 2 == 0 and sizes[-1] > 4:
        sizes.append(sizes[-1] // 2)
    return (*(Layer(channels_at(size, base_channels), 4, 2, 1) for size in sizes[1:]), Layer(1, sizes[-1], 1, 0))


def channels_at(size: int, base_channels: int) -> int:
    """Channels of the feature map that is `size` pixels wide, or a little less: 28 counts as 32. At least 4."""
    return max(4, base_channels * 32 // level(size))


def level(size: int) -> int:
    """The next power of two: 28 -> 32."""
    return 1 << (size - 1).bit_length()


def sizes_up(layers: Sequence[Layer]) -> list[int]:
    """The resolution of what each layer of a generator puts out, pixels; it begins with a single one."""
    sizes, size = [], 1
    for layer in layers:
        size = (size - 1) * layer.stride - 2 * layer.padding + layer.kernel + layer.output_padding
        sizes.append(size)
    return sizes


def sizes_down(layers: Sequence[Layer], resolution: int) -> list[int]:
    """The resolution of what each layer of a discriminator puts out, pixels; 0 or less where nothing is left."""
    sizes, size = [], resolution
    for layer in layers:
        size = (size + 2 * layer.padding - layer.kernel) // layer.stride + 1
        sizes.append(size)
    return sizes


def faults(resolution: int, layers_g: Sequence[Layer], layers_d: Sequence[Layer]) -> list[str]:
    """Why some layers are no pair for pictures of a resolution: lines that begin with `layers_g: ` or `layers_d: `."""
    lines = []
    up, down = sizes_up(layers_g), sizes_down(layers_d, resolution)
    if up and (up[-1] != resolution or not _are_blocks(up)):
        lines.append(f"layers_g: put out {_pixels(up)} pixels; wanted rising sizes up to {resolution}")
    if down and (down[-1] != 1 or not _are_blocks(down)):
        lines.append(f"layers_d: put out {_pixels(down)} pixels; wanted falling sizes from {resolution} to 1")
    return lines


def _are_blocks(sizes: list[int]) -> bool:
    """Whether each has a size of its own, after which blocks are named."""
    return min(sizes) > 0 and len(set(sizes)) == len(sizes)


def _pixels(sizes: list[int]) -> str:
    return ", ".join(map(str, sizes))
