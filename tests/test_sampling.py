"""Samples: a seed is a picture, in any company; paths between latents; what is written and what is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_transfer.errors import RecipeError, RunError
from gan_transfer.images import grid, to_pillow
from gan_transfer.models.dcgan import Generator, initialise
from gan_transfer.models.ema import recalibrate
from gan_transfer.recipe import Model
from gan_transfer.sampling import (
    CHUNK,
    generate,
    latents,
    parse_grid,
    parse_seeds,
    sample,
    spherical_path,
    write_interpolation,
    write_seeds,
)

TINY = Model(resolution=16, base_channels=4, latent_dim=8)


def lively(model: Model) -> Generator:
    """A generator whose pictures fill the range, so that rounding cannot hide a difference."""
    generator = Generator(model)
    initialise(generator, torch.Generator().manual_seed(0))
    recalibrate(generator, batch=16, batches=2)
    last = list(generator.blocks.values())[-1].conv.weight
    assert isinstance(last, Tensor)
    scale = 1 / (0.02 * (last.shape[0] * 4) ** 0.5)
    last.data.mul_(scale)
    return generator


def slow_slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Shoemake's formula in float64."""
    x, y = a.double().numpy(), b.double().numpy()
    angle = np.arccos(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    mixed = np.sin((1 - t) * angle) / np.sin(angle) * x + np.sin(t * angle) / np.sin(angle) * y
    return torch.from_numpy(mixed).float()


@pytest.fixture(scope="module")
def generator() -> Generator:
    return lively(TINY)


@pytest.fixture(scope="module")
def faithful() -> Generator:
    return lively(Model())


def test_a_seed_gives_one_latent_whatever_stands_beside_it() -> None:
    together = latents([5, 0, 2**32 - 1], 100)
    assert (together.shape, together.dtype) == ((3, 100), torch.float32)
    assert torch.equal(latents([0], 100)[0], together[1])
    assert not torch.equal(together[0], together[1])


def test_the_latents_of_a_seed_never_change() -> None:
    # RandomState(0).randn: published in NumPy's documentation since its first version.
    wanted = torch.tensor([1.76405235, 0.40015721, 0.97873798, 2.2408932])
    torch.testing.assert_close(latents([0], 4)[0], wanted)


@pytest.mark.parametrize("truncation", [0.1, 0.5, 0.7])
def test_truncation_redraws_what_lies_beyond_twice_its_value(truncation: float) -> None:
    whole, cut = latents(range(50), 100), latents(range(50), 100, truncation)
    assert cut.abs().max() <= 2 * truncation
    inside = whole.abs() <= 2 * truncation
    assert torch.equal(cut[inside], whole[inside])
    assert (cut.std(dim=0) > 0).all()


def test_no_truncation_leaves_large_values() -> None:
    assert latents(range(200), 100).abs().max() > 3


def test_a_seed_gives_the_same_picture_in_any_batch_size_and_order(generator: Generator) -> None:
    seeds = list(range(40))
    together = sample(generator, seeds)
    assert together.float().std() > 40
    for size in (1, 2, 3, 7, 16, 17):
        parts = [sample(generator, seeds[begin : begin + size]) for begin in range(0, 40, size)]
        assert torch.equal(torch.cat(parts), together), size
    assert torch.equal(sample(generator, seeds[::-1]), together.flip(0))


def test_a_seed_gives_the_same_picture_of_the_faithful_generator_too(faithful: Generator) -> None:
    seeds = list(range(2 * CHUNK + 1))
    together = sample(faithful, seeds)
    assert together.shape == (33, 3, 64, 64)
    assert together.float().std() > 40
    assert torch.equal(sample(faithful, seeds[::-1]), together.flip(0))
    for seed in (0, 13, 32):
        assert torch.equal(sample(faithful, [seed])[0], together[seed])


def test_pictures_are_uint8_of_the_size_of_the_model(generator: Generator) -> None:
    pictures = generate(generator, latents(range(3), 8))
    assert (pictures.shape, pictures.dtype) == ((3, 3, 16, 16), torch.uint8)


def test_a_spherical_path_passes_through_its_points_and_returns() -> None:
    points = latents(range(3), 100)
    path = spherical_path(points, steps=5)
    assert path.shape == (15, 100)
    torch.testing.assert_close(path[::5], points)
    torch.testing.assert_close(path[-1], slow_slerp(points[2], points[0], 0.8), rtol=1e-4, atol=1e-5)


def test_an_open_path_ends_at_its_last_point() -> None:
    points = latents(range(3), 100)
    path = spherical_path(points, steps=4, loop=False)
    assert path.shape == (9, 100)
    torch.testing.assert_close(path[::4], points)


def test_a_path_between_points_of_one_length_stays_at_that_length_in_equal_steps() -> None:
    points = torch.nn.functional.normalize(latents(range(2), 100)) * 10
    path = spherical_path(points, steps=10, loop=False)
    torch.testing.assert_close(path.norm(dim=1), torch.full((11,), 10.0))
    moves = (path[1:] - path[:-1]).norm(dim=1)
    torch.testing.assert_close(moves, moves.mean().expand(10), rtol=1e-3, atol=0)


def test_the_length_stays_between_those_of_the_ends_for_gaussian_latents() -> None:
    points = latents(range(8), 100)
    lengths = spherical_path(points, steps=10).norm(dim=1)
    assert lengths.min() > 0.95 * points.norm(dim=1).min()
    assert lengths.max() < 1.05 * points.norm(dim=1).max()


def test_a_path_between_equal_or_opposite_points_is_finite() -> None:
    point = latents([0], 8)
    for points in (torch.cat([point, point]), torch.cat([point, -point]), torch.zeros(2, 8)):
        assert spherical_path(points, steps=3).isfinite().all()


def test_one_png_a_seed_and_the_grid_are_written(generator: Generator, tmp_path: Path) -> None:
    path = write_seeds(generator, [0, 12, 12345], (2, 2), tmp_path / "new" / "out", 0.7)
    assert path == tmp_path / "new" / "out" / "grid.png"
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "grid.png",
        "seed0000.png",
        "seed0012.png",
        "seed12345.png",
    ]
    pictures = sample(generator, [0, 12, 12345], 0.7)
    for name, wanted in {"grid.png": grid(pictures, 2), "seed0012.png": pictures[1]}.items():
        with Image.open(path.parent / name) as found:
            assert found.tobytes() == to_pillow(wanted).tobytes()


