"""This machine's training speed against the code that tutorials teach, measured alternately in one run.

The textbook step: float32, three discriminator passes forward and backward with all gradients, default Adam
(the PyTorch DCGAN tutorial's loop on logits). The textbook loop: that, fed by `ImageFolder` and a DataLoader. Same
networks, same batch.
"""

from __future__ import annotations

import dataclasses
import math
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, RandomSampler
from torchvision import datasets, transforms

from . import images
from .bench_data import lay_out
from .data.loader import Loader
from .models.dcgan import Discriminator, Generator, initialise
from .recipe import Augment, Augmentation, Model, Recipe, Train
from .scaling import Device, fit
from .training.hardware import Hardware
from .training.step import Step, make_players

Timed = Callable[[Tensor], Tensor]
"""A step of training on pictures [N, C, H, W], uint8 or in [-1, 1]; what it tells of it."""

WARM_UP = 2
"""Rounds that are thrown away."""

DRAWN, PACKED = 100, 5_000
"""Files of the textbook's loop, read again and again, and pictures in the pack of ours."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Images per second of the textbook and of ours, medians over alternating rounds.

    Attributes:
        textbook: images per second.
        ours: images per second.
        ratio: median of the rounds' own ratios, so that a machine that slows down does not bend it.
        low: the smallest round's ratio.
        high: the largest round's ratio.
    """

    textbook: float
    ours: float
    ratio: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Loops:
    """Whole loops, with their data.

    Attributes:
        workers: processes of the textbook's DataLoader.
        loop: the textbook's loop, and ours: pack, augmentation by translation, moving average, statistics.
        step: the textbook's step alone, on pictures that lie ready, and our whole loop.
    """

    workers: int
    loop: Comparison
    step: Comparison


def compare(
    hardware: Hardware, model: Model, batch: int, rounds: int, steps: int = 3, compiled: bool = False
) -> Comparison:
    """Time both steps in turn, on pictures that lie on the device.

    Args:
        hardware: where, and in which arithmetic ours runs; the textbook's is float32.
        model: the shape of both pairs.
        batch: images in a step.
        rounds: alternations; the first two are thrown away.
        steps: steps in a round.
        compiled: whether our networks are compiled, before the first round.
    """
    pictures = hardware.put(noise(model, batch))
    ours = pictures.contiguous(memory_format=torch.channels_last)  # as the loader hands them out
    textbook, own = textbook_step(hardware.device, model), our_step(hardware, plain_recipe(model, batch, compiled))
    timed = [lambda: _time(textbook, repeat(pictures), steps), lambda: _time(own, repeat(ours), steps)]
    return _comparison(*_alternate(timed, rounds))


def compare_loops(
    hardware: Hardware, model: Model, batch: int, rounds: int, workers: int, compiled: bool = False
) -> Loops:
    """Time both loops in turn, the textbook's on JPEG files of 500 x 375, and the textbook's step beside them.

    Args:
        hardware: as for `compare`.
        model: the shape of both pairs, of 3 channels.
        batch: images in a step.
        rounds: alternations; the first two are thrown away.
        workers: processes of the textbook's DataLoader. A round is a multiple of so many steps.
        compiled: whether our networks are compiled, before the first round.
    """
    steps = workers * math.ceil(3 / workers)
    pictures, recipe = hardware.put(noise(model, batch)), plain_recipe(model, batch, compiled, ("translation",))
    step, own = textbook_step(hardware.device, model), our_step(hardware, recipe)
    with tempfile.TemporaryDirectory() as place:
        files, pack = Path(place, "files", "all"), Path(place, "images.npy")
        lay_out(None, DRAWN, files)
        np.save(pack, noise(model, max(PACKED, batch)).permute(0, 2, 3, 1).numpy())
        loader = Loader(np.load(pack, mmap_mode="r"), batch, 0, mirror=True, device=hardware.device)

        def textbook_loop() -> float:
            batches = _read_textbook(files.parent, model.resolution, batch, workers, 2 * steps)
            _time(step, batches, steps)  # until all workers have delivered
            return _time(step, batches, steps)

        def our_loop() -> float:
            with loader.prefetching():
                return _time(own, (loader.next_batch() for _ in range(steps)), steps)

        timed = [textbook_loop, our_loop, lambda: _time(step, repeat(pictures), steps)]
        textbook, ours, bare = _alternate(timed, rounds)
    return Loops(workers, _comparison(textbook, ours), _comparison(bare, ours))


