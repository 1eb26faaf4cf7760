"""The DCGAN generator and discriminator, after Radford et al. 2016 (arXiv:1511.06434), for 16 to 256 pixels.

A block is named after its network and the resolution that it puts out: `g4 g8 ... g64`, `d32 d16 d8 d4 d1`.
Channels are tied to the resolution, not to the depth (512 at 4 x 4, 64 at 32 x 32 with base_channels 64),
so that pairs of different resolutions share every block but the ones next to the image. An imported network may
have other convolutions; its blocks are named in the same way. See `gan_transfer.geometry`.
"""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..conflicts import GROUP_SIZES
from ..errors import WeightsError
from ..geometry import Layer, faults, sizes_down, sizes_up
from ..recipe import Model
from .products import StridedConv, TransposedConv

SLOPE = 0.2  # of every LeakyReLU


class Block(nn.Module):
    """One convolution with its normalisation and activation. A frozen block stays in eval mode for good.

    Attributes:
        conv: the convolution, strided or transposed.
        norm: batch norm, or an identity.
        frozen: set by `gan_transfer.transfer.freeze`; `train()` then leaves the block in eval mode.
    """

    def __init__(self, conv: nn.Module, norm: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.activation = conv, norm, activation
        self.frozen = False

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H_in, W_in] -> [N, C_out, H_out, W_out], float."""
        out: Tensor = self.activation(self.norm(self.conv(x)))
        return out

    def train(self, mode: bool = True) -> Self:
        """Like `nn.Module.train`, but a frozen block is left in eval mode: `requires_grad` alone would not stop
        its batch-norm statistics, and a plain `eval()` is undone by the next `train()` of the network."""
        return super().train(mode and not self.frozen)


class Network(nn.Module):
    """A chain of named blocks, with what both networks share."""

    blocks: dict[str, Block]

    def __init__(self, model: Model, blocks: dict[str, Block]) -> None:
        super().__init__()
        self.model, self.blocks = model, blocks
        for name, block in blocks.items():
            self.add_module(name, block)

    def trainable(self) -> list[nn.Parameter]:
        """The parameters that an optimiser may change: those outside frozen blocks that ask for gradients."""
        return [p for name in self.blocks for p in self.trainable_in(name)]

    def trainable_in(self, name: str) -> list[nn.Parameter]:
        """Those of one block."""
        block = self.blocks[name]
        return [] if block.frozen else [p for p in block.parameters() if p.requires_grad]


class Generator(Network):
    """Latents to pictures: transposed 4x4 convolutions, batch norm and ReLU; tanh at the end.

    Args:
        model: the shape; `norm_d` and `dropout_d` do not concern this network.
    """

    def __init__(self, model: Model) -> None:
        _check(model)
        layers, entering = model.generator_layers, model.latent_dim
        blocks = {}
        for layer, size in zip(layers, sizes_up(layers), strict=True):
            last = size == model.resolution
            leaving = int(model.channels) if last else layer.channels
            norm = nn.Identity() if last else nn.BatchNorm2d(leaving)
            conv = _conv_g(entering, leaving, layer, bias=last and model.bias)
            blocks[f"g{size}"] = Block(conv, norm, nn.Tanh() if last else nn.ReLU(inplace=True))
            entering = leaving
        super().__init__(model, blocks)

    def forward(self, z: Tensor, with_features: bool = False) -> Any:
        """Latents z, float [N, latent_dim] -> pictures, float [N, channels, resolution, resolution] in [-1, 1].

        Args:
            z: the latents.
            with_features: give back a pair: the pictures, and what each block but the last puts out, a list of
                float [N, C, H, W].
        """
        x, features = z[:, :, None, None], []
        for block in self.blocks.values():
            x = block(x)
            features.append(x)
        return (x, features[:-1]) if with_features else x


class Discriminator(Network):
    """Pictures to logits: strided 4x4 convolutions and LeakyReLU 0.2, no pooling, no hidden dense layer.

    Args:
        model: the shape; `norm_d` chooses batch norm (the paper's), spectral norm (Miyato et al. 2018) or none;
            `stack` pictures get one logit (PacGAN, Lin et al. 2018, arXiv:1712.04086).
    """

    def __init__(self, model: Model) -> None:
        _check(model)
        layers, entering, before = model.discriminator_layers, int(model.channels) * model.stack, int(model.resolution)
        blocks = {}
        for layer, size in zip(layers, sizes_down(layers, model.resolution), strict=True):
            first, last = before == model.resolution, size == 1
            leaving = 1 if last else layer.channels
            normed = model.norm_d == "batch" and not first and not last
            bias = model.norm_d != "batch" or (model.bias and (first or last))
            entering += int(last and model.minibatch_std)
            conv = _conv_d(entering, leaving, layer, before, bias=bias)
            conv = spectral_norm(conv) if model.norm_d == "spectral" else conv
            norm = nn.BatchNorm2d(leaving) if normed else nn.Identity()
            blocks[f"d{size}"] = Block(conv, norm, nn.Identity() if last else _activation_d(model))
            entering, before = leaving, size
        super().__init__(model, blocks)

    def forward(self, images: Tensor, with_features: bool = False) -> Any:
        """Pictures, float [N, channels, resolution, resolution] in [-1, 1] -> logits, float [N / stack].

        Args:
            images: the pictures; with a stack, `stack` that follow each other are judged together.
            with_features: give back a pair: the logits, and what the last block saw, flat: float [N / stack, F],
                without the deviation.
        """
        *hidden, last = self.blocks.values()
        seen = images.reshape(-1, self.model.stack * images.shape[1], *images.shape[2:])
        for block in hidden:
            seen = block(seen)
        x = last(with_deviation(seen) if self.model.minibatch_std else seen)
        return (x.flatten(), seen.flatten(1)) if with_features else x.flatten()


def with_deviation(features: Tensor) -> Tensor:
    """Append a channel that says how much the members of a group differ: [N, C, H, W] -> [N, C + 1, H, W].

    The standard deviation over the group, averaged over features and places, the same for all of the group
    (minibatch standard deviation, Karras et al. 2018, arXiv:1710.10196). Groups are of four, or of the next smaller
    size that divides N; rows N / 4 apart belong together.
    """
    count = len(features)
    size = next((size for size in GROUP_SIZES if count % size == 0), 1)
    groups = features.reshape(size, count // size, -1).float()
    deviation = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=1).to(features.dtype)
    channel = deviation.repeat(size)[:, None, None, None].expand(-1, 1, *features.shape[2:])
    return torch.cat([features, channel], dim=1)


def probability(logits: Tensor) -> Tensor:
    """What the discriminator believes: logits [N] -> probability of being real, float32 [N] in [0, 1]."""
    return torch.sigmoid(logits.float())


def initialise(network: Network, generator: torch.Generator | None = None) -> None:
    """Draw all weights anew, in place.

    Convolutions are N(0, 0.02) and batch-norm gains N(1, 0.02) as in the paper. In a discriminator without batch
    norm nothing would rescale the first layers' small signal, so its convolutions are drawn as PyTorch does,
    U(-b, b) with b = 1 / sqrt(fan-in), biases zero. (He et al. 2015's larger draw let it outrun the generator.)
    """
    for block in network.blocks.values():
        initialise_block(block, network, generator)


def initialise_block(block: Block, network: Network, generator: torch.Generator | None = None) -> None:
    """Draw one block's weights anew, in place; see `initialise`."""
    plain = isinstance(network, Discriminator) and network.model.norm_d == "none"
    for name, parameter in block.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif name.startswith("norm"):
            nn.init.normal_(parameter, 1.0, 0.02, generator=generator)
        elif plain:
            nn.init.kaiming_uniform_(parameter, math.sqrt(5), generator=generator)
        else:
            nn.init.normal_(parameter, 0.0, 0.02, generator=generator)
    if isinstance(block.norm, nn.BatchNorm2d):
        block.norm.reset_running_stats()


def _check(model: Model) -> None:
    if found := faults(model.resolution, model.layers_g, model.layers_d):
        raise WeightsError(f"no networks can have this shape: {'; '.join(found)}. Get the pair again")


def _conv_g(entering: int, leaving: int, layer: Layer, *, bias: bool) -> nn.Module:
    if _is_plain(layer):
        return TransposedConv(entering, leaving, 4, 2, 1, bias=bias)
    shape = layer.kernel, layer.stride, layer.padding, layer.output_padding
    return nn.ConvTranspose2d(entering, leaving, *shape, bias=bias)


def _conv_d(entering: int, leaving: int, layer: Layer, before: int, *, bias: bool) -> nn.Module:
    kind = StridedConv if _is_plain(layer) and before % 2 == 0 else nn.Conv2d
    return kind(entering, leaving, layer.kernel, layer.stride, layer.padding, bias=bias)


def _is_plain(layer: Layer) -> bool:
    """Whether it is the convolution that has fast products, on maps of even size."""
    return (layer.kernel, layer.stride, layer.padding, layer.output_padding) == (4, 2, 1, 0)


def _activation_d(model: Model) -> nn.Module:
    activation = nn.LeakyReLU(SLOPE, inplace=True)
    return nn.Sequential(activation, nn.Dropout(model.dropout_d)) if model.dropout_d else activation
