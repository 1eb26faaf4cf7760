"""The loader: endless shuffled batches out of a pack, whose only state is how many images it has given out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from .decode import Pixels

_ORDER, _MIRROR = 0, 1  # random streams of an epoch


class Loader:
    """Endless batches; each epoch is a new order of all pictures, of which the last part-batch is dropped.

    Order and flips are functions of the seed and of the position alone, so a loader built at the position of
    another one goes on exactly as that one would.
    """

    def __init__(self, images: Pixels, batch_size: int, seed: int, mirror: bool = False, position: int = 0) -> None:
        """Start at `position`; nothing is read yet.

        Args:
            images: uint8 [N, H, W, C], in memory or mapped from disk.
            batch_size: pictures in a batch.
            seed: of order and flips, at least 0.
            mirror: flip each picture left to right with probability 1/2, anew in every epoch.
            position: images already given out, a multiple of the batch size.

        Raises:
            DataError: there are fewer pictures than the batch size.
            ValueError: the position is negative or no multiple of the batch size.
        """
        check_batch(len(images), batch_size)
        if position < 0 or position % batch_size:
            raise ValueError(f"position must be a multiple of the batch size {batch_size} from 0, got {position}")
        self._images = np.asarray(images)  # a plain view: rows of a memory map stay memory maps, slowly
        self._batch_size = batch_size
        self._seed = seed
        self._mirror = mirror
        self._position = position
        self._usable = len(images) // batch_size * batch_size
        self._begin(position // self._usable)

    @property
    def position(self) -> int:
        """Images given out so far, from the first loader on."""
        return self._position

    def next_batch(self) -> Tensor:
        """The next batch: uint8 [B, C, H, W], channels last in memory, writable, the caller's own."""
        epoch, offset = divmod(self._position, self._usable)
        if epoch != self._epoch:
            self._begin(epoch)
        # Sorted, so that a memory map is read in one direction; inside a batch the order means nothing.
        rows = np.sort(self._order[offset : offset + self._batch_size])
        batch = self._images[rows]
        if self._mirror:
            flipped = self._flips[rows]
            leftwards = np.arange(batch.shape[2])[::-1]
            batch[flipped] = batch[flipped].take(leftwards, axis=2)  # a take is twice as fast as a slice by -1
        self._position += self._batch_size
        return torch.from_numpy(batch).permute(0, 3, 1, 2)

    def _begin(self, epoch: int) -> None:
        self._epoch = epoch
        self._order = _generator(self._seed, epoch, _ORDER).permutation(len(self._images))
        self._flips = _generator(self._seed, epoch, _MIRROR).random(len(self._images)) < 0.5


def check_batch(count: int, batch_size: int) -> None:
    """Check that `count` pictures fill a batch.

    Raises:
        DataError: they do not; says which batch size they would fill.
    """
    if count < batch_size:
        advice = f"use --batch {1 << (count.bit_length() - 1)}" if count > 1 else "give at least 2 pictures"
        raise DataError(f"the data source has {count} pictures, fewer than the batch size {batch_size}; {advice}")


def _generator(seed: int, epoch: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(epoch, stream))))
