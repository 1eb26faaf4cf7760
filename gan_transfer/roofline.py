"""The fastest that a device could train: its products and its memory at their best (roofline; Williams et al. 2009)."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

import torch

from .recipe import Model
from .scaling import step_bytes, step_multiply_adds
from .training.hardware import Hardware

SIDES = {"cpu": (1024, 2048)}
SIDES_ELSEWHERE = (4096, 8192)
"""Of the square matrices whose products are timed; the quicker ones count."""

COPIED = {"cpu": 2**28}
COPIED_ELSEWHERE = 2**30
"""Bytes that are copied, more than caches hold."""

TRIES = 7


@dataclasses.dataclass(frozen=True)
class Roofline:
    """What bounds the speed of a step on a device, and where.

    Attributes:
        flop_per_sec: of the best matrix product, two operations for a multiply-add.
        bytes_per_sec: of the best copy, read and written bytes together.
        flop: of a step of training, for each real picture.
        bytes: that such a step reads and writes of the networks' maps, for each real picture.
    """

    flop_per_sec: float
    bytes_per_sec: float
    flop: float
    bytes: float

    @property
    def by_products(self) -> float:
        """Images per second, were there nothing but products."""
        return self.flop_per_sec / self.flop

    @property
    def by_memory(self) -> float:
        """Images per second, were there nothing but reading and writing."""
        return self.bytes_per_sec / self.bytes

    @property
    def img_per_sec(self) -> float:
        """Images per second that nothing which computes so exceeds, whatever else goes on meanwhile."""
        return min(self.by_products, self.by_memory)


def measure(hardware: Hardware, model: Model) -> Roofline:
    """Time the best product and the best copy of a device, and set a model's arithmetic beside them."""
    return Roofline(
        flop_per_sec=max(_product_speed(hardware, side) for side in SIDES.get(hardware.device.type, SIDES_ELSEWHERE)),
        bytes_per_sec=_copy_speed(hardware.device),
        flop=2 * step_multiply_adds(model),
        bytes=step_bytes(model, hardware.dtype.itemsize),
    )


def _product_speed(hardware: Hardware, side: int) -> float:
    a, b = (torch.randn(side, side, device=hardware.device, dtype=hardware.dtype) for _ in range(2))
    with _convolutions_precision():
        return 2 * side**3 / _quickest(lambda: torch.mm(a, b), hardware.device)


def _copy_speed(device: torch.device) -> float:
    source = torch.ones(COPIED.get(device.type, COPIED_ELSEWHERE), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * len(source) / _quickest(lambda: target.copy_(source), device)


@contextlib.contextmanager
def _convolutions_precision() -> Iterator[None]:
    """float32 products on a GPU in TF32 where its convolutions are."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _quickest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the quickest of some tries, after one to warm up."""
    seconds = []
    for _ in range(TRIES + 1):
        begin = time.perf_counter()
        work()
        if device.type != "cpu":
            torch.accelerator.synchronize()
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:])
