"""What the data path costs on this machine: packing against a textbook loader, batches, waiting, and ImageNet's size.

The textbook loader is torchvision's `ImageFolder` with `Resize`, `CenterCrop` and `ToTensor` through a DataLoader.
"""

from __future__ import annotations

import dataclasses
import io
import math
import os
import shutil
import statistics
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from . import images
from .data.covers import CoversSource
from .data.decode import is_picture
from .data.loader import Loader
from .data.pack import PackSettings, cached_pack
from .data.paths import resolve
from .data.sources import open_source
from .errors import DataError
from .models.dcgan import Discriminator, Generator, initialise
from .recipe import Recipe, Train
from .training.hardware import Hardware
from .training.step import Step, make_players
from .training.telemetry import memory_gb

IMAGENET = 1_281_167
"""Pictures in ImageNet-1k's training part (Russakovsky et al. 2015)."""

BATCH = 128
RESOLUTION = 64


@dataclasses.dataclass(frozen=True)
class Packing:
    """Pictures per second, medians over alternating rounds.

    Attributes:
        workers: of both.
        textbook: pictures per second.
        ours: pictures per second, with all that a pack costs: checksums, syncing, index.
        ratio: median of the rounds' own ratios.
    """

    workers: int
    textbook: float
    ours: float
    ratio: float


@dataclasses.dataclass(frozen=True)
class Scale:
    """A pack of ImageNet's size.

    Attributes:
        pictures: in it.
        gigabytes: 10^9 bytes.
        open_sec: until the first batch can be asked for.
        img_per_sec: batches of 128, in random order, normalised.
        memory_gb: by which the process grew meanwhile.
    """

    pictures: int
    gigabytes: float
    open_sec: float
    img_per_sec: float
    memory_gb: float


def compare_packing(pictures: Path | None, count: int, workers: tuple[int, ...], rounds: int) -> Iterator[Packing]:
    """Time packing against the textbook loader in turn, on the same files with as many workers.

    Args:
        pictures: a folder or a .zip file, repeated until there are `count`; None draws synthetic covers of 500 x 375.
        count: files to read.
        workers: numbers of workers to time.
        rounds: alternations.

    Raises:
        DataError: there are no pictures.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "pictures", "all")
        lay_out(pictures, count, folder)
        seconds: dict[int, list[tuple[float, float]]] = {number: [] for number in workers}
        for turn in range(rounds):
            for number in workers:  # in turn, so that a machine that slows down bends no ratio
                pair = _time_textbook(folder.parent, number), _time_pack(folder, number, Path(place, f"{turn}"))
                seconds[number].append(pair)
    for number, pairs in seconds.items():
        textbook, ours = (count / statistics.median(column) for column in zip(*pairs, strict=True))
        yield Packing(number, textbook, ours, statistics.median(a / b for a, b in pairs))


def loader_speed(count: int = 20_000, batches: int = 200, rounds: int = 5) -> float:
    """Images per second of batches of 128 at 64 x 64 from a warm memory map, random order, normalised, one thread."""
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "images.npy")
        pixels = np.random.default_rng(0).integers(0, 256, (count, RESOLUTION, RESOLUTION, 3), np.uint8)
        np.save(path, pixels)
        loader = Loader(np.load(path, mmap_mode="r"), BATCH, 0)
        torch.set_num_threads(1)
        try:
            _time_batches(loader, count // BATCH)  # every page once
            return BATCH * batches / statistics.median(_time_batches(loader, batches) for _ in range(rounds))
        finally:
            torch.set_num_threads(threads)


def waiting(hardware: Hardware, batch: int = 64, steps: int = 100) -> float:
    """Share of the time, 0 to 1, that training steps at 64 x 64 wait for their batches from a memory map."""
    recipe, random = Recipe(train=Train(batch=batch)), torch.Generator().manual_seed(0)
    pair = Generator(recipe.model), Discriminator(recipe.model)
    for network in pair:
        initialise(network, random)
    step = Step(make_players(*pair, recipe, hardware), recipe, hardware, random)
    with tempfile.TemporaryDirectory() as place:
        loader = Loader(_sparse(Path(place, "images.npy"), 20_000), batch, 0, device=hardware.device)
        with loader.prefetching():
            begin, waited = time.perf_counter(), 0.0
            for _ in range(steps):
                asked = time.perf_counter()
                pictures = loader.next_batch()
                waited += time.perf_counter() - asked
                step(pictures, 0).tolist()
            return waited / (time.perf_counter() - begin)


def imagenet_scale(folder: Path, batches: int = 400) -> Scale:
    """Read random batches out of a pack of ImageNet's size at 64 x 64, written sparse into `folder` and removed.

    Raises:
        OSError: the file system has no sparse files and too little room.
    """
    path = folder / "imagenet-sized.npy"
    try:
        _sparse(path, IMAGENET)
        before, begin = _resident_gb(), time.perf_counter()
        loader = Loader(np.load(path, mmap_mode="r"), BATCH, 0)
        opened = time.perf_counter() - begin
        peak, seconds = before, 0.0
        for _ in range(batches):
            seconds += _time_batches(loader, 1)
            peak = max(peak, _resident_gb())
        return Scale(IMAGENET, path.stat().st_size / 1e9, opened, BATCH * batches / seconds, peak - before)
    finally:
        path.unlink(missing_ok=True)


def lay_out(pictures: Path | None, count: int, folder: Path) -> None:
    """Write `count` picture files into a folder, which is made: the pictures again and again.

    Args:
        pictures: a folder or a .zip file; None draws synthetic covers, JPEG files of 500 x 375.
        count: files to write.
        folder: where.

    Raises:
        DataError: there are no pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = list(_encoded(pictures, count))
    if not files:
        raise DataError(f"'{pictures}' holds no pictures; give a folder or a .zip file with photographs")
    for number in range(count):
        name, data = files[number % len(files)]
        (folder / f"{number // len(files):05d}-{Path(name).name}").write_bytes(data)


