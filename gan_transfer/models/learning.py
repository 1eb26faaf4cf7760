"""Networks that learn nothing for a while: a game's other player, and the maker of pictures for measuring."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from torch import nn


@contextlib.contextmanager
def not_learning(network: nn.Module) -> Iterator[None]:
    """Gradients pass through the network to its input but none are made for its weights, and its batch-norm
    statistics stand still."""
    learning = [p for p in network.parameters() if p.requires_grad]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    _switch(learning, norms, False)
    try:
        yield
    finally:
        _switch(learning, norms, True)


def _switch(parameters: Sequence[nn.Parameter], norms: Sequence[nn.BatchNorm2d], on: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(on)
    for norm in norms:
        norm.track_running_stats = on
