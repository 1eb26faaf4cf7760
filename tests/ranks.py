"""What several real processes do together in tests: `torchrun --nproc-per-node 2 tests/ranks.py FOLDER`.

Every rank trains the runs of `CASES` with the others, then takes some steps whose outcome it writes beside them.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import reading
import spoilt
import torch
from conftest import TINY
from torch import nn

from gan_transfer import cli, distributed, followers, monitor, runs
from gan_transfer.errors import DataError
from gan_transfer.models.batch_norm import running_statistics
from gan_transfer.models.dcgan import Discriminator, Generator, initialise
from gan_transfer.models.weights import Pair, save_pair
from gan_transfer.recipe import Recipe, load_recipe
from gan_transfer.training.hardware import choose
from gan_transfer.training.step import Players, Step, make_players

PAIR = "pair"  # the folder of the pair that a case begins with
CASES: dict[str, dict[str, str]] = {
    "no norm in D": {
        "model.norm_d": "none",
        "objective.loss": "relativistic",
        "objective.r1_gamma": "1",
        "objective.penalty_interval": "4",
        "augment.operations": '["color", "translation", "cutout"]',
        "augment.p": "0.5",
        "data.mirror": "true",
        "train.sync_bn": "true",
        "train.kimg": "0.096",
    },
    "batch norm in both": {"train.sync_bn": "true", "train.kimg": "0.064"},
    "held to a source of which blocks are frozen": {
        "train.sync_bn": "true",
        "train.kimg": "0.064",
        "transfer.source": PAIR,
        "transfer.freeze_d_image": "2",
        "anchor.ewc": "50",
        "anchor.l2_sp": "50",
    },
}
"""Runs whose outcome does not depend on the number of processes."""


def train_all(folder: Path) -> None:
    """Train every case in a folder of its own."""
    recipe = load_recipe("pretrain", "imagenet", [f"{key}={value}" for key, value in TINY.items()])
    save_pair(folder / PAIR, Pair(*pair(recipe, without_norms=False), {"kimg": 0.0}))
    for name, settings in CASES.items():
        given = {key: str(folder / PAIR) if value == PAIR else value for key, value in settings.items()}
        reading.train("imagenet", given, str(folder / name))


def steps(
    settings: dict[str, str], without_norms: bool, parts: int = 1, count: int = 6
) -> tuple[Players, torch.Tensor]:
    """Some steps on random pictures, of which each rank gets its rows; the players, and every step's statistics."""
    recipe = load_recipe("pretrain", "imagenet", [f"{key}={value}" for key, value in (TINY | settings).items()])
    players = make_players(*pair(recipe, without_norms), recipe, choose("cpu", "float32"))
    random = torch.Generator().manual_seed(5)
    step = Step(players, recipe, choose("cpu", "float32"), torch.Generator().manual_seed(6))
    step.parts = parts
    tables = []
    for number in range(count):
        batch = torch.randint(0, 256, (recipe.train.batch, 3, 16, 16), dtype=torch.uint8, generator=random)
        tables.append(step(distributed.share().rows(batch), number * recipe.train.batch))
    told = torch.stack(tables)
    distributed.average([told])
    return players, told


def pair(recipe: Recipe, without_norms: bool) -> tuple[Generator, Discriminator]:
    """Networks drawn from a seed."""
    networks = Generator(recipe.model), Discriminator(recipe.model)
    for network in networks:
        initialise(network, torch.Generator().manual_seed(7))
        for block in network.blocks.values() if without_norms else ():
            block.norm = nn.Identity()
    return networks


def state(players: Players) -> dict[str, torch.Tensor]:
    """All that was learned, by name."""
    networks = {"g": players.generator, "d": players.discriminator, "ema": players.ema.network}
    return {f"{part}.{k}": v for part, network in networks.items() for k, v in network.state_dict().items()}


def furthest(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """The largest difference of two tensors of the same name."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in ours)


def equal_on_all_ranks(players: Players) -> bool:
    """Whether weights and running statistics are the same bit for bit on every rank."""
    flat = torch.cat(
        [p.detach().reshape(-1) for p in [*players.generator.parameters(), *players.discriminator.parameters()]]
    )
    flat = torch.cat([flat, *running_statistics(players.generator), *running_statistics(players.discriminator)])
    return all(torch.equal(other, flat) for other in distributed.gather(flat))


def outcomes() -> dict[str, Any]:
    """What the steps led to on this rank."""
    plain, told = steps({"model.norm_d": "none"}, without_norms=True)
    shared, _ = steps({}, without_norms=False)
    drop, _ = steps({"model.norm_d": "none", "model.dropout_d": "0.5"}, without_norms=False)
    return {
        "plain": {name: value.tolist() for name, value in state(plain).items()},
        "told": told.tolist(),
        "equal": [equal_on_all_ranks(players) for players in (plain, shared, drop)],
    }


def fail() -> None:
    """Rank 1 has a fault while rank 0 waits for it, as the command line tells it."""
    cli.app = wait_or_fail  # type: ignore[assignment]
    cli.main()


def wait_or_fail(standalone_mode: bool) -> None:
    with distributed.together():
        if distributed.rank() == 1:
            raise DataError("rank 1 has a fault of its own")
        distributed.wait()


def roll_back(folder: Path) -> None:
    """Train, in a run that is spoilt from its fifth step on until its learning rates are halved."""

    class Spoilt(spoilt.SpoilingStep):
        span, below_rate = range(128, 10**9), 6e-7

    runs.Step = followers.Step = Spoilt  # type: ignore[misc,attr-defined]
    monitor.SHARE = math.inf
    with distributed.together():
        settings = json.loads((folder / "settings.json").read_text())
        spoilt.train(settings | {"diagnose.on_collapse": "rollback"}, str(folder / "runs"))


if __name__ == "__main__":
    if sys.argv[1] == "fault":
        fail()
    if sys.argv[1] == "roll back":
        sys.exit(roll_back(Path(sys.argv[2])))
    target = Path(sys.argv[1])
    with distributed.together():
        train_all(target)
        (target / f"rank{distributed.rank()}.json").write_text(json.dumps(outcomes()))
