"""The folders of packs: found, mended or refused, with nothing foreign touched; and the cache."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from drawn import SETTINGS, WHOLE_PACK, Drawn, Stop, content, damage, greys, inside, stop_at

from gan_transfer.data.cache import cache_dir
from gan_transfer.data.pack import PackSettings, cached_pack, find_pack, open_pack, pack, packed_bytes
from gan_transfer.errors import DataError


def test_a_finished_output_folder_is_given_back_without_fetching(tmp_path: Path) -> None:
    made = pack(Drawn(50), SETTINGS, tmp_path / "out")
    again = Drawn(50)
    assert pack(again, SETTINGS, tmp_path / "out") == made
    assert (again.fetched, again.loaded) == (0, [])


@pytest.mark.parametrize("row", [0, 1500, 2499])
def test_a_bad_block_of_a_finished_output_folder_is_named_and_made_anew(tmp_path: Path, row: int) -> None:
    made = pack(Drawn(2500, broken=(5,)), SETTINGS, tmp_path / "out")
    before, said = content(made), list[str]()
    stamp = (made.folder / "verified.json").read_bytes()
    status = (made.folder / "images.npy").stat()
    damage(made, max(row - 1, 0))
    os.utime(made.folder / "images.npy", ns=(status.st_atime_ns, status.st_mtime_ns))  # a fault of the disk
    assert (made.folder / "verified.json").read_bytes() == stamp
    again = Drawn(2500, broken=(5,))
    assert pack(again, SETTINGS, tmp_path / "out", say=said.append) == made
    block = range(row // 1024 * 1024, min(row // 1024 * 1024 + 1024, 2500))
    assert said == [
        f"block {row // 1024} (pictures {block[0]:,} to {block[-1]:,}) of pack 'out' has a wrong checksum; "
        "made anew from drawn:"
    ]
    assert sorted(again.loaded) == list(block)
    assert again.fetched == 1
    assert content(made) == before


def test_many_bad_blocks_are_counted(tmp_path: Path) -> None:
    made, said = pack(Drawn(6000), SETTINGS, tmp_path / "out"), list[str]()
    before = content(made)
    (made.folder / "images.npy").unlink()
    pack(Drawn(6000), SETTINGS, tmp_path / "out", say=said.append)
    assert len(said) == 4
    assert said[-1] == "and so are 3 more blocks of pack 'out'"
    assert content(made) == before


def test_a_damaged_header_is_mended(tmp_path: Path) -> None:
    made = pack(Drawn(50), SETTINGS, tmp_path / "out")
    before = content(made)
    with open(made.folder / "images.npy", "r+b") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"'images.npy' of pack '.*/out' does not have the 50 pictures of its index"):
        open_pack(made.folder)
    pack(Drawn(50), SETTINGS, tmp_path / "out")
    assert content(made) == before


@pytest.mark.parametrize("broken", [(), (7,)])
def test_a_source_that_changed_unnoticed_cannot_mend_a_pack(tmp_path: Path, broken: tuple[int, ...]) -> None:
    class Changed(Drawn):
        def fingerprint(self) -> str:
            return "the same"

    made = pack(Changed(1500, broken), SETTINGS, tmp_path / "out")
    damage(made, 3)
    tail = (made.folder / "images.npy").read_bytes()[128 + packed_bytes(1024, SETTINGS) :]
    with pytest.raises(DataError) as caught:
        pack(Changed(1500, light=1), SETTINGS, tmp_path / "out")
    assert str(caught.value).startswith(
        f"block 0 of pack '{tmp_path}/out' has a wrong checksum, and drawn: gives other"
    )
    assert str(caught.value).endswith("remove the folder and give the same command again")
    assert (made.folder / "images.npy").read_bytes()[128 + packed_bytes(1024, SETTINGS) :] == tail


def test_an_output_folder_with_anything_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    for name in ("notes.txt", "b.png", "a.png", "x\ny", "images.npy"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(DataError) as caught:
        pack(Drawn(5), SETTINGS, tmp_path)
    assert str(caught.value) == (
        f"output folder '{tmp_path}' is not empty, it holds a.png, b.png, images.npy and 2 more; "
        "give another one: --output DIR"
    )
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for output in ("out", "out/inner"):
        with pytest.raises(DataError, match=r"out' is a file; give a folder|cannot be written: Not a directory"):
            pack(Drawn(5), SETTINGS, tmp_path / output)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("finished", [True, False])
def test_an_output_folder_with_another_pack_is_refused(tmp_path: Path, finished: bool) -> None:
    with contextlib.suppress(Stop):
        pack(Drawn(1500), SETTINGS, tmp_path / "out", progress=None if finished else stop_at(1100))
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for source, settings in ((Drawn(1501), SETTINGS), (Drawn(1500), PackSettings(8, 3, "center"))):
        with pytest.raises(DataError) as caught:
            pack(source, settings, tmp_path / "out")
        assert "out' holds another pack: drawn: at 16 x 16 x 3, crop center (fingerprint drawn 15)" in str(caught.value)
        assert f"wanted drawn: at {settings.resolution} x" in str(caught.value)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_damaged_index_in_an_output_folder_is_told(tmp_path: Path) -> None:
    made = pack(Drawn(5), SETTINGS, tmp_path / "out")
    index = json.loads((made.folder / "index.json").read_text())
    cases = {
        "[1": "index.json of pack '.*/out' is damaged",
        json.dumps(index | {"format": 1}): r"pack '.*/out' has format 1, wanted 2; pack its source again",
        json.dumps(index | {"blocks": 7}): "is damaged: blocks: Input should be a valid (list|array|tuple)",
        json.dumps(index | {"blocks": []}): "is damaged: no pictures",
        json.dumps(index | {"part": {"number": 3, "of": 2}}): "is damaged: part: Value error, part 3/2",
        json.dumps(index | {"settings": {"resolution": -1, "channels": 3, "crop": "center"}}): "settings.resolution",
        "[" * 100_000: "is damaged",
    }
    for text, message in cases.items():
        (made.folder / "index.json").write_text(text)
        for attempt in (lambda: pack(Drawn(5), SETTINGS, tmp_path / "out"), lambda: open_pack(tmp_path / "out")):
            with pytest.raises(DataError, match=message) as caught:
                attempt()
            assert "\n" not in str(caught.value)


# The cache


def test_a_cached_pack_is_made_once(tmp_path: Path) -> None:
    assert find_pack(Drawn(5), SETTINGS, cache=tmp_path) is None
    made = cached_pack(Drawn(5), SETTINGS, cache=tmp_path)
    assert made.folder == tmp_path / "packs" / made.key
    again = Drawn(5)
    assert find_pack(again, SETTINGS, cache=tmp_path) == made
    assert cached_pack(again, SETTINGS, cache=tmp_path) == made
    assert (again.loaded, again.fetched) == ([], 0)


def test_other_pictures_or_settings_make_another_pack(tmp_path: Path) -> None:
    keys = [
        cached_pack(source, settings, cache=tmp_path).key
        for source, settings in [
            (Drawn(5), SETTINGS),
            (Drawn(6), SETTINGS),
            (Drawn(5), PackSettings(16, 1, "center")),
            (Drawn(5), PackSettings(32, 3, "center")),
            (Drawn(5), PackSettings(16, 3, "none")),
        ]
    ]
    assert inside(tmp_path / "packs") == sorted(set(keys))
    assert len(set(keys)) == 5


def test_what_lies_elsewhere_is_fetched_before_its_fingerprint_counts(tmp_path: Path) -> None:
    class Remote(Drawn):
        def fingerprint(self) -> str:
            return f"fetched {self.fetched > 0}"

    remote = Remote(5)
    made = cached_pack(remote, SETTINGS, cache=tmp_path)
    assert (made.fingerprint, remote.fetched) == ("fetched True", 1)
    assert find_pack(remote, SETTINGS, cache=tmp_path) == made


def test_a_cached_pack_is_read_through_only_if_it_was_touched(tmp_path: Path) -> None:
    made, seen = cached_pack(Drawn(3000), SETTINGS, cache=tmp_path), list[int]()

    def again(say: Callable[[str], None] | None = None) -> Drawn:
        seen.clear()
        source = Drawn(3000)
        progress = lambda done, total: seen.append(done)  # noqa: E731
        assert cached_pack(source, SETTINGS, progress=progress, say=say, cache=tmp_path) == made
        return source

    again()
    assert seen == []
    os.utime(made.folder / "images.npy", ns=(0, 0))
    assert again().loaded == []
    assert seen == [1024, 2048, 3000]
    again()
    assert seen == []
    said, before = list[str](), content(made)
    damage(made, 2000)
    assert sorted(again(said.append).loaded) == list(range(1024, 2048))
    assert said == [
        f"block 1 (pictures 1,024 to 2,047) of pack '{made.key}' has a wrong checksum; made anew from drawn:"
    ]
    assert content(made) == before
    again()
    assert seen == []


def test_a_cached_pack_cut_short_is_mended(tmp_path: Path) -> None:
    made = cached_pack(Drawn(1500), SETTINGS, cache=tmp_path)
    before = content(made)
    os.truncate(made.folder / "images.npy", 128 + packed_bytes(1400, SETTINGS))
    assert find_pack(Drawn(1500), SETTINGS, cache=tmp_path) is None
    again = Drawn(1500)
    assert cached_pack(again, SETTINGS, cache=tmp_path) == made
    assert min(again.loaded) == 1024
    assert content(made) == before


@pytest.mark.parametrize("name", ["index.json", "images.npy"])
def test_rubbish_in_the_cache_is_made_anew(tmp_path: Path, name: str) -> None:
    made = cached_pack(Drawn(5), SETTINGS, cache=tmp_path)
    before = content(made)
    (made.folder / name).write_text("rubbish")
    (made.folder / "unfinished.json").write_text("rubbish")
    assert find_pack(Drawn(5), SETTINGS, cache=tmp_path) is None
    assert cached_pack(Drawn(5), SETTINGS, cache=tmp_path) == made
    (made.folder / "index.json").unlink()
    (made.folder / "folder").mkdir()
    (made.folder / "folder/file").touch()
    assert cached_pack(Drawn(5), SETTINGS, cache=tmp_path) == made
    assert content(made) == before
    assert inside(made.folder) == WHOLE_PACK


def test_an_interrupted_cached_pack_goes_on(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        cached_pack(Drawn(3000), SETTINGS, progress=stop_at(2100), cache=tmp_path)
    assert find_pack(Drawn(3000), SETTINGS, cache=tmp_path) is None
    again = Drawn(3000)
    assert greys(cached_pack(again, SETTINGS, cache=tmp_path)) == greys(pack(Drawn(3000), SETTINGS, tmp_path / "out"))
    assert min(again.loaded) == 2048


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_can_only_be_read_gives_its_packs(tmp_path: Path) -> None:
    made = cached_pack(Drawn(5), SETTINGS, cache=tmp_path)
    (made.folder / "verified.json").unlink()
    made.folder.chmod(0o500)
    try:
        assert cached_pack(Drawn(5), SETTINGS, cache=tmp_path) == made
    finally:
        made.folder.chmod(0o700)


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("GAN_TRANSFER_CACHE", raising=False)
    assert cache_dir() == tmp_path / ".cache/gan-transfer"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg/gan-transfer"
    monkeypatch.setenv("GAN_TRANSFER_CACHE", "~/own")
    assert cache_dir() == tmp_path / "own"
    assert cached_pack(Drawn(5), SETTINGS).folder.parent == tmp_path / "own/packs"


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file/packs' cannot be written: Not a directory; set GAN_TRANSFER_CACHE"):
        cached_pack(Drawn(5), SETTINGS, cache=tmp_path / "file")
