"""The image convention: both ways exactly, and pictures laid out in a sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_transfer.images import grid, save_png, to_float, to_pillow, to_uint8


def numbered(count: int, channels: int = 3, height: int = 4, width: int = 6) -> Tensor:
    """uint8 pictures; every pixel of picture i is i."""
    return torch.arange(count, dtype=torch.uint8)[:, None, None, None].repeat(1, channels, height, width)


def test_every_value_comes_back_from_float() -> None:
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(to_uint8(to_float(values)), values)


def test_the_ends_of_the_two_ranges_meet() -> None:
    ends = to_float(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    assert ends.tolist() == [[[[-1.0, 1.0]]]]
    assert ends.dtype == torch.float32


def test_float_values_are_rounded_to_the_nearest_and_cut_at_the_ends() -> None:
    values = torch.tensor([[[[-3.0, -1.0, 0.0, 0.003, 1.0, 7.0]]]])
    assert to_uint8(values).tolist() == [[[[0, 0, 128, 128, 255, 255]]]]
    assert to_uint8(values.bfloat16()).dtype == torch.uint8


def test_pictures_that_come_in_are_not_changed() -> None:
    pictures, floats = numbered(3), torch.full((1, 1, 2, 2), 0.5)
    to_float(pictures)
    to_uint8(floats)
    assert torch.equal(pictures, numbered(3))
    assert floats.unique().tolist() == [0.5]  # type: ignore[no-untyped-call]


def test_the_memory_format_is_kept() -> None:
    pictures = numbered(3).contiguous(memory_format=torch.channels_last)
    assert to_float(pictures).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_fills_its_rows_in_order_with_white_between_and_after(channels: int) -> None:
    sheet = grid(numbered(5, channels), columns=3, gap=2)
    wanted = np.full((3, 2 * 4 + 2, 3 * 6 + 2 * 2), 255, np.uint8)
    for number in range(5):
        top, left = number // 3 * 6, number % 3 * 8
        wanted[:, top : top + 4, left : left + 6] = number
    np.testing.assert_array_equal(sheet.numpy(), wanted)


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (4, (2, 2)), (5, (3, 2)), (7, (3, 3)), (64, (8, 8))])
def test_a_grid_is_square_by_default(count: int, shape: tuple[int, int]) -> None:
    columns, rows = shape
    assert grid(numbered(count), gap=0).shape == (3, rows * 4, columns * 6)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_png_holds_the_same_pixels(tmp_path: Path, channels: int, mode: str) -> None:
    picture = torch.randint(0, 256, (channels, 5, 7), dtype=torch.uint8)
    save_png(tmp_path / "picture.png", picture)
    with Image.open(tmp_path / "picture.png") as found:
        assert (found.format, found.mode, found.size) == ("PNG", mode, (7, 5))
        np.testing.assert_array_equal(np.asarray(found), picture.permute(1, 2, 0).squeeze(2).numpy())


def test_a_picture_for_pillow_may_lie_in_memory_in_any_order() -> None:
    pictures = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    other = pictures.contiguous(memory_format=torch.channels_last)
    assert to_pillow(pictures[1]).tobytes() == to_pillow(other[1]).tobytes()
