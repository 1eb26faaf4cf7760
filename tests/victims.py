"""Commands in processes of their own that really die: killed from outside, or at their n-th touch of the file system.

They are forked from one process that has imported torch already, which saves the seconds of importing it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver") if sys.platform != "win32" else None
WRITES = os.O_WRONLY | os.O_RDWR
PRELOADED = ["gan_transfer.runs", "gan_transfer.cli", "gan_transfer.report.live", "matplotlib.backends.backend_agg"]
TOUCHES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}


@dataclasses.dataclass(frozen=True)
class End:
    """How a command ended: its exit code (negative: killed by that signal), what it said, its touches of files."""

    code: int
    err: str
    touches: int


class Victim:
    """A command that runs, to be waited for or killed."""

    def __init__(self, process: BaseProcess, told: Connection) -> None:
        self._process, self._told = process, told

    def send(self, signum: int) -> None:
        """Send it a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid or 0, signum)

    def wait_for(self, there: Callable[[], bool], seconds: float = 60) -> bool:
        """Wait until something is there or it has ended; whether it was there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.is_alive() and not there():
            time.sleep(0.002)
        return there()

    def end(self, seconds: float = 120) -> End:
        """Wait for it."""
        err, touches = "", 0
        with contextlib.suppress(EOFError):
            if self._told.poll(seconds):
                err, touches = self._told.recv()
        self._process.join(seconds)
        if self._process.exitcode is None:
            self.send(signal.SIGKILL)
            raise AssertionError(f"still running after {seconds} seconds")
        return End(self._process.exitcode, err, touches)


def spawn(words: list[str], at: int = 0, then: str = "", share: float = math.inf) -> Victim:
    """Run a command here in a process of its own.

    Args:
        words: of `gan-transfer`.
        at: at which touch of the file system below this folder something befalls it; 0 for never. A file opened to
            write, a renaming, a removal and a new folder are touches.
        then: `kill`; `terminate`, by SIGTERM; or `full`: from there on no file takes another byte.
        share: of the time that checkpoints may take; by default each that is due is written.
    """
    assert FORKS is not None
    FORKS.set_forkserver_preload(PRELOADED)
    surroundings = {name: value for name, value in os.environ.items() if name.startswith("GAN_TRANSFER_")}
    ours, theirs = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_main, args=(words, str(Path.cwd()), theirs, surroundings, (at, then), share))
    process.start()
    theirs.close()  # so that its death is an end of file
    return Victim(process, ours)


def run(words: list[str], at: int = 0, then: str = "") -> End:
    """The same, waited for."""
    return spawn(words, at, then).end()


def _main(
    words: list[str], place: str, told: Connection, surroundings: dict[str, str], fate: tuple[int, str], share: float
) -> None:
    os.chdir(place)
    os.environ |= surroundings
    from gan_transfer.cli import main
    from gan_transfer.training import checkpoint

    checkpoint.SHARE = share
    sys.argv = ["gan-transfer", *words]
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()  # not files, which a full disk would take too
    touches = _Touches(place, *fate)
    sys.addaudithook(touches)
    try:
        main()
    except Exception:
        traceback.print_exc()
        raise
    finally:
        told.send((sys.stderr.getvalue(), touches.count))


class _Touches:
    """Counts, as an audit hook, and strikes."""

    def __init__(self, place: str, at: int, then: str) -> None:
        self.place, self.at, self.then, self.count = place, at, then, 0

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not (event in TOUCHES or (event == "open" and isinstance(args[2], int) and args[2] & WRITES)):
            return
        if not isinstance(args[0], str | Path) or not str(Path(args[0]).absolute()).startswith(self.place):
            return
        self.count += 1
        if self.count != self.at:
            return
        if self.then == "full":
            _take_no_more_bytes()
        else:
            os.kill(os.getpid(), signal.SIGKILL if self.then == "kill" else signal.SIGTERM)


def _take_no_more_bytes() -> None:
    import resource

    # Python ignores SIGXFSZ, so that a write is answered with EFBIG, as one on a full disk is with ENOSPC.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
