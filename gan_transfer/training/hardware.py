"""Which device a run uses and in which arithmetic."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from .. import distributed
from ..errors import RecipeError


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Where the networks live and how they multiply.

    Attributes:
        device: of networks and batches.
        dtype: of the networks' products; float32, or bfloat16 under autocast. Losses are always float32.
    """

    device: torch.device
    dtype: torch.dtype

    def describe(self) -> str:
        """Device and arithmetic in words, `cpu (bfloat16)`, of all ranks: `8 x cpu (bfloat16)`."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
        world = distributed.world_size()
        return f"{f'{world} x ' if world > 1 else ''}{name} ({str(self.dtype).removeprefix('torch.')})"

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which networks run forward."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def place(self, network: nn.Module) -> None:
        """Move a network to the device, its convolutions in channels-last order: faster, and equal in value."""
        network.to(device=self.device)
        network.to(memory_format=torch.channels_last)

    def put(self, images: Tensor) -> Tensor:
        """Move a batch [N, C, H, W] to the device."""
        return images.to(self.device, non_blocking=True)


@contextlib.contextmanager
def memory_faults() -> Iterator[None]:
    """Raise `torch.OutOfMemoryError` where a CPU's memory ends too: PyTorch's allocator says so in a bare
    `RuntimeError`, NumPy and Python in a `MemoryError`."""
    try:
        yield
    except MemoryError as error:
        raise torch.OutOfMemoryError(str(error)) from error
    except RuntimeError as error:
        told = any(words in str(error) for words in ("DefaultCPUAllocator", "could not create a primitive"))
        if not told or isinstance(error, torch.OutOfMemoryError):
            raise
        raise torch.OutOfMemoryError(str(error)) from error


def choose(device: str, precision: str) -> Hardware:
    """Resolve `auto`.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`. Of several ranks, each takes the GPU of its own number.
        precision: `auto`, `float32` or `bfloat16`.

    Raises:
        RecipeError: no such device, or it is not there.
    """
    chosen = _own(_device(device))
    if chosen.type == "cuda":
        torch.backends.cudnn.benchmark = True  # batches have one shape, so that its trials pay
        torch.cuda.set_device(chosen)  # which memory is asked for
    if precision == "auto":
        precision = "bfloat16" if multiplies_bfloat16(chosen) else "float32"
    return Hardware(chosen, getattr(torch, precision))


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bfloat16 itself, so that it is faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def _own(device: torch.device) -> torch.device:
    """This rank's GPU."""
    if distributed.world_size() == 1 or device.type != "cuda":
        return device
    there, own = torch.cuda.device_count(), distributed.local_rank()
    if device.index is not None or own >= there:
        wanted = f"--nproc-per-node {there} or fewer, and --device cuda"
        raise RecipeError(f"process {own} of this machine has no GPU of its own (there are {there}); use {wanted}")
    return torch.device("cuda", own)


def _device(text: str) -> torch.device:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if text == "auto":
        return torch.device("cuda" if there["cuda"] else "mps" if there["mps"] else "cpu")
    kind, colon, number = text.partition(":")
    if kind not in there or (colon and not (kind == "cuda" and number.isdecimal())):
        raise RecipeError(f"device {text!r} is not known; wanted auto, cpu, cuda, cuda:N or mps. See: --device auto")
    if not there[kind] or (kind == "cuda" and int(number or 0) >= torch.cuda.device_count()):
        here = ", ".join(name for name, present in there.items() if present)
        raise RecipeError(f"device {text!r} is not on this machine, which has: {here}. Use --device auto")
    return torch.device(text)
