"""A walk through a pair as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def show(console: Console, found: Any) -> None:
    """Print a `gan_transfer.walk.Walk`."""
    console.print("generator: a latent becomes a picture", style="bold")
    console.print(_way(found.generator))
    console.print("discriminator: a picture becomes a logit", style="bold")
    console.print(_way(found.discriminator))
    console.print(f"\nreal picture: {found.real}; fake: of seed {found.seed}", markup=False)
    answers = Table("", "logit", "probability of real", box=None)
    answers.add_row("D(x), real", f"{found.real_logit:+.4f}", f"{found.real_probability:.4f}")
    answers.add_row("D(G(z)), fake", f"{found.fake_logit:+.4f}", f"{found.fake_probability:.4f}")
    console.print(answers)
    console.print()
    losses = Table("loss", "formula", "value", "gradient", box=None)
    for loss in found.losses:
        losses.add_row(loss.name, loss.formula, f"{loss.value:.4f}", f"{loss.gradient:+.4f}")
    console.print(losses)
    console.print(
        "Probability is sigmoid(logit); the gradient is by the fake's logit. Where D is sure of a fake, minimax's "
        "vanishes and the other does not."
    )


def _way(stops: Sequence[Any]) -> Table:
    table = Table("block", "shape", "values", "layers (kernel/stride)", box=None)
    for stop in stops:
        shape = str(list(stop.shape))
        table.add_row(stop.block, shape.replace("[", r"\["), f"{stop.low:+.2f} .. {stop.high:+.2f}", stop.layers)
    return table
