"""The ranks of a run other than 0: they train in step with it, and write nothing.

Rank 0 has the run folder. It tells the others where the run stands and what everything weighs, so that they need no
folder of their own, and decides what follows from a snapshot.
"""

from __future__ import annotations

import copy

import torch

from . import distributed
from .data.loader import Loader
from .data.pack import Pack
from .errors import DataError, Interrupted
from .planning import Plan, Probe, held_to, hold, networks, probe, stream
from .policies import slow_down
from .signals import StopSignal
from .training import checkpoint
from .training.loop import Hooks, Progress, Then, train
from .training.step import Players, Step, make_players
from .training.telemetry import Telemetry
from .transfer import begun


def follow(plan: Plan, packed: Pack, stop: StopSignal) -> None:
    """Train with rank 0 until it ends.

    Raises:
        Interrupted: some rank was stopped by a signal; rank 0 has written a checkpoint.
        TrainingError: a loss was not finite, on all ranks.
        PeerLost: rank 0 or another has gone.
    """
    generator, discriminator, rows = networks(plan)
    hold(plan, generator, discriminator)
    players = make_players(generator, discriminator, plan.recipe, plan.hardware)
    random, poll = stream(plan.recipe.train.seed, "training"), distributed.Poll(lambda: stop.signum)
    start = begun.agreed(begun.remember(generator, discriminator)) if plan.pair else None
    terms = held_to(plan, generator, discriminator, start, rows)
    position = agree(players, random, plan, (0, 0))
    parts, then = rehearse_steps(plan, players).parts, Then.ROLL_BACK
    while then is Then.ROLL_BACK:
        step = Step(players, plan.recipe, plan.hardware, random, terms)
        step.parts = parts
        progress = Progress(loader(plan, packed, position, plan.hardware.device), step, random, {})
        signum, then = _session(progress, plan, poll)
        if then is Then.ROLL_BACK:
            position = agree(players, random, plan, (0, 0))
    if signum:
        raise Interrupted(signum, f"stopped at {progress.loader.position / 1000:.2f} kimg; everything is saved")


def agree(players: Players, random: torch.Generator, plan: Plan, moment: tuple[int, int]) -> int:
    """Give every rank what rank 0 has: all weights, the optimisers' memory, the random state, the learning rates.

    Args:
        players: changed in place on the other ranks.
        random: likewise.
        plan: of the run.
        moment: rank 0's images seen and number of roll-backs; the others' do not matter.

    Returns:
        The images seen.
    """
    position, rollbacks = distributed.from_rank_0(moment)
    own = checkpoint.tensors_of(players) | {"random": random.get_state()} if distributed.rank() == 0 else {}
    received = distributed.tensors_from_rank_0(own)
    if distributed.rank() != 0:
        random.set_state(received.pop("random"))
        checkpoint.put(players, received)
        slow_down(players, plan.recipe.optim, rollbacks)
    return int(position)


def rehearse_steps(plan: Plan, players: Players) -> Probe:
    """A few steps on copies, taken by all ranks together."""
    with torch.random.fork_rng(devices=[]):
        return probe(plan, copy.deepcopy(players.generator), copy.deepcopy(players.discriminator), 5)


def decided(then: Then) -> Then:
    """What rank 0 has decided, which is asked of it; the others wait for as long as its look takes."""
    return Then[distributed.from_rank_0(then.name)]


def check_same(packed: Pack) -> None:
    """Check that all ranks have the same pictures.

    Raises:
        DataError: this one has others than rank 0; names both.
    """
    wanted, count = distributed.from_rank_0([packed.key, packed.count])
    if packed.key != wanted:
        raise DataError(
            f"rank {distributed.rank()} has other pictures than rank 0: {packed.count:,} in {packed.folder}, where "
            f"rank 0 has {count:,}. Copy the data with their times (rsync -a), or copy a pack and give --data pack:DIR"
        )


def loader(plan: Plan, packed: Pack, position: int, device: torch.device) -> Loader:
    """This rank's pictures from a position on."""
    settings, mirror, (rank, world) = plan.recipe.train, plan.recipe.data.mirror, distributed.share()
    return Loader(
        packed.images, settings.batch, settings.seed,
        mirror=mirror, position=position, rank=rank, world=world, device=device,
    )  # fmt: skip


def _session(progress: Progress, plan: Plan, poll: distributed.Poll) -> tuple[int, Then]:
    """Train until the end, a signal, or what rank 0 decides; return the signal and the decision."""
    settings, then = plan.recipe.train, Then.GO_ON

    def snapshot(seen: int) -> Then:
        nonlocal then
        then = decided(Then.GO_ON)
        return then

    if snapshot(progress.loader.position) is not Then.GO_ON:  # rank 0 may have had a look to make up for
        return 0, then
    names = progress.step.statistics
    telemetry = Telemetry(None, progress.loader.position, int(settings.kimg * 1000), names)
    signum = train(progress, settings, telemetry, None, Hooks(lambda line: None, snapshot, poll))
    return signum, then
