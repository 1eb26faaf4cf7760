"""A pack that is killed without warning, again and again, and then finished is the unbroken pack byte for byte."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from drawn import content, inside
from places import png

from gan_transfer.data.merge import merge
from gan_transfer.data.pack import PackSettings, Part, pack
from gan_transfer.data.sources import open_source

COUNT = 3 * 1024 + 100
SETTINGS = PackSettings(32, 3, "center")
CODE = """
import sys
from pathlib import Path
from gan_transfer.data.merge import merge
from gan_transfer.data.pack import PackSettings, pack
from gan_transfer.data.sources import open_source

print("ready", flush=True)
if sys.argv[1] == "pack":
    pack(open_source(sys.argv[2]), PackSettings(32, 3, "center"), Path(sys.argv[3]), workers=2)
else:
    merge([Path(part) for part in sys.argv[2].split(",")], Path(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip file of pictures of many sizes and colours, some of them broken."""
    place = tmp_path_factory.mktemp("pictures") / "a.zip"
    shades = random.Random(0)
    with zipfile.ZipFile(place, "w") as archive:
        for number in range(COUNT):
            color = f"#{shades.randrange(1 << 24):06x}"
            data = png(color, (shades.randrange(20, 200), shades.randrange(20, 200)))
            archive.writestr(f"{number:05}.png", data[:40] if number % 333 == 0 else data)
    return place


@pytest.fixture(scope="module")
def unbroken(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an unbroken pack of them holds."""
    return content(pack(open_source(str(pictures)), SETTINGS, tmp_path_factory.mktemp("unbroken") / "out"))


def begin(*words: object) -> subprocess.Popen[str]:
    """Pack or merge in a process of its own; it has loaded all that it needs, and begins."""
    process = subprocess.Popen([sys.executable, "-c", CODE, *map(str, words)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str], after_sec: float) -> bool:
    """Kill a process; whether it was still at work."""
    with process:
        try:
            process.wait(after_sec)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.returncode != 0


def kill_at_random(kills: int, random_seed: int, output: Path, *words: object) -> int:
    """Begin again and again and kill; how many were still at work. What was finished is begun anew."""
    moments, killed = random.Random(random_seed), 0
    with begin(*words, output) as process:
        begun = time.perf_counter()
        assert process.wait() == 0
    whole_sec = time.perf_counter() - begun
    for number in range(kills):
        if number % 5 == 0:  # else the later ones would find little left to do
            for path in output.iterdir():
                path.unlink()
        killed += kill(begin(*words, output), moments.uniform(0, whole_sec / 3))
    return killed


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_pack_killed_at_random_moments_ends_with_the_same_bytes(
    tmp_path: Path, pictures: Path, unbroken: dict[str, bytes], kills: int
) -> None:
    assert kill_at_random(kills, kills, tmp_path / "out", "pack", pictures) >= kills // 2
    made = pack(open_source(str(pictures)), SETTINGS, tmp_path / "out", workers=1)
    assert content(made) == unbroken
    assert inside(made.folder) == [".lock", "images.npy", "index.json", "quarantine.txt", "verified.json"]


@pytest.mark.slow
def test_a_merge_killed_at_random_moments_ends_with_the_same_bytes(
    tmp_path: Path, pictures: Path, unbroken: dict[str, bytes]
) -> None:
    source = open_source(str(pictures))
    parts = [pack(source, SETTINGS, tmp_path / f"{i}", part=Part(i, 3)).folder for i in (1, 2, 3)]
    assert kill_at_random(20, 1, tmp_path / "out", "merge", ",".join(map(str, parts))) >= 5
    assert content(merge(parts, tmp_path / "out")) == unbroken


@pytest.mark.slow
def test_a_process_that_waits_for_a_killed_one_goes_on_with_its_pack(
    tmp_path: Path, pictures: Path, unbroken: dict[str, bytes]
) -> None:
    first = begin("pack", pictures, tmp_path / "out")
    with begin("pack", pictures, tmp_path / "out") as second:
        kill(first, 0.5)
        assert second.wait() == 0
    assert content(pack(open_source(str(pictures)), SETTINGS, tmp_path / "out")) == unbroken
