"""The `builtin` network: small, embedded in the package, and an estimate of what a larger network sees in a picture.

Its outputs estimate the largest principal components of a teacher's features; `distil.py` trains it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import WeightsError
from ..files import sha256, write_json
from ..images import to_float
from ..resources import resource_dir
from ..tensor_files import save_tensors

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
RESOLUTION = 64
"""Pixels; pictures of another size are resized."""

PREPROCESSING = f"resize to {RESOLUTION} x {RESOLUTION} (bicubic, antialias, clamped), [-1, 1]"
_AGAIN = "Install gan-transfer again"


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of the network. Each stage halves the picture and holds one residual block."""

    widths: tuple[int, ...] = (64, 128, 256)
    """Channels of each stage; the stem has half as many as the first."""
    hidden: int = 512
    """Channels that are averaged over the picture."""
    dimension: int = 256
    """Features."""


class Builtin(nn.Module):
    """Pictures, uint8 [N, 3, H, W] -> features, float [N, dimension]; 75 million multiplications each.

    They are resized to 64 x 64; other shapes than squares are squeezed.
    """

    def __init__(self, shape: Shape, norm: bool = False) -> None:
        """Build it with PyTorch's random weights.

        Args:
            shape: its sizes.
            norm: batch norm after each convolution, as in training; `folded` removes it.
        """
        super().__init__()
        self.shape = shape
        stem = shape.widths[0] // 2
        layers: list[nn.Module] = [Convolution(3, stem, 5, 2, norm), nn.ReLU()]
        for before, width in zip((stem, *shape.widths), shape.widths, strict=False):
            layers += [Convolution(before, width, 3, 2, norm), nn.ReLU(), Residual(width, norm)]
        layers += [Convolution(shape.widths[-1], shape.hidden, 1, 1, norm), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(shape.hidden, shape.dimension)

    def forward(self, images: Tensor) -> Tensor:
        """Features of a batch."""
        pictures = to_float(images)
        if images.shape[2:] != (RESOLUTION, RESOLUTION):
            pictures = interpolate(pictures, (RESOLUTION, RESOLUTION), mode="bicubic", antialias=True).clamp_(-1, 1)
        seen = self.body(pictures.contiguous(memory_format=torch.channels_last))
        features: Tensor = self.head(seen.mean((2, 3)))
        return features


class Convolution(nn.Module):
    """A convolution, with batch norm or with a bias."""

    def __init__(self, before: int, after: int, size: int, stride: int, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=not norm)
        self.norm = nn.BatchNorm2d(after) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[N, before, H, W] -> [N, after, H / stride, W / stride]."""
        normalised: Tensor = self.norm(self.conv(x))
        return normalised


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        self.first = Convolution(width, width, 3, 1, norm)
        self.second = Convolution(width, width, 3, 1, norm)

    def forward(self, x: Tensor) -> Tensor:
        """[N, width, H, W] -> the same shape."""
        return relu(x + self.second(relu(self.first(x))))


def initialise(network: Builtin, random: torch.Generator) -> None:
    """Draw all weights for rectifiers (He et al. 2015) and set the biases to zero, in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=random)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def folded(network: Builtin) -> Builtin:
    """The same function without batch norm: its statistics go into the convolutions. In eval mode, without gradient."""
    plain = Builtin(network.shape)
    plain.head.load_state_dict(network.head.state_dict())
    for source, target in zip(_convolutions(network), _convolutions(plain), strict=True):
        fused = fuse_conv_bn_eval(source.conv.eval(), cast(nn.BatchNorm2d, source.norm.eval()))
        target.conv.load_state_dict(fused.state_dict())
    return plain.eval().requires_grad_(False)


def builtin_dir() -> Path:
    """The folder of the embedded weights."""
    return resource_dir("pretrained") / "extractor"


def save_builtin(folder: Path, network: Builtin, info: dict[str, Any]) -> None:
    """Write the weights in half precision, and `config.json` with the shape, the checksum and `info`.

    Args:
        folder: made if absent.
        network: folded.
        info: what else is to be known, such as the teacher and the pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_tensors(folder / WEIGHTS, tensors, {"format": "pt", "library": "gan-transfer"})
    head = {"format": FORMAT, "library": "gan-transfer", "network": dataclasses.asdict(network.shape)}
    write_json(folder / CONFIG, head | info | {"sha256": {WEIGHTS: sha256(folder / WEIGHTS)}})


def load_builtin(folder: Path) -> Builtin:
    """Read a network, in eval mode and without gradient.

    Raises:
        WeightsError: missing, damaged, or weights that do not fit the configuration.
    """
    shape, expected = _read_config(folder / CONFIG)
    path, network = folder / WEIGHTS, Builtin(shape)
    try:
        if (found := sha256(path)) != expected:
            raise WeightsError(f"{path} is damaged: its SHA-256 is {found[:12]}..., wanted {expected[:12]}... {_AGAIN}")
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}. {_AGAIN}") from None
    except (SafetensorError, RuntimeError) as error:
        raise WeightsError(
            f"{path} does not fit its {CONFIG}: {' '.join(str(error).split())[:200]}. {_AGAIN}"
        ) from None
    return network.eval().requires_grad_(False)


def _convolutions(network: Builtin) -> Iterator[Convolution]:
    return (module for module in network.modules() if isinstance(module, Convolution))


def _read_config(path: Path) -> tuple[Shape, str]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise WeightsError(
                f"{path} is of format {data['format']}; this version reads {FORMAT}. Upgrade gan-transfer"
            )
        given = data["network"]
        shape = Shape(tuple(map(int, given["widths"])), int(given["hidden"]), int(given["dimension"]))
        return shape, str(data["sha256"][WEIGHTS])
    except (OSError, ValueError, KeyError, TypeError) as error:
        wrong = f"{type(error).__name__}: {error}"
        raise WeightsError(f"{path} does not describe the builtin extractor ({wrong}). {_AGAIN}") from None
