"""Claims about bad words: one line per fault that says what to do, exit code 2, and nothing half-written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import TINY, Cli, Refused, sets

from gan_transfer.cli import options
from gan_transfer.errors import RecipeError

ROOT = os.name != "posix" or os.geteuid() == 0
FROM = ("--from", "pair")
pytestmark = pytest.mark.usefixtures("home", "pair")


# Names


def test_an_unknown_target_names_the_nearest_recipe(refused: Refused) -> None:
    assert refused(command=("finetune", "--target", "covrart")) == [
        "finetune recipe 'covrart' is not known; did you mean 'coverart'? "
        "(known: celeba, cifar10, coverart, fashion-mnist, mnist, tiny). See: gan-transfer recipes ls"
    ]


def test_an_unknown_recipe_to_pretrain_is_told_with_the_known_ones(refused: Refused) -> None:
    assert refused(command=("pretrain", "qqq")) == [
        "pretrain recipe 'qqq' is not known; known: imagenet. See: gan-transfer recipes ls"
    ]


def test_a_recipe_for_the_other_command_says_so(refused: Refused) -> None:
    assert refused(command=("pretrain", "coverart")) == [
        "recipe 'coverart' is for finetune, not for pretrain. See: gan-transfer recipes ls"
    ]


def test_a_recipe_file_that_is_missing_is_named(refused: Refused) -> None:
    assert refused(command=("finetune", "--target", "my.toml")) == [
        "my.toml: no such recipe file. See: gan-transfer recipes ls"
    ]


def test_a_recipe_without_data_asks_for_them(cli: Cli, tiny: list[str]) -> None:
    (fault,) = cli("finetune", "--target", "celeba", *FROM, *tiny, "--data", "").faults
    assert fault == (
        "the recipe celeba names no data (data.source = ''); "
        "give --data folder:PATH or another source. See: gan-transfer data ls"
    )


def test_a_recipe_without_a_hub_set_says_so(cli: Cli, tiny: list[str], home: Path) -> None:
    (home / "mine.toml").write_text('[data]\nsource = "hf"\n')
    (fault,) = cli("finetune", "--target", "mine.toml", *FROM, *tiny, "--data", "hf").faults
    assert fault.startswith("the recipe mine names no data (data.source = 'hf'); give --data folder:PATH")


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
        (["--set", "model.resolution=48"], "model.resolution: wanted one of 16, 28, 32, 64, 128, 256; got 48"),
        (["--on-mismatch", "drop"], 'transfer.on_mismatch: wanted one of "error", "skip", "adapt"; got "drop"'),
        (["--set", "nonsense"], "--set nonsense: wanted section.key=value; got 'nonsense'"),
        (["--freeze", "late"], "--freeze late: wanted early; got 'late'. To choose the number: --freeze-d-image N"),
        (["--device", "gpu"], "device 'gpu' is not known; wanted auto, cpu, cuda, cuda:N or mps. See: --device auto"),
        (["--device", "cuda:99"], "device 'cuda:99' is not on this machine, which has: cpu"),
    ],
)
def test_a_bad_setting_names_where_it_came_from_what_was_wanted_and_what_came(
    refused: Refused, words: list[str], fault: str
) -> None:
    (line,) = refused(*FROM, *words)
    assert fault in line


def test_all_bad_settings_are_told_at_once(refused: Refused) -> None:
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
def test_freezing_everything_is_refused(refused: Refused, words: list[object], fault: str) -> None:
    assert refused(*FROM, *words) == [fault]


def test_freezing_blocks_that_nothing_was_learned_in_is_refused(refused: Refused) -> None:
    (fault,) = refused("--from", "none", "--freeze", "early")
    assert fault.startswith("--freeze early: transfer.freeze_d_image: nothing to keep with transfer.source")


def test_freezing_everything_of_a_pair_of_fewer_pixels_is_refused(cli: Cli) -> None:
    """The recipe would be 64 pixels; the shape comes from the pair."""
    settings = sets({key: value for key, value in TINY.items() if not key.startswith("model.")})
    (fault,) = cli("finetune", "--target", "coverart", *FROM, *settings, "--freeze-d-image", 4).faults
    assert "4 frozen leave none of the discriminator's 3 blocks at 16 pixels" in fault


def test_a_batch_larger_than_the_data_is_refused_with_one_that_fits(refused: Refused) -> None:
    assert refused(*FROM, "--data", "builtin:covers?count=50", "--batch", 64) == [
        "the data source has 50 pictures, fewer than the batch size 64; use --batch 32"
    ]


# Outdir


def test_an_outdir_that_cannot_be_made_is_refused_first(refused: Refused, home: Path) -> None:
    (line,) = refused(*FROM, "--outdir", "pair/config.json/runs")
    wanted = "is a file, wanted a folder. Give another --outdir"
    assert line == f"--outdir pair/config.json/runs: {home}/pair/config.json {wanted}"


@pytest.mark.skipif(ROOT, reason="the superuser may write everywhere")
def test_an_outdir_that_is_not_writable_is_refused_first(refused: Refused, home: Path) -> None:
    (home / "locked").mkdir(mode=0o500)
    (line,) = refused(*FROM, "--outdir", "locked/runs")
    assert line == f"--outdir locked/runs: {home}/locked is not writable. Give another --outdir"


def test_all_faults_of_a_command_are_told_together(refused: Refused, home: Path) -> None:
    words = ["--data", "zip:gone.zip", "--from", "nowhere", "--outdir", "pair/config.json/runs", "--device", "cuda:99"]
    assert [fault.split(";")[0].split(",")[0] for fault in refused(*words)] == [
        "data path 'gone.zip' does not exist",
        "no pair at 'nowhere': no such folder",
        "device 'cuda:99' is not on this machine",
        f"--outdir pair/config.json/runs: {home}/pair/config.json is a file",
    ]


def test_the_dry_run_tells_the_same_faults(refused: Refused) -> None:
    words = ["--data", "gone", "--from", "nowhere"]
    assert refused(*words, "--dry-run") == refused(*words)
