"""Composes many runs: methods x seeds on the same pictures, each an ordinary run folder, measured on held-out ones.

A study folder holds `settings.json`, `runs/<method>-seed<k>/00000-.../`, `measurements.jsonl`, and what is made of
them: `study.json`, `study.csv`, `study.png`. The same command again goes on; more methods and seeds may be asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import config, planning, run_folder
from .data.paths import slug
from .data.sources import open_source
from .diagnostics.curves import Point
from .diagnostics.extractors import open_extractor
from .diagnostics.nulls import LEAST_REALS
from .errors import DataError, GanTransferError, RecipeError, RunError
from .files import write_json
from .measuring import LEAST_HELD_OUT, Measurements, Yardstick, yardstick
from .recipe import load_recipe_with_origin
from .run_folder import FREE, RunFolder
from .signals import StopSignal, stop_signal
from .study_runs import Design, Entry, View, data_override, ended, outdir_of, overrides, train
from .training import hardware
from .transfer.methods import resolve


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a study, measured.

    Attributes:
        label: of its entry.
        seed: its own.
        points: in order; the first is from before the first step.
        broken_off: whether its own looks ended it as collapsed, or it was not finite.
        img_per_sec: the middle one of its ticks; 0 where it had none.
        memory_gb: the most it held.
        folder: the run's, below the study's.
    """

    label: str
    seed: int
    points: tuple[Point, ...]
    broken_off: bool
    img_per_sec: float
    memory_gb: float
    folder: str

    @property
    def collapsed(self) -> bool:
        """Whether it ended collapsed: by its last snapshot, or because its own looks or a loss stopped it."""
        return self.broken_off or self.points[-1].verdict == "collapsed"


def entries(methods: str, sources: str = "") -> tuple[Entry, ...]:
    """What `--methods a,b` and `--sources x,y` mean: each method from each source; `scratch` has none.

    Raises:
        RecipeError: a method is not known, is given twice, or methods exclude each other.
    """
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise RecipeError("--methods names no method; wanted some such as scratch,finetune")
    pairs = [text.strip() for text in sources.split(",") if text.strip()]
    for name in names:
        resolve(name)
    made = []
    for name in names:
        if not pairs or "transfer.source" in Entry(name, name).keys:
            made.append(Entry(name, name))
        else:
            made += [Entry(p if len(names) == 1 else f"{name} from {p}", name, p) for p in pairs]
    for entry in made:
        if sum(other.folder == entry.folder for other in made) > 1:
            raise RecipeError(f"{entry.label} is asked for twice")
    return tuple(made)


def fitting(design: Design, view: View) -> Design:
    """The design without those of its entries that its target and its pair do not allow; says which and why.

    Raises:
        GanTransferError: something is wrong for all of them, or with the data.
    """
    design, kept = _settled(design), []
    faults: list[GanTransferError] = []
    for entry in design.entries:
        try:
            _planned(design, entry, 0)
            kept.append(entry)
        except RecipeError as fault:
            faults.append(fault)
    if not kept:
        raise faults[0]
    for told in faults:
        view.say(f"left out: {told}")
    return dataclasses.replace(design, entries=tuple(kept))


def carry_out(design: Design, view: View) -> list[Trial]:
    """Train what has not been trained, measure what has not been measured, and give all trials.

    Raises:
        GanTransferError: a setting, the data, a source pair or the study folder is not usable: told before the first
            run, for all methods.
        RunError: a run could not be trained for another reason than what happened in it.
        Interrupted: stopped from outside; the runs have been told to end, and have saved everything.
    """
    if design.seeds < 1 or design.jobs < 1:
        raise RecipeError(f"--seeds {design.seeds} --jobs {design.jobs}: wanted at least 1 of each")
    _check_changes(design)
    design = _settled(design)
    plans = {
        (entry.label, seed): _planned(design, entry, seed) for entry in design.entries for seed in range(design.seeds)
    }
    _check_shapes(plans)
    new = [plan for key, plan in plans.items() if not any(outdir_of(design, *key).glob("[0-9]*-*/"))]
    needed = sum(planning.disk_bytes(plan.recipe) for plan in new)
    run_folder.check_space(design.folder, needed, f"{len(new)} runs need")
    _open_folder(design, plans[design.entries[0].label, 0])
    with stop_signal() as stop:
        train(design, {key: plan.recipe for key, plan in plans.items()}, view, stop)
        made = _yardstick(design, plans[design.entries[0].label, 0], view)
        measurements = Measurements(design.folder / "measurements.jsonl", made)
        trials = []
        for (label, seed), plan in plans.items():
            stop.check("measuring")
            view.say(f"measuring {label}, seed {seed}")
            trials.append(_trial(design, label, seed, plan, measurements, stop))
    return trials


def _check_changes(design: Design) -> None:
    """Raise `RecipeError` where a setting of all runs is one that a method sets, or differs from run to run."""
    for key in (change.partition("=")[0].strip() for change in design.changes):
        clashing = [entry.label for entry in design.entries if key in entry.keys and key != "transfer.source"]
        if clashing:
            why = f"{', '.join(clashing)} sets it, so that the others would be compared with something else"
            raise RecipeError(f"--set {key}: {why}; leave it out, or leave that method out")
        if key == "train.auto_batch":
            raise RecipeError(f"--set {key}: each run would measure a batch of its own; give --set train.batch=N")


