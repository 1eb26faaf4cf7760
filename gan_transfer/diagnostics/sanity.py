"""Whether an extractor orders sets of pictures as an eye does: what is more alike must be nearer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from .extractors import Extractor
from .fidelity import Score, kid

REFERENCE, ITSELF, WIDE = "faces", "other faces", "covers"
ORDER = (ITSELF, "tighter faces", "generated faces", WIDE, "photos", "noise")
"""Names of sets, from near the reference to far."""

MOST_SELF = 0.02
"""Largest distance of the faces from other faces, as a share of their distance from covers."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One distance of the table."""

    compared: str
    kid: Score


def sanity_table(extractor: Extractor, sets: Mapping[str, Tensor]) -> list[Row]:
    """KID of the faces to each of the other sets, near ones first.

    Args:
        extractor: what is tried.
        sets: `faces` and the names of `ORDER` -> uint8 [N, 3, H, W], 512 of each (256 generated ones); what is
            absent is left out, and noise is drawn here.
    """
    count = len(sets[REFERENCE])
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=random)
    features = {name: extractor.features(images) for name, images in {"noise": noise, **sets}.items()}
    reals = features[REFERENCE]
    return [Row(name, kid(features[name], reals, extractor.name)) for name in ORDER if name in features]


def is_sane(rows: list[Row]) -> bool:
    """Whether the distances rise from row to row, and the first is small beside that of the covers."""
    values = {row.compared: row.kid.value for row in rows}
    small = abs(values[ITSELF]) < MOST_SELF * values[WIDE]
    return small and sorted(values.values()) == list(values.values())