def test_a_small_grid_shows_the_first_seeds_and_all_are_written(generator: Generator, tmp_path: Path) -> None:
    path = write_seeds(generator, range(5), (2, 1), tmp_path, 1.0)
    assert len(list(tmp_path.glob("seed*.png"))) == 5
    with Image.open(path) as found:
        assert found.size == (2 * 16 + 2, 16)


@pytest.mark.parametrize(("name", "kind"), [("walk.gif", "GIF"), ("walk.webp", "WEBP"), ("walk.png", "PNG")])
def test_an_animation_has_its_steps_for_every_seed(generator: Generator, tmp_path: Path, name: str, kind: str) -> None:
    path = write_interpolation(generator, [0, 1, 2], tmp_path / "new" / name, steps=4, truncation=1.0)
    with Image.open(path) as found:
        assert (found.format, getattr(found, "n_frames", 1), found.size) == (kind, 12, (16, 16))
    assert [p.name for p in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("folder", ["out", "out.v2"])
def test_an_animation_in_a_folder_has_a_name_of_its_own(generator: Generator, tmp_path: Path, folder: str) -> None:
    if "." in folder:
        (tmp_path / folder).mkdir()
    path = write_interpolation(generator, [0, 1], tmp_path / folder, steps=2, truncation=1.0)
    assert path == tmp_path / folder / "interpolation.gif"


def test_an_animation_needs_two_seeds_and_a_known_ending(generator: Generator, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="at least two seeds, got 1"):
        write_interpolation(generator, [0], tmp_path, steps=2, truncation=1.0)
    with pytest.raises(RecipeError, match=r"wanted an ending of \.gif, \.webp, \.png or a folder"):
        write_interpolation(generator, [0, 1], tmp_path / "walk.mp4", steps=2, truncation=1.0)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_told_in_one_line(generator: Generator, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError) as caught:
            write_seeds(generator, [0], None, output, 1.0)
        message = str(caught.value)
        assert message.startswith(f"--output {output}: cannot be written (")
        assert message.endswith("). Give another --output")
        with pytest.raises(RunError, match="cannot be written"):
            write_interpolation(generator, [0, 1], output, 2, 1.0)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", [7]),
        ("0-3", [0, 1, 2, 3]),
        ("0,4,9-12", [0, 4, 9, 10, 11, 12]),
        (" 3 , 1-2", [3, 1, 2]),
        ("5-5", [5]),
        ("4294967295", [4294967295]),
    ],
)
def test_seeds_are_read_in_their_order(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", ",", "a", "1-", "-1", "1-2-3", "0.5", "1,,2", "0 - 3", "²"])
def test_what_is_no_list_of_seeds_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(RecipeError, match=r"^--seeds .*wanted for example 0-63 or 0,4,9-12$"):
        parse_seeds(text)


@pytest.mark.parametrize("text", ["4294967296", "5-2", "0-4294967295", "1,9-3"])
def test_seeds_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="wanted rising seeds below"):
        parse_seeds(text)


@pytest.mark.parametrize(("text", "shape"), [("8x8", (8, 8)), ("8X4", (8, 4)), ("1x100", (1, 100))])
def test_a_grid_is_columns_by_rows(text: str, shape: tuple[int, int]) -> None:
    assert parse_grid(text) == shape


@pytest.mark.parametrize("text", ["", "8", "x", "8x", "8x8x8", "0x8", "-1x4", "8*8", "2.5x2"])
def test_what_is_no_grid_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(RecipeError, match=r"wanted COLUMNSxROWS, for example 8x8$"):
        parse_grid(text)


def test_an_animation_moves_less_from_frame_to_frame_than_from_seed_to_seed(generator: Generator) -> None:
    points = latents([0, 1], 8)
    frames = generate(generator, spherical_path(points, steps=25, loop=False)).float()
    leap = (frames[-1] - frames[0]).abs().mean()
    assert max(float((b - a).abs().mean()) for a, b in itertools.pairwise(frames)) < leap / 5
