"""TensorBoard and Weights & Biases, where somebody asks for them: they are shown what a run's books say.

A tracker gets the lines of `stats.jsonl` and `metric-panel.jsonl` and the sample grids, and nothing else; a run that is
resumed or rolled back is shown anew from its books. A tracker that fails is given up, and the run goes on.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .errors import RecipeError
from .run_folder import RunFolder
from .text import reason

UNSHOWN = ("kimg", "time", "eta_sec", "n", "judged", "reals", "seconds", "looks")
"""Numbers in the books that are no curves."""

PACKAGES = ("tensorboard", "wandb")
"""Each is an extra of this package and a flag of the commands that train."""


class Writer(Protocol):
    """What a service takes."""

    def scalars(self, values: Mapping[str, float], images_seen: int) -> None:
        """Numbers by name at a moment; moments never go back."""

    def picture(self, name: str, path: Path, images_seen: int) -> None:
        """A PNG at a moment."""

    def close(self) -> None:
        """Nothing more comes."""


@dataclasses.dataclass
class Tracker:
    """One service that follows one run.

    Attributes:
        name: in `PACKAGES`.
        say: is told when it has to be given up.
    """

    name: str
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._writer: Writer | None = None
        self._folder: RunFolder | None = None
        self._shown = -1.0  # kimg of the newest tick
        self._seen: set[tuple[str, float]] = set()  # looks and grids

    def open(self, folder: RunFolder) -> None:
        """Begin, with all that the books say already."""
        self._folder, self._seen, self._shown = folder, set(), -1.0
        self._safely(self._reopen)

    def tick(self, line: Mapping[str, Any]) -> None:
        """Show a line of `stats.jsonl`, and before it the looks and grids that came since the last."""

        def show() -> None:
            if line["kimg"] <= self._shown and self._folder:  # rolled back
                self.open(self._folder)
                return
            self._catch_up()
            self._write(line, "stats")
            self._shown = line["kimg"]

        self._safely(show)

    def close(self) -> None:
        """Show what came after the last tick, and end."""

        def end() -> None:
            self._catch_up()
            if self._writer is not None:
                self._writer.close()

        self._safely(end)
        self._writer = None

    def _reopen(self) -> None:
        assert self._folder is not None, "open() comes first"
        if self._writer is not None:
            self._writer.close()
        self._writer = WRITERS[self.name](self._folder)
        for line in [line for line in self._folder.ticks() if isinstance(line, dict) and "kimg" in line]:
            self._catch_up(line["kimg"])
            self._write(line, "stats")
            self._shown = line["kimg"]

    def _catch_up(self, before: float = math.inf) -> None:
        """Show looks and grids from before a moment that have not been shown."""
        if self._folder is None or self._writer is None:
            return
        found: list[tuple[float, str, Any]] = [(look["kimg"], "look", look) for look in self._folder.looks()]
        found += [(kimg, "fakes", path) for kimg, path in _grids(self._folder.path)]
        for kimg, kind, what in sorted(found, key=lambda item: item[:2]):
            if kimg < before and (kind, kimg) not in self._seen:
                self._seen.add((kind, kimg))
                if kind == "look":
                    self._write(what, kind)
                else:
                    self._writer.picture(kind, what, round(kimg * 1000))

    def _write(self, line: Mapping[str, Any], group: str) -> None:
        if self._writer is not None:
            numbers = {name: v for name, v in line.items() if isinstance(v, (int, float)) and name not in UNSHOWN}
            named = {f"{group}/{name}": float(value) for name, value in numbers.items() if math.isfinite(value)}
            self._writer.scalars(named, round(line["kimg"] * 1000))

    def _safely(self, work: Callable[[], None]) -> None:
        """Other people's code must not end a run."""
        try:
            work()
        except Exception as error:
            self.say(f"warning: --{self.name} is given up: {reason(error)}")
            self._writer = None


def make_trackers(wanted: Mapping[str, bool], say: Callable[[str], None]) -> list[Tracker]:
    """Trackers for the flags that are set.

    Raises:
        RecipeError: a package is not installed; tells the command.
    """
    names = [name for name, on in wanted.items() if on]
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        lines = [f"--{name} needs the package {name}: pip install 'gan-transfer[{name}]'" for name in missing]
        raise RecipeError("\n".join(lines))
    return [Tracker(name, say) for name in names]


class TensorBoard:
    """Event files in `tensorboard/` of a run, made anew from its books.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        from torch.utils.tensorboard import SummaryWriter

        place = folder.path / "tensorboard"
        shutil.rmtree(place, ignore_errors=True)  # of an earlier session, whose curves would lie beside these
        self._events: Any = SummaryWriter(str(place))

    def scalars(self, values: Mapping[str, float], images_seen: int) -> None:
        """See `Writer`."""
        for name, value in values.items():
            self._events.add_scalar(name, value, images_seen)

    def picture(self, name: str, path: Path, images_seen: int) -> None:
        """See `Writer`."""
        self._events.add_image(name, _pixels(path), images_seen, dataformats="HWC")
        self._events.flush()

    def close(self) -> None:
        """See `Writer`."""
        self._events.close()


class WeightsAndBiases:
    """A run of the project `gan-transfer` on Weights & Biases, or in `wandb/` of the run with WANDB_MODE=offline.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        import wandb

        started = next((event for event in folder.events() if event.get("event") == "started"), {})
        stable = f"{folder.path.name}-{zlib.crc32(str(started.get('time')).encode()):08x}"  # of a resumed run too
        settings = wandb.Settings(console="off", disable_git=True, save_code=False, silent=True)
        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            project="gan-transfer", name=folder.path.name, id=stable, resume="allow", dir=str(folder.path),
            config=folder.recipe() or {}, settings=settings,
        )  # fmt: skip
        self._begin = int(self._run.step) if self._run.resumed else 0

    def scalars(self, values: Mapping[str, float], images_seen: int) -> None:
        """See `Writer`; what the service has already is left out."""
        if images_seen >= self._begin:
            self._run.log(dict(values), step=images_seen)

    def picture(self, name: str, path: Path, images_seen: int) -> None:
        """See `Writer`."""
        if images_seen >= self._begin:
            self._run.log({name: self._wandb.Image(str(path))}, step=images_seen)

    def close(self) -> None:
        """See `Writer`."""
        self._run.finish()


WRITERS: dict[str, Callable[[RunFolder], Writer]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def _grids(folder: Path) -> list[tuple[float, Path]]:
    """The sample grids of a run with their kimg."""
    names = {path.stem.removeprefix("fakes"): path for path in folder.glob("fakes*.png")}
    return sorted((0.0 if label == "_init" else float(label), path) for label, path in names.items())


def _pixels(path: Path) -> Any:
    """A PNG as uint8 [H, W, 3]."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.array(image.convert("RGB"))
