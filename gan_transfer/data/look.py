"""One pass over a data source: each picture decoded once, into a thumbnail and a few facts. Free of torch."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import DataError
from .decode import Pixels, decode, quiet_pillow
from .pack_index import Progress
from .paths import reason
from .source import Source

SIDE = 64
"""Height and width of a thumbnail, pixels: the centre square, as training sees it by default."""

CHUNK = 64
"""Pictures that a thread looks at in one go."""

Floats = npt.NDArray[np.float32]
Result = TypeVar("Result")


class Fact(NamedTuple):
    """What a picture is, before it is shrunk."""

    row: int
    """Its number in the source."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    format: str
    """Pillow's name for the file format, or `none` where there is no file."""
    mode: str
    """Pillow's colour mode."""
    alpha: bool
    """Whether it can be transparent."""
    deep: bool
    """Whether it has more than 8 bits per channel, as far as Pillow keeps them: it cuts 16-bit RGB to 8."""
    animated: bool
    """Whether it has more frames than the one that is looked at."""
    digest: int
    """The first 64 bits of SHA-256 over the decoded pixels; among a million pictures two agree by chance in 1e-8."""


class Chunk(NamedTuple):
    """Some pictures of a source, in its order."""

    facts: list[Fact]
    """Of the good ones."""
    thumbnails: Pixels
    """Of the good ones, uint8 [N, SIDE, SIDE, 3]."""
    broken: list[str]
    """Label and reason of the others."""


def look(
    source: Source,
    rows: Sequence[int],
    measure: Callable[[Chunk], Result],
    workers: int = 0,
    progress: Progress | None = None,
) -> Generator[Result, None, None]:
    """Decode the given rows once each and give what `measure` makes of every chunk, in the order of the rows.

    Args:
        measure: runs in the decoding threads; what it gives does not depend on their number.
        workers: decoding threads; 0 takes one per processor.
        progress: told after every chunk how far it is.

    Raises:
        DataError: the source itself cannot be read on. A broken picture never ends the pass.
    """
    workers = workers or os.cpu_count() or 1
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    pool = ThreadPoolExecutor(workers, "look")
    pending: deque[Future[Result]] = deque()
    try:
        with quiet_pillow():
            for number, chunk in enumerate(chunks, 1):
                pending.append(pool.submit(_measured, source, chunk, measure))
                # A bounded number of chunks waits; after the last one all are waited for.
                while len(pending) >= (2 * workers if number < len(chunks) else 1):
                    result = pending.popleft().result()
                    if progress:
                        progress(min((number - len(pending)) * CHUNK, len(rows)), len(rows))
                    yield result
    finally:
        pool.shutdown(cancel_futures=True)


def luma(thumbnails: Pixels) -> Floats:
    """Brightness (Rec. 601): uint8 [N, H, W, 3] -> float32 [N, H, W], 0 to 255."""
    return thumbnails.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def shrink(pictures: npt.NDArray[np.generic], side: int) -> Floats:
    """Means over equal boxes: [N, H, W, ...] -> float32 [N, side, side, ...]; `side` must divide H and W."""
    count, height, width, *rest = pictures.shape
    boxes = pictures.reshape(count, side, height // side, side, width // side, *rest)
    means: Floats = boxes.mean((2, 4), dtype=np.float32)
    return means


def _measured(source: Source, rows: Sequence[int], measure: Callable[[Chunk], Result]) -> Result:
    return measure(_decode(source, rows))


def _decode(source: Source, rows: Sequence[int]) -> Chunk:
    facts, thumbnails, broken = [], [], []
    for row in rows:
        try:
            image = source.load(row)
            thumbnail = decode(image, SIDE, 3)
            facts.append(_fact(row, image))
            thumbnails.append(thumbnail)
        except DataError:
            raise  # the source is at fault, not the picture
        except Exception as error:  # damaged files make Pillow's readers raise nearly anything
            broken.append(f"{source.label(row)}: {reason(error)}")
    return Chunk(facts, np.array(thumbnails, np.uint8).reshape(-1, SIDE, SIDE, 3), broken)


def _fact(row: int, image: Image.Image) -> Fact:
    transparent = image.has_transparency_data
    deep = image.mode.startswith(("I", "F"))
    digest = _digest(image)
    return Fact(
        row, image.width, image.height, image.format or "none", image.mode, transparent, deep, _moves(image), digest
    )


def _digest(image: Image.Image) -> int:
    digest = hashlib.sha256(f"{image.mode} {image.width} {image.height}\0".encode())
    if image.palette is not None:
        digest.update(image.palette.tobytes())
    digest.update(image.tobytes())
    return int.from_bytes(digest.digest()[:8], "big")


def _moves(image: Image.Image) -> bool:
    # Asked last, as it reads on in the file. An MPO's further frames are other views, not an animation.
    with contextlib.suppress(Exception):  # damage behind the first frame does no harm
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    return False
