"""The pack: the same bytes however it is made, broken pictures set aside, and nothing half-made left behind."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_transfer import files
from gan_transfer.data.cache import cache_dir
from gan_transfer.data.decode import decode
from gan_transfer.data.pack import Pack, PackSettings, find_pack, pack, packed_bytes
from gan_transfer.data.paths import slug
from gan_transfer.data.sources import open_source
from gan_transfer.errors import DataError

SETTINGS = PackSettings(16, 3, "center")


class Drawn:
    """A source without files: picture i is a flat grey of i; those in `broken` fail to load."""

    spec = "drawn:"
    name = "drawn"

    def __init__(self, count: int, broken: tuple[int, ...] = (), meanwhile: Callable[[], object] | None = None) -> None:
        self.count = count
        self.broken = broken
        self.meanwhile = meanwhile

    def __len__(self) -> int:
        return self.count

    def label(self, index: int) -> str:
        return f"{index}.png"

    def load(self, index: int, hint: int | None = None) -> Image.Image:
        if index in self.broken:
            raise ValueError(f"torn\nat {index}")
        if self.meanwhile and index == self.count - 1:
            self.meanwhile()
        return Image.new("L", (20, 20), index % 256)

    def fingerprint(self) -> str:
        return f"drawn {self.count} {self.broken}"

    def close(self) -> None:
        pass


def greys(made: Pack) -> list[int]:
    return [int(value) for value in made.images[:, 0, 0, 0]]


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "packs").glob("*"))


def zip_of_noise(path: Path, count: int, broken: tuple[int, ...] = ()) -> Path:
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(count):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (24, 20, 3), np.uint8)).save(buffer, "JPEG")
            data = buffer.getvalue()
            archive.writestr(f"{index:03d}.jpg", data[: len(data) // 2] if index in broken else data)
    return path


def test_a_pack_holds_each_picture_decoded_in_order(tmp_path: Path) -> None:
    source = open_source(str(zip_of_noise(tmp_path / "a.zip", 70)))
    made = pack(source, SETTINGS, cache=tmp_path)
    assert (made.images.shape, made.images.dtype, made.count) == ((70, 16, 16, 3), np.uint8, 70)
    expected = [decode(source.load(index, 16), 16, 3) for index in range(70)]
    assert np.array_equal(made.images, expected)
    assert not made.images.flags.writeable


@pytest.mark.parametrize("workers", [2, 7])
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path, workers: int) -> None:
    source = open_source(str(zip_of_noise(tmp_path / "a.zip", 300, broken=(5, 77, 299))))
    one = pack(source, SETTINGS, workers=1, cache=tmp_path / "one")
    many = pack(source, SETTINGS, workers=workers, cache=tmp_path / "many")
    names = ["images.npy", "index.json", "quarantine.txt"]
    assert sorted(path.name for path in many.folder.iterdir()) == names
    assert [files.sha256(one.folder / name) for name in names] == [files.sha256(many.folder / name) for name in names]


def test_the_index_says_what_the_pack_is(tmp_path: Path) -> None:
    made = pack(Drawn(20, broken=(3,)), SETTINGS, cache=tmp_path)
    images = made.folder / "images.npy"
    assert json.loads((made.folder / "index.json").read_text()) == {
        "format": 1,
        "source": "drawn:",
        "fingerprint": "drawn 20 (3,)",
        "settings": {"resolution": 16, "channels": 3, "crop": "center"},
        "filters": {"shrink": "lanczos", "enlarge": "bicubic"},
        "count": 19,
        "quarantined": 1,
        "shape": [19, 16, 16, 3],
        "bytes": images.stat().st_size,
        "sha256": files.sha256(images),
    }
    assert images.stat().st_size == 128 + packed_bytes(19, SETTINGS)


def test_a_pack_is_made_once(tmp_path: Path) -> None:
    assert find_pack(Drawn(5), SETTINGS, cache=tmp_path) is None
    made = pack(Drawn(5), SETTINGS, cache=tmp_path)
    assert find_pack(Drawn(5), SETTINGS, cache=tmp_path) == made
    seen: list[int] = []
    assert pack(Drawn(5), SETTINGS, progress=lambda done, _: seen.append(done), cache=tmp_path) == made
    assert seen == []


def test_other_pictures_or_settings_make_another_pack(tmp_path: Path) -> None:
    packs = [
        pack(source, settings, cache=tmp_path).key
        for source, settings in [
            (Drawn(5), SETTINGS),
            (Drawn(6), SETTINGS),
            (Drawn(5), PackSettings(16, 1, "center")),
            (Drawn(5), PackSettings(32, 3, "center")),
        ]
    ]
    assert left_in(tmp_path) == sorted(set(packs))
    assert len(set(packs)) == 4


def test_a_damaged_pack_is_made_anew(tmp_path: Path) -> None:
    made = pack(Drawn(5), SETTINGS, cache=tmp_path)
    for name in ("images.npy", "index.json"):
        content = (made.folder / name).read_bytes()
        (made.folder / name).write_bytes(content[:-7])
        assert find_pack(Drawn(5), SETTINGS, cache=tmp_path) is None
        assert pack(Drawn(5), SETTINGS, cache=tmp_path) == made
        assert (made.folder / name).read_bytes() == content
    assert left_in(tmp_path) == [made.key]


def test_broken_pictures_are_skipped_counted_and_listed(tmp_path: Path) -> None:
    made = pack(Drawn(200, broken=(0, 63, 64, 199)), SETTINGS, cache=tmp_path)
    assert (made.count, made.quarantined) == (196, 4)
    assert greys(made) == [index for index in range(200) if index not in (0, 63, 64, 199)]
    listed = (made.folder / "quarantine.txt").read_text().splitlines()
    assert listed == [f"{index}.png: torn\\nat {index}" for index in (0, 63, 64, 199)]
    assert find_pack(Drawn(200, broken=(0, 63, 64, 199)), SETTINGS, cache=tmp_path) == made


def test_a_folder_with_a_broken_picture_among_good_ones_is_packed(tmp_path: Path) -> None:
    with zipfile.ZipFile(zip_of_noise(tmp_path / "a.zip", 20, broken=(7,))) as archive:
        archive.extractall(tmp_path / "pictures")
    made = pack(open_source(str(tmp_path / "pictures")), SETTINGS, cache=tmp_path)
    assert made.count == 19
    assert (made.folder / "quarantine.txt").read_text().lower().startswith("007.jpg: truncated")


def test_a_tenth_may_be_broken_and_no_more(tmp_path: Path) -> None:
    assert pack(Drawn(20, broken=(1, 2)), SETTINGS, cache=tmp_path).count == 18
    with pytest.raises(DataError) as caught:
        pack(Drawn(20, broken=(1, 2, 3, 5)), SETTINGS, cache=tmp_path)
    assert str(caught.value).startswith(
        "drawn:: 4 of 20 pictures are broken, at most 10% may be; "
        "1.png: torn\\nat 1; 2.png: torn\\nat 2; 3.png: torn\\nat 3. "
    )
    assert len(left_in(tmp_path)) == 1


def test_a_source_of_broken_pictures_stops_early(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"128 of the first 128 of 1000 pictures are broken"):
        pack(Drawn(1000, broken=tuple(range(1000))), SETTINGS, workers=3, cache=tmp_path)


def test_a_source_with_nothing_good_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 of 1 pictures are broken"):
        pack(Drawn(1, broken=(0,)), SETTINGS, cache=tmp_path)


def test_an_unknown_crop_is_no_fault_of_the_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="crop 'centre' is not known"):
        pack(Drawn(9), PackSettings(16, 3, "centre"), cache=tmp_path)
    assert left_in(tmp_path) == []


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    pack(Drawn(150, broken=(9,)), SETTINGS, progress=lambda done, total: seen.append((done, total)), cache=tmp_path)
    assert seen == [(64, 150), (128, 150), (150, 150)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, BrokenPipeError])
def test_an_interrupted_pack_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def stop(done: int, total: int) -> None:
        raise error

    with pytest.raises(error):
        pack(Drawn(1000), SETTINGS, progress=stop, cache=tmp_path)
    assert left_in(tmp_path) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pack")]


def test_what_a_killed_process_left_is_removed_and_a_living_one_is_spared(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = slug(platform.node())
    dead = tmp_path / "packs" / f".0123456789abcdef.{host}.{ended.pid}.00000000"
    living = tmp_path / "packs" / f".0123456789abcdef.{host}.{os.getpid()}.00000000"
    elsewhere = tmp_path / "packs" / f".0123456789abcdef.elsewhere.{ended.pid}.00000000"
    for folder in (dead, living, elsewhere):
        folder.mkdir(parents=True)
    made = pack(Drawn(5), SETTINGS, cache=tmp_path)
    assert left_in(tmp_path) == sorted([living.name, elsewhere.name, made.key])


def test_the_loser_of_a_race_takes_the_winners_pack(tmp_path: Path) -> None:
    winners: list[Pack] = []
    slow = Drawn(100, meanwhile=lambda: winners.append(pack(Drawn(100), SETTINGS, cache=tmp_path)))
    made = pack(slow, SETTINGS, cache=tmp_path)
    assert winners == [made]
    assert left_in(tmp_path) == [made.key]
    assert greys(made) == list(range(100))


def _pack_drawn(cache: Path) -> int:
    return sum(greys(pack(Drawn(500), SETTINGS, workers=2, cache=cache)))


def test_processes_that_pack_the_same_at_once_all_end_with_it(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        sums = pool.map(_pack_drawn, [tmp_path] * 4, chunksize=1)
    assert sums == [sum(index % 256 for index in range(500))] * 4
    assert len(left_in(tmp_path)) == 1


def test_a_disk_too_small_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        pack(Drawn(10**12), SETTINGS, cache=tmp_path)
    assert str(caught.value).startswith("the pack of drawn: needs 768000.07 GB, ")
    assert "set GAN_TRANSFER_CACHE to a folder on another disk" in str(caught.value)
    assert left_in(tmp_path) == []


def test_a_disk_that_fills_up_while_writing_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # files may not grow beyond this
    try:
        with pytest.raises(DataError, match="cannot be written: File too large; set GAN_TRANSFER_CACHE"):
            pack(Drawn(1000), SETTINGS, cache=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_in(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file/packs' cannot be written: Not a directory; set GAN_TRANSFER_CACHE"):
        pack(Drawn(5), SETTINGS, cache=tmp_path / "file")


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("GAN_TRANSFER_CACHE", raising=False)
    assert cache_dir() == tmp_path / ".cache/gan-transfer"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg/gan-transfer"
    monkeypatch.setenv("GAN_TRANSFER_CACHE", "~/own")
    assert cache_dir() == tmp_path / "own"
    assert pack(Drawn(5), SETTINGS).folder.parent == tmp_path / "own/packs"


def test_packing_needs_no_torch(tmp_path: Path) -> None:
    code = "import sys, gan_transfer.data.pack, gan_transfer.data.sources; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
