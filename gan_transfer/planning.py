"""A plan: one run, checked whole before its first second, and what a dry run says of it. Nothing is written here."""

from __future__ import annotations

import dataclasses
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from . import conflicts, distributed, run_folder
from .data import packed
from .data.loader import check_batch
from .data.pack import PackSettings, find_pack, packed_bytes
from .data.selection import split
from .data.source import Source
from .data.sources import open_source
from .diagnostics.extractors import Extractor, open_extractor
from .errors import GanTransferError, RecipeError, WeightsError
from .hub import access
from .models.dcgan import Discriminator, Generator, Network
from .models.weights import Pair, public_state
from .objectives.terms import Term
from .recipe import Diagnose, Model, Recipe, check_together
from .training import hardware, schedule
from .training.hardware import Hardware
from .training.step import Step, make_players
from .transfer import anchors, freeze, start
from .transfer.begun import Begun, remember
from .transfer.start import BlockStart

T = TypeVar("T")

TIED = ("resolution", "base_channels")
"""Settings of a model that an imported pair's own layers hold for."""


@dataclasses.dataclass(frozen=True)
class BlockRow:
    """A row of the layer table.

    Attributes:
        start: how the block began.
        frozen: whether it stays as it is.
        learning_rate: of Adam; 0 where it stays as it is.
        batch_norm: `batch` (statistics of each batch), `fixed`, or `-` without batch norm.
        learns: `all` of it, batch norm's `affine` only, or `nothing`.
        from_kimg: when it begins to learn.
    """

    start: BlockStart
    frozen: bool
    learning_rate: float
    batch_norm: str
    learns: str
    from_kimg: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run that has passed all checks and has written nothing yet.

    Attributes:
        recipe: resolved; its model section is the shape that will be trained.
        origin: where each value of the recipe came from, by flat key.
        source: the open data source.
        pair: what the run starts from; None from scratch.
        hardware: resolved device and arithmetic.
        frozen: names of the frozen blocks of G and of D.
        extractor: what looks at the generator while it trains; None for no look.
    """

    recipe: Recipe
    origin: dict[str, str]
    source: Source
    pair: Pair | None
    hardware: Hardware
    frozen: tuple[list[str], list[str]]
    extractor: Extractor | None

    @property
    def pack_settings(self) -> PackSettings:
        """How the pictures are packed."""
        model = self.recipe.model
        return PackSettings(model.resolution, model.channels, self.recipe.data.crop)


def plan(recipe: Recipe, origin: dict[str, str], outdir: Path, push_to: str = "") -> Plan:
    """Check everything that can be checked before the first training second.

    Args:
        recipe: settings that fit together.
        origin: where each value of the recipe came from, by flat key.
        outdir: parent of the run folders; need not be there.
        push_to: `org/name` on the Hub where the pair shall be published at the end; empty for nowhere.

    Raises:
        GanTransferError: one error with all faults, a line each; of the first fault's class.
    """
    found: list[GanTransferError] = []
    origin = dict(origin)  # what the pair decides is entered below
    source = _try(found, lambda: _open_data(recipe))
    wanted = recipe.transfer.source
    pair = _try(found, lambda: _open_pair(wanted)) if wanted != "none" else None
    chosen = _try(found, lambda: hardware.choose(recipe.train.device, recipe.train.precision))
    recipe = _try(found, lambda: _with_shape_of(pair, recipe, origin)) or recipe
    shape = Generator(recipe.model), Discriminator(recipe.model)
    frozen = freeze.chosen(recipe.transfer, *shape)
    if not recipe.train.auto_batch:
        _try(found, lambda: _check_ranks(recipe.train.batch, recipe.model))
    if distributed.rank() == 0:  # it alone writes, publishes and looks
        _try(found, lambda: run_folder.check_writable(outdir))
        written = run_folder.unfinished_bytes(outdir, f"{recipe.name}-{source.name}") if source else 0
        _try(found, lambda: run_folder.check_space(outdir, max(_run_bytes(recipe, *shape) - written, 0)))
        if push_to:
            _try(found, lambda: access.check(push_to))
    if source is not None and not recipe.train.auto_batch:
        _try(found, lambda: check_batch(len(source), recipe.train.batch))
    eyes = _try(found, lambda: _open_extractor(recipe.diagnose, chosen)) if distributed.rank() == 0 else None
    if found or source is None or chosen is None:
        raise type(found[0])("\n".join(str(fault) for fault in found))
    made = Plan(recipe, origin, source, pair, chosen, frozen, eyes)
    keeping = any(frozen) or recipe.transfer.train_only != "all"
    if keeping or recipe.transfer.on_mismatch == "error":  # only then is it worth building the networks already
        _check_frozen(block_rows(made, *networks(made)))
    return made


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """What a dry run found out.

    Attributes:
        pictures: in the data source, broken ones included.
        img_per_sec: of training by all ranks, measured over ten steps.
        parts: in how many each rank's share of a batch has to go through the networks to fit into memory.
        eta_sec: for the whole run at that speed.
        pack_bytes: of the decoded pictures; 0 if they are there already.
        run_bytes: of checkpoints and snapshots.
        blocks: the layer table.
        frozen: which blocks are frozen, in words.
    """

    pictures: int
    img_per_sec: float
    parts: int
    eta_sec: float
    pack_bytes: int
    run_bytes: int
    blocks: list[BlockRow]
    frozen: str


def rehearse(plan: Plan, steps: int = 10) -> Rehearsal:
    """Measure a plan on this machine, on throw-away networks and random pictures; nothing is written."""
    generator, discriminator, rows = networks(plan)
    blocks = block_rows(plan, generator, discriminator, rows)
    hold(plan, generator, discriminator)
    speed, parts = probe(plan, generator, discriminator, steps)
    total = plan.recipe.train.kimg * 1000
    present = packed.ready(plan.source, plan.pack_settings) or find_pack(plan.source, plan.pack_settings)
    to_pack = 0 if present else packed_bytes(len(plan.source), plan.pack_settings)
    run_bytes = _run_bytes(plan.recipe, generator, discriminator)
    words = freeze.describe(*plan.frozen)
    return Rehearsal(len(plan.source), speed, parts, total / speed, to_pack, run_bytes, blocks, words)


def stream(seed: int, purpose: str) -> torch.Generator:
    """A random generator of its own for each purpose, so that no two draw the same numbers from one seed."""
    return torch.Generator().manual_seed(zlib.crc32(purpose.encode()) << 32 | seed)


def networks(plan: Plan) -> tuple[Generator, Discriminator, list[BlockStart]]:
    """The pair as it will begin: drawn from the seed, then what the source pair has to give."""
    random = stream(plan.recipe.train.seed, "weights")
    if plan.pair is None:
        return start.from_scratch(plan.recipe.model, random)
    return start.warm_start(plan.pair, plan.recipe.model, random, plan.recipe.transfer.on_mismatch)


def block_rows(
    plan: Plan, generator: Generator, discriminator: Discriminator, rows: list[BlockStart]
) -> list[BlockRow]:
    """The layer table."""
    optim = plan.recipe.optim
    by_letter: dict[str, tuple[Network, list[str], float]] = {
        "G": (generator, plan.frozen[0], optim.glr),
        "D": (discriminator, plan.frozen[1], optim.dlr),
    }
    table = []
    for row in rows:
        network, names, rate = by_letter[row.network]
        frozen, normalised = row.block in names, isinstance(network.blocks[row.block].norm, torch.nn.BatchNorm2d)
        batch_norm = ("fixed" if frozen else "batch") if normalised else "-"
        affine = plan.recipe.transfer.train_only == "bn-affine" and row.network == "G" and normalised
        learns = "nothing" if frozen else "affine" if affine else "all"
        rate *= 0.0 if frozen else schedule.factors(network, optim)[row.block]
        table.append(BlockRow(row, frozen, rate, batch_norm, learns, schedule.begins(network, optim)[row.block]))
    return table


def hold(plan: Plan, generator: Generator, discriminator: Discriminator) -> None:
    """Freeze for good what the recipe keeps of the source."""
    for network, names in zip((generator, discriminator), plan.frozen, strict=True):
        freeze.freeze(network, names)
    if plan.recipe.transfer.train_only == "bn-affine":
        freeze.train_only_affines(generator)


def held_to(
    plan: Plan, generator: Generator, discriminator: Discriminator, begun: Begun | None, rows: Sequence[BlockStart] = ()
) -> list[Term]:
    """The terms of the loss that hold a run to the pair it began with, in all blocks but those that were drawn."""
    drawn = {row.block for row in rows if row.start == "re-drawn"}
    return anchors.terms(plan.recipe.anchor, generator, discriminator, begun, drawn) if begun else []


class Probe(NamedTuple):
    """What a few steps of training tell: images per second of all ranks, and `Step.parts`."""

    img_per_sec: float
    parts: int


def probe(plan: Plan, generator: Generator, discriminator: Discriminator, steps: int) -> Probe:
    """Take `steps` steps of training on random pictures, all ranks together; the networks are spent.

    Give copies of networks that are still needed.
    """
    recipe, model = plan.recipe, plan.recipe.model
    players = make_players(generator, discriminator, recipe, plan.hardware)
    terms = held_to(plan, generator, discriminator, remember(generator, discriminator) if plan.pair else None)
    step = Step(players, recipe, plan.hardware, torch.Generator().manual_seed(0), terms)
    count = recipe.train.batch // distributed.world_size()
    shape = (count, model.resolution, model.resolution, model.channels)
    batch = plan.hardware.put(torch.randint(0, 256, shape, dtype=torch.uint8)).permute(0, 3, 1, 2)
    seconds = []
    for number in range(steps + 2):  # two to warm up
        begin = time.perf_counter()
        step(batch, number * recipe.train.batch).tolist()  # the list waits for the device
        seconds.append(time.perf_counter() - begin)
    return Probe(recipe.train.batch / sorted(seconds[2:])[steps // 2], step.parts)


def disk_bytes(recipe: Recipe) -> int:
    """Disk that a run of this recipe fills."""
    return _run_bytes(recipe, Generator(recipe.model), Discriminator(recipe.model))


def _run_bytes(recipe: Recipe, generator: Network, discriminator: Network) -> int:
    """Disk that a run fills, in float32: two checkpoints and the one being written, all its snapshots and the best one
    again, and a checkpoint to roll back to.

    A checkpoint holds both networks, the average, and Adam's two moments of each weight.
    """
    g_count, d_count = _parameters(generator), _parameters(discriminator)
    snapshots = int(recipe.train.kimg / recipe.train.snapshot_kimg) + 3  # the best again, and the pair it began with
    checkpoints = 3 if recipe.diagnose.on_collapse == "warn" else 4
    return 4 * (checkpoints * (4 * g_count + 3 * d_count) + snapshots * (g_count + d_count))


def _parameters(network: Network) -> int:
    return sum(p.numel() for p in network.parameters())


def _try(found: list[GanTransferError], check: Callable[[], T]) -> T | None:
    """The check's result, or None with its fault put on the list."""
    try:
        return check()
    except GanTransferError as fault:
        found.append(fault)
        return None


