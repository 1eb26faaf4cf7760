"""What goes wrong in a run, told from its figures: pure rules, each with the next command. Nothing is read here."""

from __future__ import annotations

import dataclasses
import math
import shlex
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .finding import Finding, Level, worst
from .rerun import Rerun

Lines = Sequence[Mapping[str, Any]]

RECENT = 8
"""Ticks that a judgement of the present rests on."""

D_AHEAD = (0.95, 0.05)
"""Mean D(x) from which, with mean D(G(z)) up to which, the discriminator has won: the generator learns nothing."""

G_AHEAD = 0.7
"""Mean D(G(z)) from which fakes are taken for real: what such a discriminator says teaches nothing."""

PALE = 0.85
"""Contrast of the fakes beside the reals' below which, or above whose reciprocal, it is told."""

RISEN = 1.2
"""Times the best KID that counts as risen, where the errors of both do not explain it."""

FEW = 500
"""Pictures below which a discriminator learns them by heart soon, and verdicts overlook much."""

WAITING = 0.2
"""Share of the time spent waiting for pictures from which it is told."""

SLOWED = 0.5
"""Share of the run's median speed below which it is told."""

GOOD = ("healthy", "warning")
"""Verdicts that need no word."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """What the books of a run say.

    Attributes:
        folder: of the run, as given.
        rerun: the command that it was started with.
        recipe: settings by flat key, such as `train.kimg`.
        pictures: that it is trained on; None where nothing tells yet.
        ticks: of `stats.jsonl`.
        looks: of `metric-panel.jsonl`.
        events: of `events.jsonl`.
        checkpoints: whole ones.
        damaged: what is wrong with those that are not, a line each.
        locked: whether a living process trains it.
        has_best: whether there is `best/`.
        free_bytes: on its disk.
        needed_bytes: of the next checkpoint and snapshot.
    """

    folder: str
    rerun: Rerun
    recipe: Mapping[str, Any]
    pictures: int | None = None
    ticks: Lines = ()
    looks: Lines = ()
    events: Lines = ()
    checkpoints: int = 1
    damaged: Sequence[str] = ()
    locked: bool = False
    has_best: bool = True
    free_bytes: int = 10**12
    needed_bytes: int = 0

    @property
    def kimg(self) -> float:
        """How far it came."""
        return float(self.ticks[-1]["kimg"]) if self.ticks else 0.0

    @property
    def over(self) -> bool:
        """Whether it came to its end."""
        return any(event.get("event") == "finished" for event in self.events)

    def command(self, verb: str, *flags: str) -> str:
        """A command on this run."""
        return shlex.join(["gan-transfer", *verb.split(), self.folder, *flags])

    def sampled(self) -> str:
        """The command that samples the best of it."""
        where = f"{self.folder}/best" if self.has_best else self.folder
        return f"gan-transfer sample --network {shlex.quote(where)} --seeds 0-63 --output out"

    def mean(self, name: str) -> float:
        """Of the recent ticks; NaN without any."""
        values = [tick[name] for tick in self.ticks[-RECENT:] if isinstance(tick.get(name), (int, float))]
        return statistics.fmean(values) if values else math.nan

    def recently(self, *names: str) -> Mapping[str, Any] | None:
        """The newest event of these names since the run was last begun, resumed or rolled back."""
        for event in reversed(self.events):
            if event.get("event") in names:
                return event
            if event.get("event") in ("started", "resumed", "rolled back"):
                return None
        return None


def state(run: Figures) -> Finding:
    """Where it stands: trained by a living process, finished, stopped for a reason, or broken off."""
    at = f"{run.kimg:g} of {run.recipe.get('train.kimg', 0):g} kimg"
    command = run.rerun.but({"--on-collapse": "rollback"} if run.recently("collapse") else {})
    if run.locked:
        return Finding(Level.OK, "state", f"a living process trains it, at {at}")
    if broken := run.recently("not finite"):
        rates = {f"--{key}": f"{run.recipe[f'optim.{key}'] / 2:g}" for key in ("glr", "dlr")}
        return Finding(Level.FAIL, "state", f"not finite: {broken.get('message')}", run.rerun.but(rates))
    if run.over:
        return Finding(Level.OK, "state", f"finished, {at}")
    if stopped := run.recently("collapsed"):
        told = f"stopped at {stopped.get('kimg')} kimg: {stopped.get('verdict')}"
        return Finding(Level.FAIL, "state", told, run.rerun.but({"--on-collapse": "rollback"}))
    if not run.checkpoints and not run.damaged:
        return Finding(Level.WARN, "state", "ended before its first checkpoint; the same command begins again", command)
    if run.recently("interrupted"):
        return Finding(Level.WARN, "state", f"interrupted at {at}; the same command resumes it", command)
    return Finding(Level.WARN, "state", f"broken off after {at}, as by a kill; the same command resumes it", command)


def damaged_checkpoints(run: Figures) -> Finding | None:
    """Files that cannot be resumed from; the one before takes over."""
    if not run.damaged:
        return None
    told = "; ".join(run.damaged)
    if run.checkpoints:
        return Finding(Level.WARN, "checkpoints", f"{told}; the one before is used", "" if run.over else str(run.rerun))
    level = Level.WARN if run.over else Level.FAIL
    return Finding(level, "checkpoints", f"{told}; none is whole", "" if run.over else run.rerun.but({"--new": ""}))


def discriminator_ahead(run: Figures) -> Finding | None:
    """D tells nearly all reals from nearly all fakes."""
    real, fake = run.mean("d_real"), run.mean("d_fake")
    if not (_has_level(run) and real >= D_AHEAD[0] and fake <= D_AHEAD[1]):
        return None
    told = f"D is far ahead: D(x) {real:.2f}, D(G(z)) {fake:.2f} over the last ticks"
    return Finding(Level.WARN, "balance", told, _augmented(run) or run.rerun.but({"--dlr": _half(run, "dlr")}))


def generator_ahead(run: Figures) -> Finding | None:
    """D takes fakes for real."""
    fake = run.mean("d_fake")
    if not (_has_level(run) and fake >= G_AHEAD):
        return None
    told = f"G is ahead: D(G(z)) is {fake:.2f} over the last ticks, so D teaches little"
    return Finding(Level.WARN, "balance", told, run.rerun.but({"--glr": _half(run, "glr")}))


def alarm(run: Figures) -> Finding | None:
    """The run's own alarm, under the policy that only tells."""
    event = run.recently("collapse")
    if event is None:
        return None
    told = f"at {event.get('kimg')} kimg the generator was {event.get('verdict')}, after it had been better"
    todo = run.sampled() if run.over or run.locked else run.rerun.but({"--on-collapse": "rollback"})
    return Finding(Level.WARN, "alarm", told, todo)


