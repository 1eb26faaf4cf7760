"""Other people's networks as feature extractors or classifiers: the FID Inception, timm's, a file of weights.

Nothing is unpickled but the FID Inception, whose checksum is known. A whole picture is resized to the network's square:
no part is cut off.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import Normalize

from ..errors import RecipeError, WeightsError
from ..files import sha256
from ..images import to_float

OFFLINE = "without a network use --extractor builtin"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the only weights whose Fréchet distance is called FID: TensorFlow's of 2015-12-05 for PyTorch."""

RECOGNISED = ("lenet", "resnet18", "resnet34", "resnet50", "mobilenet_v2", "efficientnet_b0", "vgg16")
"""Architectures of torchvision, and LeNet-5, that a file is compared with when it names none."""

_COUNTER = "num_batches_tracked"
"""Of batch norm; older files lack it, and it is of no use in eval mode."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network with its preprocessing.

    Attributes:
        name: such as `inception` or `timm:resnet18.a1_in1k`.
        module: uint8 [N, 3, H, W] -> float [N, D]; in eval mode, without gradient.
        preprocessing: what is done to the pictures, in words.
    """

    name: str
    module: nn.Module
    preprocessing: str


class Prepared(nn.Module):
    """Resizes uint8 pictures (antialias, clamped), takes [0, 1] minus mean by std, and applies a network."""

    def __init__(self, network: nn.Module, size: int, mode: str, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network, self.size, self.mode = network, size, mode
        self.text = f"resize to {size} x {size} ({mode}, antialias, clamped), mean {list(mean)}, std {list(std)}"
        self.normalise = Normalize(list(mean), list(std))

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [N, 3, H, W] -> what the network gives."""
        resized = interpolate(to_float(images), (self.size, self.size), mode=self.mode, antialias=True)
        outputs: Tensor = self.network(self.normalise(resized.clamp_(-1, 1).add(1).div(2)))
        return outputs


class LeNet(nn.Module):
    """LeNet-5 with rectifiers and largest-of-four pooling: [N, 3, 32, 32] in [0, 1], averaged to grey -> logits."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.convnet = nn.Sequential(
            OrderedDict(
                c1=nn.Conv2d(1, 6, 5), relu1=nn.ReLU(), s2=nn.MaxPool2d(2),
                c3=nn.Conv2d(6, 16, 5), relu3=nn.ReLU(), s4=nn.MaxPool2d(2),
                c5=nn.Conv2d(16, 120, 5), relu5=nn.ReLU(),
            )
        )  # fmt: skip
        self.fc = nn.Sequential(OrderedDict(f6=nn.Linear(120, 84), relu6=nn.ReLU(), f7=nn.Linear(84, num_classes)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes]."""
        logits: Tensor = self.fc(self.convnet(images.mean(1, keepdim=True)).flatten(1))
        return logits


class _First(nn.Sequential):
    """The first of the outputs of a network."""

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self[0](images)[0]
        return outputs


def inception(output: str, weights: Path | None = None) -> Backbone:
    """The Inception of FID in torch-fidelity's form: resize to 299 x 299 as TensorFlow 1 does, (x - 128) / 128.

    Args:
        output: `2048` for features, `logits_unbiased` for the Inception Score.
        weights: a local file; None takes torch's cache, where they are downloaded on first use.

    Raises:
        WeightsError: the weights cannot be downloaded, or are other ones.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    path = weights or _downloaded(URL_INCEPTION_V3)
    try:
        found = sha256(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    if found != INCEPTION_SHA256:
        wrong = f"its SHA-256 is {found[:12]}..., wanted {INCEPTION_SHA256[:12]}..."
        raise WeightsError(f"{_told(path)} is not the FID Inception: {wrong}. Get {URL_INCEPTION_V3}, or {OFFLINE}")
    network = FeatureExtractorInceptionV3("inception", [output], feature_extractor_weights_path=str(path))
    return Backbone("inception", _First(network), "resize to 299 x 299 (bilinear of TensorFlow 1), (x - 128) / 128")


def timm_backbone(name: str, weights: Path | None = None, size: int | None = None) -> Backbone:
    """A pretrained network of timm without its head; mean, std, size and interpolation are those of its training.

    Args:
        name: such as `resnet18.a1_in1k`.
        weights: a local file of them; None takes the Hub's.
        size: pixels, for networks that take several; None leaves the network's own.

    Raises:
        RecipeError: timm knows no such network.
        WeightsError: the weights cannot be downloaded or do not fit.
    """
    import timm

    _check_timm(name)
    state = None if weights is None else read_state(weights)
    options: dict[str, Any] = {} if size is None else {"img_size": size}
    if state is not None:
        options["pretrained_cfg_overlay"] = {"state_dict": state}
    try:
        network = timm.create_model(name, pretrained=True, num_classes=0, **options)
    except (RuntimeError, OSError, ValueError) as error:
        what = f"timm:{name} cannot be downloaded" if state is None else f"{_told(weights)} does not fit timm:{name}"
        raise WeightsError(f"{what}: {_short(error)}; give a local file, timm:{name}=PATH; {OFFLINE}") from None
    if state is not None and (missing := sorted(_shapes(network.state_dict()).keys() - state.keys())):
        told = f"{missing[0]} and {len(missing) - 1} other tensors are missing"  # timm would leave them random
        raise WeightsError(f"{_told(weights)} does not fit timm:{name}: {told}; give the file that timm has on the Hub")
    prepared = _as_timm_says(network, size)
    return Backbone(f"timm:{name}", prepared, prepared.text)


def file_backbone(path: Path, arch: str | None = None, head: bool = False) -> Backbone:
    """A network whose weights are in a file: safetensors, or a .pth of tensors alone.

    Preprocessing is that of the architecture's own weights in torchvision or timm.

    Args:
        path: a state dict with the names of torchvision or timm.
        arch: its architecture, such as `resnet18`; None recognises some of torchvision's, and LeNet-5.
        head: give the logits; else what goes into the last linear layer.

    Raises:
        RecipeError: the architecture is not known.
        WeightsError: the file is missing, is no state dict, is not recognised, or does not fit.
    """
    state = read_state(path)
    try:
        prepared = _build(arch, state) if arch else _recognise(path, state)
        prepared.network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{_told(path)} does not fit {arch}: {_short(error)}") from None
    if not head:
        parent, _, last = _last_linear(prepared.network).rpartition(".")
        setattr(prepared.network.get_submodule(parent), last, nn.Identity())
    return Backbone(f"file:{path.name}", prepared.eval().requires_grad_(False), prepared.text)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict without unpickling code; `state_dict` around it and `module.` in its names are taken off.

    Raises:
        WeightsError: the file is missing or holds something else.
    """
    try:
        state = load_file(path) if path.suffix.lower() == ".safetensors" else _unpickled_safely(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    except Exception as error:  # a damaged pickle can end in anything
        raise WeightsError(f"{_told(path)} is no file of weights alone: {_short(error)}; save its state dict") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{_told(path)} holds no state dict: wanted tensors by name, got {type(state).__name__}")
    return {str(name).removeprefix("module."): value.float() for name, value in state.items()}


def _downloaded(url: str) -> Path:
    """The file in torch's cache, downloaded if it is not there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), INCEPTION_SHA256, progress=sys.stderr.isatty())
        except (OSError, RuntimeError) as error:
            wrong = f"extractor inception cannot be downloaded: {_short(error)}"
            raise WeightsError(f"{wrong}; get {url} and give inception=PATH; {OFFLINE}") from None
    return path


def _recognise(path: Path, state: dict[str, Tensor]) -> Prepared:
    """The first of the known architectures whose names and shapes are those of the state."""
    found = _shapes(state)
    for arch in RECOGNISED:
        with torch.device("meta"):
            network = _network(arch)
        wanted, head = _shapes(network.state_dict()), _last_linear(network)
        if wanted.keys() == found.keys() and all(wanted[k] == found[k] or k.startswith(head) for k in wanted):
            return _build(arch, state)
    known = ", ".join(RECOGNISED)
    raise WeightsError(f"{_told(path)} is of no known architecture ({known}); name another: file:PATH?arch=NAME")


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items() if not name.endswith(_COUNTER)}


def _build(arch: str, state: dict[str, Tensor]) -> Prepared:
    """A network with as many classes as the state's head has, with its preprocessing."""
    with torch.device("meta"):
        head = _last_linear(_network(arch))
    weight = state.get(f"{head}.weight")
    network = _network(arch, 1000 if weight is None else len(weight))
    if isinstance(network, LeNet):
        return Prepared(network, 32, "bilinear", [0.0] * 3, [1.0] * 3)
    if hasattr(network, "pretrained_cfg"):
        return _as_timm_says(network)
    preset = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
    return Prepared(network, preset.crop_size[0], preset.interpolation.value, preset.mean, preset.std)


def _network(arch: str, classes: int = 1000) -> nn.Module:
    """LeNet-5, a network of torchvision, else of timm, with new weights."""
    network: nn.Module
    if arch == "lenet":
        network = LeNet(classes)
    elif arch in torchvision.models.list_models(module=torchvision.models):
        network = torchvision.models.get_model(arch, num_classes=classes)
    else:
        import timm

        _check_timm(arch)
        network = timm.create_model(arch, num_classes=classes)
    return network


def _as_timm_says(network: nn.Module, size: int | None = None) -> Prepared:
    """Prepare pictures as for the network's training in timm; `size` where the network was built for another."""
    given: Any = network.pretrained_cfg
    mode = "bilinear" if given["interpolation"] == "bilinear" else "bicubic"
    prepared = Prepared(network, size or given["input_size"][-1], mode, given["mean"], given["std"])
    return prepared.eval().requires_grad_(False)


def _check_timm(name: str) -> None:
    import timm

    if not timm.is_model(name.partition(".")[0]) and not name.startswith(("hf_hub:", "hf-hub:")):
        near = difflib.get_close_matches(name, [*timm.list_models(), *timm.list_pretrained()], 1)
        hint = f"did you mean {near[0]!r}?" if near else "see timm.list_models()"
        raise RecipeError(f"network {name!r} is not known to torchvision or timm; {hint}")


def _last_linear(network: nn.Module) -> str:
    """Name of the head; a network without one is no classifier."""
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise RecipeError(f"network {type(network).__name__} ends in no linear layer; take another architecture")
    return str(names[-1])


def _unpickled_safely(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on the pickle's version
        return torch.load(path, map_location="cpu", weights_only=True)


def _unreadable(path: Path, error: OSError) -> WeightsError:
    return WeightsError(f"{_told(path)} cannot be read: {error.strerror or error}; give the path of a file of weights")


def _told(path: Path | None) -> str:
    return repr(str(path))  # a line break in a name must not break the message


def _short(error: BaseException) -> str:
    """An error of a library on one line, cut to 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
