"""`torchvision:NAME`: the training parts of torchvision's data sets, downloaded with torchvision if need be."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision import datasets

from ..errors import DataError, did_you_mean
from .cache import cache_dir
from .paths import printable, reason, slug, split_options

TIMEOUT_SECONDS = 60.0
"""Silence of a server after which a download is given up; torchvision itself would wait for ever."""


@dataclasses.dataclass(frozen=True)
class TorchvisionSet:
    """One of torchvision's data sets."""

    cls: str
    """Name of the class in `torchvision.datasets`."""
    count: int
    """Pictures in its training part."""
    part: dict[str, Any]
    """Arguments of the class that choose the training part."""
    folder: str
    """Where it lies below the root."""


SETS = {
    "cifar10": TorchvisionSet("CIFAR10", 50_000, {"train": True}, "cifar-10-batches-py"),
    "cifar100": TorchvisionSet("CIFAR100", 50_000, {"train": True}, "cifar-100-python"),
    "mnist": TorchvisionSet("MNIST", 60_000, {"train": True}, "MNIST/raw"),
    "fashion-mnist": TorchvisionSet("FashionMNIST", 60_000, {"train": True}, "FashionMNIST/raw"),
    "kmnist": TorchvisionSet("KMNIST", 60_000, {"train": True}, "KMNIST/raw"),
    "qmnist": TorchvisionSet("QMNIST", 60_000, {"what": "train"}, "QMNIST/raw"),
    "emnist": TorchvisionSet("EMNIST", 112_800, {"split": "balanced", "train": True}, "EMNIST/raw"),
    "svhn": TorchvisionSet("SVHN", 73_257, {"split": "train"}, "."),
    "stl10": TorchvisionSet("STL10", 105_000, {"split": "train+unlabeled"}, "stl10_binary"),
    "celeba": TorchvisionSet("CelebA", 162_770, {"split": "train"}, "celeba"),
    "flowers102": TorchvisionSet("Flowers102", 1_020, {"split": "train"}, "flowers-102"),
    "food101": TorchvisionSet("Food101", 75_750, {"split": "train"}, "food-101"),
    "oxford-pets": TorchvisionSet("OxfordIIITPet", 3_680, {"split": "trainval"}, "oxford-iiit-pet"),
}
"""The sets by name; capitals and hyphens do not matter, and the name of the class does as well."""


class TorchvisionSource:
    """The pictures of one of torchvision's data sets, as torchvision gives them without a transform.

    CIFAR's files are pickles: the only ones that are ever read, by torchvision, after it has compared their MD5 sums
    with those in its own code.
    """

    def __init__(self, where: str) -> None:
        """Name the set; nothing is read or downloaded yet.

        Args:
            where: a name in `SETS`; `?root=DIR` may follow, the folder that torchvision calls `root`.

        Raises:
            DataError: the name or the option is not known.
        """
        text, options = split_options("torchvision", where, ["root"])
        name = _name(text)
        self._set = SETS[name]
        self._root = Path(options["root"]).expanduser().absolute() if "root" in options else cache_dir() / "torchvision"
        self._dataset: Any = None
        self.spec = f"torchvision:{name}" + (f"?root={self._root}" if "root" in options else "")
        self.origin = f"torchvision:{name}"
        self.name = slug(name)

    def __len__(self) -> int:
        return self._set.count if self._dataset is None else len(self._dataset)

    def fetch(self) -> None:
        """Read the set, downloaded into its root first if it is not there.

        Raises:
            DataError: it could not be downloaded, or is damaged.
        """
        if self._dataset is not None:
            return
        place = printable(str(self._root / self._set.folder))
        try:
            with _patience(), contextlib.redirect_stdout(sys.stderr):
                self._dataset = self._open(download=True)
        except Exception as error:  # of the network, of checksums, of archives, of the disk, of missing libraries
            raise DataError(
                f"{self.origin} could not be downloaded to '{place}': {reason(error)}; try again, put torchvision's "
                "files there by hand, or take another source: --data folder:PATH, --data hf:org/name"
            ) from None

    def label(self, index: int) -> str:
        """The set's name and the picture's number in it."""
        return f"{self.name}[{index}]"

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        """One picture, decoded fully; the hint is not needed.

        Raises:
            DataError: the set has not been fetched.
        """
        image: Image.Image = self._fetched()[index][0]
        image.load()
        return image

    def fingerprint(self) -> str:
        """SHA-256 of the pixels, where torchvision holds them in memory, else of the files' names and sizes.

        Of its name alone, which no pack is made from, where the set is not on this machine yet.
        """
        digest = hashlib.sha256(self.origin.encode())
        if self._dataset is None:
            with contextlib.suppress(Exception):  # missing or damaged: fetch will tell
                self._dataset = self._open(download=False)
        if self._dataset is None:
            return digest.hexdigest()
        if (pixels := getattr(self._dataset, "data", None)) is not None:
            digest.update(np.ascontiguousarray(pixels).data)
            return digest.hexdigest()
        folder = self._root / self._set.folder
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        return digest.hexdigest()

    def close(self) -> None:
        """Let go of the pixels."""
        self._dataset = None

    def _open(self, download: bool) -> Any:
        return getattr(datasets, self._set.cls)(str(self._root), **self._set.part, download=download)

    def _fetched(self) -> Any:
        if self._dataset is None:
            raise DataError(f"{self.origin} has not been fetched; see: gan-transfer data pack {self.origin}")
        return self._dataset


def _name(text: str) -> str:
    names = {_plain(name): name for name in SETS} | {_plain(known.cls): name for name, known in SETS.items()}
    if _plain(text) not in names:
        raise DataError(f"torchvision set 'torchvision:{printable(text)}' is not known; {did_you_mean(text, SETS)}")
    return names[_plain(text)]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
