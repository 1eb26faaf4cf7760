"""Composes one run from its plan: packs, starts or resumes, trains, and writes the run folder."""

from __future__ import annotations

import dataclasses
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from . import __version__, distributed, images, run_folder
from .data.cache import cache_dir
from .data.loader import Loader, check_batch
from .data.pack import Pack, cached_pack, find_pack
from .data.packed import ready
from .errors import Interrupted, PeerLost, RunError, TrainingError
from .followers import agree, check_same, decided, follow, loader, rehearse_steps
from .models.dcgan import Discriminator, Generator
from .models.lineage import lineage
from .planning import BlockRow, Plan, block_rows, held_to, hold, networks, stream
from .policies import Guard, Listener, slow_down
from .report.live import clock_text
from .run_folder import RunFolder
from .signals import StopSignal, stop_signal
from .snapshots import Snapshots, description
from .trackers import Tracker
from .training.checkpoint import Checkpoints
from .training.checkpoint_file import Damaged
from .training.hardware import memory_faults
from .training.loop import Hooks, Progress, Then, train
from .training.step import Players, Step, make_players
from .training.telemetry import Telemetry
from .transfer import begun, freeze
from .transfer.begun import Begun


class View(Listener, Protocol):
    """Whoever follows a run: the terminal, a notebook, nobody."""

    def packing(self, done: int, total: int) -> None:
        """Pictures decoded so far."""

    def blocks(self, rows: list[BlockRow]) -> None:
        """The layer table, before training begins."""

    def training(self, line: dict[str, float] | None, total_kimg: float) -> None:
        """A tick of `stats.jsonl`; None when training has ended."""


def run(plan: Plan, outdir: Path, view: View, new: bool = False, trackers: Sequence[Tracker] = ()) -> Path:
    """Train. The same plan in the same outdir resumes its newest unfinished run.

    Args:
        plan: checked.
        outdir: parent of the run folders.
        view: is told what happens.
        new: begin a new folder even where an unfinished run is.
        trackers: follow the run's books.

    Returns:
        The run folder.

    Raises:
        DataError: too many pictures are broken, too few are left for a batch, or the cache has no room.
        RunError: the unfinished run has another recipe, is in use, or cannot be written.
        TrainingError: a loss or a weight was not finite; names the last good checkpoint.
        Collapsed: stopped by the recipe's policy, since the generator had collapsed.
        Interrupted: stopped by SIGINT or SIGTERM; a checkpoint of what was trained has been written.
    """
    with stop_signal() as stop:
        try:
            with memory_faults():
                return _train(plan, outdir, view, stop, trackers, new)
        except torch.OutOfMemoryError:
            advice = f"Give a --batch below {plan.recipe.train.batch}, with --new"
            raise RunError(f"{plan.hardware.describe()} has not enough memory for this run. {advice}") from None
        except PeerLost:
            if stop.signum and distributed.rank() != 0:  # rank 0 was stopped where it was alone, and says so
                raise Interrupted(stop.signum, "stopped") from None
            raise


def _train(plan: Plan, outdir: Path, view: View, stop: StopSignal, trackers: Sequence[Tracker], new: bool) -> Path:
    """Pack, then train as the first rank or as one of the others."""
    with distributed.one_first():
        packed = _pack(plan, view, stop)
    check_same(packed)
    check_batch(packed.count, plan.recipe.train.batch)  # again: broken pictures are left out by now
    if distributed.rank() == 0:
        begin_anew = new and not distributed.restarted()
        path = _lead(plan, packed, outdir, view, stop, trackers, begin_anew)
    else:
        path = outdir
        follow(plan, packed, stop)
    return Path(distributed.from_rank_0(str(path)))


def _lead(
    plan: Plan, packed: Pack, outdir: Path, view: View, stop: StopSignal, trackers: Sequence[Tracker], new: bool
) -> Path:
    """Rank 0's part of a run, which is all of it where there are no others."""
    name = f"{plan.recipe.name}-{plan.source.name}"
    with run_folder.open_run(outdir, name, description(plan, packed), new=new) as folder:
        try:
            return _Run(plan, packed, folder, view, stop, trackers).go()
        except BrokenPipeError:
            raise  # whoever read our talk has gone; the folder is not at fault
        except OSError as error:
            advice = "Free space or mend the folder, then give the same command"
            raise RunError(f"cannot write to {folder.path}: {error}. {advice}") from error
        finally:
            for tracker in trackers:
                tracker.close()


