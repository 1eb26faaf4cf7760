"""`pack:DIR`: the pictures of a pack, as `gan-transfer data pack` has written it. Free of torch."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .. import files
from .pack import Pack, PackSettings, open_pack
from .pack_index import INDEX
from .paths import printable, resolve, slug
from .source import Source


class PackSource:
    """The rows of a pack; a run with its settings trains from `pack` itself and decodes nothing."""

    def __init__(self, where: str) -> None:
        """Open the pack; its pictures are read from disk when they are asked for.

        Raises:
            DataError: the path is missing or is no whole pack.
        """
        folder = resolve(where)
        self.pack = open_pack(folder)
        self.spec = f"pack:{folder}"
        self.origin = f"pack:{printable(folder.name)} ({self.pack.source})"
        self.name = slug(folder.name)

    def __len__(self) -> int:
        return self.pack.count

    def fetch(self) -> None:
        """Nothing to do: the pack lies here."""

    def label(self, index: int) -> str:
        """The pack's name and the row."""
        return f"{printable(self.pack.folder.name)}[{index}]"

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        """One picture in mode RGB or L, as large as it was packed; the hint is not needed."""
        row = np.array(self.pack.images[index])
        return Image.fromarray(row if row.shape[2] == 3 else row[:, :, 0])

    def fingerprint(self) -> str:
        """SHA-256 of the index, which holds source, settings and the checksums of all blocks."""
        return files.sha256(self.pack.folder / INDEX)

    def close(self) -> None:
        """Nothing is held open."""


def ready(source: Source, settings: PackSettings) -> Pack | None:
    """The pack that a source is, if it was made with these settings: training needs no other."""
    return source.pack if isinstance(source, PackSource) and source.pack.settings == settings else None