def _check_ranks(batch: int, model: Model) -> None:
    """Raise `RecipeError` unless each rank gets as many pictures as the others, in whole stacks and groups."""
    world = distributed.world_size()
    if batch % world:
        near = max(batch // world, 1) * world
        raise RecipeError(f"a batch of {batch} cannot be shared equally by {world} processes; use --batch {near}")
    faults = conflicts.group_faults(batch // world, model.stack, model.minibatch_std)
    if world > 1 and faults:  # of one process the recipe has told them
        raise RecipeError(f"each of {world} processes gets {batch // world} pictures of a batch. {faults[0]} for each")


def _check_frozen(rows: list[BlockRow]) -> None:
    """Raise `RecipeError` if a block would be frozen as it was drawn."""
    drawn = [row for row in rows if row.start.start == "re-drawn" or "rows drawn" in row.start.detail]
    random = [row for row in drawn if row.learns != "all"]
    if random:
        names = ", ".join(f"{row.start.network} {row.start.block}" for row in random)
        advice = "freeze fewer" if all(row.frozen for row in random) else 'take transfer.train_only = "all"'
        raise RecipeError(f"{names} cannot be frozen: drawn anew, because the source pair has another shape; {advice}")


def _open_pair(wanted: str) -> Pair:
    pair = start.open_pair(wanted)
    for letter, network in (("G", pair.generator), ("D", pair.discriminator)):
        for name, value in public_state(network).items():
            if not value.isfinite().all():
                raise WeightsError(
                    f"{letter} {name} of the pair {wanted} is not finite. Take another pair: --from builtin"
                )
    return pair


def _open_extractor(settings: Diagnose, chosen: Hardware | None) -> Extractor | None:
    if settings.extractor == "none":
        return None
    return open_extractor(settings.extractor, chosen.device if chosen else "cpu")


def _open_data(recipe: Recipe) -> Source:
    wanted = recipe.data.hub if recipe.data.source == "hf" else recipe.data.source
    if not wanted:
        raise RecipeError(
            f"the recipe {recipe.name} names no data (data.source = {recipe.data.source!r}); "
            "give --data folder:PATH or another source. See: gan-transfer data ls"
        )
    source = open_source(wanted)
    return split(source, recipe.data.held_out)[0] if recipe.data.held_out else source


def _with_shape_of(pair: Pair | None, recipe: Recipe, origin: dict[str, str]) -> Recipe:
    """A fine-tune takes the shape of its source pair, but for what the recipe or a flag asks for by name.

    An imported pair's own layers belong to its resolution and widths: asked for others, the rule builds the networks.
    """
    if pair is None:
        return recipe
    taken: dict[str, Any] = {}
    asked = [getattr(recipe.model, n) for n in TIED if origin.get(f"model.{n}", "default") != "default"]
    theirs = [getattr(pair.model, n) for n in TIED if origin.get(f"model.{n}", "default") != "default"]
    for field in dataclasses.fields(Model):
        key = f"model.{field.name}"
        if field.name.startswith("layers") and asked != theirs:
            continue
        if origin.get(key, "default") == "default":
            taken[field.name] = getattr(pair.model, field.name)
            origin[key] = f"the pair {recipe.transfer.source}"
    recipe = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, **taken))
    check_together(recipe, origin)
    return recipe
