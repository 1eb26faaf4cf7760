"""Reference features: made once, found again only if nothing differs, and never mixed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_transfer.diagnostics.reference import Pictures, check_comparable, reference
from gan_transfer.errors import DataError

STOCK = torch.randint(0, 256, (300, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@dataclasses.dataclass
class MeanColour:
    """An extractor that sees the mean colour, and counts what it is shown."""

    name: str = "colour"
    key: str = "0001"
    dimension: int = 3
    seen: int = 0

    def features(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return images.float().mean((2, 3))


def load(rows: Sequence[int]) -> Tensor:
    return STOCK[list(rows)]


SET = Pictures("stock", "abc", 8, "center", len(STOCK), load)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_features_are_those_of_the_rows() -> None:
    found = reference(SET, MeanColour(), 40, seed=3)
    assert (found.features.shape, found.rows.unique().numel()) == ((40, 3), 40)
    torch.testing.assert_close(found.features, MeanColour().features(STOCK[found.rows]))
    assert (found.pictures, found.resolution, found.crop, found.extractor) == ("stock", 8, "center", "colour")


def test_fewer_pictures_are_the_first_of_more() -> None:
    some, more = reference(SET, MeanColour(), 40), reference(SET, MeanColour())
    assert torch.equal(more.features[:40], some.features)
    assert sorted(more.rows.tolist()) == list(range(300))


def test_the_second_time_no_picture_is_looked_at(tmp_path: Path) -> None:
    extractor = MeanColour()
    first = reference(SET, extractor, 100, cache=tmp_path)
    second = reference(SET, extractor, 100, cache=tmp_path)
    assert extractor.seen == 100
    assert torch.equal(first.features, second.features)
    assert torch.equal(first.rows, second.rows)
    assert [path.parent for path in files(tmp_path)] == [tmp_path / "features"]


def test_whatever_the_features_depend_on_makes_them_anew(tmp_path: Path) -> None:
    reference(SET, MeanColour(), 50, cache=tmp_path)
    for changed in (
        dataclasses.replace(SET, key="abd"),
        dataclasses.replace(SET, resolution=16),
        dataclasses.replace(SET, crop="celeba"),
    ):
        reference(changed, MeanColour(), 50, cache=tmp_path)
    reference(SET, MeanColour(key="0002"), 50, cache=tmp_path)
    reference(SET, MeanColour(), 51, cache=tmp_path)
    reference(SET, MeanColour(), 50, seed=1, cache=tmp_path)
    assert len(files(tmp_path)) == 7


@pytest.mark.parametrize("damage", [b"", b"damaged", None])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes | None) -> None:
    wanted = reference(SET, MeanColour(), 50, cache=tmp_path)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-8] if damage is None else damage)
    assert torch.equal(reference(SET, MeanColour(), 50, cache=tmp_path).features, wanted.features)
    extractor = MeanColour()
    reference(SET, extractor, 50, cache=tmp_path)
    assert extractor.seen == 0


def test_more_pictures_than_there_are_cannot_be_asked_for() -> None:
    with pytest.raises(DataError) as caught:
        reference(SET, MeanColour(), 301)
    assert str(caught.value) == "'stock' has 300 pictures, wanted 301 for the reference; ask for fewer"


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file in the way")
    with pytest.raises(DataError, match=r"cache folder '.*features' cannot be written: .*; set GAN_TRANSFER_CACHE"):
        reference(SET, MeanColour(), 50, cache=tmp_path)


def test_features_of_the_same_extractor_and_kind_of_pictures_may_be_compared() -> None:
    check_comparable(reference(SET, MeanColour(), 9), MeanColour(), 8, "center")
    check_comparable(reference(SET, MeanColour(), 9), MeanColour())


def test_features_that_do_not_belong_together_are_refused() -> None:
    found = reference(SET, MeanColour(), 9)
    with pytest.raises(DataError, match=r"two extractors .* the reference has colour \(0001\), got other \(0002\)"):
        check_comparable(found, MeanColour("other", "0002"))
    with pytest.raises(DataError, match=r"reference 'stock' is of resolution 8, the pictures of 16; make"):
        check_comparable(found, MeanColour(), 16)
    with pytest.raises(DataError, match=r"reference 'stock' is of crop center, the pictures of celeba; make"):
        check_comparable(found, MeanColour(), 8, "celeba")
