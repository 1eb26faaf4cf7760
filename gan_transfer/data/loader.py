"""The loader: endless shuffled batches out of a pack, whose only state is how many images it has given out.

The pictures stay in their memory map, read by a thread ahead of training, or they are copied once to a GPU that has
room for all of them. The batches are the same bit for bit.
"""

from __future__ import annotations

import contextlib
import mmap
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..devices import send
from ..errors import DataError
from .decode import Pixels

RESIDENT = 0.4
"""Share of a GPU's free memory below which pictures are kept there; the networks need the rest."""

AHEAD = 2
"""Batches that are kept ready while training computes: one would do if reading always took the same time."""

CHUNK = 64 * 2**20
"""Bytes copied to a GPU at a time, and bytes read from a memory map before its pages are given back. Linux maps up to
64 KiB around what is read, so that these can be 400 MB of pages for pictures of 64 x 64 pixels."""

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
CPU = torch.device("cpu")
_ORDER, _MIRROR = 0, 1  # random streams of an epoch


class Loader:
    """Endless batches; each epoch is a new order of all pictures, of which the last part-batch is dropped.

    Of several ranks each has its own share of every batch: every `world`-th picture from the one numbered `rank`, in
    the order of the set, since stretches of a set sorted by class would show each rank's batch norm other classes.

    Order and flips are functions of seed and epoch alone, and those of the whole batch: so a loader built at the
    position of another one goes on exactly as that one would, and however many ranks there are.
    """

    def __init__(
        self,
        images: Pixels,
        batch_size: int,
        seed: int,
        *,
        mirror: bool = False,
        position: int = 0,
        rank: int = 0,
        world: int = 1,
        device: torch.device = CPU,
        resident: bool | None = None,
    ) -> None:
        """Start at `position`. Nothing is read yet, unless the pictures are copied to the device.

        Args:
            images: uint8 [N, H, W, C], in memory or mapped from disk.
            batch_size: pictures in a batch, over all ranks.
            seed: of order and flips, at least 0.
            mirror: flip each picture left to right with probability 1/2, anew in every epoch.
            position: images already given out over all ranks, a multiple of the batch size.
            rank: whose share of each batch to give out.
            world: number of ranks.
            device: where batches are wanted.
            resident: whether the pictures are kept on the device; None asks `fits`.

        Raises:
            DataError: there are fewer pictures than the batch size.
            ValueError: the position is negative or no multiple of the batch size, that is no multiple of the world
                size, or there is no such rank.
        """
        check_batch(len(images), batch_size)
        if not 0 <= rank < world or batch_size % world:
            raise ValueError(f"rank {rank} of {world} cannot take its part of batches of {batch_size}")
        if position < 0 or position % batch_size:
            raise ValueError(f"position must be a multiple of the batch size {batch_size} from 0, got {position}")
        self._order = _Order(len(images), batch_size, seed, mirror, slice(rank, None, world))
        self._batch_size, self._position, self._device = batch_size, position, device
        # A plain view: rows of a memory map stay memory maps, slowly.
        self._pictures, self._where = _place(np.asarray(images), device, resident)
        self._thread: ThreadPoolExecutor | None = None
        self._ready: deque[Future[Tensor]] = deque()

    @property
    def position(self) -> int:
        """Images given out so far over all ranks, from the first loader on."""
        return self._position

    def describe(self) -> str:
        """Where the pictures are, and why: `0.55 GB memory-mapped`."""
        return self._where

    def next_batch(self) -> Tensor:
        """The next batch: uint8 [B, C, H, W] with B = batch size / world, channels last in memory, on the device,
        writable, the caller's own.
        """
        # An error in the thread leaves its batch in line: to ask again is not to skip it.
        batch = self._ready[0].result() if self._thread else self._read(self._position)
        self._position += self._batch_size
        if self._thread:
            self._ready.popleft()
            self._read_ahead(self._thread)
        # Copied from here and not from the thread, in line with the caller's other work on the device.
        return batch.to(self._device, non_blocking=batch.is_pinned()).permute(0, 3, 1, 2)

    @contextlib.contextmanager
    def prefetching(self) -> Iterator[None]:
        """Inside the block a thread keeps the next batches ready; an error of its is raised by `next_batch`.

        The batches are the same as without it. Pictures resident on the device need no thread and get none.
        """
        if isinstance(self._pictures, _Resident):
            yield
            return
        with ThreadPoolExecutor(1, "loader") as thread:
            self._thread = thread
            for _ in range(AHEAD):
                self._read_ahead(thread)
            try:
                yield
            finally:
                self._thread = None
                self._ready.clear()

    def _read_ahead(self, thread: ThreadPoolExecutor) -> None:
        self._ready.append(thread.submit(self._read, self._position + len(self._ready) * self._batch_size))

    def _read(self, position: int) -> Tensor:
        return self._pictures.batch(*self._order.batch(position // self._batch_size))


class _Order:
    """Which rows of the set each batch takes, and which of them it flips: a function of the batch's number."""

    def __init__(self, count: int, batch: int, seed: int, mirror: bool, share: slice) -> None:
        self._count, self._batch, self._seed, self._share = count, batch, seed, share
        self._flipped = 0.5 if mirror else 0.0
        self._epoch = -1

    def batch(self, number: int) -> tuple[Rows, Flags]:
        epoch, number = divmod(number, self._count // self._batch)
        if epoch != self._epoch:
            self._begin(epoch)
        # Sorted, so that a memory map is read in one direction; inside a batch the order means nothing.
        rows = np.sort(self._rows[number * self._batch : (number + 1) * self._batch])[self._share]
        return rows, self._flips[rows]

    def _begin(self, epoch: int) -> None:
        self._rows = self._random(epoch, _ORDER).permutation(self._count)
        self._flips = self._random(epoch, _MIRROR).random(self._count) < self._flipped
        self._epoch = epoch

    def _random(self, epoch: int, stream: int) -> np.random.Generator:
        key = np.random.SeedSequence(self._seed, spawn_key=(epoch, stream, 0, 1))
        return np.random.Generator(np.random.Philox(key))


class _Mapped:
    """Pictures of the host, most often in a memory map of which the system keeps what it has room for."""

    def __init__(self, share: Pixels, pinned: bool) -> None:
        self._share, self._pinned, self._pages = share, pinned, _Pages(share)

    def batch(self, rows: Rows, flips: Flags) -> Tensor:
        """uint8 [B, H, W, C] on the CPU."""
        self._pages.want(rows)
        batch = self._share[rows]
        self._pages.read(batch.nbytes)
        if flips.any():
            leftwards = np.arange(batch.shape[2])[::-1]
            batch[flips] = batch[flips].take(leftwards, axis=2)  # a take is twice as fast as a slice by -1
        tensor = torch.from_numpy(batch)
        return tensor.pin_memory() if self._pinned else tensor


class _Resident:
    """Pictures of the device; the host only says which."""

    def __init__(self, share: Pixels, device: torch.device) -> None:
        self._images = torch.empty(share.shape, dtype=torch.uint8, device=device)
        step, pages = max(CHUNK // share[0].nbytes, 1), _Pages(share)
        for begin in range(0, len(share), step):
            chunk = share[begin : begin + step].copy()
            self._images[begin : begin + step] = torch.from_numpy(chunk)
            pages.read(chunk.nbytes)

    def batch(self, rows: Rows, flips: Flags) -> Tensor:
        """uint8 [B, H, W, C] on the device."""
        batch = self._images.index_select(0, self._put(rows))
        if not flips.any():
            return batch
        return torch.where(self._put(flips)[:, None, None, None], batch.flip(2), batch)

    def _put(self, values: Rows | Flags) -> Tensor:
        return send(torch.from_numpy(values), self._images.device)


class _Pages:
    """What the system is told of a memory map that is read; of other arrays nothing.

    Left alone, it would read one picture after another from the disk, and up to megabytes around each. What was read
    would count as memory of this process, though its content stays in the page cache while there is room.
    """

    def __init__(self, share: Pixels) -> None:
        self._map = None if sys.platform == "win32" else _memory_map(share)
        self._start, self._stride, self._size = 0, share.strides[0], share[0].nbytes
        if self._map is not None:
            self._start = share.ctypes.data - np.frombuffer(self._map, np.uint8).ctypes.data
        self._held = 0

    def want(self, rows: Rows) -> None:
        """Have the pages of these rows read all at once, where they are not in memory, and no others."""
        starts = self._start + rows * self._stride
        pages = starts // mmap.PAGESIZE * mmap.PAGESIZE
        for start, size in zip(pages.tolist(), (starts + self._size - pages).tolist(), strict=True):
            self._advise("MADV_WILLNEED", start, size)

    def read(self, size: int) -> None:
        """Count `size` more bytes as read; give the pages back when it is enough."""
        self._held += size
        if self._held >= CHUNK:
            self._advise("MADV_DONTNEED")
            self._held = 0

    def _advise(self, advice: str, *extent: int) -> None:
        if self._map is not None:
            with contextlib.suppress(OSError):  # a system that does not take it is slower, not wrong
                self._map.madvise(getattr(mmap, advice), *extent)


def check_batch(count: int, batch_size: int) -> None:
    """Check that `count` pictures fill a batch.

    Raises:
        DataError: they do not; says which batch size they would fill.
    """
    if count < batch_size:
        advice = f"use --batch {1 << (count.bit_length() - 1)}" if count > 1 else "give at least 2 pictures"
        raise DataError(f"the data source has {count} pictures, fewer than the batch size {batch_size}; {advice}")


def fits(size: int, device: torch.device) -> bool:
    """Whether `size` bytes of pictures are to be kept on the device: less than 40 % of the memory free on a GPU.

    Never on `cpu`, whose page cache keeps them already, nor on `mps`, which shares that memory.
    """
    return size < RESIDENT * _free(device)


def _free(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def _place(share: Pixels, device: torch.device, resident: bool | None) -> tuple[_Mapped | _Resident, str]:
    """The pictures where they are to be, and that in words."""
    chosen = fits(share.nbytes, device) if resident is None else resident
    place = f"resident on {device}" if chosen else "in memory" if _memory_map(share) is None else "memory-mapped"
    words, gpu = f"{share.nbytes / 1e9:.2f} GB {place}", device.type == "cuda"
    if gpu and resident is None:
        side = "under" if chosen else "not under"
        words += f" ({side} {RESIDENT * 100:g} % of {_free(device) / 1e9:.2f} GB free on the GPU)"
    return _Resident(share, device) if chosen else _Mapped(share, pinned=gpu), words


def _memory_map(images: Pixels) -> mmap.mmap | None:
    """The read-only memory map that an array is a view of, or None: others may hold what is nowhere else."""
    base: object = images
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) and not images.flags.writeable else None
