"""Anchors: terms of the loss that hold the networks to the pair they began with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, normalize

from ..models.dcgan import Discriminator, Generator, Network
from ..objectives.terms import Fakes, Term
from ..recipe import Anchor
from .begun import Begun

LEAST_RMS = 0.01
"""Weights smaller than this, such as the offsets of a batch norm that was just drawn, count as this large."""


def terms(
    settings: Anchor, generator: Generator, discriminator: Discriminator, begun: Begun, drawn: Collection[str] = ()
) -> list[Term]:
    """The anchors that are on.

    Args:
        settings: the weight of each.
        generator: as it learns.
        discriminator: likewise.
        begun: what they are held to, on the same device.
        drawn: names of blocks that the source did not give; they go where they like.
    """
    made = []
    if settings.l2_sp:
        drift_g = drift(generator, begun.generator, drawn=drawn)
        drift_d = drift(discriminator, begun.discriminator, drawn=drawn)
        made.append(Term("l2_sp_d", "discriminator", lambda _: settings.l2_sp * drift_d()))
        made.append(Term("l2_sp_g", "generator", lambda _: settings.l2_sp * drift_g()))
    if settings.ewc:
        weighed = drift(generator, begun.generator, begun.fisher, drawn)
        made.append(Term("ewc", "generator", lambda _: settings.ewc * weighed()))
    if settings.cdc:
        source = _source(begun.generator)
        made.append(Term("cdc", "generator", lambda fakes: settings.cdc * consistency(fakes, source)))
    return made


def drift(
    now: Network, before: Network, importance: Mapping[str, Tensor] | None = None, drawn: Collection[str] = ()
) -> Callable[[], Tensor]:
    """How far a network's weights have moved, as a function to be asked at every step.

    The mean over its tensors of sum F (theta - theta_0)^2 / sum theta_0^2: L2-SP (Li et al. 2018, arXiv:1802.01483),
    with an importance F elastic weight consolidation (Kirkpatrick et al. 2017; for GANs Li et al. 2020,
    arXiv:2012.02780). Relative, because before batch norm the scale of weights is free. Statistics of batch norm are
    no weights, and frozen ones cannot move.

    Args:
        now: as it learns.
        before: of the same shape, on the same device.
        importance: F by name, mean 1 in each tensor; 1 where it says nothing.
        drawn: names of blocks that are left out.
    """
    start = dict(before.named_parameters())
    learning = {name: weight for name, weight in now.named_parameters() if weight.requires_grad}
    moving = {name: weight for name, weight in learning.items() if name.partition(".")[0] not in drawn}
    if not moving:
        nowhere = torch.zeros((), device=next(now.parameters()).device)
        return lambda: nowhere
    sizes = {name: start[name].square().sum().clamp_min(LEAST_RMS**2 * start[name].numel()) for name in moving}
    given = importance or {}
    weights = {name: given[name].to(weight.device) for name, weight in moving.items() if name in given}
    return lambda: torch.stack(
        [_moved(weight, start[name], weights.get(name)) / sizes[name] for name, weight in moving.items()]
    ).mean()


def consistency(fakes: Fakes, source: Callable[[Tensor, torch.dtype], list[Tensor]]) -> Tensor:
    """Cross-domain distance consistency (Ojha et al. 2021, arXiv:2104.06820).

    For every latent, a softmax over the cosines between its features and those of the batch's other latents; the mean
    over latents and blocks of KL(source's || ours). A loss that falls as the pictures of a batch are as like and unlike
    each other as the source generator's of the same latents. Summed over the others, where the authors' code takes
    their mean: their weight of 1000 for batches of 4 is 333 here.

    Args:
        fakes: with features.
        source: gives the source generator's features of latents, in an arithmetic.
    """
    theirs = source(fakes.z, fakes.features[0].dtype)
    divergences = [
        kl_div(likeness(ours), likeness(given), log_target=True, reduction="batchmean")
        for ours, given in zip(fakes.features, theirs, strict=True)
    ]
    return torch.stack(divergences).mean()


def likeness(features: Tensor) -> Tensor:
    """Log of the softmax over each row's cosines with the other rows: float [N, ...] -> float32 [N, N - 1]."""
    rows = normalize(features.float().flatten(1))
    cosines = rows @ rows.t()
    count = len(rows)
    # All but the diagonal: behind its first entry, every (N + 1)-th is one of it.
    others = cosines.flatten()[1:].view(count - 1, count + 1)[:, :-1].reshape(count, count - 1)
    return log_softmax(others, dim=1)


def _source(generator: Generator) -> Callable[[Tensor, torch.dtype], list[Tensor]]:
    """The features of a generator that stays as it is, with batch norm on each batch, as in the one that learns."""
    generator = copy.deepcopy(generator).train()
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d) and module.training:  # not in a frozen block
            module.track_running_stats = False

    @torch.no_grad()
    def features(z: Tensor, dtype: torch.dtype) -> list[Tensor]:
        with torch.autocast(z.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            made: list[Tensor] = generator(z, with_features=True)[1]
        return made

    return features


def _moved(now: Tensor, before: Tensor, importance: Tensor | None) -> Tensor:
    squares = (now - before).square()
    return (squares if importance is None else importance * squares).sum()
