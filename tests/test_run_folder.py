"""Claims about run folders: numbers, the lock, what is resumed, what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gan_transfer.config import to_dict
from gan_transfer.errors import RunError
from gan_transfer.recipe import Recipe
from gan_transfer.run_folder import RunFolder, check_space, check_writable, kimg_label, open_run, unfinished_bytes

RECIPE: dict[str, Any] = {"name": "tiny", "train": {"kimg": 4.0, "device": "cpu"}, "data": {"source": "a"}, "pack": "1"}


def begin(outdir: Path, recipe: dict[str, Any] = RECIPE, name: str = "tiny-covers", new: bool = False) -> Path:
    """Open a run and write its recipe, as a run does; it stays unfinished."""
    with open_run(outdir, name, recipe, new=new) as folder:
        folder.write_json("recipe.json", recipe)
        return folder.path


def finish(path: Path) -> None:
    RunFolder(path).event("finished", kimg=4.0)


def changed(**sections: Any) -> dict[str, Any]:
    return RECIPE | sections


def test_the_first_run_makes_the_outdir_and_is_number_zero(tmp_path: Path) -> None:
    assert begin(tmp_path / "deep" / "runs") == tmp_path / "deep" / "runs" / "00000-tiny-covers"


def test_an_unfinished_run_is_opened_again(tmp_path: Path) -> None:
    assert begin(tmp_path) == begin(tmp_path)


def test_a_finished_run_is_left_alone_and_the_next_number_begun(tmp_path: Path) -> None:
    first = begin(tmp_path)
    finish(first)
    before = (first / "events.jsonl").read_text()
    assert begin(tmp_path).name == "00001-tiny-covers"
    assert (first / "events.jsonl").read_text() == before


def test_new_begins_another_run_beside_an_unfinished_one(tmp_path: Path) -> None:
    begin(tmp_path)
    assert begin(tmp_path, new=True).name == "00001-tiny-covers"


def test_of_two_unfinished_runs_the_newest_is_opened(tmp_path: Path) -> None:
    begin(tmp_path)
    second = begin(tmp_path, new=True)
    assert begin(tmp_path) == second


def test_runs_of_another_name_share_the_numbers_but_are_not_resumed(tmp_path: Path) -> None:
    begin(tmp_path, name="tiny-faces")
    assert begin(tmp_path).name == "00001-tiny-covers"


def test_files_and_foreign_folders_in_the_outdir_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "00007-tiny-covers").write_text("a file")
    (tmp_path / "notes").mkdir()
    (tmp_path / "123-tiny-covers").mkdir()
    assert begin(tmp_path).name == "00000-tiny-covers"


def test_numbers_go_on_behind_the_highest(tmp_path: Path) -> None:
    (tmp_path / "00041-older-data").mkdir()
    assert begin(tmp_path).name == "00042-tiny-covers"


def test_another_recipe_is_refused_with_the_difference(tmp_path: Path) -> None:
    path = begin(tmp_path)
    with pytest.raises(RunError) as caught:
        begin(tmp_path, changed(train={"kimg": 8.0, "device": "cpu"}))
    assert str(caught.value) == (
        f"the unfinished run {path} has another recipe: train.kimg: 4.0 -> 8.0. "
        "Give the same command to resume it, or --new to begin another"
    )


@pytest.mark.parametrize("recipe", [changed(train={"kimg": 4.0, "device": "cuda"}), changed(data={"source": "b"})])
def test_the_device_and_the_place_of_equal_data_may_change(tmp_path: Path, recipe: dict[str, Any]) -> None:
    assert begin(tmp_path, recipe) == begin(tmp_path)


def test_other_pictures_under_the_same_name_are_refused(tmp_path: Path) -> None:
    begin(tmp_path)
    with pytest.raises(RunError, match=re.escape('pack: "1" -> "2"')):
        begin(tmp_path, changed(pack="2"))


def test_a_folder_in_which_nothing_was_begun_is_taken(tmp_path: Path) -> None:
    (tmp_path / "00000-tiny-covers").mkdir()
    assert begin(tmp_path).name == "00000-tiny-covers"


def test_a_newer_folder_in_which_nothing_was_begun_hides_no_unfinished_run(tmp_path: Path) -> None:
    path = begin(tmp_path)
    (tmp_path / "00001-tiny-covers").mkdir()
    assert begin(tmp_path) == path
    assert begin(tmp_path, changed(train={"kimg": 8.0, "device": "cpu"})).name == "00001-tiny-covers"


def test_the_disk_that_an_unfinished_run_has_filled_is_not_asked_for_again(tmp_path: Path) -> None:
    assert unfinished_bytes(tmp_path, "tiny-covers") == 0
    path = begin(tmp_path)
    (path / "snapshots").mkdir()
    (path / "snapshots" / "weights").write_bytes(bytes(10**6))
    assert 10**6 < unfinished_bytes(tmp_path, "tiny-covers") < 10**6 + 10**4
    assert unfinished_bytes(tmp_path, "other-covers") == 0
    RunFolder(path).event("finished")
    assert unfinished_bytes(tmp_path, "tiny-covers") == 0


def test_a_run_in_use_by_another_process_is_refused(tmp_path: Path) -> None:
    path = begin(tmp_path)
    holder = (
        "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); "
        "print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", holder, str(path / ".lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match="is being trained by another process; wait for it, or take --new"):
            begin(tmp_path)
        assert begin(tmp_path, new=True).name == "00001-tiny-covers"
        process.communicate()
    finish(tmp_path / "00001-tiny-covers")


def test_a_run_that_cannot_be_locked_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "00000-tiny-covers" / ".lock").mkdir(parents=True)
    with pytest.raises(RunError, match="00000-tiny-covers cannot be locked"):
        begin(tmp_path)


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    path = begin(tmp_path)
    (path / "state-latest").mkdir()
    (path / "state-latest" / ".checkpoint-000000000064.safetensors.4711.tmp").write_bytes(b"half")
    (path / ".curves.png.4711.tmp").write_bytes(b"half")
    (path / "state-latest" / ".tmpOtVp86").write_bytes(b"half")  # as safetensors calls it
    begin(tmp_path)
    assert sorted(file.name for file in path.rglob("*") if file.is_file()) == [".lock", "recipe.json"]


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_run(tmp_path, "tiny-covers", RECIPE):
        _ = 1 / 0
    assert begin(tmp_path).name == "00000-tiny-covers"


def test_a_line_cut_off_by_a_kill_does_not_hide_the_other_events(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.event("started", device="cpu")
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('{"event": "fini')
    assert [event["event"] for event in folder.events()] == ["started"]
    assert not folder.finished()


def test_events_hold_their_time_and_details(tmp_path: Path) -> None:
    RunFolder(tmp_path).event("resumed", kimg=1.5)
    (line,) = (tmp_path / "events.jsonl").read_text().splitlines()
    event = json.loads(line)
    assert list(event) == ["event", "time", "kimg"]
    assert (event["event"], event["kimg"]) == ("resumed", 1.5)


def test_the_log_keeps_every_line(tmp_path: Path) -> None:
    RunFolder(tmp_path).log("first")
    RunFolder(tmp_path).log("zweite Zeile ä")
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "first\nzweite Zeile ä\n"


@pytest.mark.parametrize("content", [None, "", "{", "[1"])
def test_a_missing_or_damaged_recipe_counts_as_nothing_begun(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "recipe.json").write_text(content)
    assert RunFolder(tmp_path).recipe() is None


@pytest.mark.parametrize(
    ("images_seen", "every_kimg", "label"),
    [
        (0, 20, "000000"),
        (200_000, 50, "000200"),
        (1_500_032, 50, "001500"),
        (1_000, 1, "000001"),
        (512, 0.5, "000000.512"),
        (12_345_678, 0.25, "012345.678"),
    ],
)
def test_the_clock_in_a_file_name(images_seen: int, every_kimg: float, label: str) -> None:
    assert kimg_label(images_seen, every_kimg) == label


def test_the_last_snapshot_of_a_run_never_takes_the_name_of_the_one_before() -> None:
    assert kimg_label(1_000, 1, 1.5) != kimg_label(1_504, 1, 1.5)


def test_an_outdir_below_a_file_is_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=re.escape(f"--outdir {tmp_path}/file/runs: {tmp_path}/file is a file, wanted")):
        check_writable(tmp_path / "file" / "runs")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_an_outdir_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="is not writable"):
        check_writable(tmp_path / "runs")
    tmp_path.chmod(0o700)


def test_checking_an_outdir_writes_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "runs")
    check_space(tmp_path / "runs", 1000)
    assert list(tmp_path.iterdir()) == []


def test_too_small_a_disk_is_refused_with_both_figures(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the run needs 1000000000\.00 GB for checkpoints and snapshots, \S+ GB are"):
        check_space(tmp_path / "runs", 10**18)


def test_an_outdir_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match="cannot make a run folder"):
        begin(tmp_path / "runs")


@pytest.mark.parametrize("content", [None, "", "{"])
def test_a_run_with_checkpoints_whose_recipe_is_gone_is_refused(tmp_path: Path, content: str | None) -> None:
    path = begin(tmp_path)
    (path / "state-latest").mkdir()
    (path / "state-latest" / "checkpoint-000000000064.safetensors").touch()
    (path / "recipe.json").unlink()
    if content is not None:
        (path / "recipe.json").write_text(content)
    with pytest.raises(RunError) as caught:
        begin(tmp_path)
    assert str(caught.value) == (f"{path / 'recipe.json'} is missing or damaged. Put it back, or begin anew with --new")
    assert begin(tmp_path, new=True).name == "00001-tiny-covers"


def test_settings_that_were_not_yet_known_when_a_run_began_count_as_their_defaults(tmp_path: Path) -> None:
    old, new = to_dict(Recipe()), to_dict(Recipe())
    del old["anchor"], old["optim"]["lr_mult"], old["model"]["stack"]
    with open_run(tmp_path, "coverart-covers", old) as begun:
        begun.write_json("recipe.json", old)
    with open_run(tmp_path, "coverart-covers", new) as resumed:
        assert resumed.path == begun.path
    new["optim"]["lr_mult"] = {"d32": 0.1}
    told = r"has another recipe: optim\.lr_mult\.d32: \(absent\) -> 0\.1\. Give"
    with pytest.raises(RunError, match=told), open_run(tmp_path, "coverart-covers", new):
        pass
