"""Trains the `builtin` network: it learns the principal components of what a larger network sees in the same pictures.

Besides the pictures themselves it sees altered copies and pictures of nothing, so that it stays true to its teacher
where generators go: outside photographs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss, pad

from ..errors import DataError, WeightsError
from ..images import to_float
from .alterations import alter, invent
from .builtin import RESOLUTION, Builtin, Shape, folded, initialise


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to distil."""

    epochs: int = 5
    """Passes over the pictures, altered copies included."""
    batch: int = 256
    """Pictures in a step."""
    rate: float = 2e-3
    """Highest learning rate of AdamW; it rises over the first tenth and falls to nothing along a cosine."""
    weight_decay: float = 0.02
    relations: float = 1.0
    """Weight of the loss on the products of pairs of pictures, which is what KID sees."""
    invented: float = 0.03
    """Pictures of nothing, as a share of the given ones."""
    shape: Shape = dataclasses.field(default_factory=Shape)
    """Of the network."""
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Basis:
    """Features -> their principal components.

    Attributes:
        mean: float32 [F].
        directions: float32 [F, D]; standardises, projects, and makes the components' mean square 1 altogether.
        share: of the variance of the standardised features that the components hold.
    """

    mean: Tensor
    directions: Tensor
    share: float

    def __call__(self, features: Tensor) -> Tensor:
        """[N, F] -> float32 [N, D]."""
        return (features.float() - self.mean) @ self.directions


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What the network learns from.

    Attributes:
        pictures: uint8 [M, 3, 64, 64]: the given ones, their altered copies, pictures of nothing.
        targets: float32 [M, D], principal components of the teacher's features.
    """

    pictures: Tensor
    targets: Tensor


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far the work is."""

    phase: str
    """`altering`, `asking the teacher`, `training`."""
    done: int
    """Pictures, in a training shown pictures."""
    total: int
    loss: float | None = None
    """Mean of the last steps; 1 is what an output of zeros would have. None before the training."""


Say = Callable[[Progress], None]


