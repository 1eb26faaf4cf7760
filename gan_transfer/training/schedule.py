"""Which block learns when and how fast: factors on the learning rates, and gradual unfreezing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..models.dcgan import Generator, Network
from ..recipe import Optim


def inwards(network: Network) -> list[str]:
    """The names of a network's blocks, the one furthest from the image first."""
    names = list(network.blocks)
    return names if isinstance(network, Generator) else names[::-1]


def factors(network: Network, optim: Optim) -> dict[str, float]:
    """By block, what its learning rate is multiplied by: `lr_mult`, and one `block_decay` less with every block
    nearer to the image (discriminative rates, Howard & Ruder 2018, arXiv:1801.06146)."""
    far = enumerate(inwards(network))
    slowed = {name: optim.lr_mult.get(name, 1.0) / optim.block_decay**distance for distance, name in far}
    return {name: slowed[name] for name in network.blocks}


def groups(network: Network, optim: Optim, rate: float) -> list[dict[str, Any]]:
    """What Adam shall learn: groups of parameters with their `lr` and, to slow all down alike, its `factor`.

    One group where all learn at the same rate, else one for each block. Frozen blocks are in none.
    """
    scaled = factors(network, optim)
    if set(scaled.values()) == {1.0}:
        return [{"params": network.trainable(), "lr": rate, "factor": 1.0}]
    blocks = {name: network.trainable_in(name) for name in network.blocks}
    return [
        {"params": weights, "lr": rate * scaled[name], "factor": scaled[name]}
        for name, weights in blocks.items()
        if weights
    ]


def thaw(network: Network, thaw_kimg: float, images_seen: int) -> None:
    """Let as many blocks learn as are due, from the one furthest from the image on: one at first, and one more after
    every `thaw_kimg` (gradual unfreezing, Howard & Ruder 2018). The others' batch norm goes on with the statistics of
    each batch, so that nothing jumps when their time comes. What is due hangs on the clock alone, so that a run goes
    on as it was."""
    for name, due in _due(network, thaw_kimg, images_seen):
        network.blocks[name].requires_grad_(due)


def _due(network: Network, thaw_kimg: float, images_seen: int) -> Iterator[tuple[str, bool]]:
    learning = 1 + images_seen // (thaw_kimg * 1000)
    yield from ((name, number < learning) for number, name in enumerate(inwards(network)))
