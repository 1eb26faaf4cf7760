"""Composes one run from its plan: packs, starts or resumes, trains, and writes the run folder."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any, Protocol

import torch

from . import __version__, config, images, moved, run_folder
from .data.cache import cache_dir
from .data.loader import Loader, check_batch
from .data.pack import Pack, cached_pack, find_pack
from .data.packed import ready
from .errors import Interrupted, RunError, TrainingError
from .models.dcgan import Discriminator, Generator
from .models.ema import recalibrate
from .models.lineage import lineage
from .models.weights import Pair, save_pair
from .objectives.augment import augment
from .planning import BlockRow, Plan, block_rows, held_to, hold, networks, probe, stream
from .policies import Guard, Listener, slow_down
from .report.live import clock_text
from .report.plots import plot_curves, read_stats
from .run_folder import RunFolder
from .signals import StopSignal, stop_signal
from .training.checkpoint import Checkpoints
from .training.loop import Hooks, Progress, Then, train
from .training.step import Players, Step, make_players
from .training.telemetry import Telemetry
from .transfer import begun, freeze
from .transfer.begun import Begun

GRID_SEED = 1_000_003  # latents of the sample grids, the same over the whole run


class View(Listener, Protocol):
    """Whoever follows a run: the terminal, a notebook, nobody."""

    def packing(self, done: int, total: int) -> None:
        """Pictures decoded so far."""

    def blocks(self, rows: list[BlockRow]) -> None:
        """The layer table, before training begins."""

    def training(self, line: dict[str, float] | None, total_kimg: float) -> None:
        """A tick of `stats.jsonl`; None when training has ended."""


def run(plan: Plan, outdir: Path, view: View, new: bool = False) -> Path:
    """Train. The same plan in the same outdir resumes its newest unfinished run.

    Args:
        plan: checked.
        outdir: parent of the run folders.
        view: is told what happens.
        new: begin a new folder even where an unfinished run is.

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
        packed = _pack(plan, view, stop)
        check_batch(packed.count, plan.recipe.train.batch)  # again: broken pictures are left out by now
        name = f"{plan.recipe.name}-{plan.source.name}"
        with run_folder.open_run(outdir, name, _description(plan, packed), new=new) as folder:
            try:
                return _Run(plan, packed, folder, view, stop).go()
            except torch.OutOfMemoryError:
                advice = f"Give a --batch below {plan.recipe.train.batch}, with --new"
                raise RunError(f"{plan.hardware.describe()} has not enough memory for this run. {advice}") from None
            except OSError as error:
                advice = "Free space or mend the folder, then give the same command"
                raise RunError(f"cannot write to {folder.path}: {error}. {advice}") from error


