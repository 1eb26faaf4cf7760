"""One checkpoint file: tensors and a clock in safetensors, under one checksum and the number of its format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import RunError
from ..tensor_files import save_tensors

VERSION = 2
"""Of the format. 1 had no number, and a checksum of the tensors' names and values alone."""

Clock = dict[str, Any]


class Damaged(RunError):
    """A checkpoint is not what was written; the text says why."""


def name_of(clock: Clock) -> str:
    """The file name of a checkpoint with this clock."""
    return f"checkpoint-{clock['images_seen']:012d}.safetensors"


def write(path: Path, tensors: dict[str, Tensor], clock: Clock) -> None:
    """Write a checkpoint atomically.

    Args:
        path: `name_of(clock)` in a folder that is there.
        tensors: on the CPU.
        clock: JSON values.

    Raises:
        OSError: no space, no permission.
    """
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    told = {"format": "pt", "version": str(VERSION), "clock": json.dumps(clock)}
    save_tensors(path, tensors, told | {"sha256": _digest(tensors, told)})


def read(path: Path) -> tuple[dict[str, Tensor], Clock]:
    """Read a checkpoint of this format or an older one.

    Raises:
        Damaged: it is cut off, changed, or no checkpoint.
        RunError: it is whole, and of a newer format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            told = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        wanted, version = told.pop("sha256"), int(told.get("version", "1"))
        # The checksum first: its rule holds for all formats from 2 on, so that a flipped bit makes no newer format.
        if (_digest(tensors, told) if version > 1 else _first_digest(tensors)) != wanted:
            raise Damaged("its checksum does not fit")
        if version > VERSION:
            raise RunError(
                f"{path} was written by a newer gan-transfer (format {version}, this one reads up to {VERSION}). "
                "Update gan-transfer, or begin anew with --new"
            )
        if not {"random", "random_global"} <= tensors.keys():
            raise Damaged("the state of a random generator is missing")
        clock: Clock = json.loads(told["clock"])
        if name_of(clock) != path.name:
            raise Damaged("its clock does not fit its name")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(str(error)) from None
    return tensors, clock


def _digest(tensors: dict[str, Tensor], told: dict[str, str]) -> str:
    """SHA-256 of all that a file holds but this sum itself: what its header tells, then each tensor with its kind."""
    shapes = {name: [str(tensor.dtype), *tensor.shape] for name, tensor in tensors.items()}
    digest = hashlib.sha256(json.dumps([told, shapes], sort_keys=True).encode())
    return _add(digest, (tensors[name] for name in sorted(tensors)))


def _first_digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        _add(digest, [tensors[name]])
    return digest.hexdigest()


def _add(digest: Any, tensors: Iterable[Tensor]) -> str:
    for tensor in tensors:
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return str(digest.hexdigest())