def verdict(run: Figures) -> Finding | None:
    """What the newest look said."""
    if not run.looks or (look := run.looks[-1]).get("verdict") in GOOD:
        return None
    if look["verdict"] == "memorised":
        todo = _augmented(run) or run.sampled()
        return Finding(Level.WARN, "verdict", f"memorised at {look['kimg']:g} kimg: {look.get('reason')}", todo)
    if look["verdict"] == "untrained" and not run.over:  # as all young generators
        return None
    told = f"{look['verdict']} at {look['kimg']:g} kimg: {look.get('reason')}"
    return Finding(Level.WARN, "verdict", told, run.command("diagnose"))


def risen(run: Figures) -> Finding | None:
    """The KID has risen since its best, beyond its errors."""
    looks = [look for look in run.looks if look["kimg"] > 0 and isinstance(look.get("kid_x1000"), (int, float))]
    if len(looks) < 2:
        return None
    best, now = min(looks, key=lambda look: float(look["kid_x1000"])), looks[-1]
    error = math.hypot(best.get("kid_error") or 0, now.get("kid_error") or 0)
    rise = now["kid_x1000"] - best["kid_x1000"]
    if rise <= 3 * error or now["kid_x1000"] < RISEN * best["kid_x1000"]:
        return None
    values = f"{best['kid_x1000']:.3g} at {best['kimg']:g} kimg, now {now['kid_x1000']:.3g}"
    return Finding(Level.WARN, "KID", f"KID x 1000 was best with {values}; the best snapshot is kept", run.sampled())


