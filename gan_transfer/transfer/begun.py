"""A pair as a run began with it, kept for what holds the run to it and for telling how far it has moved since."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.functional import softplus

from .. import distributed
from ..errors import RunError
from ..models.dcgan import Discriminator, Generator, Network
from ..tensor_files import save_tensors

FISHER_LATENTS = 256
"""Over which the Fisher information is averaged."""


@dataclasses.dataclass(frozen=True)
class Begun:
    """A pair as it was before the first step, without gradients.

    Attributes:
        generator: after its frozen blocks were calibrated.
        discriminator: likewise.
        fisher: by name of the generator's weights, as `fisher` makes it; empty where nobody asked.
    """

    generator: Generator
    discriminator: Discriminator
    fisher: dict[str, Tensor]


def remember(generator: Generator, discriminator: Discriminator, fisher: dict[str, Tensor] | None = None) -> Begun:
    """Copy a pair."""
    kept = copy.deepcopy(generator).requires_grad_(False), copy.deepcopy(discriminator).requires_grad_(False)
    return Begun(*kept, fisher or {})


def save(path: Path, begun: Begun) -> None:
    """Write it, so that a run that is resumed holds to the same.

    Raises:
        OSError: the disk is full or the folder is not writable.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in _tensors(begun)}
    save_tensors(path, tensors, {"format": "pt", "library": "gan-transfer"})


def load(path: Path, begun: Begun) -> Begun:
    """Read what `save` wrote into the networks of `begun`.

    Raises:
        RunError: the file is not there or is of another pair.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return _filled(begun, tensors)
    except (SafetensorError, OSError, RuntimeError) as error:
        told = f"the pair that the run began with cannot be read: {str(error).splitlines()[0]}"
        raise RunError(f"{path}: {told}. Begin anew with --new") from None


def agreed(begun: Begun) -> Begun:
    """What rank 0 began with, on all ranks: it alone has calibrated what is frozen, or read what a run began with."""
    received = distributed.tensors_from_rank_0(dict(_tensors(begun)) if distributed.rank() == 0 else {})
    return begun if distributed.rank() == 0 else _filled(begun, received)


def fisher(generator: Generator, discriminator: Discriminator, random: torch.Generator) -> dict[str, Tensor]:
    """The diagonal of the Fisher information of a generator's weights, scaled to mean 1 within each tensor.

    F = E (d log D(G(z)) / d theta)^2, the likelihood being the discriminator's of the generator's own pictures (Li et
    al. 2020, arXiv:2012.02780), in eval mode. Batch norm makes the scale of what stands before it arbitrary, and with
    it that of F, so only its proportions within a tensor are used.

    Args:
        generator: put back in train mode.
        discriminator: likewise.
        random: of the latents, on the CPU.

    Returns:
        float32 by name, for the weights that learn.
    """
    learning = {name: weight for name, weight in generator.named_parameters() if weight.requires_grad}
    sums = {name: torch.zeros_like(weight) for name, weight in learning.items()}
    device = next(generator.parameters()).device
    generator.eval()
    discriminator.eval()
    for _ in range(FISHER_LATENTS):
        z = torch.randn(generator.model.stack, generator.model.latent_dim, generator=random).to(device)
        loss = softplus(-discriminator(generator(z))).sum()
        for total, gradient in zip(sums.values(), torch.autograd.grad(loss, list(learning.values())), strict=True):
            total += gradient.square()
    generator.train()
    discriminator.train()
    return {name: _to_mean_1(total) for name, total in sums.items()}


def _to_mean_1(values: Tensor) -> Tensor:
    """All ones where all are zero: a tensor that no gradient reaches."""
    mean = values.mean()
    return values / mean if mean > 0 else torch.ones_like(values)


def _filled(begun: Begun, tensors: dict[str, Tensor]) -> Begun:
    """With other weights, which `_tensors` took from a pair of the same shape."""
    for part, network in (("generator", begun.generator), ("discriminator", begun.discriminator)):
        network.load_state_dict(_below(tensors, part))
    return dataclasses.replace(begun, fisher=_below(tensors, "fisher"))


def _tensors(begun: Begun) -> Iterator[tuple[str, Tensor]]:
    parts: dict[str, Network] = {"generator": begun.generator, "discriminator": begun.discriminator}
    for part, network in parts.items():
        yield from ((f"{part}.{name}", value) for name, value in network.state_dict().items())
    yield from ((f"fisher.{name}", value) for name, value in begun.fisher.items())


def _below(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}
