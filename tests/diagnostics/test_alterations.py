"""Altered copies: every operation gives another picture of the same kind, and the seed decides which."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_transfer.diagnostics.alterations import OPERATIONS, alter, invent

SIDE = 32


def picture(seed: int = 0) -> Tensor:
    """A smooth one, so that blur and crop are not lost in noise."""
    small = torch.randint(0, 256, (1, 3, 6, 6), generator=torch.Generator().manual_seed(seed)).float()
    return torch.nn.functional.interpolate(small, (SIDE, SIDE), mode="bilinear")[0].to(torch.uint8)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_changes_a_picture_and_nothing_about_its_form(name: str) -> None:
    before = picture()
    for seed in range(10):
        after = OPERATIONS[name](before, picture(1), np.random.default_rng(seed))
        assert (after.dtype, after.shape) == (torch.uint8, before.shape)
        assert not torch.equal(after, before)
    assert torch.equal(before, picture())


def test_an_altered_picture_is_decided_by_its_seed() -> None:
    def altered(seed: int) -> Tensor:
        return alter(picture(), picture(1), np.random.default_rng(seed))

    assert torch.equal(altered(3), altered(3))
    assert not torch.equal(altered(3), altered(4))


def test_pictures_of_nothing_are_of_four_kinds() -> None:
    random = np.random.default_rng(0)
    pictures = torch.stack([invent(SIDE, random) for _ in range(40)])
    assert pictures.shape == (40, 3, SIDE, SIDE)
    assert pictures.dtype == torch.uint8
    steps = pictures.float().diff(dim=3).abs().mean((1, 2, 3))
    assert (steps == 0).any()  # flat
    assert ((steps > 0) & (steps < 8)).any()  # a gradient
    assert (steps > 70).any()  # white noise
