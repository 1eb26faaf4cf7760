"""The cache folder: where it lies, and how a folder in it comes to be whole or absent. Free of torch."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import DataError
from ..files import SPARE_BYTES
from .paths import printable, reason, slug

ANOTHER_CACHE = "set GAN_TRANSFER_CACHE to a folder on another disk"
"""What to do when the disk of the cache is too small."""

LOCK = ".lock"
"""Name of the lock in a folder that one process at a time may write."""

POLL_SECONDS = 0.2
"""Between two attempts to get a lock."""

_HOST = slug(platform.node())  # process numbers mean something on their own machine only


def cache_dir() -> Path:
    """The folder for what can be made again: $GAN_TRANSFER_CACHE, else gan-transfer in the user's cache folder.

    Raises:
        DataError: no variable names one and the user has no home.
    """
    try:
        if chosen := os.environ.get("GAN_TRANSFER_CACHE"):
            return Path(chosen).expanduser()
        if base := os.environ.get("XDG_CACHE_HOME"):
            return Path(base) / "gan-transfer"
        return Path.home() / ".cache" / "gan-transfer"
    except RuntimeError as error:
        raise DataError(f"no place for the cache: {reason(error)}; set GAN_TRANSFER_CACHE to a folder") from None


@contextlib.contextmanager
def temporary_sibling(folder: Path) -> Iterator[Path]:
    """Make a hidden folder beside `folder`, to be renamed to it when it is whole; removed if it is still there.

    What processes of this machine left behind when they were killed is removed first.

    Raises:
        OSError: the parent cannot be made or written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder.parent)
    temporary = folder.with_name(f".{folder.name}.{_HOST}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.mkdir()
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a folder that is there; while another process holds it, `wait` is called again and again.

    Raises:
        OSError: the folder cannot be written.
    """
    lock = FileLock(folder / LOCK)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=POLL_SECONDS)
        except Timeout:
            wait()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def cache_errors(folder: Path) -> Iterator[None]:
    """Tell a full disk or a folder that cannot be written, in one line.

    Raises:
        DataError: in place of an OSError.
    """
    with write_errors(f"cache folder '{printable(str(folder))}'", f"{ANOTHER_CACHE} or with permission to write"):
        yield


@contextlib.contextmanager
def write_errors(what: str, advice: str) -> Iterator[None]:
    """The same for a place of any name, with the advice to follow.

    Raises:
        DataError: in place of an OSError.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of the progress went away; the disk is not at fault
    except OSError as error:
        raise DataError(f"{what} cannot be written: {reason(error)}; {advice}") from None


def check_room(folder: Path, what: str, need: int, advice: str = ANOTHER_CACHE) -> None:
    """Check that `need` bytes and `SPARE_BYTES` are free where `folder` lies or is to be made.

    Raises:
        DataError: they are not; `what` names the thing that needs them.
    """
    free = shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.exists())).free
    if free < need + SPARE_BYTES:
        raise DataError(
            f"{what} needs {(need + SPARE_BYTES) / 1e9:.2f} GB, {free / 1e9:.2f} GB free "
            f"at '{printable(str(folder))}'; {advice}"
        )


def _remove_stale(parent: Path) -> None:
    for path in parent.glob(f".*.{_HOST}.*"):
        process = path.name.split(".")[3]
        if process.isdecimal() and not _alive(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(process: int) -> bool:
    if os.name != "posix":
        return True  # elsewhere the question itself, signal 0, would end the process
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # somebody else's
    return True
