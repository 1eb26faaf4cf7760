"""What every reader of pictures offers: the protocol `Source`. Free of torch."""

from __future__ import annotations

from typing import Protocol

from PIL import Image


class Source(Protocol):
    """A numbered set of pictures that can be loaded from several threads at once."""

    @property
    def spec(self) -> str:
        """Canonical `kind:where`, with an absolute path; opens the same source again."""

    @property
    def name(self) -> str:
        """Short name of a-z, 0-9 and hyphens, for the run folder."""

    @property
    def origin(self) -> str:
        """The source without any path of this machine, and with its revision where it has one: for files that may
        be shared, such as `zip:covers.zip` or `hf:org/name@SHA:train`."""

    def __len__(self) -> int:
        """Pictures in it; before `fetch`, what a source that lies elsewhere promises."""

    def fetch(self) -> None:
        """Bring what lies elsewhere to this machine; for a local source there is nothing to do.

        Raises:
            DataError: it cannot be reached, or not all of it came.
        """

    def label(self, index: int) -> str:
        """What to call a picture in a list for people: its relative path, on one line."""

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        """Decode one picture fully; `hint` is the resolution it will be cropped and resized to.

        Raises:
            OSError, ValueError or another Exception of a decoder: the picture is broken.
        """

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the content's identity: changes whenever a picture does."""

    def close(self) -> None:
        """Release files; nothing can be loaded afterwards."""
