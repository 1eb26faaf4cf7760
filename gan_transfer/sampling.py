"""Pictures from a trained generator: by seed, as a grid, along a path between latents."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from . import images
from .errors import RecipeError, RunError
from .files import atomic
from .models.dcgan import Generator

CHUNK = 16  # latents in a forward pass, always: a kernel chosen for another batch size may round differently
ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}


def latents(seeds: Sequence[int], latent_dim: int, truncation: float = 1.0) -> Tensor:
    """One latent per seed, whatever the batch: float32 [N, latent_dim].

    Drawn from NumPy's legacy `RandomState`, whose stream is guaranteed never to change.

    Args:
        seeds: in 0 .. 2**32 - 1.
        latent_dim: length of a latent.
        truncation: psi in (0, 1]; values beyond 2 * psi are drawn again (the truncation trick of Brock et al. 2019,
            arXiv:1809.11096, with threshold 2 * psi); 1 leaves N(0, I) untouched.
    """
    rows = []
    for seed in seeds:
        random = np.random.RandomState(seed)
        z = random.randn(latent_dim)
        while truncation < 1 and (outside := np.abs(z) > 2 * truncation).any():
            z[outside] = random.randn(int(outside.sum()))
        rows.append(z)
    return torch.from_numpy(np.stack(rows).astype(np.float32))


@torch.inference_mode()
def generate(generator: Generator, z: Tensor) -> Tensor:
    """Pictures of latents, uint8 [N, C, H, W]; a latent's picture does not depend on the others beside it.

    Args:
        generator: in eval mode.
        z: float32 [N, latent_dim].
    """
    pictures, device = [], next(generator.parameters()).device
    for part in torch.split(z, CHUNK):
        padded = functional.pad(part, (0, 0, 0, CHUNK - len(part))).to(device)
        pictures.append(images.to_uint8(generator(padded)[: len(part)]).cpu())
    return torch.cat(pictures)


def sample(generator: Generator, seeds: Sequence[int], truncation: float = 1.0) -> Tensor:
    """One picture per seed, uint8 [N, C, H, W]; the same seed gives the same picture in any company.

    Args:
        generator: in eval mode.
        seeds: in 0 .. 2**32 - 1.
        truncation: see `latents`.
    """
    return generate(generator, latents(seeds, generator.model.latent_dim, truncation))


def spherical_path(points: Tensor, steps: int, loop: bool = True) -> Tensor:
    """Latents along great arcs between points: [K, D] -> [frames, D].

    A straight line would pass through the middle of the Gaussian, where no latent ever lies.

    Args:
        points: at least two latents.
        steps: frames from one point to the next.
        loop: go back to the first point at the end.
    """
    ends = torch.cat([points[1:], points[:1]]) if loop else points[1:]
    frames = [_slerp(a, b, k / steps) for a, b in zip(points, ends, strict=False) for k in range(steps)]
    return torch.stack(frames if loop else [*frames, points[-1]])


def write_seeds(
    generator: Generator, seeds: Sequence[int], shape: tuple[int, int] | None, output: Path, truncation: float
) -> Path:
    """Write `seed0000.png` ... and `grid.png` into a folder.

    Args:
        generator: in eval mode.
        seeds: one picture each.
        shape: columns and rows of the grid; None makes it square.
        output: the folder, made if absent.
        truncation: see `latents`.

    Returns:
        The grid's path.

    Raises:
        RunError: the folder cannot be written.
    """
    pictures = sample(generator, seeds, truncation)
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
        for seed, picture in zip(seeds, pictures, strict=True):
            images.save_png(output / f"seed{seed:04d}.png", picture)
        count = shape[0] * shape[1] if shape else len(pictures)
        sheet = images.grid(pictures[:count], shape[0] if shape else None)
        images.save_png(output / "grid.png", sheet)
    return output / "grid.png"


def write_interpolation(
    generator: Generator, seeds: Sequence[int], output: Path, steps: int, truncation: float
) -> Path:
    """Write an animation that walks from seed to seed and back to the first.

    Args:
        generator: in eval mode.
        seeds: at least two.
        output: a .gif, .webp or .png (animated) file, or a folder, which gets `interpolation.gif`.
        steps: frames between two seeds, 25 a second.
        truncation: see `latents`.

    Returns:
        The animation's path.

    Raises:
        RecipeError: fewer than two seeds, or an ending that names no animation.
        RunError: the file cannot be written.
    """
    if len(seeds) < 2:
        raise RecipeError(f"--interpolate needs at least two seeds, got {len(seeds)}. Example: --seeds 0-7")
    path = output if output.suffix and not output.is_dir() else output / "interpolation.gif"
    if path.suffix.lower() not in ANIMATIONS:
        raise RecipeError(f"--output {path}: wanted an ending of {', '.join(ANIMATIONS)} or a folder")
    z = spherical_path(latents(seeds, generator.model.latent_dim, truncation), steps)
    frames = [images.to_pillow(picture) for picture in generate(generator, z)]
    with _writing(output):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            frames[0].save(temporary, format=ANIMATIONS[path.suffix.lower()], save_all=True,
                           append_images=frames[1:], duration=40, loop=0)  # fmt: skip
    return path


def parse_seeds(text: str) -> list[int]:
    """`0-63`, `7`, `0,4,9-12` -> the seeds in that order.

    Raises:
        RecipeError: not of that form, or out of 0 .. 2**32 - 1.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise RecipeError(f"--seeds {text!r} is not a list of seeds; wanted for example 0-63 or 0,4,9-12")
        begin, end = int(first), int(last or first)
        if begin > end or end >= 2**32 or end - begin >= 1_000_000:
            raise RecipeError(f"--seeds {part.strip()}: wanted rising seeds below 2**32, at most a million")
        seeds += range(begin, end + 1)
    return seeds


def parse_grid(text: str) -> tuple[int, int]:
    """`8x4` -> 8 columns, 4 rows.

    Raises:
        RecipeError: not of that form.
    """
    columns, _, rows = text.lower().partition("x")
    if not (columns.isdecimal() and rows.isdecimal() and int(columns) * int(rows)):
        raise RecipeError(f"--grid {text!r} is not a grid; wanted COLUMNSxROWS, for example 8x8")
    return int(columns), int(rows)


def _slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical interpolation; the length goes from one to the other along with the angle."""
    cosine = torch.dot(a, b) / (a.norm() * b.norm()).clamp_min(1e-12)
    angle = torch.acos(cosine.clamp(-1.0, 1.0)).item()
    if angle < 1e-4 or angle > math.pi - 1e-4:
        return torch.lerp(a, b, t)
    return (math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle)


@contextlib.contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Say in one line what could not be written."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"--output {output}: cannot be written ({error.strerror or error}). Give another --output"
        ) from None
