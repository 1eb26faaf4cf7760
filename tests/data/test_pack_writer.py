"""A pack being made: whatever ends it on the way, it goes on to the same bytes; two processes make it once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from drawn import SETTINGS, WHOLE_PACK, Drawn, Stop, content, greys, inside, stop_at

from gan_transfer.data import cache as cache_module
from gan_transfer.data.cache import locked
from gan_transfer.data.pack import PackSettings, cached_pack, pack, packed_bytes
from gan_transfer.errors import DataError

TORN = [b'{"count": 10', b"\xff\xfe\n", b"[]\n", b'{"count": 1024, "sha256": "00", "broken": []}\n']


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    pack(Drawn(150, broken=(9,)), SETTINGS, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(64, 150), (128, 150), (150, 150)]


@pytest.mark.parametrize("row", [64, 1024, 1088, 2048, 2500])
@pytest.mark.parametrize("broken", [(), (3, 1030, 1031)])
def test_an_interrupted_pack_goes_on_after_the_last_whole_block(
    tmp_path: Path, row: int, broken: tuple[int, ...]
) -> None:
    unbroken = pack(Drawn(2500, broken), SETTINGS, tmp_path / "unbroken")
    with pytest.raises(Stop):
        pack(Drawn(2500, broken), SETTINGS, tmp_path / "out", progress=stop_at(row))
    assert "index.json" not in inside(tmp_path / "out")
    again = Drawn(2500, broken)
    made = pack(again, SETTINGS, tmp_path / "out")
    assert min(again.loaded) == (row - 1) // 1024 * 1024  # the block that was being told of is not recorded yet
    assert content(made) == content(unbroken)
    assert inside(made.folder) == inside(unbroken.folder)


@pytest.mark.parametrize("torn", TORN)
def test_records_that_are_torn_or_wrong_are_not_trusted(tmp_path: Path, torn: bytes) -> None:
    unbroken = pack(Drawn(2500), SETTINGS, tmp_path / "unbroken")
    with pytest.raises(Stop):
        pack(Drawn(2500), SETTINGS, tmp_path / "out", progress=stop_at(1500))
    with open(tmp_path / "out/blocks.jsonl", "ab") as file:
        file.write(torn)
    again = Drawn(2500)
    made = pack(again, SETTINGS, tmp_path / "out")
    assert min(again.loaded) == 1024
    assert content(made) == content(unbroken)


def test_recorded_blocks_whose_bytes_are_lost_are_decoded_again(tmp_path: Path) -> None:
    unbroken = pack(Drawn(2500), SETTINGS, tmp_path / "unbroken")
    with pytest.raises(Stop):
        pack(Drawn(2500), SETTINGS, tmp_path / "out", progress=stop_at(2300))
    os.truncate(tmp_path / "out/images.npy", 128 + packed_bytes(1500, SETTINGS))
    again = Drawn(2500)
    made = pack(again, SETTINGS, tmp_path / "out")
    assert min(again.loaded) == 1024
    assert content(made) == content(unbroken)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, BrokenPipeError])
def test_an_interruption_passes_through_and_leaves_no_thread(tmp_path: Path, error: type[BaseException]) -> None:
    def stop(done: int, total: int) -> None:
        raise error

    with pytest.raises(error):
        pack(Drawn(1000), SETTINGS, tmp_path / "out", progress=stop)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pack")]


def test_what_a_kill_left_under_temporary_names_is_removed(tmp_path: Path) -> None:
    for name in (".unfinished.json.123.tmp", ".index.json.99.tmp", ".lock"):
        (tmp_path / name).write_text("{")
    made = pack(Drawn(5), SETTINGS, tmp_path)
    assert inside(made.folder) == WHOLE_PACK


def test_a_pack_killed_after_its_index_is_whole(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        pack(Drawn(2000), SETTINGS, tmp_path / "out", progress=stop_at(1500))
    left = {name: (tmp_path / "out" / name).read_bytes() for name in ("unfinished.json", "blocks.jsonl")}
    pack(Drawn(2000), SETTINGS, tmp_path / "out")
    for name, text in left.items():
        (tmp_path / "out" / name).write_bytes(text)
    (tmp_path / "out/verified.json").unlink()
    again = Drawn(2000)
    pack(again, SETTINGS, tmp_path / "out")
    assert again.loaded == []


# Two at once


def _pack_drawn(cache: Path) -> int:
    return sum(greys(cached_pack(Drawn(2500), SETTINGS, workers=2, cache=cache)))


def test_processes_that_pack_the_same_at_once_all_end_with_it(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        sums = pool.map(_pack_drawn, [tmp_path] * 4, chunksize=1)
    assert sums == [sum((index + index // 256) % 256 for index in range(2500))] * 4
    assert len(inside(tmp_path / "packs")) == 1


def test_the_second_waits_says_so_once_and_finds_the_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "POLL_SECONDS", 0.01)
    begun, waited = threading.Event(), threading.Event()
    said, seen = list[str](), list[tuple[int, int]]()

    def first(done: int, total: int) -> None:
        begun.set()
        if done > 1200:
            waited.wait(20)

    def second(done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == 3:
            waited.set()

    thread = threading.Thread(target=pack, args=(Drawn(2500), SETTINGS, tmp_path / "out"), kwargs={"progress": first})
    thread.start()
    begun.wait(20)
    late = Drawn(2500)
    made = pack(late, SETTINGS, tmp_path / "out", progress=second, say=said.append)
    thread.join()
    assert said == [f"waiting for another process that writes the pack in '{tmp_path}/out'"]
    assert late.loaded == []
    assert {total for _, total in seen} == {2500}
    assert 0 <= seen[0][0] <= 2500
    assert made.count == 2500


def test_waiting_can_be_interrupted(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out", lambda: None), pytest.raises(Stop):
        pack(Drawn(5), SETTINGS, tmp_path / "out", progress=stop_at(0))


# Full disks


@pytest.mark.parametrize("cached", [True, False])
def test_a_disk_too_small_is_told_before_anything_is_written(tmp_path: Path, cached: bool) -> None:
    class Huge(Drawn):
        def __len__(self) -> int:
            return 10**9

    with pytest.raises(DataError) as caught:
        if cached:
            cached_pack(Huge(0), PackSettings(1024, 3, "center"), cache=tmp_path / "out")
        else:
            pack(Huge(0), PackSettings(1024, 3, "center"), tmp_path / "out")
    assert str(caught.value).startswith("the pack of drawn: needs 3145728.07 GB, ")
    advice = "set GAN_TRANSFER_CACHE to a folder on another disk" if cached else "give an --output on another disk"
    assert str(caught.value).endswith(f"; {advice}")
    assert inside(tmp_path) == []


def test_what_is_done_already_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Stop):
        pack(Drawn(3000), SETTINGS, tmp_path / "out", progress=stop_at(2500))
    done = (tmp_path / "out/images.npy").stat().st_size
    free = 128 + packed_bytes(3000, SETTINGS) - done + cache_module.SPARE_BYTES
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free - 1))
    with pytest.raises(DataError, match="the pack of drawn: needs"):
        pack(Drawn(3000), SETTINGS, tmp_path / "out")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))
    assert pack(Drawn(3000), SETTINGS, tmp_path / "out").count == 3000


def test_a_disk_that_fills_up_is_told_and_the_same_command_goes_on(tmp_path: Path) -> None:
    unbroken = pack(Drawn(3000), SETTINGS, tmp_path / "unbroken")
    with files_up_to(1_700_000), pytest.raises(DataError) as caught:
        pack(Drawn(3000), SETTINGS, tmp_path / "out")
    there = (tmp_path / "out/images.npy").stat().st_size
    assert str(caught.value).startswith(
        f"writing the pack in '{tmp_path}/out' stopped: File too large; "
        f"{128 + packed_bytes(3000, SETTINGS) - there:,} more bytes are needed, "
    )
    assert str(caught.value).endswith("What is done is kept: make room and give the same command again")
    again = Drawn(3000)
    assert content(pack(again, SETTINGS, tmp_path / "out")) == content(unbroken)
    assert min(again.loaded) == 2048


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="only root can make a small disk")
def test_a_small_disk_that_is_full_corrupts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "SPARE_BYTES", -(10**9))  # as if the room had gone meanwhile
    unbroken = pack(Drawn(3000), SETTINGS, tmp_path / "unbroken")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine mounts nothing")
    try:
        for _ in range(2):
            with pytest.raises(DataError, match=r"stopped: No space left on device; .* What is done is kept"):
                pack(Drawn(3000), SETTINGS, disk / "out")
            assert "index.json" not in inside(disk / "out")
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        again = Drawn(3000)
        assert content(pack(again, SETTINGS, disk / "out")) == content(unbroken)
        assert min(again.loaded) == 2048
    finally:
        subprocess.run(["umount", str(disk)], check=True)
