"""DCGANs as other people write them: the PyTorch tutorial, its forms for MNIST, and what courses made of it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_transfer.models.foreign import Foreign, convert
from gan_transfer.models.foreign_chain import read_chain

Shapes = Sequence[Any]
"""Of each layer, what its convolution takes after the channels."""


class Tutorial(nn.Module):
    """`main` in a Sequential, as in pytorch/examples and the PyTorch DCGAN tutorial."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.main = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.main(x)
        return out


def generator(nz: int, widths: list[int], nc: int, shapes: Shapes, bias: bool = False) -> Tutorial:
    """Transposed convolutions (kernel, stride, padding, output padding), batch norm, ReLU; tanh."""
    layers: list[nn.Module] = []
    for entering, leaving, shape in zip([nz, *widths], [*widths, nc], shapes, strict=True):
        layers += [nn.ConvTranspose2d(entering, leaving, *shape, bias=bias), nn.BatchNorm2d(leaving), nn.ReLU(True)]
    return used(Tutorial(*layers[:-2], nn.Tanh()), torch.randn(16, nz, 1, 1, generator=seeded(3)))


def discriminator(nc: int, widths: list[int], shapes: Shapes, resolution: int, bias: bool = False) -> Tutorial:
    """Convolutions (kernel, stride, padding), batch norm but at the ends, LeakyReLU 0.2; a sigmoid."""
    layers: list[nn.Module] = []
    for entering, leaving, shape in zip([nc, *widths], [*widths, 1], shapes, strict=True):
        norm = [nn.BatchNorm2d(leaving)] if layers else []
        layers += [nn.Conv2d(entering, leaving, *shape, bias=bias), *norm, nn.LeakyReLU(0.2, inplace=True)]
    return used(Tutorial(*layers[:-2], nn.Sigmoid()), pictures(nc, resolution))


TUTORIAL_UP = {n: [(4, 1, 0), *[(4, 2, 1)] * (n - 1)] for n in (4, 5, 6)}  # 32, 64 and 128 pixels
TUTORIAL_DOWN = {n: [*[(4, 2, 1)] * (n - 1), (4, 1, 0)] for n in (4, 5, 6)}


def tutorial_g(
    nz: int = 100, ngf: int = 8, nc: int = 3, count: int = 5, bias: bool = False, first: int | None = None
) -> Tutorial:
    """The tutorial's generator with `count` layers."""
    widths = [(first or ngf * 2 ** (count - 2)) >> n for n in range(count - 1)]
    return generator(nz, widths, nc, TUTORIAL_UP[count], bias)


def tutorial_d(ndf: int = 8, nc: int = 3, count: int = 5, bias: bool = False) -> Tutorial:
    """The tutorial's discriminator with `count` layers."""
    widths = [ndf << n for n in range(count - 1)]
    return discriminator(nc, widths, TUTORIAL_DOWN[count], 4 << (count - 1), bias)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(channels: int, resolution: int, count: int = 6) -> Tensor:
    return torch.rand(count, channels, resolution, resolution, generator=seeded(4)) * 2 - 1


def used(network: Any, x: Tensor) -> Any:
    """A network with weights like trained ones, and statistics of having seen something."""
    with torch.no_grad():
        for n, p in enumerate(network.parameters()):
            scale = 0.1 if p.ndim == 4 else 0.3
            p.copy_(scale * torch.randn(p.shape, generator=seeded(n)) + (p.ndim == 1))
        network.train()
        for _ in range(3):
            network(x)
    return network.eval()


def foreign(*networks: nn.Module, layout: str = "auto") -> Foreign:
    """What is made of their states."""
    return convert("file.pth", [read_chain("file.pth", dict(network.state_dict())) for network in networks], layout)


@torch.no_grad()
def same_pictures(theirs: nn.Module, ours: nn.Module, latent_dim: int) -> bool:
    """Whether two generators draw the same from the same latents, to 1e-6; in float64, as for logits."""
    z = torch.randn(6, latent_dim, generator=seeded(5)).double()
    wanted = copy.deepcopy(theirs).double()(z[:, :, None, None])
    found = copy.deepcopy(ours).double()(z)
    return bool(wanted.std() > 1e-3) and torch.allclose(found, wanted, rtol=0, atol=1e-6)


@torch.no_grad()
def same_logits(theirs: Tutorial, ours: nn.Module, channels: int, resolution: int) -> bool:
    """Whether two discriminators say the same of the same pictures before the sigmoid, to 1e-6.

    In float64: in float32 the logits of six layers are themselves uncertain by several 1e-6.
    """
    x = pictures(channels, resolution).double()
    wanted = copy.deepcopy(theirs).double().main[:-1](x).flatten()
    found = copy.deepcopy(ours).double()(x)
    return bool(wanted.std() > 1e-3) and torch.allclose(found, wanted, rtol=1e-6, atol=1e-6)