def _check_shapes(plans: Mapping[tuple[str, int], planning.Plan]) -> None:
    """Raise `RecipeError` unless all runs draw pictures of one kind: KIDs of others cannot be compared."""
    kinds: dict[tuple[int, int], str] = {}
    for (label, _), plan in plans.items():
        kinds.setdefault((plan.recipe.model.resolution, int(plan.recipe.model.channels)), label)
    if len(kinds) > 1:
        told = ", ".join(f"{label}: {size}x{size}, {count} channels" for (size, count), label in kinds.items())
        raise RecipeError(f"pictures of several kinds, whose KIDs cannot be compared: {told}. Give pairs of one shape")


def _settled(design: Design) -> Design:
    """The design with the data source by its full name, and with the number of held-out pictures."""
    recipe = load_recipe_with_origin("finetune", design.target, [*design.changes, *data_override(design)])[0]
    wanted = recipe.data.hub if recipe.data.source == "hf" else recipe.data.source
    with contextlib.closing(open_source(wanted)) as source:
        source.fetch()
        count = len(source)
        held_out = design.held_out or count // 3
        most = count - max(recipe.train.batch, LEAST_REALS - held_out)
        if not LEAST_HELD_OUT <= held_out <= most:
            wanted = f"wanted {LEAST_HELD_OUT} to {most}" if most >= LEAST_HELD_OUT else "give more pictures"
            raise DataError(
                f"{source.origin} has {count:,} pictures; {held_out:,} held out of training are "
                f"{'too few' if held_out < LEAST_HELD_OUT else 'too many'}, {wanted}. See --held-out"
            )
        return dataclasses.replace(design, data=source.spec, held_out=held_out)


def _planned(design: Design, entry: Entry, seed: int) -> planning.Plan:
    """One run, checked."""
    try:
        return _plan_of(design, entry, seed)
    except GanTransferError as fault:
        lines = [f"{entry.label}: {line}" for line in str(fault).splitlines()]
        raise type(fault)("\n".join(lines)) from None


def _plan_of(design: Design, entry: Entry, seed: int) -> planning.Plan:
    recipe, origin = load_recipe_with_origin("finetune", design.target, overrides(design, entry, seed))
    if recipe.train.snapshot_kimg > recipe.train.kimg:
        raise RecipeError(
            f"--kimg {recipe.train.kimg:g} ends before the first snapshot, {recipe.train.snapshot_kimg:g}"
        )
    return planning.plan(recipe, origin, design.folder)


def _open_folder(design: Design, plan: planning.Plan) -> None:
    """Make the study folder, or see that it was made with the same settings."""
    recipe = config.flatten(config.to_dict(plan.recipe))
    by_method = {key for entry in design.entries for key in entry.keys}
    kept = {
        k: v for k, v in recipe.items() if not k.startswith("model.") and k not in {*by_method, *FREE, "train.seed"}
    }
    settings = {"target": design.target, "pictures": plan.source.fingerprint()} | kept
    path = design.folder / "settings.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if old is None:
        try:
            design.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, settings)
        except OSError as error:
            raise RunError(f"--outdir {design.folder}: {error.strerror}. Give another --outdir") from None
        return
    common = {key: old[key] for key in old if key in settings}
    if changed := config.difference(common, {key: settings[key] for key in common}):
        raise RunError(
            f"the study {design.folder} was made with other settings: {'; '.join(changed)}. "
            "Give the same command to go on with it, or another --outdir"
        )


def _yardstick(design: Design, plan: planning.Plan, view: View) -> Yardstick:
    device = hardware.choose(plan.recipe.train.device, "float32").device
    eyes = open_extractor(design.extractor, device)
    looks = 1 + math.ceil(plan.recipe.train.kimg / plan.recipe.train.snapshot_kimg)
    return yardstick(design.data, design.held_out, plan.pack_settings, eyes, design.fakes, looks, view)


def _trial(
    design: Design, label: str, seed: int, plan: planning.Plan, measurements: Measurements, stop: StopSignal
) -> Trial:
    """Measure one run."""
    folder = ended(design, label, seed, plan.recipe)
    if folder is None:
        raise RunError(f"{label}, seed {seed}, has come to no end; give the same command again")
    name = f"{outdir_of(design, label, seed).name}/{folder.path.name}"
    first = measurements.start(name) or measurements.measured(name, planning.networks(plan)[0].eval(), 0.0)
    points = [first]
    for point in measurements.of_snapshots(name, folder.path):
        stop.check("measuring")
        points.append(point)
    speeds, memory = _ticks(folder)
    broken_off = folder.events()[-1].get("event") != "finished"
    return Trial(label, seed, tuple(points), broken_off, speeds, memory, f"runs/{name}")


def _ticks(folder: RunFolder) -> tuple[float, float]:
    """The middle speed of a run, and the most memory that it held."""
    lines = list(_lines(folder.stats))
    if not lines:
        return 0.0, 0.0
    speeds = sorted(line["img_per_sec"] for line in lines)
    return speeds[len(speeds) // 2], max(line["memory_gb"] for line in lines)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            yield json.loads(text)


def name_of(target: str, data: str) -> str:
    """The folder that a study goes to where none is given: `coverart-covers-zip`."""
    return slug(f"{Path(target).stem}-{data.partition(':')[2].rsplit('/', 1)[-1] or data or 'own'}")


def table(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """All points of all trials, a row each, for a CSV file."""
    about = ((trial, {"method": trial.label, "seed": trial.seed}) for trial in trials)
    return [told | dataclasses.asdict(point) for trial, told in about for point in trial.points]