def contrast(run: Figures) -> Finding | None:
    """Fakes that are paler or harsher than the reals as a whole, which a discriminator with batch norm does not see."""
    now = run.mean("contrast")
    if run.recipe.get("objective.moments") or len(run.ticks) < RECENT or not (now < PALE or now > 1 / PALE):
        return None
    word = "paler" if now < 1 else "harsher"
    told = f"the fakes are {word} than the reals: their contrast is {now:.2f} times the reals' over the last ticks"
    return Finding(Level.WARN, "contrast", told, run.rerun.but({"--set objective.moments": "10"}))


def few_pictures(run: Figures) -> Finding | None:
    """So few that D learns them by heart."""
    if run.pictures is None or run.pictures >= FEW:
        return None
    if run.over and run.looks and run.looks[-1].get("verdict") in GOOD:
        return Finding(Level.OK, "pictures", f"{run.pictures:,} pictures: few, but they were enough")
    told = f"{run.pictures:,} pictures: D learns so few by heart, and verdicts overlook much below {FEW}"
    source = str(run.recipe.get("data.source", ""))
    return Finding(
        Level.WARN, "pictures", told, _augmented(run) or shlex.join(["gan-transfer", "data", "inspect", source])
    )


def waiting(run: Figures) -> Finding | None:
    """Training waits for pictures."""
    share = run.mean("data_wait")
    if not share >= WAITING:
        return None
    told = f"{share:.0%} of the time is spent waiting for pictures: a slow disk, or a busy machine"
    return Finding(
        Level.WARN, "speed", told, "set GAN_TRANSFER_CACHE to a folder on a faster disk; see: gan-transfer bench data"
    )


def slowed(run: Figures) -> Finding | None:
    """Much slower than it was."""
    speeds = [tick["img_per_sec"] for tick in run.ticks if isinstance(tick.get("img_per_sec"), (int, float))]
    now = run.mean("img_per_sec")
    if len(speeds) < 2 * RECENT or now >= SLOWED * (usual := statistics.median(speeds)):
        return None
    told = f"{now:.0f} img/s over the last ticks, usually {usual:.0f}: other programs, or a processor that is too hot"
    return Finding(Level.WARN, "speed", told, "see what else runs; then measure: gan-transfer bench")


def disk(run: Figures) -> Finding | None:
    """No room for what the run writes next."""
    if run.over or run.free_bytes >= 3 * run.needed_bytes:
        return None
    level = Level.WARN if run.free_bytes >= run.needed_bytes else Level.FAIL
    told = f"{run.free_bytes / 1e9:.2f} GB free; the next checkpoint and snapshot need {run.needed_bytes / 1e9:.2f} GB"
    return Finding(level, "disk", told, f"free space, then: {run.rerun}")


RULES: tuple[Callable[[Figures], Finding | None], ...] = (
    state, damaged_checkpoints, disk, alarm, discriminator_ahead, generator_ahead, verdict, risen, contrast,
    few_pictures, waiting, slowed,
)  # fmt: skip
"""All that is looked for, the gravest first."""


def examine(run: Figures) -> list[Finding]:
    """Follow all rules; the first finding says where the run stands."""
    return [found for rule in RULES if (found := rule(run)) is not None]


def next_command(run: Figures, findings: Sequence[Finding]) -> str:
    """What to do now: what the gravest finding asks for; for a run without fault, to look at its pictures."""
    needed = [found for found in findings if found.level is not Level.OK and found.todo]
    first = worst(needed)
    return first.todo if first else run.command("diagnose") if run.locked else run.sampled()


def _has_level(run: Figures) -> bool:
    """Relativistic logits have none."""
    return bool(run.recipe.get("objective.loss") != "relativistic" and len(run.ticks) >= RECENT)


def _augmented(run: Figures) -> str:
    """The command with augmentation; empty where all of it is on already."""
    missing = len(run.recipe.get("augment.operations", ())) < 3
    return run.rerun.but({"--augment": "color,translation,cutout"}) if missing else ""


def _half(run: Figures, key: str) -> str:
    return f"{run.recipe[f'optim.{key}'] / 2:g}"
