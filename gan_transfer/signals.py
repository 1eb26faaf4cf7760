"""Being asked to stop: the first SIGINT or SIGTERM is remembered, so that work ends at a good moment."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from .errors import Interrupted


class StopSignal:
    """Remembers the first signal; a second one ends the work at once.

    Attributes:
        signum: the signal's number, 0 while there was none.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._doing = ""

    def check(self, where: str) -> None:
        """Raise `Interrupted` if a signal has come; for work that can be stopped anywhere."""
        if self.signum:
            raise Interrupted(self.signum, f"stopped while {where}")

    @contextlib.contextmanager
    def at_once(self, doing: str) -> Iterator[None]:
        """Inside the block the first signal ends the work wherever it is; for long work that can be done again.

        Raises:
            Interrupted: a signal has come, before the block or in it.
        """
        self.check(doing)
        self._doing = doing
        try:
            yield
        except Exception:
            self.check(doing)  # whatever was made of the interruption on its way here
            raise
        finally:
            self._doing = ""
        self.check(doing)

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """The handler."""
        if self.signum:
            raise Interrupted(signum, "stopped at once by a second signal")
        self.signum = signum
        if self._doing:
            self.check(self._doing)


@contextlib.contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Catch SIGINT and SIGTERM inside the block; elsewhere than in the main thread nothing is caught."""
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
