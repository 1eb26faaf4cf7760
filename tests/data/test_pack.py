"""What a pack holds: each good picture in order, the same bytes however it is made, and an index that says so."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from drawn import SETTINGS, WHOLE_PACK, Drawn, Stop, content, damage, greys, inside, stop_at
from PIL import Image

from gan_transfer import files
from gan_transfer.data.blocks import row_blocks
from gan_transfer.data.decode import decode, hint_for
from gan_transfer.data.pack import Pack, PackSettings, Part, cached_pack, open_pack, pack, packed_bytes
from gan_transfer.data.pack_check import check, stamp
from gan_transfer.data.pack_index import Block, Description, header, write_index
from gan_transfer.data.sources import open_source
from gan_transfer.errors import DataError


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
    made = pack(source, SETTINGS, tmp_path / "out")
    assert (made.images.shape, made.images.dtype, made.count) == ((70, 16, 16, 3), np.uint8, 70)
    expected = [decode(source.load(index, 16), 16, 3) for index in range(70)]
    assert np.array_equal(made.images, expected)
    assert np.array_equal(np.load(tmp_path / "out/images.npy"), expected)
    assert not made.images.flags.writeable


def test_an_image_file_is_plain_numpy_behind_128_bytes(tmp_path: Path) -> None:
    made = pack(Drawn(1500, broken=(3, 1100)), SETTINGS, tmp_path / "out")
    assert (tmp_path / "out/images.npy").stat().st_size == 128 + packed_bytes(1498, SETTINGS)
    assert np.array_equal(np.load(tmp_path / "out/images.npy"), made.images)


@pytest.mark.parametrize("workers", [2, 7])
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path, workers: int) -> None:
    source = open_source(str(zip_of_noise(tmp_path / "a.zip", 1100, broken=(5, 77, 1099))))
    one = pack(source, SETTINGS, tmp_path / "one", workers=1)
    many = pack(source, SETTINGS, tmp_path / "many", workers=workers)
    assert inside(many.folder) == sorted([*WHOLE_PACK, "quarantine.txt"])
    assert content(one) == content(many)


def test_the_index_says_what_the_pack_is_without_path_or_time(tmp_path: Path) -> None:
    made = pack(Drawn(1030, broken=(3,)), SETTINGS, tmp_path / "out")
    images = (tmp_path / "out/images.npy").read_bytes()
    (tmp_path / "block").write_bytes(images[128 : 128 + packed_bytes(1023, SETTINGS)])
    (tmp_path / "rest").write_bytes(images[128 + packed_bytes(1023, SETTINGS) :])
    assert json.loads((tmp_path / "out/index.json").read_text()) == {
        "format": 2,
        "source": "drawn:",
        "fingerprint": "drawn 1030 [3]",
        "settings": {"resolution": 16, "channels": 3, "crop": "center"},
        "filters": {"jpeg": "simplejpeg", "shrink": "bicubic", "enlarge": "bicubic"},
        "count": 1029,
        "shape": [1029, 16, 16, 3],
        "dtype": "uint8",
        "block": 1024,
        "part": None,
        "quarantined": 1,
        "blocks": [
            {"count": 1023, "sha256": files.sha256(tmp_path / "block")},
            {"count": 6, "sha256": files.sha256(tmp_path / "rest")},
        ],
    }
    assert (made.source, made.fingerprint, made.quarantined) == ("drawn:", "drawn 1030 [3]", 1)


def test_the_faces_crop_and_the_squash_are_named_by_the_settings(tmp_path: Path) -> None:
    source = open_source(str(zip_of_noise(tmp_path / "a.zip", 8)))
    for crop in ("center", "celeba", "none"):
        settings = PackSettings(8, 1, crop)
        made = pack(source, settings, tmp_path / crop)
        assert np.array_equal(made.images, [decode(source.load(i, hint_for(8, crop)), 8, 1, crop) for i in range(8)])


def test_an_unknown_crop_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="crop 'centre' is not known"):
        pack(Drawn(9), PackSettings(16, 3, "centre"), tmp_path / "out")
    assert inside(tmp_path) == []


# Broken pictures


def test_broken_pictures_are_skipped_counted_and_listed(tmp_path: Path) -> None:
    broken = (0, 63, 64, 199)
    made = pack(Drawn(200, broken=broken), SETTINGS, tmp_path / "out")
    assert (made.count, made.quarantined) == (196, 4)
    assert greys(made) == [index for index in range(200) if index not in broken]
    listed = (tmp_path / "out/quarantine.txt").read_text().splitlines()
    assert listed == [f"{index}.png: torn at {index}" for index in broken]


def test_a_folder_with_a_broken_picture_among_good_ones_is_packed(tmp_path: Path) -> None:
    with zipfile.ZipFile(zip_of_noise(tmp_path / "a.zip", 20, broken=(7,))) as archive:
        archive.extractall(tmp_path / "pictures")
    made = pack(open_source(str(tmp_path / "pictures")), SETTINGS, tmp_path / "out")
    assert made.count == 19
    assert (made.folder / "quarantine.txt").read_text().lower().startswith("007.jpg: truncated")


def test_a_block_without_a_good_picture_is_a_block(tmp_path: Path) -> None:
    broken = tuple(range(10 * 1024, 11 * 1024))
    made = pack(Drawn(12 * 1024, broken=broken), PackSettings(1, 1, "center"), tmp_path / "out")
    assert [block.count for block in made.blocks] == [1024] * 10 + [0, 1024]
    assert check(made) == []


def test_a_tenth_may_be_broken_and_no_more(tmp_path: Path) -> None:
    assert pack(Drawn(20, broken=(1, 2)), SETTINGS, tmp_path / "good").count == 18
    with pytest.raises(DataError) as caught:
        pack(Drawn(20, broken=(1, 2, 3, 5)), SETTINGS, tmp_path / "bad")
    assert str(caught.value) == (
        "drawn:: 4 of 20 pictures are broken, at most 10% may be; 1.png: torn at 1; 2.png: torn at 2; "
        "3.png: torn at 3. Repair or remove them and run the same command again"
    )


def test_a_source_of_broken_pictures_stops_early_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"128 of the first 128 of 1000 pictures are broken"):
        pack(Drawn(1000, broken=tuple(range(1000))), SETTINGS, tmp_path / "out", workers=3)
    assert inside(tmp_path / "out") == [".lock"]


def test_broken_pictures_of_blocks_done_before_count_after_a_resume(tmp_path: Path) -> None:
    source = Drawn(2048, broken=(*range(150), *range(1024, 1100)))
    with pytest.raises(Stop):
        pack(source, SETTINGS, tmp_path / "out", progress=stop_at(1088 - 64))
    with pytest.raises(DataError, match=r"214 of the first 1088 of 2048 pictures are broken"):
        pack(source, SETTINGS, tmp_path / "out")


def test_a_source_with_nothing_good_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 of 1 pictures are broken"):
        pack(Drawn(1, broken=(0,)), SETTINGS, tmp_path / "out")


# Parts


def test_parts_are_runs_of_whole_blocks_that_make_up_the_source(tmp_path: Path) -> None:
    source = Drawn(5 * 1024 + 7, broken=(1025,))
    parts = [pack(source, SETTINGS, tmp_path / f"{number}", part=Part(number, 4)) for number in (1, 2, 3, 4)]
    assert [part.count + part.quarantined for part in parts] == [1024, 2048, 1024, 1031]
    whole = pack(source, SETTINGS, tmp_path / "whole")
    assert np.array_equal(np.concatenate([part.images for part in parts]), whole.images)
    assert [block for part in parts for block in part.blocks] == list(whole.blocks)
    index = json.loads((tmp_path / "2/index.json").read_text())
    assert index["part"] == {"number": 2, "of": 4}


def test_a_bad_block_of_a_part_is_made_anew(tmp_path: Path) -> None:
    made, said = pack(Drawn(3000), SETTINGS, tmp_path / "out", part=Part(2, 2)), list[str]()
    before = content(made)
    damage(made, 0)
    pack(Drawn(3000), SETTINGS, tmp_path / "out", part=Part(2, 2), say=said.append)
    assert said[0].startswith("block 0 (pictures 1,024 to 2,047) of pack 'out'")
    assert content(made) == before


def test_another_part_is_another_pack(tmp_path: Path) -> None:
    pack(Drawn(3000), SETTINGS, tmp_path / "out", part=Part(2, 3))
    with pytest.raises(DataError, match=r"holds another pack: .*, part 2/3 \(.*, wanted .*, part 1/3 \("):
        pack(Drawn(3000), SETTINGS, tmp_path / "out", part=Part(1, 3))


def test_more_parts_than_blocks_are_refused(tmp_path: Path) -> None:
    for number in (1, 4):
        with pytest.raises(DataError) as caught:
            pack(Drawn(3000), SETTINGS, tmp_path / "out", part=Part(number, 4))
        assert str(caught.value) == (
            "drawn: has 3 blocks of 1,024 pictures, too few for 4 parts; give a part of at most 3: --shard i/3"
        )
    with pytest.raises(DataError, match="has 1 block of 1,024 pictures, too few for 2 parts"):
        pack(Drawn(30), SETTINGS, tmp_path / "out", part=Part(1, 2))
    assert inside(tmp_path) == []


def test_a_part_is_given_as_its_number_of_all() -> None:
    assert Part.parse("2/8") == Part(2, 8)
    for text in ("0/8", "9/8", "2", "", "/", "a/b", "2/8/9", "-1/3", "1.5/2", "2/0", "1\n2"):
        with pytest.raises(
            DataError, match=r"part '.*' is not known; wanted i/n with i from 1 to n: --shard 2/8"
        ) as caught:
            Part.parse(text)
        assert "\n" not in str(caught.value)


# Opening


def test_a_whole_pack_is_opened_wherever_it_lies(tmp_path: Path) -> None:
    made = pack(Drawn(50), SETTINGS, tmp_path / "out")
    shutil.copytree(made.folder, tmp_path / "copy")
    opened = open_pack(tmp_path / "copy")
    assert opened == dataclasses.replace(made, folder=tmp_path / "copy")
    assert (opened.key, greys(opened)) == (made.key, greys(made))
    assert check(opened) == []


def test_what_is_no_whole_pack_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none' is no pack, it has no index.json; make one: gan-transfer data"):
        open_pack(tmp_path / "none")
    with pytest.raises(Stop):
        pack(Drawn(2000), SETTINGS, tmp_path / "out", progress=stop_at(1100))
    with pytest.raises(DataError, match="out' is unfinished; give the same data pack command again"):
        open_pack(tmp_path / "out")
    made = pack(Drawn(2000), SETTINGS, tmp_path / "out")
    os.truncate(made.folder / "images.npy", 1000)
    with pytest.raises(DataError, match="does not have the 2,000 pictures of its index; give the data pack command"):
        open_pack(made.folder)


def test_packing_needs_no_torch() -> None:
    modules = ", ".join(f"gan_transfer.data.{name}" for name in ("pack", "merge", "sources"))
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_pack_of_imagenets_size_opens_within_a_second(tmp_path: Path) -> None:
    source, settings = Drawn(1_281_167), PackSettings(64, 3, "center")
    wanted = Description(source.origin, source.fingerprint(), settings)
    folder = tmp_path / "packs" / wanted.key
    folder.mkdir(parents=True)
    blocks = tuple(Block(len(block), "0" * 64) for block in row_blocks(source))
    made = Pack(folder, wanted, 0, blocks)
    with open(folder / "images.npy", "wb") as file:
        file.write(header(made.count, settings))
        file.truncate(128 + packed_bytes(made.count, settings))  # sparse
    write_index(made)
    stamp(made)
    begin = time.perf_counter()
    opened = cached_pack(source, settings, cache=tmp_path)
    assert opened.images[1_281_166].max() == 0
    assert time.perf_counter() - begin < 1
    assert (opened, opened.images.nbytes) == (made, 15_742_980_096)
