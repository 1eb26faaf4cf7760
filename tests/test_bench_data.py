"""Claims about the benchmark of the data path: it reads what it says, its figures agree, and it leaves nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from conftest import Cli, tree
from PIL import Image

from gan_transfer import bench_data
from gan_transfer.errors import DataError
from gan_transfer.training import hardware


def photographs(folder: Path) -> Path:
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (90, 70), (80 * number, 100, 50)).save(folder / f"{number}.jpg")
    return folder


def test_packing_and_the_textbook_loader_read_the_same_files_with_as_many_workers(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photographs")
    (found,) = bench_data.compare_packing(folder, count=64, workers=(1,), rounds=1)
    assert found.workers == 1
    assert found.ratio == pytest.approx(found.ours / found.textbook)


def test_pictures_are_repeated_until_there_are_enough(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photographs")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    for place in (folder, tmp_path / "a.zip", None):
        laid = tmp_path / f"laid {place and place.name}"
        bench_data.lay_out(place, 64, laid)
        assert len(list(laid.iterdir())) == 64


def test_a_place_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no pictures; give a folder or a \.zip file with photographs"):
        list(bench_data.compare_packing(tmp_path, count=64, workers=(1,), rounds=1))


def test_batches_and_waiting_are_measured() -> None:
    assert bench_data.loader_speed(count=256, batches=2, rounds=1) > 0
    assert 0 <= bench_data.waiting(hardware.choose("cpu", "float32"), batch=4, steps=2) < 1


def test_a_pack_of_imagenets_size_opens_at_once_and_takes_little_memory(tmp_path: Path) -> None:
    found = bench_data.imagenet_scale(tmp_path, batches=20)
    assert (found.pictures, round(found.gigabytes, 2)) == (1_281_167, 15.74)
    assert found.open_sec < 1
    assert found.memory_gb < 1
    assert tree(tmp_path) == {}


@pytest.mark.slow
def test_the_command_prints_one_json_object(cli: Cli, tmp_path: Path) -> None:
    words = ("--pictures", photographs(tmp_path / "photographs"), "--count", 64, "--rounds", 1, "--folder", tmp_path)
    done = cli("bench", "data", *words, "--json")
    told = json.loads(done.out)
    assert [row["workers"] for row in told["packing"]] == [1, 2]
    assert told["scaling"] == pytest.approx(told["packing"][1]["ours"] / told["packing"][0]["ours"])
    assert told["loader"] > 0
    assert 0 <= told["waiting"] < 1
    assert told["imagenet"]["pictures"] == 1_281_167