def textbook_step(device: torch.device, model: Model) -> Timed:
    """The tutorial's training step, written plainly."""
    random = torch.Generator().manual_seed(0)
    generator, discriminator = Generator(model).to(device), Discriminator(model).to(device)
    initialise(generator, random)
    initialise(discriminator, random)
    adam_g = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    adam_d = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))

    def step(batch: Tensor) -> Tensor:
        real = batch.to(device)
        real = images.to_float(real) if real.dtype == torch.uint8 else real
        ones, zeros = torch.ones(len(real), device=device), torch.zeros(len(real), device=device)
        discriminator.zero_grad()
        loss_real = binary_cross_entropy_with_logits(discriminator(real), ones)
        loss_real.backward()  # type: ignore[no-untyped-call]
        fake = generator(torch.randn(len(real), model.latent_dim, device=device))
        loss_fake = binary_cross_entropy_with_logits(discriminator(fake.detach()), zeros)
        loss_fake.backward()  # type: ignore[no-untyped-call]
        adam_d.step()
        generator.zero_grad()
        loss_g = binary_cross_entropy_with_logits(discriminator(fake), ones)
        loss_g.backward()  # type: ignore[no-untyped-call]
        adam_g.step()
        return torch.tensor([loss.item() for loss in (loss_real, loss_fake, loss_g)])  # printed by the tutorial

    return step


def plain_recipe(model: Model, batch: int, compiled: bool = False, operations: tuple[Augmentation, ...] = ()) -> Recipe:
    """What a step needs to know, with every other setting at its default."""
    return Recipe(model=model, augment=Augment(operations=operations), train=Train(batch=batch, compile=compiled))


def our_step(hardware: Hardware, recipe: Recipe) -> Timed:
    """Our step, on a pair drawn anew."""
    random = torch.Generator().manual_seed(0)
    generator, discriminator = Generator(recipe.model), Discriminator(recipe.model)
    initialise(generator, random)
    initialise(discriminator, random)
    step = Step(make_players(generator, discriminator, recipe, hardware), recipe, hardware, random)
    return lambda pictures: step(pictures, 0)


def noise(model: Model, batch: int) -> Tensor:
    """Pictures to compute on, uint8 [batch, C, H, W], on the host."""
    return torch.randint(0, 256, (batch, model.channels, model.resolution, model.resolution), dtype=torch.uint8)


def time_device(hardware: Hardware, model: Model, batches: tuple[int, int], rounds: int = 5) -> Device:
    """Fit how long a step takes on one device from the medians of two batch sizes, timed in turn."""
    steps = [(our_step(hardware, plain_recipe(model, n)), repeat(hardware.put(noise(model, n)))) for n in batches]
    seconds = [[_time(step, pictures, 1) for step, pictures in steps] for _ in range(rounds + 1)][1:]
    few, many = (n * statistics.median(column) for n, column in zip(batches, zip(*seconds, strict=True), strict=True))
    return fit((batches[0], few), (batches[1], many))


def machine(hardware: Hardware) -> dict[str, str]:
    """What a figure must be quoted with: processor, flags that matter, cores, versions."""
    processor, flags = _processor()
    shown = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in flags]
    return {
        "device": hardware.describe(),
        "processor": f"{processor} ({', '.join(shown) or 'flags unknown'})",
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _read_textbook(root: Path, resolution: int, batch: int, workers: int, batches: int) -> Iterator[Tensor]:
    """The tutorial's data: random files, decoded and cut by processes of a DataLoader, float [N, 3, H, W]."""
    cut = [transforms.Resize(resolution), transforms.CenterCrop(resolution), transforms.ToTensor()]
    pictures = datasets.ImageFolder(str(root), transforms.Compose([*cut, transforms.Normalize([0.5] * 3, [0.5] * 3)]))
    chosen = RandomSampler(pictures, replacement=True, num_samples=batches * batch)
    pinned = torch.cuda.is_available()
    for given, _ in DataLoader(pictures, batch, sampler=chosen, num_workers=workers, pin_memory=pinned):
        yield given


def _alternate(timed: Sequence[Callable[[], float]], rounds: int) -> list[tuple[float, ...]]:
    """What each tells in every round, in turn, the rounds of the warm-up left out."""
    return list(zip(*[[one() for one in timed] for _ in range(rounds + WARM_UP)][WARM_UP:], strict=True))


def _comparison(textbook: Sequence[float], ours: Sequence[float]) -> Comparison:
    """Of seconds per image."""
    ratios = [theirs / own for theirs, own in zip(textbook, ours, strict=True)]
    slow, quick = (1 / statistics.median(seconds) for seconds in (textbook, ours))
    return Comparison(slow, quick, statistics.median(ratios), min(ratios), max(ratios))


def _time(step: Timed, batches: Iterator[Tensor], steps: int) -> float:
    """Seconds per image of so many steps."""
    count, begin = 0, time.perf_counter()
    for _ in range(steps):
        pictures = next(batches)
        told, count = step(pictures), count + len(pictures)
    told.tolist()  # the device is waited for once, as at a tick
    return (time.perf_counter() - begin) / count


def _processor() -> tuple[str, set[str]]:
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    return fields.get("model name", platform.processor() or platform.machine()), set(fields.get("flags", "").split())
