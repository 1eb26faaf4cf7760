"""The pack: a data source decoded once into a uint8 cache, `images.npy` beside `index.json`. Free of torch."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from .. import files
from ..errors import DataError
from .cache import cache_dir, cache_errors, check_room, temporary_sibling
from .decode import FILTERS, Pixels, decode, quiet_pillow
from .paths import printable, reason
from .sources import Source

FORMAT = 1
"""Version of the pack's layout and of its decoding; raised when either changes."""

CHUNK = 64
"""Pictures that a thread decodes at a time."""

MAX_BROKEN = 0.1
"""Share of broken pictures beyond which a source is refused."""

Progress = Callable[[int, int], None]
"""Called with the pictures done and the pictures in all."""


@dataclasses.dataclass(frozen=True)
class PackSettings:
    """How each picture is cut."""

    resolution: int
    """Height and width, pixels."""
    channels: int
    """1 for grey, 3 for RGB."""
    crop: str
    """A name in `decode.CROPS`."""


@dataclasses.dataclass(frozen=True)
class Pack:
    """A pack on disk; `images` is read when it is first asked for."""

    folder: Path
    """Holds `images.npy`, `index.json` and, where pictures were broken, `quarantine.txt`."""
    count: int
    """Pictures in it."""
    settings: PackSettings
    """How they were cut."""
    key: str
    """Name of the folder: a hash of fingerprint, settings and format."""
    fingerprint: str
    """Of the source it was made from."""
    source: str
    """That source's spec when it was made."""
    quarantined: int
    """Broken pictures left out."""

    @functools.cached_property
    def images(self) -> Pixels:
        """The pictures in the source's order, uint8 [N, H, W, C], mapped read-only from disk."""
        return np.lib.format.open_memmap(self.folder / "images.npy", mode="r")


def packed_bytes(count: int, settings: PackSettings) -> int:
    """Bytes on disk of a pack of `count` pictures, but for its header of 128 bytes and its index."""
    return count * settings.resolution**2 * settings.channels


def find_pack(source: Source, settings: PackSettings, *, cache: Path | None = None) -> Pack | None:
    """The whole pack of this source with these settings, if it was made before; None takes `cache_dir()`."""
    return _read(_folder(source.fingerprint(), settings, cache))


