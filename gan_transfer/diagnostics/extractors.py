"""Feature extractors by name, and classifiers: uint8 pictures in, float32 features or logits out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ..errors import DataError, RecipeError, WeightsError, did_you_mean
from .backbones import Backbone, file_backbone, inception, timm_backbone
from .builtin import PREPROCESSING, builtin_dir, load_builtin

CHUNK = 32
"""Pictures in a forward pass, always: a kernel chosen for another batch size may round differently."""


class Extractor(Protocol):
    """What turns pictures into features; its name belongs to every number made from them."""

    @property
    def name(self) -> str:
        """Such as `builtin` or `timm:resnet18.a1_in1k`."""

    @property
    def dimension(self) -> int:
        """Features of a picture."""

    @property
    def key(self) -> str:
        """A hash of weights and preprocessing: features with different keys must not meet."""

    def features(self, images: Tensor) -> Tensor:
        """uint8 [N, 1 or 3, H, W] -> float32 [N, dimension] on the CPU; no row depends on the others.

        Raises:
            DataError: the pictures are of another type or shape.
            WeightsError: a feature is not finite.
        """


class NetworkExtractor:
    """A network that runs here.

    Attributes:
        name: see `Extractor`.
        dimension: see `Extractor`.
        key: see `Extractor`.
    """

    def __init__(self, backbone: Backbone, device: torch.device | str = "cpu") -> None:
        """Take the key from the weights and the dimension from a trial."""
        self.name = backbone.name
        self.key = _key(backbone)
        self._module, self._device = backbone.module.to(device), torch.device(device)
        self.dimension = _width(self._module, self._device, self.name)

    def features(self, images: Tensor) -> Tensor:
        """See `Extractor`."""
        return _outputs(self._module, images, self._device, self.name)


class Classifier:
    """A network that sorts pictures into classes.

    Attributes:
        name: such as `inception` or `file:lenet.pth`; belongs to every number made from its answers.
        classes: how many.
    """

    def __init__(self, backbone: Backbone, device: torch.device | str = "cpu") -> None:
        """Take the number of classes from a trial."""
        self.name = backbone.name
        self._module, self._device = backbone.module.to(device), torch.device(device)
        self.classes = _width(self._module, self._device, self.name)

    def logits(self, images: Tensor) -> Tensor:
        """uint8 [N, 1 or 3, H, W] -> float32 [N, classes] on the CPU; raises like `Extractor.features`."""
        return _outputs(self._module, images, self._device, self.name)


EXTRACTORS: dict[str, str] = {
    "builtin": "the embedded network: small, needs nothing else",
    "inception": "the FID Inception, downloaded on first use; inception=FILE takes a local one",
    "dinov2": "timm's vit_small_patch14_dinov2.lvd142m at 224 pixels; dinov2=FILE takes local weights",
    "timm:NAME": "a network of timm with weights from the Hub; timm:NAME=FILE takes local ones",
    "file:FILE": "a state dict of torchvision or timm; ?arch=NAME may follow",
}
"""What can be opened, for people: usage -> meaning."""


def open_extractor(text: str, device: torch.device | str = "cpu") -> Extractor:
    """Open a feature extractor by one of the forms of `EXTRACTORS`.

    Args:
        text: such as `builtin`, `inception=weights.pth`, `timm:resnet18.a1_in1k`, `file:net.pth?arch=resnet18`.
        device: where it runs; features come back to the CPU.

    Raises:
        RecipeError: the text names no extractor.
        WeightsError: its weights cannot be downloaded or read.
    """
    found = re.fullmatch(r"(\w+)(?:[:=](.*))?", text, re.DOTALL)
    kind, where = found.groups() if found else (text, None)
    if kind not in _OPENERS:
        raise RecipeError(f"extractor {text!r} is not known; {did_you_mean(kind, _OPENERS)} (forms: {_FORMS})")
    return NetworkExtractor(_OPENERS[kind](where), device)


def open_classifier(text: str, device: torch.device | str = "cpu") -> Classifier:
    """Open `inception`, `inception=FILE`, or a state dict as `FILE` or `FILE?arch=NAME`.

    Raises:
        RecipeError: the architecture is not known.
        WeightsError: the weights cannot be downloaded or read.
    """
    if found := re.fullmatch(r"inception(?:[:=](.*))?", text, re.DOTALL):
        return Classifier(inception("logits_unbiased", _path(found[1])), device)
    return Classifier(_file(text.removeprefix("file:"), head=True), device)


def _builtin(where: str | None) -> Backbone:
    if where:
        raise RecipeError(f"extractor builtin takes no file, got {where!r} (forms: {_FORMS})")
    return Backbone("builtin", load_builtin(builtin_dir()), PREPROCESSING)


def _inception(where: str | None) -> Backbone:
    return inception("2048", _path(where))


def _dinov2(where: str | None) -> Backbone:
    return timm_backbone("vit_small_patch14_dinov2.lvd142m", _path(where), 224)


def _timm(where: str | None) -> Backbone:
    if not where:
        raise RecipeError("extractor timm names no network; wanted for example timm:resnet18.a1_in1k")
    name, _, weights = where.partition("=")
    return timm_backbone(name, _path(weights))


def _file(where: str | None, head: bool = False) -> Backbone:
    if not where:
        raise RecipeError("extractor file names no file; wanted file:PATH or file:PATH?arch=NAME")
    place, _, arch = where.partition("?arch=")
    return file_backbone(_path(place) or Path(), arch or None, head)


_OPENERS: dict[str, Callable[[str | None], Backbone]] = {
    "builtin": _builtin,
    "inception": _inception,
    "dinov2": _dinov2,
    "timm": _timm,
    "file": _file,
}
_FORMS = ", ".join(EXTRACTORS)


@torch.no_grad()  # not inference_mode: callers may want to work on with the features
def _outputs(module: nn.Module, images: Tensor, device: torch.device, name: str) -> Tensor:
    """Run a network over pictures in chunks of one size."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or not images.numel():
        got = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
        raise DataError(f"pictures for extractor {name}: wanted uint8 [N, 1 or 3, H, W] with N >= 1, got {got}")
    found = []
    for part in torch.split(images, CHUNK):
        padded = pad(part, (0, 0, 0, 0, 0, 0, 0, CHUNK - len(part))).expand(-1, 3, -1, -1)
        found.append(module(padded.to(device))[: len(part)].float().cpu())
    outputs = torch.cat(found)
    if not outputs.isfinite().all():
        raise WeightsError(
            f"extractor {name} gives features that are not finite: its weights are damaged, get them again"
        )
    return outputs


@torch.no_grad()
def _width(module: nn.Module, device: torch.device, name: str) -> int:
    """How many values a network gives for a picture."""
    outputs: Tensor = module(torch.zeros(1, 3, 64, 64, dtype=torch.uint8, device=device))
    if outputs.ndim != 2:
        raise WeightsError(
            f"extractor {name} gives {list(outputs.shape[1:])} for a picture; wanted one row of features"
        )
    return outputs.shape[1]


def _path(where: str | None) -> Path | None:
    try:
        return Path(where).expanduser() if where else None
    except RuntimeError as error:
        raise WeightsError(f"{where!r} cannot be found: {error} Give the whole path") from None


def _key(backbone: Backbone) -> str:
    digest = hashlib.sha256(backbone.preprocessing.encode())
    for name, value in sorted(backbone.module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
