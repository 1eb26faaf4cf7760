"""The pack: a data source decoded once into uint8 pictures on disk, in a folder of its own or in the cache. No torch.

Killed, it goes on where it was; two processes make it once; a block that has gone bad is decoded again.
"""

from __future__ import annotations

from pathlib import Path

from .blocks import Job, decoded, row_blocks
from .cache import cache_dir, cache_errors, write_errors
from .decode import find_crop, quiet_pillow
from .pack_check import is_right, is_sound
from .pack_folder import check_vacant, make, whole_pack
from .pack_index import (
    WHOLE,
    Description,
    Pack,
    PackSettings,
    Part,
    Progress,
    Say,
    fits,
    open_pack,
    packed_bytes,
)
from .paths import printable
from .source import Source

__all__ = [
    "Pack",
    "PackSettings",
    "Part",
    "Progress",
    "cached_pack",
    "find_pack",
    "open_pack",
    "pack",
    "packed_bytes",
]


def pack(
    source: Source,
    settings: PackSettings,
    output: Path,
    *,
    part: Part = WHOLE,
    workers: int = 0,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Pack:
    """Decode a source, or a part of it, into a folder. The bytes do not depend on the number of workers.

    Args:
        source: opened by the caller, who closes it.
        settings: how each picture is cut.
        output: made if absent. What was begun there with the same arguments is gone on with, and what was finished is
            checked block by block and mended.
        part: which of several parts; `merge` joins them.
        workers: decoding threads; 0 takes one per processor.
        progress: told after every chunk how far it is, and now and then while another process is waited for.
        say: told, line by line, what is waited for and what is mended.

    Raises:
        DataError: the folder holds anything else or cannot be written, the disk is too small, the source cannot be
            fetched, or more than a tenth of its pictures is broken.
    """
    with write_errors(f"output folder '{printable(str(output))}'", "give another --output"), quiet_pillow():
        find_crop(settings.crop)
        check_vacant(output)
        some = None if part == WHOLE else part
        found = whole_pack(output, Description(source.origin, source.fingerprint(), settings, some))
        if found is not None and is_right(found, progress):
            return found
        return make(output, _job(source, settings, some, workers, progress, say))


def cached_pack(
    source: Source,
    settings: PackSettings,
    *,
    workers: int = 0,
    progress: Progress | None = None,
    say: Say | None = None,
    cache: Path | None = None,
) -> Pack:
    """Decode a source into the cache, or find it there: checked again only if its file was touched since.

    Args:
        source, settings, workers, progress, say: as for `pack`.
        cache: the folder to hold `packs/`; None takes `cache_dir()`.

    Raises:
        DataError: the disk is too small or the cache not writable, the source cannot be fetched, or more than a tenth
            of its pictures is broken.
    """
    find_crop(settings.crop)
    wanted = Description(source.origin, source.fingerprint(), settings)
    folder = _folder(wanted, cache)
    with cache_errors(folder.parent), quiet_pillow():
        found = whole_pack(folder, wanted)
        if found is not None and is_sound(found, progress):
            return found
        job = _job(source, settings, None, workers, progress, say)
        return make(_folder(job.description, cache), job, cached=True)


def find_pack(source: Source, settings: PackSettings, *, cache: Path | None = None) -> Pack | None:
    """The whole pack of this source with these settings, if the cache has it; None takes `cache_dir()`."""
    wanted = Description(source.origin, source.fingerprint(), settings)
    found = whole_pack(_folder(wanted, cache), wanted)
    return found if found is not None and fits(found) else None


def _job(
    source: Source,
    settings: PackSettings,
    part: Part | None,
    workers: int,
    progress: Progress | None,
    say: Say | None,
) -> Job:
    source.fetch()  # first, since fingerprint and length of what lies elsewhere may be known only then
    description = Description(source.origin, source.fingerprint(), settings, part)
    blocks, chunks = row_blocks(source, part), decoded(source, settings, workers)
    return Job(description, len(source), blocks, chunks, progress, say)


def _folder(wanted: Description, cache: Path | None) -> Path:
    return (cache or cache_dir()) / "packs" / wanted.key