@dataclasses.dataclass
class _Run:
    """One run in its folder."""

    plan: Plan
    packed: Pack
    folder: RunFolder
    view: View
    stop: StopSignal

    def __post_init__(self) -> None:
        settings, shape = self.plan.recipe.train, self.plan.recipe.model
        self.checkpoints = Checkpoints(self.folder.state)
        self.clock: dict[str, Any] = {"pack": self.packed.key, "rollbacks": 0}
        self.guard = Guard(self.plan, self.folder, self.view)
        self.random = stream(settings.seed, "training")
        torch.manual_seed(settings.seed)  # dropout draws from the global generator
        fixed = torch.Generator().manual_seed(GRID_SEED)
        self.latents = torch.randn(settings.grid**2, shape.latent_dim, generator=fixed)

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
        self.begun = self._remember(players, resuming)
        self.terms = held_to(self.plan, generator, discriminator, self.begun)
        position = self._restore(players) if resuming else self._begin(players, blocks)
        if stopped:
            position = self.guard.roll_back(players, self.random, self.checkpoints, self.clock)
        self._place(position)
        self._announce(players)
        self.guard.open(self.packed)
        signum, then = self._session(players)
        while then is Then.ROLL_BACK:
            self._place(self.guard.roll_back(players, self.random, self.checkpoints, self.clock))
            signum, then = self._session(players)
        self.view.training(None, recipe.train.kimg)
        if signum:
            folder.event("interrupted", kimg=self.loader.position / 1000, signal=signum)
            raise Interrupted(signum, f"stopped at {self.loader.position / 1000:.2f} kimg; everything is saved")
        if self.guard.alarm:
            raise self.guard.collapsed(self.guard.alarm)
        folder.event("finished", kimg=self.loader.position / 1000, diagnosis_share=self.guard.share())
        return folder.path

    def _place(self, position: int) -> None:
        """Have the pictures handed out from the position on."""
        self.loader = _loader(self.plan, self.packed, position, self.plan.hardware.device)

    def _session(self, players: Players) -> tuple[int, Then]:
        """Train from here until the end, a signal, or what the looks say; return the signal and what they said."""
        recipe, then = self.plan.recipe, Then.GO_ON
        step = Step(players, recipe, self.plan.hardware, self.random, self.terms)
        progress = Progress(self.loader, step, self.random, self.clock)

        def snapshot(seen: int) -> Then:
            nonlocal then
            folder = self._snapshot(players, seen)
            then = self.guard.look(players.ema.network, seen, folder, save)
            self._plot()
            return then

        def save() -> None:
            progress.save(self.guard.healthy)

        if not self.loader.position:
            self.guard.first_look(players.ema.network, save)
        telemetry = Telemetry(self.folder.stats, self.loader.position, int(recipe.train.kimg * 1000), step.statistics)
        signum = self._train(progress, telemetry, Hooks(self._tick, snapshot, lambda: self.stop.signum))
        return signum, then

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
        folder, recipe = self.folder, self.plan.recipe
        folder.write_json("recipe.json", _description(self.plan, self.packed))
        folder.write_json("origin.json", self.plan.origin)
        folder.write_json("blocks.json", [dataclasses.asdict(row) for row in blocks])
        reals = Loader(self.packed.images, min(recipe.train.grid**2, self.packed.count), recipe.train.seed).next_batch()
        images.save_png(folder.path / "reals.png", images.grid(reals, recipe.train.grid))
        self._grid(players, "fakes_init.png")
        for book in (folder.panel, folder.moved):  # of a beginning that was killed before its first checkpoint
            book.unlink(missing_ok=True)
        about = {"version": __version__, "torch": torch.__version__, "device": str(self.plan.hardware.device)}
        folder.event("started", **about, **{"from": lineage(self.plan.pair)})
        return 0

    def _remember(self, players: Players, resuming: bool) -> Begun | None:
        """The pair that the run began with, kept for its anchors and for telling how far it has moved."""
        generator, discriminator = players.generator, players.discriminator
        if self.plan.pair is None:
            return None
        if resuming and self.folder.start.exists():
            return begun.load(self.folder.start, begun.remember(generator, discriminator))
        fisher = None
        if self.plan.recipe.anchor.ewc:
            self.guard.say(f"taking the Fisher information of the generator over {begun.FISHER_LATENTS} latents")
            fisher = begun.fisher(generator, discriminator, stream(self.plan.recipe.train.seed, "fisher"))
        kept = begun.remember(generator, discriminator, fisher)
        begun.save(self.folder.start, kept)
        return kept

    def _restore(self, players: Players) -> int:
        """Take the newest good checkpoint; return its position, the images seen."""
        clock, faults = self.checkpoints.restore(players, self.random)
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
        with torch.random.fork_rng(devices=[]):
            speed = probe(self.plan, copy.deepcopy(players.generator), copy.deepcopy(players.discriminator), 5)
        left = self.plan.recipe.train.kimg * 1000 - self.loader.position
        self.guard.say(
            f"{self.packed.count:,} pictures, {left / 1000:.1f} kimg to go ({left / self.packed.count:.1f} epochs) at "
            f"about {speed:.0f} img/s on {self.plan.hardware.describe()}: ETA {clock_text(left / speed)}"
        )
        self.guard.say(f"pictures: {self.loader.describe()}")

    def _recalibrate_frozen(self, generator: Generator, discriminator: Discriminator) -> None:
        """Batch-norm statistics of blocks about to be frozen, on what they will see: G's samples, and for D half
        target pictures and half samples, augmented as in training."""
        recipe, names = self.plan.recipe, self.plan.frozen
        if any(names):
            self.guard.say("taking the batch-norm statistics of the frozen blocks anew on the target")
        random = stream(recipe.train.seed, "recalibration")
        reals = _loader(self.plan, self.packed, 0, torch.device("cpu"))  # where the networks still are
        batch, count = recipe.train.batch, recipe.transfer.recalibrate_batches
        p = 0.0 if recipe.augment.ada_target else recipe.augment.p  # ADA's begins there

        def latents() -> torch.Tensor:
            self.stop.check("recalibrating")
            return torch.randn(batch, recipe.model.latent_dim, generator=random)

        def real() -> torch.Tensor:
            self.stop.check("recalibrating")
            pictures = images.to_float(reals.next_batch())
            return augment(pictures, recipe.augment.operations, p, random)

        def fake() -> torch.Tensor:
            return augment(generator(latents()), recipe.augment.operations, p, random)

        # D first: making its fakes in train mode moves G's running statistics, which are then taken anew.
        freeze.recalibrate_blocks(discriminator, names[1], [real, fake] * (count // 2 or 1))
        freeze.recalibrate_blocks(generator, names[0], [latents] * count)

    def _tick(self, line: dict[str, float]) -> None:
        self.view.training(line, self.plan.recipe.train.kimg)

    def _snapshot(self, players: Players, images_seen: int) -> Path:
        """Write the averaged generator with fresh statistics, its discriminator and a grid; return the folder."""
        recipe, average = self.plan.recipe, players.ema.network
        if not all(p.isfinite().all() for p in [*average.parameters(), *players.discriminator.parameters()]):
            raise TrainingError(f"a weight is not finite at {images_seen / 1000:.2f} kimg")
        with self.plan.hardware.autocast():
            recalibrate(average, recipe.train.batch, recipe.ema.recalibrate_batches)
        label = run_folder.kimg_label(images_seen, recipe.train.snapshot_kimg, recipe.train.kimg)
        began = self._began()
        info: dict[str, Any] = {
            "kimg": images_seen / 1000,
            "recipe": recipe.name,
            "data": _data(self.plan, self.packed),
            "from": began,
        }
        folder, told = self.folder.snapshots / label, _published_recipe(self.plan, self.packed, began)
        save_pair(folder, Pair(average, players.discriminator, info), recipe=told)
        self._grid(players, f"fakes{label}.png")
        if self.begun:
            pair = average, players.discriminator
            moved.report(self.folder, self.begun, pair, self.latents, images_seen / 1000, self.plan.extractor)
        return folder

    def _plot(self) -> None:
        """The curves, after the look, which belongs to them."""
        if len(read_stats(self.folder.stats)) > 1:
            plot_curves(self.folder.stats, self.folder.path / "curves.png", self.folder.looks(), self.folder.events())

    def _began(self) -> dict[str, Any] | None:
        """What the run started from. Its books know: where it is resumed, an address may stand for a newer pair."""
        started = next((event for event in self.folder.events() if event.get("event") == "started"), {})
        found: dict[str, Any] | None = started.get("from", lineage(self.plan.pair))
        return found

    def _grid(self, players: Players, name: str) -> None:
        with torch.inference_mode():
            device = self.plan.hardware.device
            fakes = [images.to_uint8(players.ema.network(z.to(device))).cpu() for z in torch.split(self.latents, 64)]
        images.save_png(self.folder.path / name, images.grid(torch.cat(fakes), self.plan.recipe.train.grid))


def _pack(plan: Plan, view: View, stop: StopSignal) -> Pack:
    """Decode the pictures, or find them decoded."""

    def progress(done: int, total: int) -> None:
        stop.check("packing")
        view.packing(done, total)

    if (given := ready(plan.source, plan.pack_settings)) is not None:
        return given
    if find_pack(plan.source, plan.pack_settings) is None:
        view.say(f"decoding {len(plan.source):,} pictures into {cache_dir()}")
    workers = plan.recipe.data.workers
    packed = cached_pack(plan.source, plan.pack_settings, workers=workers, progress=progress, say=view.say)
    if packed.quarantined:
        view.say(f"{packed.quarantined} broken pictures skipped; see {packed.folder / 'quarantine.txt'}")
    return packed


def _loader(plan: Plan, packed: Pack, position: int, device: torch.device) -> Loader:
    settings, mirror = plan.recipe.train, plan.recipe.data.mirror
    return Loader(packed.images, settings.batch, settings.seed, mirror=mirror, position=position, device=device)


def _data(plan: Plan, packed: Pack) -> dict[str, Any]:
    """What a snapshot tells of the pictures that it was trained on."""
    about = {"source": plan.source.name, "origin": plan.source.origin}
    return about | {"pictures": packed.count, "pack": packed.key}


def _description(plan: Plan, packed: Pack) -> dict[str, Any]:
    """What `recipe.json` holds and a resumption is compared with: also the pictures, and `auto` as it was resolved."""
    precision = str(plan.hardware.dtype).removeprefix("torch.")
    return config.to_dict(plan.recipe) | {"pack": packed.key, "precision": precision}


def _published_recipe(plan: Plan, packed: Pack, began: dict[str, Any] | None) -> dict[str, Any]:
    """The recipe as a snapshot holds it, which may be published: without the paths of this machine, and with the
    pair that it started from by its commit."""
    told = _description(plan, packed)
    told["data"]["source"] = plan.source.origin
    told["transfer"]["source"] = began["pair"] if began else "none"
    return told
