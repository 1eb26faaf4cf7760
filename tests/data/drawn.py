"""A source without files, and what tests of packs ask of a pack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from gan_transfer.data.pack import Pack, PackSettings, packed_bytes

SETTINGS = PackSettings(16, 3, "center")
WHOLE_PACK = [".lock", "images.npy", "index.json", "verified.json"]


class Drawn:
    """A source without files: picture i is a flat grey of i, brighter by `light`; those in `broken` fail to load."""

    spec = "drawn:/somewhere"
    origin = "drawn:"
    name = "drawn"

    def __init__(self, count: int, broken: tuple[int, ...] = (), light: int = 0) -> None:
        self.count, self.broken, self.light = count, frozenset(broken), light
        self.loaded: list[int] = []
        self.fetched = 0

    def __len__(self) -> int:
        return self.count

    def fetch(self) -> None:
        self.fetched += 1

    def label(self, index: int) -> str:
        return f"{index}.png"

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        self.loaded.append(index)
        if index in self.broken:
            raise ValueError(f"torn\nat {index}")
        return Image.new("L", (20, 20), (index + index // 256 + self.light) % 256)

    def fingerprint(self) -> str:
        return f"drawn {self.count} {sorted(self.broken)}"

    def close(self) -> None:
        pass


class Stop(Exception):
    """Raised in the middle of a pack."""


def stop_at(row: int) -> Callable[[int, int], None]:
    """A progress that ends the work as soon as `row` pictures are done."""

    def progress(done: int, total: int) -> None:
        if done >= row:
            raise Stop

    return progress


def greys(made: Pack) -> list[int]:
    return [int(value) for value in made.images[:, 0, 0, 0]]


def inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(made: Pack) -> dict[str, bytes]:
    """What must not depend on how the pack was made."""
    names = [name for name in ("images.npy", "index.json", "quarantine.txt") if (made.folder / name).exists()]
    return {name: (made.folder / name).read_bytes() for name in names}


def damage(made: Pack, picture: int) -> None:
    """Invert the bytes of one picture."""
    size = packed_bytes(1, made.settings)
    with open(made.folder / "images.npy", "r+b") as file:
        file.seek(128 + picture * size)
        inverted = bytes(255 - value for value in file.read(size))
        file.seek(128 + picture * size)
        file.write(inverted)
