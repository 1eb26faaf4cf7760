"""Finds `recipes/` and `pretrained/`, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def resource_dir(name: str) -> Path:
    """The folder `recipes` or `pretrained`: inside an installed wheel, else beside the package in a checkout."""
    packed = Path(__file__).parent / f"_{name}"
    return packed if packed.is_dir() else Path(__file__).parents[1] / name
