"""This machine's training speed against the loop that tutorials teach, measured alternately in one run.

The textbook loop: float32, three discriminator passes forward and backward with all gradients, default Adam
(the PyTorch DCGAN tutorial's loop on logits). Same networks, same batch, no data loading on either side.
"""

from __future__ import annotations

import dataclasses
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from . import images
from .models.dcgan import Discriminator, Generator, initialise
from .recipe import Model, Recipe, Train
from .scaling import Device, fit
from .training.hardware import Hardware
from .training.step import Step, make_players


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Images per second of both loops, medians over alternating rounds.

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


def compare(hardware: Hardware, model: Model, batch: int, rounds: int, steps: int = 3) -> Comparison:
    """Time both loops in turn.

    Args:
        hardware: where, and in which arithmetic ours runs; the textbook's is float32.
        model: the shape of both pairs.
        batch: images in a step.
        rounds: alternations; the first two are thrown away.
        steps: steps in a round.
    """
    pictures = _pictures(model, batch)
    loops = (textbook_step(hardware.device, model), _our_step(hardware, model, batch))
    seconds = [[_time(loop, pictures, steps) for loop in loops] for _ in range(rounds + 2)][2:]
    ratios = [textbook / ours for textbook, ours in seconds]
    speeds = [batch * steps / statistics.median(column) for column in zip(*seconds, strict=True)]
    return Comparison(speeds[0], speeds[1], statistics.median(ratios), min(ratios), max(ratios))


def textbook_step(device: torch.device, model: Model) -> Callable[[Tensor], float]:
    """The tutorial's training step on uint8 pictures, written plainly."""
    random = torch.Generator().manual_seed(0)
    generator, discriminator = Generator(model).to(device), Discriminator(model).to(device)
    initialise(generator, random)
    initialise(discriminator, random)
    adam_g = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    adam_d = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))

    def step(batch: Tensor) -> float:
        real = images.to_float(batch.to(device))
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
        return (loss_real + loss_fake + loss_g).item()

    return step


def time_device(hardware: Hardware, model: Model, batches: tuple[int, int], rounds: int = 5) -> Device:
    """Fit how long a step takes on one device from the medians of two batch sizes, timed in turn."""
    loops = [(batch, _our_step(hardware, model, batch), _pictures(model, batch)) for batch in batches]
    seconds = [[_time(loop, pictures, 1) for _, loop, pictures in loops] for _ in range(rounds + 1)][1:]
    few, many = (
        (batch, statistics.median(column)) for batch, column in zip(batches, zip(*seconds, strict=True), strict=True)
    )
    return fit(few, many)


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


def _our_step(hardware: Hardware, model: Model, batch: int) -> Callable[[Tensor], float]:
    random = torch.Generator().manual_seed(0)
    generator, discriminator = Generator(model), Discriminator(model)
    initialise(generator, random)
    initialise(discriminator, random)
    recipe = Recipe(model=model, train=Train(batch=batch))
    step = Step(make_players(generator, discriminator, recipe, hardware), recipe, hardware, random)
    channels_last = torch.channels_last  # as the loader hands pictures out

    def run(pictures: Tensor) -> float:
        return float(step(pictures.contiguous(memory_format=channels_last), 0).sum().item())

    return run


def _pictures(model: Model, batch: int) -> Tensor:
    return torch.randint(0, 256, (batch, model.channels, model.resolution, model.resolution), dtype=torch.uint8)


def _time(step: Callable[[Tensor], float], pictures: Tensor, steps: int) -> float:
    begin = time.perf_counter()
    for _ in range(steps):
        step(pictures)
    return time.perf_counter() - begin


def _processor() -> tuple[str, set[str]]:
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    return fields.get("model name", platform.processor() or platform.machine()), set(fields.get("flags", "").split())
