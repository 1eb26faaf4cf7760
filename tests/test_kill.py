"""Claims about runs that are killed, told to stop, or meet a full disk at any moment: the same command goes on, and the
weights at the end are those of an unbroken run, bit for bit."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import victims
from conftest import TINY, sets
from reading import Witness, clock, differing, events, stats, train

from gan_transfer.errors import Interrupted

NAME = "imagenet-builtin-covers"
FIRST = Path("runs") / f"00000-{NAME}"
WORDS = ["pretrain", "imagenet", *sets(TINY | {"train.snapshot_kimg": "0.256"})]
LONG = ["pretrain", "imagenet", *sets(TINY | {"train.kimg": "2", "train.checkpoint_kimg": "0.04"})]
LOOKED = [
    "pretrain",
    "imagenet",
    *sets(TINY | {"data.source": "builtin:covers?count=128"}),
    "--on-collapse",
    "rollback",
]
CODES = {"kill": {-signal.SIGKILL}, "terminate": {143}, "full": {2}}
pytestmark = [
    pytest.mark.usefixtures("home"),
    pytest.mark.skipif(victims.FORKS is None, reason="Windows has neither these signals nor this limit"),
]


@dataclasses.dataclass(frozen=True)
class Whole:
    """A run that nothing befell: its folder, how often it touched the file system, and its seconds."""

    run: Path
    touches: int
    seconds: float

    def equals(self, run: Path) -> None:
        """Compare another run that has ended."""
        assert differing(run, self.run) == set()
        assert clock(run) == clock(self.run)
        assert events(run)[-1] == "finished"
        assert [path for path in run.rglob("*") if "tmp" in path.name] == []

    def comes_of(self, words: list[str], run: Path = FIRST) -> None:
        """Give a command once more, and see that it ends as if nothing had been."""
        end = victims.run([*words, "--outdir", str(run.parent)])
        assert (end.code, "damaged" in end.err) == (0, False), end.err
        self.equals(run)


def unbroken(words: list[str], folder: Path) -> Whole:
    """Do a run in another folder twice, the second time with all pictures at hand."""
    with contextlib.chdir(folder):
        for _ in range(2):
            begin = time.monotonic()
            end = victims.run([*words, "--new"])
            assert end.code == 0, end.err
        return Whole(folder / f"runs/00001-{NAME}", end.touches, time.monotonic() - begin)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """An unbroken run of `WORDS`."""
    return unbroken(WORDS, tmp_path_factory.mktemp("unbroken"))


def befalls(words: list[str], at: int, what: str, run: Path = FIRST) -> None:
    """Have something befall a command at one of its touches of the file system, if it gets that far."""
    end = victims.run([*words, "--outdir", str(run.parent)], at, what)
    assert end.code in CODES[what] | {0}, end.err
    faults = [line for line in end.err.splitlines() if line.startswith("error: ")]
    assert len(faults) == (end.code > 0), end.err
    assert "Traceback" not in end.err
    if end.code == 2:
        assert faults[0].endswith("give the same command again") or faults[0].endswith("give the same command")


def kill_at_random(words: list[str], kills: int, longest: float, whole: Whole) -> None:
    """Kill a run so many times, each time after at most so many seconds, and let it end; one that is quicker is
    compared too, and another one begun."""
    number, left = 0, kills
    while left:
        run = Path(f"runs{number}") / f"00000-{NAME}"
        victim = victims.spawn([*words, "--outdir", str(run.parent)])
        time.sleep(random.uniform(0, longest))
        victim.send(signal.SIGKILL)
        if victim.end().code == 0:
            whole.equals(run)
            number += 1
        else:
            left -= 1
    whole.comes_of(words, run)


def test_killed_at_two_random_moments_a_run_ends_as_an_unbroken_one(whole: Whole) -> None:
    kill_at_random(WORDS, 2, whole.seconds, whole)


@pytest.mark.parametrize("what", ["kill", "terminate", "full"])
def test_at_a_random_touch_of_the_file_system(what: str, whole: Whole) -> None:
    befalls(WORDS, random.randint(1, whole.touches - 8), what)  # before the end
    whole.comes_of(WORDS)


@pytest.mark.slow
def test_killed_at_thirty_random_moments_a_run_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    whole = unbroken(LONG, tmp_path)
    kill_at_random(LONG, 30, whole.seconds / 4, whole)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["kill", "terminate", "full"])
def test_at_fifteen_touches_of_the_file_system(
    what: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_TRANSFER_CACHE", "cache")  # in the folder that is watched
    first = unbroken(LOOKED, tmp_path_factory.mktemp("unbroken"))
    for at in sorted(random.sample(range(1, first.touches + 40), 15)):  # those of the cache come on top
        monkeypatch.setenv("GAN_TRANSFER_CACHE", f"cache{at}")
        run = Path(f"runs{at}") / f"00000-{NAME}"
        befalls(LOOKED, at, what, run)
        if not (run / "events.jsonl").exists() or events(run)[-1:] != ["finished"]:
            first.comes_of(LOOKED, run)
        else:
            for left in run.glob(".*.tmp"):  # of curves or report, which are drawn after the end
                left.unlink()
            first.equals(run)


@pytest.mark.parametrize("kept", [True, False])
def test_where_all_checkpoints_are_damaged_the_run_is_refused_and_stays_as_it_is(whole: Whole, kept: bool) -> None:
    befalls(WORDS, whole.touches - 12, "kill")  # before the end, at or just after the last checkpoint
    for left in FIRST.rglob(".*.tmp"):
        left.unlink()
    *older, newest = sorted((FIRST / "state-latest").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    for checkpoint in older:
        checkpoint.write_bytes(b"")
    if not kept:
        shutil.rmtree(FIRST / "snapshots")
    before = sorted(FIRST.rglob("*"))
    for _ in range(2):
        end = victims.run(WORDS)
        advice = "Begin anew with --new" + f" --from {FIRST}/snapshots/000000.256" * kept
        last = end.err.splitlines()[-1]
        assert (end.code, last.startswith(f"error: no checkpoint in {FIRST / 'state-latest'} can be read: ")) == (
            2,
            True,
        )
        assert last.endswith(f". {advice}")
        assert sorted(FIRST.rglob("*")) == before


def test_a_second_command_leaves_a_run_that_is_being_trained_alone() -> None:
    first = victims.spawn(LONG)
    assert first.wait_for((FIRST / "stats.jsonl").exists)
    second = victims.run(LONG)
    first.send(signal.SIGKILL)
    assert (second.code, second.err.splitlines()[-1]) == (
        2,
        f"error: {FIRST} is being trained by another process; wait for it, or take --new",
    )
    assert first.end().code == -signal.SIGKILL
    assert events(FIRST) == ["started"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
@pytest.mark.parametrize("folder", [FIRST, FIRST / "state-latest", FIRST / "snapshots"])
def test_a_folder_that_may_no_longer_be_written_is_told_in_one_line(folder: Path) -> None:
    befalls(LONG, 60, "kill")
    folder.mkdir(exist_ok=True)
    folder.chmod(0o500)
    end = victims.run(LONG)
    folder.chmod(0o700)
    assert end.code == 2
    assert [line for line in end.err.splitlines() if line.startswith("error: ")] == end.err.splitlines()[-1:]


def test_a_clock_that_goes_backwards_harms_nothing(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    days = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: now - 86400 * next(days))
    with pytest.raises(Interrupted):
        train("imagenet", {"train.snapshot_kimg": "0.256"}, "runs", Witness(2, signal.SIGTERM))
    train("imagenet", {"train.snapshot_kimg": "0.256"}, "runs")
    whole.equals(FIRST)
    assert all(line["img_per_sec"] > 0 and line["eta_sec"] >= 0 for line in stats(FIRST))
    times = [line["time"] for line in stats(FIRST)]
    assert times == sorted(times, reverse=True)