def pack(
    source: Source,
    settings: PackSettings,
    *,
    workers: int = 0,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Pack:
    """Decode a source into the cache, or find it there. The bytes do not depend on the number of workers.

    Args:
        source: opened by the caller, who closes it.
        settings: how each picture is cut.
        workers: decoding threads; 0 takes one per processor.
        progress: told after every chunk how far it is.
        cache: the folder to hold `packs/`; None takes `cache_dir()`.

    Raises:
        DataError: the disk is too small or the cache not writable, or more than a tenth of the pictures is broken.
    """
    fingerprint = source.fingerprint()
    folder = _folder(fingerprint, settings, cache)
    found = _read(folder)
    if found is not None:
        return found
    with cache_errors(folder.parent), temporary_sibling(folder) as temporary:
        check_room(folder.parent, f"the pack of {source.spec}", packed_bytes(len(source), settings))
        broken = _write_images(temporary, source, settings, workers or os.cpu_count() or 1, progress)
        made = Pack(temporary, len(source) - len(broken), settings, folder.name, fingerprint, source.spec, len(broken))
        _write_index(made, broken)
        return _publish(temporary, folder)


def _folder(fingerprint: str, settings: PackSettings, cache: Path | None) -> Path:
    identity = {"format": FORMAT, "fingerprint": fingerprint, **dataclasses.asdict(settings)}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return (cache or cache_dir()) / "packs" / key


def _read(folder: Path) -> Pack | None:
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if index["format"] != FORMAT or index["bytes"] != (folder / "images.npy").stat().st_size:
            return None
        told = {name: index[name] for name in ("count", "fingerprint", "source", "quarantined")}
        return Pack(folder=folder, key=folder.name, settings=PackSettings(**index["settings"]), **told)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged: it is made anew


def _write_index(made: Pack, broken: list[str]) -> None:
    # The index comes last: with it a pack is whole.
    if broken:
        files.write_text(made.folder / "quarantine.txt", "".join(f"{line}\n" for line in broken))
    images = made.folder / "images.npy"
    index = {
        "format": FORMAT,
        "source": made.source,
        "fingerprint": made.fingerprint,
        "settings": dataclasses.asdict(made.settings),
        "filters": FILTERS,
        "count": made.count,
        "quarantined": made.quarantined,
        "shape": _shape(made.count, made.settings),
        "bytes": images.stat().st_size,
        "sha256": files.sha256(images),
    }
    files.write_json(made.folder / "index.json", index)


def _publish(temporary: Path, folder: Path) -> Pack:
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        winner = _read(folder)  # another process made the same pack meanwhile
        if winner is not None:
            return winner
        damaged = temporary.with_name(f"{temporary.name}.old")
        folder.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
        temporary.rename(folder)
    made = _read(folder)
    if made is None:
        raise DataError(f"pack '{printable(str(folder))}' was changed while it was made; run the same command again")
    return made


class _Chunk(NamedTuple):
    images: list[Pixels]
    """The good pictures, each uint8 [H, W, C]."""
    broken: list[str]
    """Label and reason of the others."""


def _write_images(
    folder: Path, source: Source, settings: PackSettings, workers: int, progress: Progress | None
) -> list[str]:
    # Written as a stream, since a memory map that meets a full disk kills the process.
    total, seen = len(source), 0
    broken: list[str] = []
    with (
        open(folder / "images.npy", "wb") as file,
        contextlib.closing(_decoded(source, settings, workers)) as chunks,
        quiet_pillow(),
    ):
        _write_header(file, total, settings)
        for chunk in chunks:
            file.writelines(image.tobytes() for image in chunk.images)
            broken += chunk.broken
            seen += len(chunk.images) + len(chunk.broken)
            _check_broken(source, broken, seen)
            if progress:
                progress(seen, total)
        file.seek(0)
        _write_header(file, total - len(broken), settings)
        file.flush()
        os.fsync(file.fileno())
    return broken


def _shape(count: int, settings: PackSettings) -> tuple[int, int, int, int]:
    return count, settings.resolution, settings.resolution, settings.channels


def _write_header(file: BinaryIO, count: int, settings: PackSettings) -> None:
    # NumPy pads the header for the longest count, so a smaller one can be written over it.
    header = {"descr": "|u1", "fortran_order": False, "shape": _shape(count, settings)}
    np.lib.format.write_array_header_1_0(file, header)


def _decoded(source: Source, settings: PackSettings, workers: int) -> Generator[_Chunk, None, None]:
    # In order, with a bounded number of chunks waiting; closing it drops those that have not begun.
    pool = ThreadPoolExecutor(workers, "pack")
    pending: deque[Future[_Chunk]] = deque()
    try:
        for start in range(0, len(source), CHUNK):
            rows = range(start, min(start + CHUNK, len(source)))
            pending.append(pool.submit(_decode_rows, source, settings, rows))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_rows(source: Source, settings: PackSettings, rows: range) -> _Chunk:
    chunk = _Chunk([], [])
    for row in rows:
        try:
            image = source.load(row, settings.resolution)
            chunk.images.append(decode(image, settings.resolution, settings.channels, settings.crop))
        except DataError:
            raise  # the settings are at fault, not the picture
        except Exception as error:  # damaged files make Pillow's readers raise nearly anything
            chunk.broken.append(f"{source.label(row)}: {reason(error)}")
    return chunk


def _check_broken(source: Source, broken: list[str], seen: int) -> None:
    if len(broken) > MAX_BROKEN * len(source):
        raise DataError(
            f"{source.spec}: {len(broken)} of {_first(seen, len(source))} pictures are broken, at most "
            f"{MAX_BROKEN:.0%} may be; {'; '.join(broken[:3])}. Repair or remove them and run the same command again"
        )


def _first(seen: int, total: int) -> str:
    return f"{total}" if seen == total else f"the first {seen} of {total}"
