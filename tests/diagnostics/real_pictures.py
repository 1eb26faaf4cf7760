"""Real pictures for the tests, where they are at hand: $GAN_TRANSFER_DATA, else shared/data beside the project."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_transfer.data.decode import decode
from gan_transfer.data.sources import open_source

GIVEN = os.environ.get("GAN_TRANSFER_DATA")
DATA = Path(GIVEN) if GIVEN else Path(__file__).resolve().parents[2].parent / "shared" / "data"


def real(name: str) -> Path:
    """The path of a file of real pictures or weights; without it the test is skipped."""
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not there")
    return DATA / name


def load(name: str, rows: range, keep: float = 1.0) -> Tensor:
    """Some pictures of a seeded order at 64 x 64, uint8 [N, 3, 64, 64]; `keep` cuts that share out of the middle."""
    source = open_source(f"zip:{real(name)}")
    found = []
    for row in np.random.default_rng(0).permutation(len(source))[list(rows)]:
        image = source.load(int(row))
        side = keep * min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        window = image.crop((round(left), round(top), round(left + side), round(top + side)))
        found.append(torch.from_numpy(decode(window, 64, 3)))
    source.close()
    return torch.stack(found).permute(0, 3, 1, 2).contiguous()
