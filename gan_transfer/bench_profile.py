"""Where the time of our step goes, operation by operation: on a GPU its kernels, on a CPU PyTorch's operators."""

from __future__ import annotations

import dataclasses
import os

import torch
from torch.profiler import ProfilerActivity, profile

from .bench import noise, our_step, plain_recipe
from .recipe import Model
from .training.hardware import Hardware

WARM_UP, STEPS = 3, 10


@dataclasses.dataclass(frozen=True)
class Operation:
    """One kind of work.

    Attributes:
        name: of the kernel or operator.
        share: of the time that all of them take themselves, 0 to 1.
        calls: in a step.
    """

    name: str
    share: float
    calls: float


def where_time_goes(hardware: Hardware, model: Model, batch: int, compiled: bool = False) -> list[Operation]:
    """The operations of a step of training, the longest first.

    Args:
        hardware: where and in which arithmetic.
        model: the shape of the pair.
        batch: images in a step.
        compiled: whether the networks are compiled.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would tell stderr that it begins and ends
    step = our_step(hardware, plain_recipe(model, batch, compiled))
    given = hardware.put(noise(model, batch)).contiguous(memory_format=torch.channels_last)
    on_gpu = hardware.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    for _ in range(WARM_UP):
        step(given).tolist()
    with profile(activities=activities) as profiled:
        for _ in range(STEPS):
            told = step(given)
        told.tolist()
    wanted = "CUDA" if on_gpu else "CPU"
    found = [event for event in profiled.key_averages() if event.device_type.name == wanted]
    spent = [event.self_device_time_total if on_gpu else event.self_cpu_time_total for event in found]
    rows = [
        Operation(event.key, seconds / sum(spent), event.count / STEPS)
        for event, seconds in zip(found, spent, strict=True)
    ]
    return sorted(rows, key=lambda row: -row.share)
