"""What a look leaves for the report beside its figures: occupied modes, coverage, and the nearest training pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import images
from .diagnostics.diversity import ball_radii, density_coverage
from .diagnostics.verdict import NEIGHBOURS
from .examine import Examiner, Look


def evidence(look: Look, examiner: Examiner) -> dict[str, Any]:
    """Further figures of a look, as JSON values: what the verdict's figures are to be compared with, and how the fakes
    spread over the reals.

    `modes` counts fakes and reals in the modes of one codebook; `nearest` tells the fakes nearest to a training
    picture by number, its row, whether it is mirrored, the ratio of `copy_ratios`, and whether it is called a copy.
    """
    verdict, reals = look.verdict, examiner.reals.features
    fakes = look.features[: len(reals)]
    of_fakes, of_reals = examiner.judge.yardstick.histogram(look.features)
    copying = verdict.copying
    return {
        "kid_floor": round(verdict.kid_floor, 3),
        "recall": round(_within(reals[: len(fakes)], fakes), 4),
        "coverage": round(density_coverage(fakes, reals[: len(fakes)])[1], 4),
        "copy_expected": round(copying.expected, 4) if copying else None,
        "modes": {"fakes": of_fakes, "reals": of_reals},
        "nearest": _nearest(look, examiner),
    }


def save_nearest(path: Path, fakes: Tensor, nearest: list[dict[str, Any]], reals: Tensor) -> None:
    """Write the fakes nearest to training pictures above these, as one PNG.

    Args:
        path: of the PNG.
        fakes: uint8 [N, C, H, W], of the look.
        nearest: as in `evidence`, not empty.
        reals: their training pictures, uint8 [len(nearest), C, H, W], not mirrored.
    """
    shown = [picture.flip(-1) if row["mirrored"] else picture for picture, row in zip(reals, nearest, strict=True)]
    above = fakes[[row["fake"] for row in nearest]]
    images.save_png(path, images.grid(torch.cat([above, torch.stack(shown)]), len(nearest)))


def _nearest(look: Look, examiner: Examiner) -> list[dict[str, Any]]:
    copying, rows = look.verdict.copying, examiner.training_rows
    if copying is None:
        return []
    called = {copy.fake for copy in copying.suspects}
    return [
        {
            "fake": copy.fake,
            "row": int(rows[copy.training]),
            "mirrored": copy.mirrored,
            "ratio": round(copy.ratio, 4),
            "copy": copy.fake in called,
        }
        for copy in copying.nearest
    ]


def _within(pictures: Tensor, others: Tensor) -> float:
    """Improved recall (Kynkäänniemi et al. 2019), for reals and fakes: the share within the others' balls."""
    return float((torch.cdist(pictures, others) <= ball_radii(others, NEIGHBOURS)).any(1).double().mean())
