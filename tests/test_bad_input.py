"""Claims about bad input: one line per fault that says what to do, exit code 2, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY, Cli, sets, tree
from PIL import Image

from gan_transfer.cli import options
from gan_transfer.errors import RecipeError

ROOT = os.name != "posix" or os.geteuid() == 0
FROM = ("--from", "pair")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, pair: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder that holds a usable `pair`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(cli: Cli, tiny: list[str], home: Path, cache: Path) -> Callable[..., list[str]]:
    """Fine-tune with further words; give back the faults, after seeing that nothing was written."""

    def run(*words: object, command: tuple[str, ...] = ("finetune", "--target", "coverart")) -> list[str]:
        before = tree(home, cache)
        done = cli(*command, *tiny, *words)
        assert (done.code, done.out) == (2, "")
        assert tree(home, cache) == before
        return done.faults

    return run


def picture(path: Path, shade: int = 100) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (20, 20), (shade, 0, 255 - shade)).save(path)


def zip_of(path: Path, **entries: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


# Names


def test_an_unknown_target_names_the_nearest_recipe(refused: Callable[..., list[str]]) -> None:
    assert refused(command=("finetune", "--target", "covrart")) == [
        "finetune recipe 'covrart' is not known; did you mean 'coverart'? "
        "(known: celeba, cifar10, coverart, fashion-mnist, mnist, tiny). See: gan-transfer recipes ls"
    ]


def test_an_unknown_recipe_to_pretrain_is_told_with_the_known_ones(refused: Callable[..., list[str]]) -> None:
    assert refused(command=("pretrain", "qqq")) == [
        "pretrain recipe 'qqq' is not known; known: imagenet. See: gan-transfer recipes ls"
    ]


def test_a_recipe_for_the_other_command_says_so(refused: Callable[..., list[str]]) -> None:
    assert refused(command=("pretrain", "coverart")) == [
        "recipe 'coverart' is for finetune, not for pretrain. See: gan-transfer recipes ls"
    ]


def test_a_recipe_file_that_is_missing_is_named(refused: Callable[..., list[str]]) -> None:
    assert refused(command=("finetune", "--target", "my.toml")) == [
        "my.toml: no such recipe file. See: gan-transfer recipes ls"
    ]


def test_a_recipe_without_data_asks_for_them(cli: Cli, tiny: list[str]) -> None:
    (fault,) = cli("finetune", "--target", "celeba", *FROM, *tiny, "--data", "").faults
    assert fault.startswith("the recipe celeba has no data of its own; give --data folder:PATH, --data zip:FILE")


# Settings


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--set", "optim.gltr=1"], "--set optim.gltr=1: optim.gltr: unknown key; did you mean 'glr'?"),
        (["--set", "optm.glr=1"], "--set optm.glr=1: optm: unknown section; did you mean 'optim'?"),
        (
            ["--set", 'train.seed="8"'],
            '--set train.seed="8": train.seed: wanted a whole number >= 0 and < 4294967296; got "8"',
        ),
        (["--glr", "7"], "--glr 7.0: optim.glr: wanted a number > 0 and <= 1; got 7.0"),
        (["--batch", "1"], "--batch 1: train.batch: wanted a whole number >= 2; got 1"),
        (["--kimg", "0"], "--kimg 0.0: train.kimg: wanted a number > 0; got 0.0"),
        (["--precision", "half"], 'train.precision: wanted one of "auto", "float32", "bfloat16"; got "half"'),
        (["--augment", "colour"], 'wanted a list, each one of "color", "translation", "cutout"; got ["colour"]'),
        (["--set", "model.resolution=48"], "model.resolution: wanted one of 16, 32, 64, 128, 256; got 48"),
        (["--set", "nonsense"], "--set nonsense: wanted section.key=value; got 'nonsense'"),
        (["--freeze", "late"], "--freeze late: wanted early; got 'late'. To choose the number: --freeze-d-image N"),
        (["--device", "gpu"], "device 'gpu' is not known; wanted auto, cpu, cuda, cuda:N or mps. See: --device auto"),
        (["--device", "cuda:99"], "device 'cuda:99' is not on this machine, which has: cpu"),
    ],
)
def test_a_bad_setting_names_where_it_came_from_what_was_wanted_and_what_came(
    refused: Callable[..., list[str]], words: list[str], fault: str
) -> None:
    (line,) = refused(*FROM, *words)
    assert fault in line


def test_all_bad_settings_are_told_at_once(refused: Callable[..., list[str]]) -> None:
    faults = refused(*FROM, "--set", "optim.gltr=1", "--glr", "7", "--set", "nonsense", "--batch", "1")
    assert sorted(fault.split(": ")[0] for fault in faults) == [
        "--batch 1",
        "--glr 7.0",
        "--set nonsense",
        "--set optim.gltr=1",
    ]


@pytest.mark.parametrize("words", [["--kimg", "long"], ["--bogus"], ["--batch"]])
def test_words_that_are_no_options_are_named_with_code_2(cli: Cli, words: list[str]) -> None:
    done = cli("finetune", "--target", "coverart", *words)
    assert (done.code, done.out) == (2, "")
    assert words[0] in done.err
    assert "Traceback" not in done.err


def test_only_early_is_a_name_for_freezing() -> None:
    (early,) = options.overrides(freeze="early")
    assert (early.text, early.shown) == ("transfer.freeze_d_image=2", "--freeze early")
    with pytest.raises(RecipeError, match="--freeze late: wanted early"):
        options.overrides(freeze="late")


# Freezing and batches


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (
            ["--freeze-d-image", 3],
            "--freeze-d-image 3: transfer.freeze_d_image: 3 frozen leave none of the discriminator's 3 blocks "
            "at 16 pixels; wanted at most 2",
        ),
        (
            ["--freeze-g-image", 1, "--freeze-g-latent", 2],
            "--freeze-g-image 1: transfer.freeze_g_image: 1 frozen on the image side and 2 on the latent side leave "
            "none of the generator's 3 blocks at 16 pixels; wanted at most 2 together",
        ),
    ],
)
def test_freezing_everything_is_refused(refused: Callable[..., list[str]], words: list[object], fault: str) -> None:
    assert refused(*FROM, *words) == [fault]


def test_freezing_blocks_that_nothing_was_learned_in_is_refused(refused: Callable[..., list[str]]) -> None:
    (fault,) = refused("--from", "none", "--freeze", "early")
    assert fault.startswith("--freeze early: transfer.freeze_d_image: nothing to keep with transfer.source")


def test_freezing_everything_of_a_pair_of_fewer_pixels_is_refused(cli: Cli) -> None:
    """The recipe would be 64 pixels; the shape comes from the pair."""
    settings = sets({key: value for key, value in TINY.items() if not key.startswith("model.")})
    (fault,) = cli("finetune", "--target", "coverart", *FROM, *settings, "--freeze-d-image", 4).faults
    assert "4 frozen leave none of the discriminator's 3 blocks at 16 pixels" in fault


def test_a_batch_larger_than_the_data_is_refused_with_one_that_fits(refused: Callable[..., list[str]]) -> None:
    assert refused(*FROM, "--data", "builtin:covers?count=50", "--batch", 64) == [
        "the data source has 50 pictures, fewer than the batch size 64; use --batch 32"
    ]


# Data


def test_a_missing_data_path_is_named(refused: Callable[..., list[str]]) -> None:
    assert refused(*FROM, "--data", "gone") == [
        "data path 'gone' does not exist; give a folder, a .zip file or an idx file: --data PATH"
    ]


def test_a_data_path_that_cannot_be_looked_at_is_named(refused: Callable[..., list[str]]) -> None:
    (fault,) = refused(*FROM, "--data", f"folder:{'x' * 300}")
    assert "cannot be read: File name too long" in fault


@pytest.mark.skipif(ROOT, reason="the superuser may read everywhere")
def test_an_unreadable_folder_is_named(refused: Callable[..., list[str]], home: Path) -> None:
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
        ("text/a.txt", "is neither a folder, a .zip file nor an idx file; name its kind: --data KIND:PATH"),
        ("floder:empty", "data source kind 'floder' is not known; did you mean 'folder'?"),
        ("builtin:cover", "built-in data 'builtin:cover' is not known; did you mean 'covers'?"),
        ("builtin:covers?count=0", "must be a whole number 1 to 1000000, got '0'"),
        ("folder:text.zip", "is a file, wanted a folder"),
        ("zip:text", "is a folder, wanted a .zip file"),
        ("idx:empty", "holds no file named *idx3-ubyte"),
    ],
)
def test_data_without_pictures_is_refused(
    refused: Callable[..., list[str]], home: Path, data: str, fault: str
) -> None:
    (home / "empty").mkdir()
    (home / "text").mkdir()
    (home / "text" / "a.txt").write_text("no picture")
    (home / "text" / "LICENSE").write_text("no picture")
    zip_of(home / "text.zip", **{"a.txt": b"no picture"})
    (home / "cut.zip").write_bytes((home / "text.zip").read_bytes()[:40])
    (line,) = refused(*FROM, "--data", data)
    assert fault in line


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "b/../../a.png", "C:/a.png"])
def test_a_zip_that_points_outside_itself_is_refused(
    refused: Callable[..., list[str]], home: Path, name: str
) -> None:
    zip_of(home / "evil.zip", **{"good.png": b"", name: b""})
    (fault,) = refused(*FROM, "--data", "evil.zip")
    assert f"is refused: its entry '{name}' points outside the archive" in fault


def test_a_decompression_bomb_is_not_unpacked(cli: Cli, tiny: list[str], home: Path) -> None:
    zip_of(home / "bomb.zip", **{"bomb.png": bytes(80 * 10**6)} | {f"{n}.png": b"" for n in range(8)})
    (fault,) = cli("finetune", "--target", "coverart", *FROM, *tiny, "--data", "bomb.zip").faults
    assert "9 of 9 pictures are broken, at most 10% may be" in fault
    assert "bomb.png: a decompression bomb: " in fault or "0.png: the file is empty" in fault
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
    assert [path for path, content in tree(cache).items() if content is not None] == []


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
    refused: Callable[..., list[str]], pair: Path, name: str, content: bytes, fault: str
) -> None:
    (pair / name).write_bytes(content)
    (line,) = refused(*FROM)
    assert line.startswith(f"pair/{name} is not a safetensors file: {fault}")
    assert "Get it again" in line


@pytest.mark.parametrize("name", ["model.safetensors", "discriminator.safetensors"])
def test_truncated_and_bit_flipped_weights_are_refused(
    refused: Callable[..., list[str]], pair: Path, name: str
) -> None:
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


def test_a_configuration_that_does_not_fit_its_weights_is_refused(
    refused: Callable[..., list[str]], pair: Path
) -> None:
    settings = json.loads((pair / "config.json").read_text())
    settings["model"]["base_channels"] = 8
    (pair / "config.json").write_text(json.dumps(settings))
    (line,) = refused(*FROM)
    assert line.startswith("pair/model.safetensors does not fit its config.json: g4.conv.weight is [8, 32, 4, 4], wanted")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "pair/config.json is not the configuration of a pair"),
        ("[]", "pair/config.json is not the configuration of a pair"),
        ('{"format": 2, "model": {}}', "pair/config.json is of format 2; this version reads 1. Upgrade gan-transfer"),
        ('{"format": 1, "model": {"resolution": 48}}', "wanted one of 16, 32, 64, 128, 256; got 48"),
        ('{"format": 1, "model": {"norm": "batch"}}', "unknown key; did you mean 'norm_d'?"),
    ],
)
def test_a_configuration_that_is_none_is_refused(
    refused: Callable[..., list[str]], pair: Path, text: str, fault: str
) -> None:
    (pair / "config.json").write_text(text)
    (line,) = refused(*FROM)
    assert fault in line


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("gone", "no pair at 'gone': no such folder; wanted builtin, a snapshot folder or a run folder"),
        (".", "no pair at '.' (it holds: pair); wanted builtin, a snapshot folder or a run folder"),
        ("pair/config.json", "no pair at 'pair/config.json' (it holds: a file); wanted builtin"),
        ("builtin:nothing", "no embedded pair 'nothing'; known: "),
    ],
)
def test_a_pair_that_is_not_there_is_refused(refused: Callable[..., list[str]], source: str, fault: str) -> None:
    (line,) = refused("--from", source)
    assert line.startswith(fault)


def test_sampling_from_damaged_weights_writes_no_picture(cli: Cli, pair: Path, home: Path) -> None:
    (pair / "model.safetensors").write_bytes(b"<html>")
    done = cli("sample", "--network", "pair", "--seeds", "0-3")
    assert (done.code, len(done.faults)) == (2, 1)
    assert not (home / "out").exists()


# Outdir


def test_an_outdir_that_cannot_be_made_is_refused_first(refused: Callable[..., list[str]], home: Path) -> None:
    (line,) = refused(*FROM, "--outdir", "pair/config.json/runs")
    assert line == f"--outdir pair/config.json/runs: {home}/pair/config.json is a file, wanted a folder"


@pytest.mark.skipif(ROOT, reason="the superuser may write everywhere")
def test_an_outdir_that_is_not_writable_is_refused_first(refused: Callable[..., list[str]], home: Path) -> None:
    (home / "locked").mkdir(mode=0o500)
    (line,) = refused(*FROM, "--outdir", "locked/runs")
    assert line == f"--outdir locked/runs: {home}/locked is not writable. Give another --outdir"


def test_all_faults_of_a_command_are_told_together(refused: Callable[..., list[str]], home: Path) -> None:
    words = ["--data", "zip:gone.zip", "--from", "nowhere", "--outdir", "pair/config.json/runs", "--device", "cuda:99"]
    assert [fault.split(";")[0].split(",")[0] for fault in refused(*words)] == [
        "data path 'gone.zip' does not exist",
        "no pair at 'nowhere': no such folder",
        "device 'cuda:99' is not on this machine",
        f"--outdir pair/config.json/runs: {home}/pair/config.json is a file",
    ]


def test_the_dry_run_tells_the_same_faults(refused: Callable[..., list[str]]) -> None:
    words = ["--data", "gone", "--from", "nowhere"]
    assert refused(*words, "--dry-run") == refused(*words)