def _encoded(pictures: Path | None, count: int) -> Iterator[tuple[str, bytes]]:
    if pictures is None:
        yield from _drawn(min(count, 100))
    elif resolve(str(pictures)).is_dir():
        found = (path for path in sorted(pictures.rglob("*")) if path.is_file() and is_picture(path.name))
        yield from ((path.name, path.read_bytes()) for path, _ in zip(found, range(count), strict=False))
    else:
        with zipfile.ZipFile(pictures) as archive:
            names = [name for name in sorted(archive.namelist()) if is_picture(name)]
            yield from ((name, archive.read(name)) for name in names[:count])


def _drawn(count: int) -> Iterator[tuple[str, bytes]]:
    source = CoversSource(count=count)
    for number in range(count):
        buffer = io.BytesIO()
        source.load(number, 256).resize((500, 375)).save(buffer, "JPEG", quality=90)
        yield f"{number:05d}.jpg", buffer.getvalue()


def _time_textbook(root: Path, workers: int) -> float:
    steps = [transforms.Resize(RESOLUTION), transforms.CenterCrop(RESOLUTION), transforms.ToTensor()]
    pictures = datasets.ImageFolder(str(root), transforms.Compose(steps))
    begin = time.perf_counter()
    for _ in DataLoader(pictures, BATCH, num_workers=workers):
        pass
    return time.perf_counter() - begin


def _time_pack(folder: Path, workers: int, cache: Path) -> float:
    source = open_source(f"folder:{folder}")
    begin = time.perf_counter()
    cached_pack(source, PackSettings(RESOLUTION, 3, "center"), workers=workers, cache=cache)
    seconds = time.perf_counter() - begin
    shutil.rmtree(cache)
    return seconds


def _time_batches(loader: Loader, batches: int) -> float:
    begin = time.perf_counter()
    for _ in range(batches):
        images.to_float(loader.next_batch())
    return time.perf_counter() - begin


def _sparse(path: Path, count: int) -> np.memmap[tuple[int, ...], np.dtype[np.uint8]]:
    shape = count, RESOLUTION, RESOLUTION, 3
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + math.prod(shape))
    return np.lib.format.open_memmap(path, mode="r")


def _resident_gb() -> float:
    """Memory of the process now in GB; where the system does not tell, its peak."""
    path = Path("/proc/self/statm")
    if not path.exists():
        return memory_gb()
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
