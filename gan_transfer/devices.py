"""The host's processors, and how numbers drawn there reach the device that computes."""

from __future__ import annotations

import os

import torch
from torch import Tensor


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def send(values: Tensor, device: torch.device) -> Tensor:
    """Numbers of the host, of any shape and type, on a device, where they are in line with its other work.

    The host does not wait for a GPU to take them, so it stays ahead of it: a copy from memory that is not pinned would
    end the queue of work at every step.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
