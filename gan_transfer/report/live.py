"""What the terminal shows of a run: a live table where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

PLAIN_SECONDS = 10.0  # between two plain lines
COLUMNS = ("kimg", "img/s", "wait", "ETA", "loss D", "loss G", "D(x)", "D(G(z))", "memory")
ROWS = 8  # ticks in the live table
BLOCKS, PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"  # of spark lines; the latter where the terminal has ASCII alone
SPARKED = {"loss_d": "loss D", "loss_g": "loss G"}


class BlockLike(Protocol):
    """A row of the layer table; see `gan_transfer.planning.BlockRow`."""

    @property
    def start(self) -> Any: ...
    @property
    def frozen(self) -> bool: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def batch_norm(self) -> str: ...
    @property
    def learns(self) -> str: ...
    @property
    def from_kimg(self) -> float: ...


class TerminalView:
    """Follows one run on stderr.

    Args:
        console: where to write; by default stderr.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._bar: Progress | None = None
        self._lines: list[dict[str, float]] = []
        self._verdict: str | None = None
        self._sparks: dict[str, list[float]] = {name: [] for name in (*SPARKED.values(), "KID")}
        self._shown = float("-inf")
        self._packing_since: tuple[float, int, float] | None = None  # begin, pictures by then, last line

    def say(self, text: str) -> None:
        """One line of talk."""
        self.console.print(text, markup=False, soft_wrap=True)

    def packing(self, done: int, total: int) -> None:
        """Pictures decoded so far: a bar with its ETA on a terminal, elsewhere a line now and then."""
        if not self.console.is_terminal:
            self._plain_packing(done, total)
            return
        if self._bar is None:
            columns = (TextColumn("decoding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._bar.add_task("decoding", total=total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done)
        if done >= total:
            self._bar.stop()
            self._bar = None

    def blocks(self, rows: Sequence[BlockLike]) -> None:
        """The layer table."""
        self.console.print(block_table(rows))

    def training(self, line: dict[str, float] | None, total_kimg: float) -> None:
        """A tick; None closes the live table."""
        if line is not None:
            self._lines = [*self._lines, line][-ROWS:]
            for key, name in SPARKED.items():
                self._sparks[name].append(line[key])
        if not self.console.is_terminal:
            self._plain(line, total_kimg)
        elif line is None:
            self._close()
        else:
            self._live = self._live or self._open()
            self._live.update(Group(self._table(total_kimg), self._curves()), refresh=True)

    def verdict(self, text: str, kid: float) -> None:
        """The newest look at the generator: it stands under the table, and elsewhere is a line of its own."""
        self._verdict = text
        self._sparks["KID"].append(kid)
        if not self.console.is_terminal:
            self.say(text)

    def close(self) -> None:
        """Put the terminal back in order after an error."""
        self._close()
        if self._bar is not None:
            self._bar.stop()

    def _open(self) -> Live:
        live = Live(console=self.console, auto_refresh=False)
        live.start()
        return live

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _plain_packing(self, done: int, total: int) -> None:
        now = time.monotonic()
        self._packing_since = self._packing_since or (now, done, now)
        begin, before, said = self._packing_since
        if now - said >= PLAIN_SECONDS and done > before:
            self._packing_since = begin, before, now
            left = (total - done) * (now - begin) / (done - before)
            self.say(f"decoded {done:,} of {total:,} pictures, ETA {clock_text(left)}")

    def _plain(self, line: dict[str, float] | None, total_kimg: float) -> None:
        """One line now and then, and always the last."""
        if line is None:
            return
        if line["time"] - self._shown >= PLAIN_SECONDS or line["kimg"] >= total_kimg:
            self._shown = line["time"]
            cells = zip(COLUMNS[1:], tick_cells(line, total_kimg)[1:], strict=True)
            self.say(f"{line['kimg']:.1f}/{total_kimg:g} kimg  " + "  ".join(f"{k} {v}" for k, v in cells))

    def _table(self, total_kimg: float) -> Table:
        # Narrow, so that 80 characters hold it.
        table = Table(*COLUMNS, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
        for line in self._lines:
            table.add_row(*tick_cells(line, total_kimg))
        return table

    def _curves(self) -> Text:
        """Spark lines of the losses and the KID over all that was seen, then the verdict, within the width."""
        blocks = PLAIN_BLOCKS if self.console.options.ascii_only else BLOCKS
        wide = max((self.console.width - 1) // len(self._sparks) - len("loss D  "), 4)
        drawn = [f"{name} {spark(values, wide, blocks)}" for name, values in self._sparks.items() if values]
        return Text("\n".join(["  ".join(drawn), *filter(None, [self._verdict])]))


def spark(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """Values as a line of characters, each the mean of as many of them, from the lowest to the highest block."""
    count = min(len(values), width)
    edges = [place * len(values) // count for place in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    steps = [(mean - low) / (high - low) if high > low else 0.0 for mean in means]
    return "".join(blocks[round(step * (len(blocks) - 1))] for step in steps)


def tick_cells(line: dict[str, float], total_kimg: float) -> list[str]:
    """A tick as text, in the order of `COLUMNS`."""
    return [
        f"{line['kimg']:.1f}/{total_kimg:g}",
        f"{line['img_per_sec']:.0f}",
        f"{line['data_wait'] * 100:.1f} %",
        clock_text(line["eta_sec"]),
        f"{line['loss_d']:.3f}",
        f"{line['loss_g']:.3f}",
        f"{line['d_real']:.2f}",
        f"{line['d_fake']:.2f}",
        f"{line['memory_gb']:.2f} GB",
    ]


def block_table(rows: Sequence[BlockLike]) -> Table:
    """Blocks, parameters, how they began, at what rate they learn, and where their batch-norm statistics come from."""
    table = Table("block", "parameters", "start", "learning rate", "batch norm", header_style="bold", title=None)
    table.columns[1].justify = "right"
    for row in rows:
        begin = f"{row.start.start}: {row.start.detail}" if row.start.detail else row.start.start
        rate = "[cyan]frozen[/]" if row.frozen else f"{row.learning_rate:.3g}"
        rate += " [cyan]batch norm only[/]" if row.learns == "affine" else ""
        rate += f" [cyan]from {row.from_kimg:g} kimg[/]" if row.from_kimg else ""
        table.add_row(
            f"{row.start.network} {row.start.block}", f"{row.start.parameters:,}", begin, rate, row.batch_norm
        )
    return table


def show_rehearsal(plan: Any, found: Any) -> None:
    """What a dry run found: the recipe on stdout, the figures behind it."""
    console = Console(highlight=False, soft_wrap=True)
    for section, values in dataclasses.asdict(plan.recipe).items():
        if not isinstance(values, dict):
            console.print(f"{section} = {json.dumps(values)}", markup=False)
            continue
        console.print(f"\n[bold]{escape(f'[{section}]')}[/]")
        for key, value in values.items():
            origin = plan.origin.get(f"{section}.{key}", "default")
            note = "" if origin == "default" else f"  # {origin}"
            console.print(f"{key} = {json.dumps(value)}{note}", markup=False)
    console.print()
    console.print(block_table(found.blocks))
    console.print(found.frozen, markup=False)
    kimg = plan.recipe.train.kimg
    console.print(f"pictures    {found.pictures:,} ({kimg * 1000 / found.pictures:.1f} epochs in {kimg:g} kimg)")
    console.print(f"speed       {found.img_per_sec:.0f} img/s on {plan.hardware.describe()}, measured over 10 steps")
    if found.parts > 1:
        console.print(f"memory      too small for a batch, which goes through the networks in {found.parts} parts")
    console.print(f"ETA         {clock_text(found.eta_sec)}, without packing, snapshots and looks")
    made = f"{found.pack_bytes / 1e9:.2f} GB of decoded pictures" if found.pack_bytes else "there already"
    console.print(f"pack        {made}")
    console.print(f"disk        {found.run_bytes / 1e9:.2f} GB for checkpoints and snapshots")
    console.print("dry run: nothing was written")


def moved_text(line: dict[str, Any]) -> str:
    """A line of `metric-moved.jsonl` in words."""
    weights = f"G's weights by {line['generator']:.1%}, D's by {line['discriminator']:.1%}"
    apart = f"where two pictures of the source are {line['pixels_apart']:.2f} apart"
    return f"moved from the source: {weights}; the picture of a latent by {line['pixels']:.2f}, {apart}"


def show_end(folder: Path) -> None:
    """The last words of a run: what to look at on stderr, the folder on stdout."""
    grids = sorted(p for p in folder.glob("fakes*.png") if p.name != "fakes_init.png")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if grids:
        console.print(f"samples: {grids[-1]}", markup=False)
    if (moved := folder / "metric-moved.jsonl").exists():
        console.print(moved_text(json.loads(moved.read_text(encoding="utf-8").splitlines()[-1])), markup=False)
        console.print(f"source above, target below: {folder / 'source_target.png'}", markup=False)
    if (page := folder / "report.html").exists():
        console.print(f"report: {page}", markup=False)
    kept = folder / "best" if (folder / "best").is_dir() else folder
    console.print(
        f"next: gan-transfer sample --network {shlex.quote(str(kept))} --seeds 0-63 --grid 8x8 --output out",
        markup=False,
    )
    print(folder)


def clock_text(seconds: float) -> str:
    """Seconds in words: `45 s`, `7 min 30 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
