"""How far a fine-tuned generator has moved from the pair it began with: its weights, its pictures, a strip of both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from . import images
from .diagnostics.extractors import Extractor
from .files import append_line
from .models.dcgan import Discriminator, Generator, Network
from .run_folder import RunFolder
from .transfer.begun import Begun

STRIP = 10
"""Pictures in a row of the strip."""
COMPARED = 64
"""Latents over which distances are averaged, at most."""


def report(
    folder: RunFolder,
    begun: Begun,
    pair: tuple[Generator, Discriminator],
    latents: Tensor,
    kimg: float,
    extractor: Extractor | None,
) -> dict[str, Any]:
    """Write `source_target.png` and a line of `metric-moved.jsonl`, and return the line.

    The strip shows the same latents through the generator as it began, above, and as it is, below. The line tells the
    relative change ||d theta|| / ||theta|| of each block's weights and of both networks; the mean absolute difference
    of the two pictures of a latent, in shares of the range from black to white, beside that of the source's pictures
    of two latents (`pixels_apart`); and the mean cosine distance of their features.

    Args:
        folder: of the run.
        begun: what it began with.
        pair: as it is: the averaged generator in eval mode, and the discriminator.
        latents: of the run's sample grid, float [N, latent_dim].
        kimg: the clock.
        extractor: of the features; None leaves them out.
    """
    before, after = (pictures(generator, latents[:COMPARED]) for generator in (begun.generator, pair[0]))
    strip = images.grid(torch.cat([before[:STRIP], after[:STRIP]]), min(STRIP, len(before)))
    images.save_png(folder.path / "source_target.png", strip)
    started = begun.generator, begun.discriminator
    line: dict[str, Any] = {
        "kimg": kimg,
        "generator": change(begun.generator, pair[0]),
        "discriminator": change(begun.discriminator, pair[1]),
        "blocks": {name: moved for old, new in zip(started, pair, strict=True) for name, moved in by_block(old, new)},
        "pixels": _apart(before, after),
        "pixels_apart": _apart(before, before.roll(1, dims=0)),
    }
    if extractor is not None:
        near = cosine_similarity(extractor.features(before).float(), extractor.features(after).float(), dim=1)
        line |= {"features": round(1 - float(near.mean()), 4), "extractor": extractor.name}
    append_line(folder.moved, line)
    return line


def change(before: nn.Module, now: nn.Module) -> float:
    """||theta - theta_0|| / ||theta_0|| over all weights of two networks, or blocks, of one shape."""
    old, new = (torch.cat([weight.detach().flatten() for weight in each.parameters()]) for each in (before, now))
    return round(float((new - old).norm() / old.norm()), 4)


def by_block(before: Network, now: Network) -> list[tuple[str, float]]:
    """`change` of each block."""
    return [(name, change(block, now.blocks[name])) for name, block in before.blocks.items()]


@torch.inference_mode()
def pictures(generator: Generator, latents: Tensor) -> Tensor:
    """Latents, float [N, latent_dim] -> pictures, uint8 [N, C, H, W] on the CPU, in eval mode."""
    device = next(generator.parameters()).device
    return images.to_uint8(generator.eval()(latents.to(device))).cpu()


def _apart(one: Tensor, other: Tensor) -> float:
    return round(float((one.float() - other.float()).abs().mean()) / 255, 4)
