"""Claims about what a person sees in a real terminal, 80 or 140 columns wide: tmux draws it, and its screen is read."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import TINY, sets

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux: apt-get install tmux"),
]
both_widths = pytest.mark.parametrize("width", [80, 140])
TRAINED = TINY | {
    "data.source": "builtin:covers?count=128",
    "train.kimg": "6",
    "train.tick_kimg": "0.5",
    "train.snapshot_kimg": "2",
}
ROW = re.compile(r"\d+\.\d/6 +\d+ +[\d.]+ % .* \d\.\d\d GB")


class Screen:
    """A terminal in which one command runs."""

    def __init__(self, socket: str) -> None:
        self._tmux = ["tmux", "-u", "-L", socket]

    def lines(self) -> list[str]:
        """What it shows now, with what has scrolled out of it."""
        seen = subprocess.run(
            [*self._tmux, "capture-pane", "-p", "-S", "-500"], capture_output=True, text=True, check=True
        )
        return [line.rstrip() for line in seen.stdout.splitlines()]

    def wait_for(self, there: Callable[[list[str]], bool], seconds: float = 90) -> list[str]:
        """The lines as soon as they are as wished for."""
        deadline = time.monotonic() + seconds
        while not there(lines := self.lines()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert there(lines), "\n".join(lines)
        return lines

    def ended(self) -> list[str]:
        """The lines once the command has ended well."""
        return self.wait_for(lambda lines: "ended with 0" in lines)


@contextlib.contextmanager
def running(width: int, folder: Path, *words: str) -> Iterator[Screen]:
    """`gan-transfer` in a terminal of some columns and 40 lines."""
    socket = f"gan-transfer-{os.getpid()}-{width}"
    hidden = ("COLUMNS", "LINES", "NO_COLOR", "TMUX", "_TYPER_FORCE_DISABLE_TERMINAL")
    around = {name: value for name, value in os.environ.items() if name not in hidden} | {"LC_ALL": "C.UTF-8"}
    command = shlex.join([sys.executable, "-m", "gan_transfer", *words])
    line = f"{command}; echo ended with $?; exec cat"
    begin = ["tmux", "-u", "-L", socket, "-f", os.devnull, "new-session", "-d", "-x", str(width), "-y", "40", line]
    subprocess.run(begin, cwd=folder, env=around, check=True)
    try:
        yield Screen(socket)
    finally:
        subprocess.run(["tmux", "-L", socket, "kill-server"], check=True)


@both_widths
def test_a_run_is_followed_in_one_table_that_fits_and_leaves_no_rubbish(width: int, tmp_path: Path) -> None:
    words = ("finetune", "--target", "coverart", "--from", "none", "--outdir", str(tmp_path / "r"), *sets(TRAINED))
    with running(width, tmp_path, *words) as screen:
        live = screen.wait_for(
            lambda lines: sum(map(bool, map(ROW.search, lines))) > 2 and any("KID " in x for x in lines)
        )
        done = screen.ended()
    for shown in (live, done):
        assert max(map(len, shown)) <= width
        (head,) = [line for line in shown if "loss D" in line and "img/s" in line]  # one table, not one for each tick
        assert head.split()[-1] == "memory"
        (sparks,) = [line for line in shown if line.startswith("loss D ")]
        assert re.fullmatch("loss D [▁▂▃▄▅▆▇█]+  loss G [▁▂▃▄▅▆▇█]+(  KID [▁▂▃▄▅▆▇█]+)?", sparks)
    assert any(re.match(r"at \d(\.\d+)? kimg: [a-z ]+, KID x 1000 \d+", line) for line in done)
    assert [line for line in done if line.startswith("error")] == []
    assert str(tmp_path / "r") in "".join(done)


COMMANDS = [("recipes", "ls"), ("recipes", "methods"), ("data", "ls"), ("doctor",), ("models", "ls"), ("--help",)]


@both_widths
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_tables_fit_into_the_terminal(width: int, words: tuple[str, ...], tmp_path: Path) -> None:
    with running(width, tmp_path, *words) as screen:
        shown = screen.wait_for(lambda lines: any(line.startswith("ended with") for line in lines))
    text = [line for line in shown if line and not line.lstrip().startswith("-> ")]
    assert max(map(len, text)) <= width
    assert not any("…" in line for line in text)  # nothing was cut off
    pairs = itertools.pairwise(text)
    cut = [line for line, after in pairs if len(line) == width and line[-1] != "╯" and after[:1].isalnum()]
    assert cut == []  # no word runs on at the left
