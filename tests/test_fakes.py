"""Claims about the pictures that are judged: of a generator, a data source or a tensor, with names and notes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_transfer import sample
from gan_transfer.data.pack import PackSettings
from gan_transfer.data.sources import open_source
from gan_transfer.errors import DataError
from gan_transfer.fakes import LEAST, labels, oddities, of_generator, of_source, of_tensor, pack_of
from gan_transfer.images import save_png
from gan_transfer.models.weights import load_pair

CPU = torch.device("cpu")


def pictures(count: int, size: int = 16, seed: int = 0) -> Tensor:
    """Noise: no two are alike."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=random)


def write(folder: Path, found: Tensor) -> Path:
    folder.mkdir()
    for number, picture in enumerate(found):
        save_png(folder / f"{number:03d}.png", picture)
    return folder


def test_a_generators_fakes_are_those_of_its_seeds_and_named_after_them(pair: Path) -> None:
    generator = load_pair(pair).generator
    fakes = of_generator(generator, "a pair", 100, 0, CPU)
    assert torch.equal(fakes.pictures, sample(generator, range(100)))
    assert (fakes.label(0), fakes.label(99)) == ("seed 0", "seed 99")
    assert fakes.look == "gan-transfer sample --network 'a pair' --seeds 0-63 --grid 8x8 --output out"
    assert of_generator(generator, None, 100, 2, CPU).label(5) == "seed 205"


def test_statistics_of_each_batch_leave_the_generator_as_it_was(pair: Path) -> None:
    generator = load_pair(pair).generator
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    fakes = of_generator(generator, None, 100, 0, CPU)
    assert fakes.on_batch_statistics is not None
    again = fakes.on_batch_statistics()
    assert (again.shape, again.dtype) == (fakes.pictures.shape, torch.uint8)
    assert not torch.equal(again, fakes.pictures)
    assert torch.equal(fakes.pictures, of_generator(generator, None, 100, 0, CPU).pictures)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())


def test_square_fakes_are_resized_like_the_reals_but_not_cropped(tmp_path: Path) -> None:
    source = open_source(str(write(tmp_path / "fakes", pictures(120, size=24))))
    cropped = of_source(source, PackSettings(16, 3, "celeba"), 100, 0)
    assert cropped.notes == ("the fakes are of another size (24 x 24); they were resized like the reals",)
    whole = of_source(source, PackSettings(16, 3, "center"), 100, 0)
    assert torch.equal(cropped.pictures, whole.pictures)
    assert of_source(source, PackSettings(24, 3, "center"), 100, 0).notes == ()


def test_other_fakes_are_cropped_like_the_reals(tmp_path: Path) -> None:
    wide = torch.cat([pictures(100, size=18), pictures(100, size=18, seed=1)[:, :, :4]], dim=2)  # 22 high, 18 wide
    source = open_source(str(write(tmp_path / "fakes", wide)))
    found = [of_source(source, PackSettings(16, 3, crop), 100, 0).pictures for crop in ("celeba", "center")]
    assert not torch.equal(found[0], found[1])


def test_fakes_are_drawn_at_random_since_sources_are_sorted(tmp_path: Path) -> None:
    source = open_source(str(write(tmp_path / "fakes", pictures(200))))
    cut = PackSettings(16, 3, "center")
    first, again, other = (of_source(source, cut, 100, seed) for seed in (0, 0, 1))
    names = [[fakes.label(number) for number in range(100)] for fakes in (first, again, other)]
    assert names[0] == names[1] != names[2]
    assert max(names[0]) > "150.png"
    assert torch.equal(first.pictures[7], pictures(200)[int(names[0][7][:3])])


def test_broken_fakes_are_left_out_and_the_others_keep_their_names(tmp_path: Path) -> None:
    folder = write(tmp_path / "fakes", pictures(120))
    for number in (0, 7, 119):
        (folder / f"{number:03d}.png").write_bytes(b"\x89PNG\r\n")
    source, cut = open_source(str(folder)), PackSettings(16, 3, "center")
    label = labels(pack_of(source, cut), source)
    assert [label(number) for number in (0, 5, 6, 116)] == ["001.png", "006.png", "008.png", "118.png"]
    found = of_source(source, cut, 1000, 0)
    assert found.notes == ("1,000 fakes were asked for, 117 are there", "3 broken fakes are left out")
    row = [found.label(number) for number in range(117)].index("050.png")
    assert torch.equal(found.pictures[row], pictures(120)[50])


def test_a_tensor_keeps_its_rows_by_number() -> None:
    given = pictures(150)
    fakes = of_tensor(given, 100, 0)
    assert torch.equal(fakes.pictures[3], given[int(fakes.label(3).removeprefix("row "))])
    assert len(fakes.pictures) == 100


def test_a_tensor_of_another_kind_is_refused() -> None:
    with pytest.raises(DataError, match=r"wanted uint8 \[N, 1 or 3, H, W\], got float32 \[96, 3, 8, 8\]"):
        of_tensor(torch.zeros(96, 3, 8, 8), 96, 0)
    with pytest.raises(DataError, match=r"wanted square ones, got \[8, 9\]"):
        of_tensor(torch.zeros(96, 3, 8, 9, dtype=torch.uint8), 96, 0)


def test_too_few_fakes_are_refused_with_the_number_that_is_needed(tmp_path: Path, pair: Path) -> None:
    few, cut = LEAST - 1, PackSettings(16, 3, "center")
    source = open_source(str(write(tmp_path / "few", pictures(few))))
    with pytest.raises(DataError, match="too few fakes: folder:few has 95, wanted at least 96"):
        of_source(source, cut, 1000, 0)
    with pytest.raises(DataError, match="too few fakes: the tensor has 95"):
        of_tensor(pictures(few), 1000, 0)
    with pytest.raises(DataError, match="too few fakes: the generator has 95"):
        of_generator(load_pair(pair).generator, None, few, 0, CPU)


def test_pictures_of_one_colour_and_sets_of_one_picture_are_told() -> None:
    flat = torch.arange(100, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
    assert oddities(flat, "fakes") == ["100 of 100 fakes are of one flat colour"]
    assert oddities(flat[:1].expand(50, -1, -1, -1), "reals") == ["all 50 reals are the same picture"]
    assert oddities(pictures(50), "reals") == []