class Teacher(nn.Module):
    """MobileNetV2's features before its classifier: uint8 [N, 3, H, W] -> float32 [N, 1280].

    Pictures are enlarged to 128 x 128 (bicubic, antialias, clamped) in [-1, 1].
    """

    def __init__(self, weights: Path) -> None:
        """Read the weights: torchvision's names, 1001 classes, batch norm folded, padded as TensorFlow does.

        Raises:
            WeightsError: the file is missing or holds something else.
        """
        super().__init__()
        network = torchvision.models.mobilenet_v2(num_classes=1001)
        try:
            network.load_state_dict(load_file(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            wrong = " ".join(str(error).split())[:200]
            raise WeightsError(f"teacher {weights} is not MobileNetV2 with 1001 classes: {wrong}") from None
        self.body = network.features.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        for layer in self.body.modules():
            if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
                layer.padding = (0, 0)  # TensorFlow's SAME pads right and bottom only
                layer.register_forward_pre_hook(lambda _, inputs: (pad(inputs[0], (0, 1, 0, 1)),))

    def forward(self, images: Tensor) -> Tensor:
        """Features of a batch."""
        enlarged = interpolate(to_float(images), (128, 128), mode="bicubic", antialias=True).clamp_(-1, 1)
        averaged: Tensor = self.body(enlarged.contiguous(memory_format=torch.channels_last)).mean((2, 3))
        return averaged


def distil(pictures: Tensor, teacher: Callable[[Tensor], Tensor], settings: Settings, say: Say) -> Builtin:
    """Train a network to see what its teacher sees. The same arguments give the same network on the same machine.

    Args:
        pictures: uint8 [N, 3, 64, 64], photographs and whatever else is to be judged; an altered copy of each is added.
        teacher: uint8 [N, 3, 64, 64] -> features, float32 [N, F].
        settings: how long, how fast.
        say: told how far it is.

    Returns:
        The network, folded; `save_builtin` writes it.

    Raises:
        DataError: the pictures are of another shape, or fewer than a batch.
    """
    return learn(prepare(pictures, teacher, settings, say), settings, say)


def prepare(pictures: Tensor, teacher: Callable[[Tensor], Tensor], settings: Settings, say: Say) -> Lesson:
    """The first half of `distil`, which can be kept: alter the pictures and ask the teacher about all of them."""
    if pictures.dtype != torch.uint8 or pictures.shape[1:] != (3, RESOLUTION, RESOLUTION):
        got = f"{str(pictures.dtype).removeprefix('torch.')} {list(pictures.shape)}"
        raise DataError(f"pictures to distil from: wanted uint8 [N, 3, {RESOLUTION}, {RESOLUTION}], got {got}")
    if len(pictures) < settings.batch:
        raise DataError(f"pictures to distil from: wanted at least a batch of {settings.batch}, got {len(pictures)}")
    shown = torch.cat([pictures, *altered(pictures, settings, say)])
    features = _ask(teacher, shown, say)
    basis = principal(features[: len(pictures)], settings.shape.dimension)
    return Lesson(shown, torch.cat([basis(part) for part in torch.split(features, 4096)]))


def learn(lesson: Lesson, settings: Settings, say: Say) -> Builtin:
    """The second half of `distil`: train a network on what the teacher said.

    All pictures are shown in a new order in every epoch, each mirrored or not: mirror images get the same features.
    """
    random = torch.Generator().manual_seed(settings.seed)
    network = Builtin(settings.shape, norm=True)
    initialise(network, random)
    network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), settings.rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * (len(lesson.pictures) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.rate, steps, pct_start=0.1, cycle_momentum=False)
    recent: list[float] = []
    for step, rows in enumerate(_batches(len(lesson.pictures), settings, random), 1):
        mirrored = (torch.rand(settings.batch, generator=random) < 0.5)[:, None, None, None]
        images = lesson.pictures[rows]
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(torch.where(mirrored, images.flip(3), images))
        value = loss(outputs.float(), lesson.targets[rows], settings.relations)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        recent.append(value.item())
        if step % 20 == 0 or step == steps:
            say(Progress("training", step * settings.batch, steps * settings.batch, sum(recent) / len(recent)))
            recent.clear()
    return folded(network)


def altered(pictures: Tensor, settings: Settings, say: Say) -> Iterator[Tensor]:
    """An altered copy of each picture, then the pictures of nothing; uint8, in parts of up to 512."""
    rows, total = np.arange(len(pictures)), len(pictures)
    others = np.random.default_rng(settings.seed).permutation(rows)
    for part in np.split(rows, range(512, total, 512)):
        say(Progress("altering", int(part[0]), total))
        yield torch.stack(
            [alter(pictures[i], pictures[others[i]], np.random.default_rng((settings.seed, i))) for i in part]
        )
    random = np.random.default_rng((settings.seed, total))
    if count := round(settings.invented * total):
        yield torch.stack([invent(RESOLUTION, random) for _ in range(count)])


def principal(features: Tensor, dimension: int) -> Basis:
    """The largest principal components of standardised features.

    Args:
        features: [N, F].
        dimension: how many components.
    """
    mean, spread = features.double().mean(0), features.double().std(0).clamp_min(1e-6)
    covariance = torch.cov(((features.double() - mean) / spread).T)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values[-dimension:].flip(0), vectors[:, -dimension:].flip(1)
    directions = vectors / spread[:, None] * (dimension / values.sum()).sqrt()
    return Basis(mean.float(), directions.float(), float(values.sum() / covariance.trace()))


def loss(outputs: Tensor, targets: Tensor, relations: float) -> Tensor:
    """Mean squared error of the features, and of the products of all pairs in the batch.

    Args:
        outputs: float32 [N, D].
        targets: float32 [N, D].
        relations: weight of the second term; its products x y / D are the argument of KID's kernel.
    """
    dimension = outputs.shape[1]
    products = mse_loss(outputs @ outputs.T / dimension, targets @ targets.T / dimension)
    return mse_loss(outputs, targets) + relations * products


@torch.inference_mode()
def _ask(teacher: Callable[[Tensor], Tensor], shown: Tensor, say: Say) -> Tensor:
    """The teacher's features of all pictures, float16 [N, F].

    In bfloat16, 16 at a time: three times as fast as 32 in float32, whose buffers are mapped anew for every batch; the
    rounding is 2 % of the features' variance, far less than the network can learn of it.
    """
    found = []
    for number, part in enumerate(torch.split(shown, 16)):
        if number % 64 == 0:
            say(Progress("asking the teacher", 16 * number, len(shown)))
        with torch.autocast("cpu", torch.bfloat16):
            found.append(teacher(part).half())
    return torch.cat(found).clone()


def _batches(total: int, settings: Settings, random: torch.Generator) -> Iterator[Tensor]:
    """Rows of each step; what does not fill a batch at the end of an epoch is left out."""
    for _ in range(settings.epochs):
        rows = torch.randperm(total, generator=random)
        yield from torch.split(rows[: total // settings.batch * settings.batch], settings.batch)
