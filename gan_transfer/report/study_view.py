"""A study under way in the terminal: one line that changes, or a line for each run where nobody watches."""

from __future__ import annotations

from rich.console import Console
from rich.status import Status


class StudyView:
    """Follows a study on stderr; used as a context manager."""

    def __init__(self) -> None:
        """A status line where stderr is a terminal."""
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._status = Status("", console=self._console) if self._console.is_terminal else None

    def __enter__(self) -> StudyView:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def say(self, text: str) -> None:
        """One line of talk."""
        self._console.print(text, markup=False)

    def packing(self, done: int, total: int) -> None:
        """Pictures decoded so far."""
        self._show(f"decoding {done:,}/{total:,} pictures")

    def running(self, kimg: dict[str, float], total: float) -> None:
        """How far each run that is under way has come."""
        self._show("; ".join(f"{label}: {done:.1f}/{total:g} kimg" for label, done in kimg.items()))

    def _show(self, text: str) -> None:
        if self._status:
            self._status.update(text)