@dataclasses.dataclass
class _Run:
    """One run in its folder."""

    plan: Plan
    packed: Pack
    folder: RunFolder
    view: View
    stop: StopSignal
    trackers: Sequence[Tracker] = ()

    def __post_init__(self) -> None:
        settings = self.plan.recipe.train
        self.checkpoints = Checkpoints(self.folder.state)
        self.clock: dict[str, Any] = {"pack": self.packed.key, "rollbacks": 0}
        self.guard = Guard(self.plan, self.folder, self.view, self.stop)
        self.random = stream(settings.seed, "training")
        self.poll, self.parts = distributed.Poll(lambda: self.stop.signum), 1
        self.snapshots = Snapshots(self.plan, self.packed, self.folder)

    def go(self) -> Path:
        """Start or resume, train, and close the folder's books."""
        recipe, folder, resuming = self.plan.recipe, self.folder, bool(self.checkpoints.paths())
        stopped = resuming and self.guard.stopped()
        generator, discriminator, rows = networks(self.plan)
        blocks = block_rows(self.plan, generator, discriminator, rows)
        self.view.blocks(blocks)
        if any(self.plan.frozen):
            self.guard.say(freeze.describe(*self.plan.frozen))
        if not resuming:
            self._recalibrate_frozen(generator, discriminator)
        hold(self.plan, generator, discriminator)
        players = make_players(generator, discriminator, recipe, self.plan.hardware)
        self.snapshots.begun = self._remember(players, resuming)
        self.terms = held_to(self.plan, generator, discriminator, self.snapshots.begun, rows)
        position = self._restore(players) if resuming else self._begin(players, blocks)
        if stopped:
            position = self.guard.roll_back(players, self.random, self.checkpoints, self.clock)
        self._place(players, position)
        with self.stop.at_once("measuring the speed"):
            self._announce(players)
        for tracker in self.trackers:
            tracker.open(folder)
        self.guard.open(self.packed)
        signum, then = self._session(players)
        while then is Then.ROLL_BACK:
            self._place(players, self.guard.roll_back(players, self.random, self.checkpoints, self.clock))
            signum, then = self._session(players)
        self.view.training(None, recipe.train.kimg)
        if signum:
            folder.event("interrupted", kimg=self.loader.position / 1000, signal=signum)
            raise Interrupted(signum, f"stopped at {self.loader.position / 1000:.2f} kimg; everything is saved")
        if self.guard.alarm:
            fallen = self.guard.collapsed(self.guard.alarm)
            self.snapshots.plot()
            raise fallen
        shares = {"diagnosis_share": self.guard.share(), "checkpoint_share": self.guard.share(self.checkpoints.seconds)}
        folder.event("finished", kimg=self.loader.position / 1000, **shares)
        if fault := self.snapshots.plot():
            self.view.say(fault)
        return folder.path

    def _place(self, players: Players, position: int) -> None:
        """Have all ranks go on from here, with the pictures handed out from the position on."""
        agree(players, self.random, self.plan, (position, self.guard.rollbacks))
        self.loader = loader(self.plan, self.packed, position, self.plan.hardware.device)

    def _session(self, players: Players) -> tuple[int, Then]:
        """Train from here until the end, a signal, or what the looks say; return the signal and what they said."""
        recipe, then = self.plan.recipe, Then.GO_ON
        step = Step(players, recipe, self.plan.hardware, self.random, self.terms)
        step.parts = self.parts
        progress = Progress(self.loader, step, self.random, self.clock)

        def snapshot(seen: int) -> Then:
            nonlocal then
            folder = self.snapshots.write(players, seen)
            then = self.guard.look(players.ema.network, seen, folder, save)
            self.snapshots.plot_now_and_then()
            return then

        def save() -> None:
            progress.save(self.guard.healthy)

        def tick(line: dict[str, float]) -> None:
            self.view.training(line, recipe.train.kimg)
            for tracker in self.trackers:
                tracker.tick(line)
            self._tell_parts(step.parts)

        with self.checkpoints.in_background(), self.guard.healthy.in_background():
            if not self.loader.position:
                self.guard.first_look(players.ema.network, save)
            elif self.guard.missed(self.loader.position):
                snapshot(self.loader.position)
            if decided(then) is not Then.GO_ON:
                return 0, then
            telemetry = Telemetry(
                self.folder.stats, self.loader.position, int(recipe.train.kimg * 1000), step.statistics
            )
            hooks = Hooks(tick, lambda seen: decided(snapshot(seen)), self.poll)
            signum = self._train(progress, telemetry, hooks)
            return signum or (self.stop.signum if self.guard.missed(self.loader.position) else 0), then

    def _train(self, progress: Progress, telemetry: Telemetry, hooks: Hooks) -> int:
        try:
            return train(progress, self.plan.recipe.train, telemetry, self.checkpoints, hooks)
        except TrainingError as error:
            self.view.training(None, self.plan.recipe.train.kimg)
            good = next(iter(self.checkpoints.paths()), None)
            self.folder.event("not finite", kimg=self.loader.position / 1000, message=str(error))
            exact = self.plan.hardware.dtype == torch.float32
            advice = "lower --glr and --dlr" + ("" if exact else ", or take --precision float32,") + " with --new"
            raise TrainingError(f"{error}. The last good checkpoint is {good or 'none'}. Next: {advice}") from None

    def _begin(self, players: Players, blocks: list[BlockRow]) -> int:
        """Write what a run has before its first step; return its position, 0 images."""
        folder = self.folder
        folder.write_json("recipe.json", description(self.plan, self.packed))
        folder.write_json("origin.json", self.plan.origin)
        folder.write_json("blocks.json", [dataclasses.asdict(row) for row in blocks])
        self.snapshots.first_grids(players)
        for book in (folder.panel, folder.moved):  # of a beginning that was killed before its first checkpoint
            book.unlink(missing_ok=True)
        about = {"version": __version__, "torch": torch.__version__, "python": platform.python_version()}
        about |= {"system": platform.platform(), "device": self.plan.hardware.describe()}
        folder.event("started", **about, **{"from": lineage(self.plan.pair)})
        return 0

    def _remember(self, players: Players, resuming: bool) -> Begun | None:
        """The pair that the run began with, kept for its anchors and for telling how far it has moved."""
        generator, discriminator = players.generator, players.discriminator
        if self.plan.pair is None:
            return None
        if resuming and self.folder.start.exists():
            return begun.agreed(begun.load(self.folder.start, begun.remember(generator, discriminator)))
        fisher = None
        if self.plan.recipe.anchor.ewc:
            self.guard.say(f"taking the Fisher information of the generator over {begun.FISHER_LATENTS} latents")
            fisher = begun.fisher(generator, discriminator, stream(self.plan.recipe.train.seed, "fisher"))
        kept = begun.remember(generator, discriminator, fisher)
        begun.save(self.folder.start, kept)
        return begun.agreed(kept)

    def _restore(self, players: Players) -> int:
        """Take the newest good checkpoint; return its position, the images seen."""
        try:
            clock, faults = self.checkpoints.restore(players, self.random)
        except Damaged as error:
            snapshots = sorted(self.folder.snapshots.glob("*/config.json"))
            raise RunError(f"{error} --from {snapshots[-1].parent}" if snapshots else str(error)) from None
        for fault in faults:
            self.guard.say(f"warning: {fault}; the checkpoint before it is used")
            self.folder.event("damaged checkpoint", message=fault)
        assert clock is not None, "restore() is only called where checkpoints are"
        seen: int = clock["images_seen"]
        self.clock["rollbacks"] = self.guard.rollbacks = clock.get("rollbacks", 0)
        slow_down(players, self.plan.recipe.optim, self.guard.rollbacks)
        self.guard.forget_after(seen)
        self.guard.say(f"resuming {self.folder.path} at {seen / 1000:.2f} kimg")
        self.folder.event("resumed", kimg=seen / 1000)
        return seen

    def _announce(self, players: Players) -> None:
        """Say how long it will take, from a few steps on copies."""
        speed, parts = rehearse_steps(self.plan, players)
        left = self.plan.recipe.train.kimg * 1000 - self.loader.position
        self.guard.say(
            f"{self.packed.count:,} pictures, {left / 1000:.1f} kimg to go ({left / self.packed.count:.1f} epochs) at "
            f"about {speed:.0f} img/s on {self.plan.hardware.describe()}: ETA {clock_text(left / speed)}"
        )
        self._tell_parts(parts)
        if self.plan.recipe.train.auto_batch:
            self.guard.say(f"batch size {self.plan.recipe.train.batch}: as many as fit and pay")
        self.guard.say(f"pictures: {self.loader.describe()}")
        self.guard.say(f"follow it: gan-transfer watch {shlex.quote(str(self.folder.path))}")

    def _recalibrate_frozen(self, generator: Generator, discriminator: Discriminator) -> None:
        """Batch-norm statistics of blocks about to be frozen, on the CPU, where the networks still are."""
        recipe = self.plan.recipe
        if any(self.plan.frozen):
            self.guard.say("taking the batch-norm statistics of the frozen blocks anew on the target")
        reals = Loader(self.packed.images, recipe.train.batch, recipe.train.seed, mirror=recipe.data.mirror)
        random, pair = stream(recipe.train.seed, "recalibration"), (generator, discriminator)
        with self.stop.at_once("recalibrating"):
            freeze.recalibrate_frozen(
                recipe, self.plan.frozen, pair, lambda: images.to_float(reals.next_batch()), random
            )

    def _tell_parts(self, parts: int) -> None:
        """Say so where memory has turned out to be too small for a batch."""
        if parts == self.parts:
            return
        count, self.parts = self.plan.recipe.train.batch // distributed.world_size() // parts, parts
        self.guard.say(
            f"out of memory: the gradients of {parts} parts of {count} pictures are added up for each step. "
            "Batch norm sees a part at a time"
        )
        self.folder.event("out of memory", kimg=self.loader.position / 1000, parts=parts)


def _pack(plan: Plan, view: View, stop: StopSignal) -> Pack:
    """Decode the pictures, or find them decoded."""

    if (given := ready(plan.source, plan.pack_settings)) is not None:
        return given
    if find_pack(plan.source, plan.pack_settings) is None:
        view.say(f"decoding {len(plan.source):,} pictures into {cache_dir()}")
    workers = plan.recipe.data.workers
    with stop.at_once("packing"):
        packed = cached_pack(plan.source, plan.pack_settings, workers=workers, progress=view.packing, say=view.say)
    if packed.quarantined:
        view.say(f"{packed.quarantined} broken pictures skipped; see {packed.folder / 'quarantine.txt'}")
    return packed
