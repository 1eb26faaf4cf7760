"""Claims about bad data and damaged pairs: one line that says what to do, exit code 2, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from conftest import Cli, Refused, tree
from PIL import Image

ROOT = os.name != "posix" or os.geteuid() == 0
FROM = ("--from", "pair")
pytestmark = pytest.mark.usefixtures("home", "pair")


def picture(path: Path, shade: int = 100) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (20, 20), (shade, 0, 255 - shade)).save(path)


def zip_of(path: Path, **entries: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


# Data


def test_a_missing_data_path_is_named(refused: Refused) -> None:
    assert refused(*FROM, "--data", "gone") == [
        "data path 'gone' does not exist; give a folder or a .zip, .tar, .parquet or idx file: --data PATH"
    ]


def test_a_data_path_that_cannot_be_looked_at_is_named(refused: Refused) -> None:
    (fault,) = refused(*FROM, "--data", f"folder:{'x' * 300}")
    assert "cannot be read: File name too long" in fault


@pytest.mark.skipif(ROOT, reason="the superuser may read everywhere")
def test_an_unreadable_folder_is_named(refused: Refused, home: Path) -> None:
    (home / "locked").mkdir(mode=0)
    (fault,) = refused(*FROM, "--data", "locked")
    assert "cannot be read: Permission denied" in fault


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("empty", "holds no pictures but no files at all; give a folder with for instance .jpg or .png files"),
        ("text", "holds no pictures but 2 files (no suffix 1, .txt 1)"),
        ("text.zip", "holds no pictures but 1 file (.txt 1); give a zip file with for instance .jpg or .png files"),
        ("cut.zip", "is not a whole zip file (File is not a zip file); copy or download it again"),
        ("text/a.txt", "is not a folder or a .zip, .tar, .parquet or idx file; name its kind: --data KIND:PATH"),
        ("floder:empty", "data source kind 'floder' is not known; did you mean 'folder'?"),
        ("builtin:cover", "built-in data 'builtin:cover' is not known; did you mean 'covers'?"),
        ("builtin:covers?count=0", "must be a whole number 1 to 1000000, got '0'"),
        ("folder:text.zip", "is a file, wanted a folder"),
        ("zip:text", "is a folder, wanted a .zip file"),
        ("idx:empty", "holds no file named *idx3-ubyte"),
    ],
)
def test_data_without_pictures_is_refused(refused: Refused, home: Path, data: str, fault: str) -> None:
    (home / "empty").mkdir()
    (home / "text").mkdir()
    (home / "text" / "a.txt").write_text("no picture")
    (home / "text" / "LICENSE").write_text("no picture")
    zip_of(home / "text.zip", **{"a.txt": b"no picture"})
    (home / "cut.zip").write_bytes((home / "text.zip").read_bytes()[:40])
    (line,) = refused(*FROM, "--data", data)
    assert fault in line


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "b/../../a.png", "C:/a.png"])
def test_a_zip_that_points_outside_itself_is_refused(refused: Refused, home: Path, name: str) -> None:
    zip_of(home / "evil.zip", **{"good.png": b"", name: b""})
    (fault,) = refused(*FROM, "--data", "evil.zip")
    assert f"is refused: its entry '{name}' points outside the archive" in fault


def test_a_decompression_bomb_is_not_unpacked(cli: Cli, tiny: list[str], home: Path) -> None:
    zip_of(home / "bomb.zip", **{"bomb.png": bytes(80 * 10**6)} | {f"empty{n}.png": b"" for n in range(8)})
    (fault,) = cli("finetune", "--target", "coverart", *FROM, *tiny, "--data", "bomb.zip").faults
    assert "9 of 9 pictures are broken, at most 10% may be" in fault
    assert "; bomb.png: a decompression bomb: " in fault
    assert " would unpack to 80000000; empty0.png: the file is empty; " in fault
    assert not (home / "runs").exists()


def test_a_few_broken_pictures_are_skipped_counted_and_listed(cli: Cli, tiny: list[str], home: Path) -> None:
    for number in range(20):
        picture(home / "covers" / f"{number:02d}.png", 10 * number)
    (home / "covers" / "99.png").write_bytes((home / "covers" / "00.png").read_bytes()[:60])
    done = cli("finetune", "--target", "coverart", *FROM, *tiny, "--data", "covers", "--kimg", 0.008)
    assert done.code == 0
    (said,) = [line for line in done.err.splitlines() if "broken" in line]
    assert said.startswith("1 broken pictures skipped; see ")
    listed = Path(said.removeprefix("1 broken pictures skipped; see ")).read_text().splitlines()
    assert [line.split(": ")[0] for line in listed] == ["99.png"]


def test_too_many_broken_pictures_stop_before_a_run_is_begun(
    cli: Cli, tiny: list[str], home: Path, cache: Path
) -> None:
    for number in range(17):
        picture(home / "covers" / f"{number:02d}.png", 10 * number)
    for number in range(17, 20):
        (home / "covers" / f"{number}.png").write_text("no picture")
    done = cli("finetune", "--target", "coverart", *FROM, *tiny, "--data", "covers")
    assert done.code == 2
    (fault,) = done.faults
    assert "3 of 20 pictures are broken, at most 10% may be; 17.png: not a picture" in fault
    assert not (home / "runs").exists()
    assert {path.name for path, content in tree(cache).items() if content is not None} == {".lock"}


def test_a_disk_too_small_for_the_cache_is_told_before_anything_is_drawn(
    cli: Cli, tiny: list[str], home: Path, cache: Path
) -> None:
    if shutil.disk_usage(cache).free > 190 * 10**9:
        pytest.skip("this disk has room for 197 GB of pictures")
    words = [*tiny, "--data", "builtin:covers?count=1000000", "--set", "model.resolution=256"]
    done = cli("finetune", "--target", "coverart", *FROM, *words)
    assert done.code == 2
    (fault,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "needs 196.68 GB, " in fault
    assert fault.endswith("set GAN_TRANSFER_CACHE to a folder on another disk")
    assert not (home / "runs").exists()
    assert [path for path, content in tree(cache).items() if content is not None] == []


# Pairs


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "it is a Git LFS pointer, not the weights"),
        (b"\n<!DOCTYPE html>\n<html><body>Not found", "it is a web page, not the weights"),
        (b"PK\x03\x04archive/data.pkl", "it is a pickled checkpoint, which is not read"),
        (b"\x80\x02}q\x00", "it is a pickled checkpoint, which is not read"),
        (b"", "it is empty"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "discriminator.safetensors"])
def test_what_stands_in_the_place_of_weights_is_recognised(
    refused: Refused, pair: Path, name: str, content: bytes, fault: str
) -> None:
    (pair / name).write_bytes(content)
    (line,) = refused(*FROM)
    assert line.startswith(f"pair/{name} is not a safetensors file: {fault}")
    assert "Get it again" in line


@pytest.mark.parametrize("name", ["model.safetensors", "discriminator.safetensors"])
def test_truncated_and_bit_flipped_weights_are_refused(refused: Refused, pair: Path, name: str) -> None:
    whole = (pair / name).read_bytes()
    (pair / name).write_bytes(whole[:-100])
    (line,) = refused(*FROM)
    assert line.startswith(f"pair/{name} is not a safetensors file: it is cut off or damaged")
    (pair / name).write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    (line,) = refused(*FROM)
    assert line.startswith(f"pair/{name} is damaged: its SHA-256 is ")
    (pair / name).unlink()
    (line,) = refused(*FROM)
    assert line.startswith(f"pair/{name} is missing; a pair is config.json, ")


def test_a_configuration_that_does_not_fit_its_weights_is_refused(refused: Refused, pair: Path) -> None:
    settings = json.loads((pair / "config.json").read_text())
    settings["model"]["base_channels"] = 8
    (pair / "config.json").write_text(json.dumps(settings))
    (line,) = refused(*FROM)
    assert line.startswith(
        "pair/model.safetensors does not fit its config.json: g4.conv.weight is [8, 32, 4, 4], wanted"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "pair/config.json is not the configuration of a pair"),
        ("[]", "pair/config.json is not the configuration of a pair"),
        ('{"format": 2, "model": {}}', "pair/config.json is of format 2; this version reads 1. Upgrade gan-transfer"),
        ('{"format": 1, "model": {"resolution": 48}}', "wanted one of 16, 28, 32, 64, 128, 256; got 48"),
        ('{"format": 1, "model": {"norm": "batch"}}', "unknown key; did you mean 'norm_d'?"),
    ],
)
def test_a_configuration_that_is_none_is_refused(refused: Refused, pair: Path, text: str, fault: str) -> None:
    (pair / "config.json").write_text(text)
    (line,) = refused(*FROM)
    assert fault in line


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("gone", "no pair at 'gone': no such folder; wanted builtin, hf:ORG/NAME, a snapshot folder or a run folder"),
        (".", "no pair at '.' (it holds: pair); wanted builtin, hf:ORG/NAME, a snapshot folder or a run folder"),
        ("pair/config.json", "no pair at 'pair/config.json' (it holds: a file); wanted builtin"),
        ("builtin:nothing", "no embedded pair 'nothing'; known: "),
    ],
)
def test_a_pair_that_is_not_there_is_refused(refused: Refused, source: str, fault: str) -> None:
    (line,) = refused("--from", source)
    assert line.startswith(fault)


def test_sampling_from_damaged_weights_writes_no_picture(cli: Cli, pair: Path, home: Path) -> None:
    (pair / "model.safetensors").write_bytes(b"<html>")
    done = cli("sample", "--network", "pair", "--seeds", "0-3")
    assert (done.code, len(done.faults)) == (2, 1)
    assert not (home / "out").exists()
