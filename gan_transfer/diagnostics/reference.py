"""Features of real pictures, computed once and kept on disk; features that do not belong together are refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import DataError
from ..tensor_files import save_tensors
from .extractors import Extractor

FORMAT = 1
BATCH = 256
"""Pictures that are loaded at a time."""


@dataclasses.dataclass(frozen=True)
class Pictures:
    """A set of real pictures, wherever they are.

    Attributes:
        name: for people.
        key: a hash of the pictures and of how they were cut, such as a pack's.
        resolution: pixels.
        crop: how they were cut, such as `center`.
        count: how many there are.
        load: row numbers -> uint8 [N, C, H, W].
    """

    name: str
    key: str
    resolution: int
    crop: str
    count: int
    load: Callable[[Sequence[int]], Tensor]


@dataclasses.dataclass(frozen=True)
class Reference:
    """Features of real pictures, with what they were made from.

    Attributes:
        features: float32 [N, D].
        rows: int64 [N], which pictures of the set, in random order: the first n are a random sample too.
        pictures: the set's name.
        pictures_key: the set's key.
        resolution: pixels.
        crop: how the pictures were cut.
        extractor: its name.
        extractor_key: hash of its weights and preprocessing.
    """

    features: Tensor
    rows: Tensor
    pictures: str
    pictures_key: str
    resolution: int
    crop: str
    extractor: str
    extractor_key: str


def reference(
    pictures: Pictures, extractor: Extractor, count: int | None = None, seed: int = 0, cache: Path | None = None
) -> Reference:
    """Features of a random sample of real pictures, from the cache if they were made before.

    Args:
        pictures: the set.
        extractor: what sees them.
        count: how many; None takes all.
        seed: of the sample.
        cache: the folder to hold `features/`; None keeps nothing.

    Raises:
        DataError: the set has fewer pictures, or the cache cannot be written.
    """
    count = pictures.count if count is None else count
    if not 1 <= count <= pictures.count:
        raise DataError(
            f"'{pictures.name}' has {pictures.count} pictures, wanted {count} for the reference; ask for fewer"
        )
    rows = torch.randperm(pictures.count, generator=torch.Generator().manual_seed(seed))[:count]
    made = Reference(
        torch.empty(0),
        rows,
        pictures.name,
        pictures.key,
        pictures.resolution,
        pictures.crop,
        extractor.name,
        extractor.key,
    )
    path = None if cache is None else cache / "features" / f"{_key(made, seed)}.safetensors"
    features = None if path is None else _cached(path, count, extractor.dimension)
    if features is None:
        parts = [extractor.features(pictures.load(part.tolist())) for part in torch.split(rows, BATCH)]
        features = torch.cat(parts)
        if path is not None:
            _keep(path, features, made)
    return dataclasses.replace(made, features=features)


def check_comparable(
    found: Reference, extractor: Extractor, resolution: int | None = None, crop: str | None = None
) -> None:
    """Check that features of this extractor, of pictures cut like this, may be set beside a reference.

    Args:
        found: the reference.
        extractor: of the other features.
        resolution: of the other pictures, in pixels; None does not compare.
        crop: how the other pictures were cut; None does not compare.

    Raises:
        DataError: they may not; says what differs.
    """
    if extractor.key != found.extractor_key:
        ours, theirs = f"{found.extractor} ({found.extractor_key})", f"{extractor.name} ({extractor.key})"
        raise DataError(f"features of two extractors cannot be compared: the reference has {ours}, got {theirs}")
    for what, wanted, got in (("resolution", found.resolution, resolution), ("crop", found.crop, crop)):
        if got is not None and got != wanted:
            advice = "make the reference anew from pictures of the same kind"
            raise DataError(f"reference '{found.pictures}' is of {what} {wanted}, the pictures of {got}; {advice}")


def _key(made: Reference, seed: int) -> str:
    """Names the file: everything that the features depend on."""
    told = [FORMAT, made.pictures_key, made.resolution, made.crop, made.extractor_key, len(made.rows), seed]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]


def _cached(path: Path, count: int, dimension: int) -> Tensor | None:
    """The features in a file; None if it is not there or not whole, since they can be made again."""
    try:
        with safe_open(path, framework="pt") as file:
            features: Tensor = file.get_tensor("features")
    except (OSError, SafetensorError):
        return None
    whole = features.shape == (count, dimension) and features.dtype == torch.float32 and features.isfinite().all()
    return features if whole else None


def _keep(path: Path, features: Tensor, made: Reference) -> None:
    told = {"pictures": made.pictures, "extractor": made.extractor, "library": "gan-transfer"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(path, {"features": features, "rows": made.rows}, told)
    except OSError as error:
        raise DataError(
            f"cache folder '{path.parent}' cannot be written: {error.strerror or error}; set GAN_TRANSFER_CACHE"
        ) from None
