"""What follows from the looks at a run: the best snapshot is kept; a collapse is told, ends the run, or is undone."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from .data.pack import Pack
from .diagnostics import history
from .diagnostics.history import Alarm, Entry
from .errors import Collapsed, GanTransferError, RunError
from .examine import pictures_of
from .models.dcgan import Generator
from .models.metrics import write_metrics
from .monitor import Monitor, findings, keep_best, open_monitor
from .planning import Plan
from .recipe import Optim
from .run_folder import RunFolder
from .training.checkpoint import Checkpoints
from .training.loop import Then
from .training.step import Players
from .training.telemetry import drop_later_lines

MOST_ROLLBACKS = 3
"""Each halves the learning rates; a run that collapses with an eighth of them has another fault."""


class Listener(Protocol):
    """Whoever is told; see `gan_transfer.runs.View`."""

    def say(self, text: str) -> None:
        """One line of talk."""

    def verdict(self, text: str) -> None:
        """The newest look at the generator, in a line."""


@dataclasses.dataclass
class Guard:
    """Watches over one run.

    Attributes:
        plan: of the run; its section `diagnose` says what to do.
        folder: of the run.
        listener: is told.
        rollbacks: how many there were.
        alarm: for which the run was ended or is to be rolled back.
    """

    plan: Plan
    folder: RunFolder
    listener: Listener
    rollbacks: int = 0
    alarm: Alarm | None = None

    def __post_init__(self) -> None:
        """Without `open` no look is taken."""
        self._monitor: Monitor | None = None
        self._begin = time.perf_counter()
        self._every = 1
        self.healthy = Checkpoints(self.folder.healthy, kept=1)

    def open(self, packed: Pack) -> None:
        """Make the real pictures ready. A fault is told, and the run goes on without looks."""
        eyes, recipe = self.plan.extractor, self.plan.recipe
        if eyes is None:
            return
        try:
            reals = pictures_of(packed, self.plan.source.origin)
            made = open_monitor(self.folder, reals, eyes, recipe.diagnose.fakes, recipe.train, self.plan.hardware)
        except (GanTransferError, torch.OutOfMemoryError) as error:
            self._give_up(error)
            return
        counts = f"{made.fakes} fakes against {len(made.examiner.reals.rows):,} pictures"
        self.say(f"diagnosis: {counts} by the features of {eyes.name}, made ready in {made.seconds:.1f} s")
        self._monitor = made

    def first_look(self, generator: Generator, save: Callable[[], object]) -> None:
        """Look before the first step, if that has not been done; the arguments are those of `look`."""
        if self._monitor and not self._monitor.history:
            self._look(self._monitor, generator, 0, None, save)

    def look(self, generator: Generator, images_seen: int, snapshot: Path, save: Callable[[], object]) -> Then:
        """Look at a snapshot, and say what the loop shall do.

        Args:
            generator: the average, in eval mode, with recalibrated statistics.
            images_seen: the clock.
            snapshot: its folder.
            save: writes the checkpoint of a good moment.
        """
        if self._monitor is None or not self._due(self._monitor, images_seen):
            return Then.GO_ON
        looks = self._look(self._monitor, generator, images_seen, snapshot, save)
        patience = self.plan.recipe.diagnose.patience
        if alarm := history.alarm(looks):
            return self._follow(alarm, told=history.alarm(looks[:-1]) is not None)
        if patience and history.stalled(looks, patience):
            self.say(f"no better KID in {patience} looks, so the run ends here. {self._best()}")
            self.folder.event("patience", kimg=images_seen / 1000, looks=patience)
            return Then.STOP
        return Then.GO_ON

    def share(self) -> float:
        """Of this session's time, what making ready and looks have taken."""
        spent = self._monitor.seconds if self._monitor else 0.0
        return round(spent / (time.perf_counter() - self._begin), 4)

    def stopped(self) -> bool:
        """Whether the run was ended by an alarm, and is now to be rolled back.

        Raises:
            RunError: it was, and nothing is to be done otherwise now: it would run into the same wall.
        """
        events = [event.get("event") for event in self.folder.events()]
        policy = self.plan.recipe.diagnose.on_collapse
        if events[-1:] != ["collapsed"] or policy == "warn":
            return False
        self.rollbacks = events.count("rolled back")  # the checkpoint says so too, but has not been read yet
        if policy == "stop" or not self._can_roll_back():
            raise RunError(f"the run {self.folder.path} was stopped after a collapse. {self._best()} {self._advice()}")
        return True

    def collapsed(self, alarm: Alarm) -> Collapsed:
        """Write down that the run was stopped, and make the error that says so."""
        self.folder.event("collapsed", **_told(alarm))
        where = f"stopped at {alarm.now.kimg:.2f} kimg: {alarm}; everything is saved"
        return Collapsed(alarm.state.exit_code, f"{where}. {self._best()} {self._advice()}")

    def roll_back(self, players: Players, random: torch.Generator, latest: Checkpoints, clock: dict[str, Any]) -> int:
        """Take the last good moment again, with halved learning rates; return its images seen.

        Args:
            players: get that moment's weights.
            random: its state then.
            latest: the run's checkpoints, which must begin anew from there.
            clock: for the checkpoint; `rollbacks` is counted up in it.
        """
        moment, _ = self.healthy.restore(players, random)
        assert moment is not None, "roll_back() is only called where a healthy checkpoint is"
        seen: int = moment["images_seen"]
        self.rollbacks += 1
        clock["rollbacks"] = self.rollbacks
        latest.rewind(players, random, clock | {"images_seen": seen})
        left = max((line["kimg"] for line in self.folder.looks()), default=seen / 1000)
        self.forget_after(seen)
        glr, dlr = slow_down(players, self.plan.recipe.optim, self.rollbacks)
        details = _told(self.alarm) if self.alarm else {"kimg": left}
        self.folder.event("rolled back", **details, to=seen / 1000, rollbacks=self.rollbacks, glr=glr, dlr=dlr)
        count = f"{self.rollbacks} of {MOST_ROLLBACKS}"
        self.say(f"rolled back to {seen / 1000:.2f} kimg ({count}), with learning rates {glr:g} and {dlr:g}")
        self.alarm = None
        return seen

    def forget_after(self, images_seen: int) -> None:
        """Drop looks and snapshots behind a moment that is gone back to."""
        for book in (self.folder.panel, self.folder.moved):
            drop_later_lines(book, images_seen)
        if self.rollbacks:  # after a mere kill they will be made again just so
            for path in self.folder.snapshots.glob("[0-9]*/"):
                if float(path.name) > images_seen / 1000:
                    shutil.rmtree(path)

    def say(self, text: str) -> None:
        """Tell, and keep."""
        self.listener.say(text)
        self.folder.log(text)

    def _due(self, monitor: Monitor, images_seen: int) -> bool:
        due = monitor.due(images_seen)
        if monitor.every > self._every == 1:
            self.say(f"looks take long: from now on one at every {monitor.every} snapshots or fewer")
        if monitor.every != self._every:
            self.folder.event("looks", kimg=images_seen / 1000, every=monitor.every)
        self._every = monitor.every
        return due

    def _look(
        self,
        monitor: Monitor,
        generator: Generator,
        images_seen: int,
        snapshot: Path | None,
        save: Callable[[], object],
    ) -> Sequence[Entry]:
        """Look, tell, and keep what is good; all looks so far, or none after a fault."""
        try:
            line = monitor.look(generator, images_seen)
        except (GanTransferError, torch.OutOfMemoryError) as error:
            self._give_up(error)
            return ()
        looks = monitor.history
        top = history.best([look for look in looks if look.kimg > 0])
        if snapshot:
            write_metrics(snapshot, findings(line))
            if top is looks[-1]:
                keep_best(snapshot, self.folder.best)
        if history.sound(looks) and self.plan.recipe.diagnose.on_collapse != "warn":
            save()
        best = f" (best {_short(top.kid)} at {top.kimg:g} kimg)" if top else ""
        text = f"at {looks[-1].kimg:g} kimg: {looks[-1].state}, KID x 1000 {_short(looks[-1].kid)}{best}"
        self.listener.verdict(text)
        self.folder.log(f"{text}; {line['reason']}")
        return looks

    def _follow(self, alarm: Alarm, told: bool) -> Then:
        """The policy."""
        policy = self.plan.recipe.diagnose.on_collapse
        if policy == "warn":
            if not told:
                self.say(f"warning: the generator is {alarm}. {self._best()}")
                self.folder.event("collapse", **_told(alarm))
            return Then.GO_ON
        self.alarm = alarm
        return Then.ROLL_BACK if policy == "rollback" and self._can_roll_back() else Then.STOP

    def _can_roll_back(self) -> bool:
        return self.rollbacks < MOST_ROLLBACKS and bool(self.healthy.paths())

    def _best(self) -> str:
        return f"The best snapshot is {self.folder.best}." if self.folder.best.exists() else "No snapshot was any good."

    def _advice(self) -> str:
        if self._can_roll_back():
            return "Next: the same command with --on-collapse rollback or warn, or other settings with --new"
        return "Next: lower --glr and --dlr with --new, or go on all the same with --on-collapse warn"

    def _give_up(self, error: Exception) -> None:
        """No more looks; the run goes on."""
        reason = "not enough memory" if isinstance(error, torch.OutOfMemoryError) else error
        self.say(f"no diagnosis: {reason}")
        self._monitor = None


def slow_down(players: Players, optim: Optim, times: int) -> tuple[float, float]:
    """Set the learning rates to those of the recipe, halved so many times; return those of G and of D."""
    rates = optim.glr * 0.5**times, optim.dlr * 0.5**times
    for adam, rate in zip((players.adam_g, players.adam_d), rates, strict=True):
        for group in adam.param_groups:
            group["lr"] = rate * group["factor"]
    return rates


def _short(value: float) -> str:
    """Three figures, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _told(alarm: Alarm) -> dict[str, Any]:
    """An alarm as JSON values."""
    best = {"best_kimg": alarm.best.kimg, "best_kid_x1000": alarm.best.kid} if alarm.best else {}
    return {"kimg": alarm.now.kimg, "verdict": str(alarm.state), "kid_x1000": alarm.now.kid, **best}
