"""Files of tensors, written whole or not at all; a full disk is an OSError here too."""

from __future__ import annotations

import os
import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from .files import atomic


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically.

    Args:
        path: in a folder that is there.
        tensors: contiguous, on the CPU.
        metadata: for the header.

    Raises:
        OSError: the disk is full or the folder is not writable; nothing is left behind.
    """
    with atomic(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            number = re.search(r"\(os error (\d+)\)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None
