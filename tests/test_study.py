"""Studies: real runs in processes of their own, measured, resumed, taken over, and refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from conftest import Cli

from gan_transfer import planning
from gan_transfer.errors import DataError, RecipeError, RunError
from gan_transfer.recipe import load_recipe
from gan_transfer.studies import Result, advise, command, compare
from gan_transfer.study import entries, fitting, name_of
from gan_transfer.study_runs import Design, ended, outdir_of, overrides

SMALL = (
    "model.resolution=16", "model.base_channels=4", "model.latent_dim=8", "train.batch=8", "train.tick_kimg=0.032",
    "train.grid=2", "train.device=cpu", "train.precision=float32", "ema.recalibrate_batches=2",
    "diagnose.extractor=none",
)  # fmt: skip


class Quiet:
    """Follows a study and keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def packing(self, done: int, total: int) -> None:
        pass

    def running(self, kimg: dict[str, float], total: float) -> None:
        pass


def design(folder: Path, methods: str = "scratch,finetune") -> Design:
    data = "builtin:covers?count=240"
    return Design(
        folder,
        "coverart",
        data,
        entries(methods),
        1,
        0.064,
        80,
        (*SMALL, "train.snapshot_kimg=0.032"),
        fakes=64,
        jobs=2,
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return compare(design(tmp_path_factory.mktemp("study")), Quiet())


def test_every_snapshot_of_every_run_is_measured_and_the_start_too(study: Result) -> None:
    assert [(t.label, t.seed, [p.kimg for p in t.points]) for t in study.trials] == [
        ("scratch", 0, [0.0, 0.032, 0.064]),
        ("finetune", 0, [0.0, 0.032, 0.064]),
    ]
    assert all(trial.img_per_sec > 0 and trial.folder.startswith("runs/") for trial in study.trials)


def test_runs_see_nothing_of_what_is_held_out(study: Result) -> None:
    for trial in study.trials:
        (recipe,) = (study.design.folder / trial.folder).glob("recipe.json")
        assert json.loads(recipe.read_text())["data"]["held_out"] == 80
        told = json.loads((recipe.parent / "snapshots" / "000000.064" / "config.json").read_text())
        assert told["data"]["pictures"] == 160


def test_a_table_a_plot_and_json_are_written(study: Result) -> None:
    folder = study.design.folder
    told = json.loads((folder / "study.json").read_text())
    assert [row["label"] for row in told["methods"]] == ["scratch", "finetune"]
    assert told["comparisons"][0]["final"]["low"] is None  # one seed has no interval
    with open(folder / "study.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert (len(rows), rows[0]["method"], rows[0]["kimg"]) == (6, "scratch", "0.0")
    assert (folder / "study.png").read_bytes().startswith(b"\x89PNG")


def test_its_page_shows_the_conclusion_and_escapes_what_it_is_told(study: Result, cli: Cli, tmp_path: Path) -> None:
    page = (study.design.folder / "report.html").read_text(encoding="utf-8")
    assert "finetune against scratch (1 seed)" in page
    assert page.count("data:image/webp;base64,") == 1
    told = json.loads((study.design.folder / "study.json").read_text())
    (tmp_path / "study.json").write_text(json.dumps(told | {"conclusion": ["<script>alert(1)</script>"]}))
    assert cli("report", str(tmp_path)).code == 0
    assert "&lt;script&gt;alert(1)" in (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "study.json").write_text('{"target": "coverart"}')
    assert "study.json cannot be read" in cli("report", str(tmp_path)).faults[0]


def test_the_same_study_again_trains_and_measures_nothing(study: Result) -> None:
    before = (study.design.folder / "measurements.jsonl").read_bytes()
    view = Quiet()
    again = compare(study.design, view)
    assert again.trials == study.trials
    assert not any("to be trained" in text for text in view.said)
    assert (study.design.folder / "measurements.jsonl").read_bytes() == before


def test_a_run_made_by_hand_is_taken_over(study: Result, tmp_path: Path) -> None:
    shutil.copytree(study.design.folder / "runs", tmp_path / "runs")
    view = Quiet()
    again = compare(dataclasses.replace(study.design, folder=tmp_path), view)
    assert not any("to be trained" in text for text in view.said)
    assert again.trials == study.trials


def test_the_command_shows_a_study_and_prints_it_for_scripts(study: Result, cli: Cli) -> None:
    words = ["compare", "--target", "coverart", "--data", study.design.data, "--seeds", "1", "--kimg", "0.064"]
    words += ["--held-out", "80", "-n", "64", "--outdir", str(study.design.folder)]
    words += [word for change in study.design.changes for word in ("--set", change)]
    told = json.loads(cli(*words, "--json").out)
    assert [row["label"] for row in told["methods"]] == ["scratch", "finetune"]
    shown = cli(*words).out
    assert "finetune against scratch (1 seed)" in shown
    assert shown.splitlines()[-1].startswith("gan-transfer finetune --target coverart")


def test_a_study_of_other_settings_is_refused_by_name(study: Result) -> None:
    with pytest.raises(RunError, match=r"other settings: train\.kimg: 0\.064 -> 0\.128"):
        compare(dataclasses.replace(study.design, kimg=0.128), Quiet())


def test_runs_of_other_settings_are_no_runs_of_this_study(study: Result) -> None:
    wanted, (label, seed) = study.design, ("scratch", 0)
    (run,) = outdir_of(wanted, label, seed).glob("0*")
    recipe = json.loads((run / "recipe.json").read_text())
    given = [text for text in overrides(wanted, wanted.entries[0], seed) if not isinstance(text, str)]
    for more, same in {
        "train.tick_kimg=0.016": True, "objective.moments=10": False, "model.norm_d=none": False,
        "optim.lr_mult.d4=0.1": False, "diagnose.patience=2": False,
    }.items():  # fmt: skip
        asked = load_recipe("finetune", "coverart", [*SMALL, "train.snapshot_kimg=0.032", more, *given])
        assert (ended(wanted, label, seed, asked) is not None) is same, more
    assert recipe["objective"].pop("moments") == 0  # as of a version that did not know it
    (run / "recipe.json").write_text(json.dumps(recipe))
    asked = load_recipe("finetune", "coverart", [*SMALL, "train.snapshot_kimg=0.032", *given])
    assert ended(wanted, label, seed, asked) is not None


@pytest.mark.parametrize(
    ("methods", "change", "message"),
    [
        ("finetune,lecam", "objective.lecam=0.1", "--set objective.lecam: lecam sets it"),
        ("scratch,finetune", "train.auto_batch=true", "each run would measure a batch of its own"),
    ],
)
def test_settings_by_which_methods_would_differ_are_refused(
    tmp_path: Path, methods: str, change: str, message: str
) -> None:
    wanted = design(tmp_path / "study", methods)
    with pytest.raises(RecipeError, match=message):
        compare(dataclasses.replace(wanted, changes=(*wanted.changes, change)), Quiet())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("home")
def test_pairs_that_draw_pictures_of_another_size_are_not_compared(tmp_path: Path, pair: Path) -> None:
    wanted = dataclasses.replace(design(tmp_path / "study", "scratch"), changes=())
    both = dataclasses.replace(wanted, entries=entries("scratch,finetune", str(pair)))
    assert [entry.label for entry in both.entries] == ["scratch", f"finetune from {pair}"]
    with pytest.raises(RecipeError, match=r"pictures of several kinds.*scratch: 64x64, 3 channels.*16x16, 3 channels"):
        compare(both, Quiet())


def test_a_disk_that_holds_each_run_but_not_all_of_them_is_told_before_the_first(tmp_path: Path) -> None:
    one = planning.disk_bytes(
        load_recipe("finetune", "coverart", [*SMALL, "train.snapshot_kimg=0.032", "train.kimg=32"])
    )
    kimg = 0.3 * shutil.disk_usage(tmp_path).free / one * 32
    with pytest.raises(RunError, match=r"4 runs need [\d.]+ GB for checkpoints and snapshots"):
        compare(dataclasses.replace(design(tmp_path / "study"), seeds=2, kimg=kimg), Quiet())
    assert not (tmp_path / "study").exists()


def test_what_cannot_be_planned_is_told_with_the_method(tmp_path: Path) -> None:
    wanted = dataclasses.replace(design(tmp_path / "study", "finetune,freeze-d2"), target="cifar10")
    with pytest.raises(RecipeError, match=r"^freeze-d2: D .* cannot be frozen"):
        compare(wanted, Quiet())


def test_methods_that_do_not_fit_are_left_out_where_nobody_asked_for_them(tmp_path: Path) -> None:
    wanted, view = dataclasses.replace(design(tmp_path, "finetune,freeze-d2,scratch"), target="cifar10"), Quiet()
    assert [entry.label for entry in fitting(dataclasses.replace(wanted, changes=()), view).entries] == [
        "finetune",
        "scratch",
    ]
    (told,) = view.said
    assert told.startswith("left out: freeze-d2: D ")


@pytest.mark.slow
def test_a_run_that_cannot_be_trained_is_told_with_its_last_word(tmp_path: Path) -> None:
    wanted = design(tmp_path, "scratch")
    outdir = tmp_path / "runs" / "scratch-seed0" / "00000-coverart-builtin-covers"
    outdir.mkdir(parents=True)
    (outdir / "recipe.json").write_text('{"train": {"batch": 4}}')
    with pytest.raises(RunError, match=r"scratch, seed 0, ended with exit code 2: .*another recipe"):
        compare(wanted, Quiet())


@pytest.mark.parametrize(
    ("methods", "sources", "message"),
    [
        ("scrach", "", "scrach.*scratch"),
        ("", "", "names no method"),
        ("finetune,finetune", "", "twice"),
        ("scratch+freeze-d2", "", "exclude"),
    ],
)
def test_methods_that_make_no_study_are_refused(methods: str, sources: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        entries(methods, sources)


def test_sources_are_compared_by_themselves_or_with_methods() -> None:
    assert [entry.label for entry in entries("finetune", "builtin,runs/a")] == ["builtin", "runs/a"]
    both = entries("finetune,freeze-d2", "builtin,x")
    assert [entry.label for entry in both][2:] == ["freeze-d2 from builtin", "freeze-d2 from x"]
    assert both[3].overrides[-1].text == 'transfer.source="x"'


@pytest.mark.parametrize(("held_out", "message"), [(240, "too many"), (236, "too many, wanted 64 to 232"), (40, "few")])
def test_as_many_pictures_must_be_held_out_as_can_be_measured_on(tmp_path: Path, held_out: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        compare(dataclasses.replace(design(tmp_path), held_out=held_out), Quiet())


def test_no_seeds_a_late_snapshot_and_a_single_method_to_choose_from_are_refused(tmp_path: Path) -> None:
    wanted = design(tmp_path)
    with pytest.raises(RecipeError, match="--seeds 0"):
        compare(dataclasses.replace(wanted, seeds=0), Quiet())
    with pytest.raises(RecipeError, match="before the first snapshot"):
        compare(dataclasses.replace(wanted, kimg=0.016), Quiet())
    with pytest.raises(RecipeError, match="two or more"):
        advise(design(tmp_path, "finetune"), Quiet())


@pytest.mark.slow
def test_advice_drops_the_worse_half_and_names_a_command(tmp_path: Path) -> None:
    wanted = dataclasses.replace(design(tmp_path, "scratch,finetune,lecam"), kimg=0.128, changes=SMALL)
    view = Quiet()
    found = advise(wanted, view)
    rounds = [text for text in view.said if text.startswith("round")]
    assert rounds[0] == "round 0: scratch, finetune, lecam for 0.032 kimg"
    assert len(rounds) == 2
    assert found.command.startswith(
        "gan-transfer finetune --target coverart --data 'builtin:covers?count=240' --kimg 0.128"
    )


def test_the_command_to_take_is_one_that_can_be_typed(tmp_path: Path) -> None:
    wanted = dataclasses.replace(design(tmp_path), changes=(), data="zip:my covers.zip", kimg=40)
    text = "gan-transfer finetune --target coverart --data 'zip:my covers.zip' --kimg 40 --method scratch"
    assert command(wanted, "scratch") == text


def test_a_study_is_named_after_its_target_and_its_data() -> None:
    assert name_of("coverart", "zip:/a/Covers.zip") == "coverart-covers-zip"
    assert name_of("recipes/mine.toml", "") == "mine-own"
