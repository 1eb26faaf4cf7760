"""Which block learns when and how fast: factors on the learning rates, and gradual unfreezing."""

from __future__ import annotations

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


def begins(network: Network, optim: Optim) -> dict[str, float]:
    """By block, the kimg at which it begins to learn: 0, or one `thaw_kimg` more with every block nearer to the image
    (gradual unfreezing, Howard & Ruder 2018)."""
    return {name: distance * optim.thaw_kimg for distance, name in enumerate(inwards(network))}


def thaw(network: Network, optim: Optim, images_seen: int) -> None:
    """Let those blocks learn whose time has come.

    Until then a block's batch norm goes on with the statistics of each batch, so that nothing jumps when it begins.
    What is due hangs on the clock alone, so that a run that is resumed goes on as it was.
    """
    for name, kimg in begins(network, optim).items():
        network.blocks[name].requires_grad_(images_seen >= kimg * 1000)
