"""The loader: every picture once an epoch, in an order and with flips that follow from seed and position alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from gan_transfer.data.loader import Loader
from gan_transfer.errors import DataError


def numbered(count: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """uint8 [N, 2, 4, C]: picture i holds i in its left half and 255 in its right."""
    images = np.full((count, 2, 4, channels), 255, np.uint8)
    images[:, :, :2] = np.arange(count).reshape(-1, 1, 1, 1)
    return images


def rows(batch: Tensor) -> list[int]:
    """The numbers of the pictures, flipped or not."""
    return [int(value) for value in batch.amin((1, 2, 3))]


def batches(loader: Loader, count: int) -> list[Tensor]:
    return [loader.next_batch() for _ in range(count)]


def test_a_batch_is_uint8_with_channels_first_and_stored_last() -> None:
    batch = Loader(numbered(10), 4, seed=0).next_batch()
    assert (batch.shape, batch.dtype) == ((4, 3, 2, 4), torch.uint8)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_an_epoch_gives_every_picture_at_most_once_and_drops_the_rest() -> None:
    loader = Loader(numbered(10), 4, seed=0)
    epochs = [rows(torch.cat(batches(loader, 2))) for _ in range(40)]
    assert {len(set(epoch)) for epoch in epochs} == {8}
    assert {row for epoch in epochs for row in epoch} == set(range(10))


def test_epochs_and_seeds_differ_in_order() -> None:
    loader = Loader(numbered(64), 16, seed=0)
    first, second = (rows(torch.cat(batches(loader, 4))) for _ in range(2))
    other = rows(torch.cat(batches(Loader(numbered(64), 16, seed=1), 4)))
    assert first != second
    assert first != other
    assert sorted(first) == sorted(second) == list(range(64))


@pytest.mark.parametrize("stop", range(8))
def test_a_loader_built_at_a_position_goes_on_as_the_unbroken_one(stop: int) -> None:
    unbroken = Loader(numbered(10), 4, seed=5, mirror=True)
    expected = batches(unbroken, 10)
    begun = Loader(numbered(10), 4, seed=5, mirror=True)
    batches(begun, stop)
    resumed = Loader(numbered(10), 4, seed=5, mirror=True, position=begun.position)
    assert all(map(torch.equal, batches(resumed, 10 - stop), expected[stop:]))
    assert resumed.position == unbroken.position == 40


def test_mirroring_flips_half_of_the_pictures_anew_in_each_epoch() -> None:
    loader = Loader(numbered(200), 200, seed=0, mirror=True)
    flips = [batch[:, 0, 0, 0] == 255 for batch in batches(loader, 10)]
    assert [80 < int(flipped.sum()) < 120 for flipped in flips] == [True] * 10
    assert not torch.equal(flips[0], flips[1])


def test_mirroring_changes_nothing_but_the_flips() -> None:
    plain, mirrored = Loader(numbered(32), 8, seed=3), Loader(numbered(32), 8, seed=3, mirror=True)
    for one, other in zip(batches(plain, 12), batches(mirrored, 12), strict=True):
        flipped = other[:, 0, 0, 0] == 255
        assert torch.equal(torch.where(flipped[:, None, None, None], other.flip(3), other), one)


def test_the_flip_of_a_picture_does_not_depend_on_the_batch_size() -> None:
    def flips(batch_size: int) -> dict[int, bool]:
        loader = Loader(numbered(32), batch_size, seed=3, mirror=True)
        drawn = torch.cat(batches(loader, 32 // batch_size))
        return dict(zip(rows(drawn), (drawn[:, 0, 0, 0] == 255).tolist(), strict=True))

    assert flips(4) == flips(16)


def test_batches_of_a_read_only_map_are_the_callers_own(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", numbered(8, channels=1))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    loader = Loader(images, 8, seed=0, mirror=True)
    loader.next_batch().zero_()
    assert rows(loader.next_batch()) == list(range(8))
    assert loader.next_batch().shape == (8, 1, 2, 4)


def test_a_batch_larger_than_the_data_is_refused_with_one_that_fits() -> None:
    with pytest.raises(DataError) as caught:
        Loader(numbered(50), 64, seed=0)
    assert str(caught.value) == ("the data source has 50 pictures, fewer than the batch size 64; use --batch 32")
    with pytest.raises(DataError, match="1 pictures, fewer than the batch size 64; give at least 2 pictures"):
        Loader(numbered(1), 64, seed=0)


def test_a_batch_as_large_as_the_data_is_whole() -> None:
    assert rows(Loader(numbered(50), 50, seed=0).next_batch()) == list(range(50))


@pytest.mark.parametrize("position", [-4, 3, 9])
def test_a_position_between_batches_is_refused(position: int) -> None:
    with pytest.raises(ValueError, match="must be a multiple of the batch size 4"):
        Loader(numbered(10), 4, seed=0, position=position)
