"""The sanity table: a toy is judged rightly, and the embedded network orders real pictures as an eye does."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from real_pictures import load
from torch import Tensor

from gan_transfer.diagnostics.builtin import builtin_dir
from gan_transfer.diagnostics.extractors import open_extractor
from gan_transfer.diagnostics.fidelity import Score
from gan_transfer.diagnostics.sanity import ORDER, Row, is_sane, sanity_table


@dataclasses.dataclass(frozen=True)
class MeanColour:
    """An extractor that sees the mean colour."""

    name: str = "colour"
    key: str = "0001"
    dimension: int = 3

    def features(self, images: Tensor) -> Tensor:
        return images.float().mean((2, 3)) / 100


def rows(*values: float) -> list[Row]:
    return [Row(name, Score("kid_x1000", value, 512, "toy")) for name, value in zip(ORDER, values, strict=True)]


def test_a_table_is_sane_if_distances_rise_and_the_first_is_small() -> None:
    assert is_sane(rows(1, 20, 30, 100, 200, 300))
    assert is_sane(rows(-1, 20, 30, 100, 200, 300))
    assert not is_sane(rows(3, 20, 30, 100, 200, 300))
    assert not is_sane(rows(1, 30, 20, 100, 200, 300))
    assert not is_sane(rows(1, 20, 30, 100, 300, 200))


def test_the_table_has_a_row_for_each_set_that_is_there_and_for_noise() -> None:
    shades = {"faces": 100, "other faces": 100, "covers": 120}
    random = torch.Generator().manual_seed(0)
    sets = {
        name: torch.randint(shade - 50, shade + 50, (64, 3, 8, 8), generator=random).to(torch.uint8)
        for name, shade in shades.items()
    }
    table = sanity_table(MeanColour(), sets)
    assert [row.compared for row in table] == ["other faces", "covers", "noise"]
    assert {(row.kid.n, row.kid.extractor) for row in table} == {(64, "colour")}
    assert [row.kid.value for row in table] == sorted(row.kid.value for row in table)


@pytest.mark.skipif(not builtin_dir().is_dir(), reason="no weights are embedded yet")
def test_the_embedded_network_orders_real_pictures_as_an_eye_does() -> None:
    celeba = "celeba_8k_89x109.zip"
    sets = {
        "faces": load(celeba, range(512)),
        "other faces": load(celeba, range(512, 1024)),
        "tighter faces": load(celeba, range(512, 1024), keep=0.875),
        "generated faces": load("dcgan_celeba_generated256_dsnsathwik.zip", range(256)),
        "covers": load("album_covers_500_96px.zip", range(500)),
        "photos": load("tiny_imagenet_a_15k_64px.zip", range(512)),
    }
    table = sanity_table(open_extractor("builtin"), sets)
    assert is_sane(table), [(row.compared, row.kid.value) for row in table]
