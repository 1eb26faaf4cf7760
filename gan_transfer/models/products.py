"""The products of a 4x4, stride-2, padding-1 convolution in bfloat16 on a CPU, where the library's own are slow.

A convolution and a transposed one share three products, with the roles of picture and gradient exchanged:
`correlate` (pictures -> features), `spread` (features -> pictures) and `weigh` (both -> gradient of the weights).
Each is taken either from PyTorch or as one matrix product, by a rule on the channels (`DEEP_FORWARD`, `DEEP_WEIGHTS`,
`COLORS`) that was measured at batch 64 on processors with AVX-512 bfloat16: the weight gradients of the two deepest
layers take half the time that way. Where there is AMX, `spread` of the deepest layer takes a half too; without it a
fifth more. float32 always goes through PyTorch.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

DEEP_FORWARD, DEEP_WEIGHTS = 256, 128
"""Channels of the larger map from which on the gathered matrix product is faster, forward and for the weights."""
COLORS = 4
"""Channels of the larger map up to which PyTorch's `spread` is slow: those of a picture."""


class StridedConv(nn.Conv2d):
    """`nn.Conv2d(c_in, c_out, 4, 2, 1)` that takes the fast products under bfloat16 autocast on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """[N, C_in, 2H, 2W] -> [N, C_out, H, W]."""
        if not _fast(input):
            return super().forward(input)
        out: Tensor = _Strided.apply(input.bfloat16(), self.weight.bfloat16())
        return out if self.bias is None else out + self.bias.bfloat16()[:, None, None]


class TransposedConv(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d(c_in, c_out, 4, 2, 1)`, likewise; without bias."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """[N, C_in, H, W] -> [N, C_out, 2H, 2W]."""
        if output_size is not None or self.bias is not None or not _fast(input):
            return super().forward(input, output_size)
        out: Tensor = _Transposed.apply(input.bfloat16(), self.weight.bfloat16())
        return out


def correlate(pictures: Tensor, weight: Tensor) -> Tensor:
    """Strided convolution: [N, C, 2H, 2W], [O, C, 4, 4] -> [N, O, H, W]."""
    count, channels, height, width = pictures.shape
    if channels < DEEP_FORWARD:
        return functional.conv2d(pictures, weight, stride=2, padding=1)
    product = windows(pictures) @ _flat(weight).t()
    return product.view(count, height // 2, width // 2, -1).permute(0, 3, 1, 2)


def spread(features: Tensor, weight: Tensor) -> Tensor:
    """Its adjoint, the transposed convolution: [N, O, H, W], [O, C, 4, 4] -> [N, C, 2H, 2W]."""
    channels = weight.shape[1]
    if channels >= DEEP_FORWARD and not torch.compiler.is_compiling() and _has_tiles():  # its sums, compiled, are slow
        return _laid_out(features.permute(0, 2, 3, 1) @ _flat(weight))
    if channels > COLORS:
        return functional.conv_transpose2d(features, weight, stride=2, padding=1)
    # Four pixels' colours as the channels of one: a 2x2 convolution of stride 1 on a picture a half as wide.
    quarters = functional.conv_transpose2d(features, functional.pixel_unshuffle(weight, 2))
    return functional.pixel_shuffle(quarters, 2)[:, :, 1:-1, 1:-1]


def weigh(pictures: Tensor, features: Tensor) -> Tensor:
    """Gradient of the weights: [N, C, 2H, 2W], [N, O, H, W] -> [O, C, 4, 4]."""
    channels, out = pictures.shape[1], features.shape[1]
    if channels < DEEP_WEIGHTS:
        shape = features.new_empty(1).expand(out, channels, 4, 4)  # only its shape is read
        gradients = torch.ops.aten.convolution_backward(
            features, pictures, shape, None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False]
        )
        weights: Tensor = gradients[1]
        return weights
    product = features.permute(0, 2, 3, 1).reshape(-1, out).t() @ windows(pictures)
    return product.view(out, 4, 4, channels).permute(0, 3, 1, 2)


def windows(pictures: Tensor) -> Tensor:
    """What each 4x4 window sees, a row a window: [N, C, 2H, 2W] -> [N * H * W, 16 * C], channels last.

    In a padded channels-last picture the four pixels of a window's row lie side by side, so this is one strided copy.
    """
    count, channels, height, width = pictures.shape
    padded = pictures.new_zeros(count, height + 2, width + 2, channels)
    padded[:, 1:-1, 1:-1] = pictures.permute(0, 2, 3, 1)
    image, row, pixel, _ = padded.stride()
    shape = (count, height // 2, width // 2, 4, 4 * channels)
    return padded.as_strided(shape, (image, 2 * row, 2 * pixel, row, 1)).reshape(-1, 16 * channels)


def _laid_out(windows: Tensor) -> Tensor:
    """The adjoint of `windows`: sums them where they overlap. [N, H, W, 16 * C] -> [N, C, 2H, 2W], channels last.

    In halves of four pixels by four, a window is two by two of what lies side by side: four sums instead of sixteen.
    """
    count, height, width, depth = windows.shape
    quarters = windows.view(count, height, width, 2, 2, 2, depth // 8)  # half and row in it, half and two pixels in it
    padded = windows.new_zeros(count, height + 1, 2, width + 1, depth // 8)
    for row, column in itertools.product((0, 1), (0, 1)):
        part = quarters[:, :, :, row, :, column].transpose(2, 3)
        padded[:, row : row + height, :, column : column + width] += part
    pictures = padded.view(count, 2 * height + 2, 2 * width + 2, depth // 16)[:, 1:-1, 1:-1]
    return _channels_last(pictures.permute(0, 3, 1, 2))


class _Strided(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pictures: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(pictures, weight)
        return correlate(pictures, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        pictures, weight = ctx.saved_tensors
        gradient = _channels_last(gradient)
        to_pictures = spread(gradient, weight) if ctx.needs_input_grad[0] else None
        return to_pictures, weigh(pictures, gradient) if ctx.needs_input_grad[1] else None


class _Transposed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(features, weight)
        return spread(features, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        features, weight = ctx.saved_tensors
        gradient = _channels_last(gradient)
        to_features = correlate(gradient, weight) if ctx.needs_input_grad[0] else None
        return to_features, weigh(gradient, features) if ctx.needs_input_grad[1] else None


def _fast(pictures: Tensor) -> bool:
    """Whether the fast products apply: a batch on the CPU, under bfloat16 autocast."""
    return (
        pictures.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


@functools.cache
def _has_tiles() -> bool:
    """Whether the processor multiplies tiles of bfloat16 (AMX)."""
    return bool(torch.cpu._is_amx_tile_supported())


def _channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


def _flat(weight: Tensor) -> Tensor:
    """[O, C, 4, 4] -> [O, 16 * C] in the order of `windows`."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
