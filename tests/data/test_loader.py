"""The loader: every picture once an epoch, in an order and with flips that follow from seed and position alone, and
the same from disk, from a thread and from the device."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from gan_transfer.data import loader as loading
from gan_transfer.data.loader import Loader, fits
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


def prefetched(loader: Loader, count: int) -> list[Tensor]:
    with loader.prefetching():
        return batches(loader, count)


def mapped(folder: Path, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The pictures as a pack holds them: mapped read-only from disk."""
    np.save(folder / "images.npy", images)
    return np.lib.format.open_memmap(folder / "images.npy", mode="r")


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


@pytest.mark.parametrize("take", [batches, prefetched])
@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
@pytest.mark.parametrize("stop", range(8))
def test_a_loader_built_at_a_position_goes_on_as_the_unbroken_one(
    stop: int, rank: int, world: int, take: Callable[[Loader, int], list[Tensor]]
) -> None:
    def begin(position: int = 0) -> Loader:
        return Loader(numbered(10), 4, seed=5, mirror=True, position=position, rank=rank, world=world)

    unbroken, begun = begin(), begin()
    expected = batches(unbroken, 10)
    take(begun, stop)
    resumed = begin(begun.position)
    assert all(map(torch.equal, take(resumed, 10 - stop), expected[stop:]))
    assert resumed.position == unbroken.position == 40


@pytest.mark.parametrize("world", [2, 3, 6])
def test_the_shares_of_all_ranks_are_disjoint_and_together_the_batch_that_one_process_would_have(world: int) -> None:
    def begin(rank: int, world: int) -> Loader:
        return Loader(numbered(14), 6, seed=3, mirror=True, rank=rank, world=world)

    alone, loaders = begin(0, 1), [begin(rank, world) for rank in range(world)]
    for _ in range(7):
        whole, shares = alone.next_batch(), [loader.next_batch() for loader in loaders]
        assert all(torch.equal(share, whole[rank::world]) for rank, share in enumerate(shares))
    assert {loader.position for loader in loaders} == {alone.position} == {42}


@pytest.mark.parametrize(("batch_size", "rank", "world"), [(4, 2, 2), (4, -1, 2), (4, 0, 0), (4, 0, 3)])
def test_a_rank_that_has_no_part_in_a_batch_is_refused(batch_size: int, rank: int, world: int) -> None:
    with pytest.raises(ValueError, match=f"rank {rank} of {world} cannot take its part of batches of {batch_size}"):
        Loader(numbered(10), batch_size, seed=0, rank=rank, world=world)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
def test_batches_are_the_same_from_disk_from_a_thread_and_from_the_device(
    tmp_path: Path, mirror: bool, channels: int, rank: int, world: int
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (21, 4, 4, channels), np.uint8)

    def begin(images: npt.NDArray[np.uint8], resident: bool = False) -> Loader:
        return Loader(images, 4, seed=1, mirror=mirror, rank=rank, world=world, resident=resident)

    expected = batches(begin(images), 12)
    on_disk = mapped(tmp_path, images)
    for drawn in (batches(begin(on_disk), 12), prefetched(begin(on_disk), 12), batches(begin(on_disk, True), 12)):
        assert all(map(torch.equal, drawn, expected))
        assert [batch.stride() for batch in drawn] == [batch.stride() for batch in expected]


def test_a_resident_set_is_copied_whole_in_chunks_and_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    images = numbered(50)
    monkeypatch.setattr(loading, "CHUNK", 7 * images[0].nbytes)
    loader = Loader(images, 50, seed=0, resident=True)
    images[:] = 7
    loader.next_batch().zero_()
    assert rows(loader.next_batch()) == list(range(50))


def test_a_resident_set_needs_no_thread() -> None:
    loader, before = Loader(numbered(8), 4, seed=0, resident=True), threading.active_count()
    with loader.prefetching():
        loader.next_batch()
        assert threading.active_count() == before


def test_the_thread_ends_with_its_block_and_what_it_had_ready_comes_again() -> None:
    loader, before = Loader(numbered(10), 4, seed=0, mirror=True), threading.active_count()
    with pytest.raises(KeyboardInterrupt), loader.prefetching():
        loader.next_batch()
        assert threading.active_count() == before + 1
        raise KeyboardInterrupt
    assert (threading.active_count(), loader.position) == (before, 4)
    drawn = batches(loader, 3) + prefetched(loader, 3)
    assert all(map(torch.equal, drawn, batches(Loader(numbered(10), 4, seed=0, mirror=True), 7)[1:]))


def test_an_error_in_the_thread_is_raised_where_the_batch_is_asked_for_as_often_as_it_is() -> None:
    too_large = np.broadcast_to(np.zeros(1, np.uint8), (4, 2**23, 2**23, 3))  # no memory holds one of them
    loader = Loader(too_large, 4, seed=0)
    with loader.prefetching():
        for _ in range(4):
            with pytest.raises(MemoryError):
                loader.next_batch()
    assert loader.position == 0


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_pictures_stay_where_they_are_unless_a_gpu_has_room(device: str) -> None:
    assert not fits(1, torch.device(device))


def test_a_loader_says_where_its_pictures_are(tmp_path: Path) -> None:
    images = np.zeros((600, 64, 64, 3), np.uint8)
    assert Loader(images, 4, seed=0).describe() == "0.01 GB in memory"
    assert Loader(mapped(tmp_path, images), 4, seed=0).describe() == "0.01 GB memory-mapped"
    assert Loader(images, 4, seed=0, resident=True).describe() == "0.01 GB resident on cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("resident", [None, True, False])
@pytest.mark.parametrize("take", [batches, prefetched])
def test_a_gpu_gets_the_same_batches(
    tmp_path: Path, resident: bool | None, take: Callable[[Loader, int], list[Tensor]]
) -> None:
    images, gpu = mapped(tmp_path, numbered(64)), torch.device("cuda", 0)
    loader = Loader(images, 8, seed=1, mirror=True, device=gpu, resident=resident)
    drawn = take(loader, 20)
    assert {batch.device for batch in drawn} == {gpu}
    expected = batches(Loader(images, 8, seed=1, mirror=True), 20)
    assert all(torch.equal(one.cpu(), other) for one, other in zip(drawn, expected, strict=True))
    assert [batch.stride() for batch in drawn] == [batch.stride() for batch in expected]
    assert ("memory-mapped" if resident is False else "resident on cuda:0") in loader.describe()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_keeps_what_takes_less_than_two_fifths_of_its_free_memory() -> None:
    gpu = torch.device("cuda")
    free, _ = torch.cuda.mem_get_info(gpu)
    assert [fits(size, gpu) for size in (0, free // 3, free // 2)] == [True, True, False]


def memory_of_files() -> int:
    """Bytes of memory maps that this process holds in memory."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssFile"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what a process holds")
@pytest.mark.parametrize("resident", [False, True])
def test_what_was_read_of_a_memory_map_does_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resident: bool
) -> None:
    monkeypatch.setattr(loading, "CHUNK", 2**20)
    images = mapped(tmp_path, np.ones((2048, 128, 128, 1), np.uint8))
    before = memory_of_files()
    loader = Loader(images, 32, seed=0, resident=resident)
    assert [int(batch.sum()) for batch in batches(loader, 64)] == [32 * 128 * 128] * 64
    assert memory_of_files() - before < images.nbytes // 2


READ_SOME_OF_IMAGENET = """
import resource, sys, time
import numpy as np
from gan_transfer.data.loader import Loader

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

before, begin = peak(), time.perf_counter()
loader = Loader(np.lib.format.open_memmap(sys.argv[1], mode="r"), 128, seed=0, mirror=True)
seconds = time.perf_counter() - begin
for _ in range(600):
    loader.next_batch()
print(seconds, peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say what a process holds")
def test_a_set_of_imagenets_size_opens_at_once_and_is_read_in_less_than_a_gigabyte(tmp_path: Path) -> None:
    """If nothing were given back, these batches would hold 1.2 GB."""
    path, shape = tmp_path / "images.npy", (1_281_167, 64, 64, 3)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + int(np.prod(shape)))
    if path.stat().st_blocks * 512 > 2**20:
        pytest.skip("this file system has no sparse files")
    told = subprocess.run([sys.executable, "-c", READ_SOME_OF_IMAGENET, path], capture_output=True, check=True).stdout
    path.unlink()  # pytest keeps temporary files for a while, and not every copy of them would be sparse
    seconds, held = map(float, told.split())
    assert seconds < 1
    assert held < 1e9


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
    loader = Loader(mapped(tmp_path, numbered(8, channels=1)), 8, seed=0, mirror=True)
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
