"""Claims about looks at a run: what they write, how often they are taken, and that no fault of theirs ends a run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Cli, sets, tree
from reading import Witness, config, differing, events
from spoilt import SETTINGS, draw_own_pictures, train

from gan_transfer import examine, monitor, sampling
from gan_transfer.data.pack import PackSettings, cached_pack
from gan_transfer.data.sources import open_source
from gan_transfer.diagnostics.extractors import NetworkExtractor, open_extractor
from gan_transfer.errors import WeightsError
from gan_transfer.monitor import Monitor, keep_best
from gan_transfer.recipe import Train
from gan_transfer.run_folder import RunFolder
from gan_transfer.training.hardware import Hardware
from gan_transfer.transfer.start import open_generator

FIRST = Path("runs/00000-coverart-own")
KEYS = [
    *(
        "kimg",
        "n",
        "judged",
        "reals",
        "extractor",
        "verdict",
        "reason",
        "kid_x1000",
        "kid_error",
        "kid_spread",
        "occupancy_loss",
        "vendi_ratio",
        "vendi",
    ),
    *("duplicates", "copy_rate", "precision"),
    *("kid_floor", "recall", "coverage", "copy_expected", "modes", "nearest", "seconds", "looks"),
]
CPU = Hardware(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """The settings that name a data set, and a cache for all tests."""
    return draw_own_pictures(tmp_path_factory.mktemp("drawn")), tmp_path_factory.mktemp("shared-cache")


@pytest.fixture(autouse=True)
def looked_at(drawn: tuple[dict[str, str], Path], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short run, all of whose snapshots are looked at."""
    for key, value in (drawn[0] | {"train.kimg": "0.128"}).items():
        monkeypatch.setitem(SETTINGS, key, value)
    monkeypatch.setenv("GAN_TRANSFER_CACHE", str(drawn[1]))
    monkeypatch.setattr(monitor, "SHARE", math.inf)


def looks(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metric-panel.jsonl").read_text().splitlines()]


def test_every_snapshot_gets_a_line_in_the_panel_and_its_figures_beside_its_weights() -> None:
    run = train({})
    assert [(list(line), line["kimg"], line["looks"]) for line in looks(run)] == [
        (KEYS, kimg, 3) for kimg in (0.0, 0.064, 0.128)
    ]
    last = looks(run)[-1]
    assert json.loads((run / "snapshots" / "000000.128" / "metrics.json").read_text()) == {
        "kimg": 0.128,
        "extractor": "builtin",
        "n": 96,
        "verdict": last["verdict"],
        "scores": {
            "kid_x1000": {"value": last["kid_x1000"], "error": last["kid_error"]},
            "vendi_ratio": {"value": last["vendi_ratio"], "error": None},
            "copy_rate": {"value": last["copy_rate"], "error": None},
            "precision": {"value": last["precision"], "error": None},
        },
    }


def test_a_look_can_be_taken_again_from_its_snapshot_by_the_seeds(drawn: tuple[dict[str, str], Path]) -> None:
    run = train({})
    packed = cached_pack(open_source(drawn[0]["data.source"]), PackSettings(16, 3, "center"))
    again = examine.examiner(examine.pictures_of(packed, "own"), open_extractor("builtin"), 96)
    found = again.look(sampling.sample(open_generator(str(run)), range(96)), looks=3).verdict
    last = looks(run)[-1]
    assert (str(found.state), found.fakes, found.reals) == (last["verdict"], last["judged"], last["reals"])
    assert found.vendi_ratio == pytest.approx(last["vendi_ratio"], abs=1e-3)


def test_best_is_a_snapshot_that_can_be_started_from_and_the_run_still_means_its_newest() -> None:
    run = train({})
    best = min(looks(run)[1:], key=lambda line: line["kid_x1000"])["kimg"]
    assert sorted(path.name for path in (run / "best").iterdir()) == [
        *("config.json", "discriminator.safetensors", "metrics.json", "model.safetensors", "recipe.json")
    ]
    assert config(run / "best")["kimg"] == best
    assert open_generator(str(run / "best")).model.resolution == 16
    newest, named = (open_generator(str(path)).state_dict() for path in (run, run / "snapshots" / "000000.128"))
    assert all(torch.equal(newest[name], named[name]) for name in named)


def test_looking_changes_nothing_in_the_training() -> None:
    settings = {"model.norm_d": "none", "model.dropout_d": "0.2", "transfer.source": "none"}  # dropout: global draws
    assert differing(train(settings, "looked"), train(settings | {"diagnose.extractor": "none"}, "blind")) == set()
    assert not (Path("blind") / FIRST.name / "metric-panel.jsonl").exists()


def test_too_few_pictures_are_told_in_one_line_and_the_run_goes_on() -> None:
    witness = Witness()
    run = train({"data.source": "builtin:covers?count=64"}, witness=witness)
    (line,) = [line for line in witness.talk if line.startswith("no diagnosis: ")]
    assert line.startswith("no diagnosis: 'builtin:covers")
    assert line.endswith("' has 64 pictures; a verdict needs at least 96. Give more")
    assert events(run) == ["started", "finished"]
    assert not (run / "best").exists()


def test_a_look_that_fails_is_told_once_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    eyes = NetworkExtractor.features

    def failing(self: NetworkExtractor, pictures: torch.Tensor) -> torch.Tensor:
        if len(pictures) == 96:
            raise WeightsError("extractor builtin gives features that are not finite")
        return eyes(self, pictures)

    monkeypatch.setattr(NetworkExtractor, "features", failing)
    witness = Witness()
    run = train({}, witness=witness)
    assert [line for line in witness.talk if "diagnosis: extractor" in line] == [
        "no diagnosis: extractor builtin gives features that are not finite"
    ]
    assert events(run)[-1] == "finished"


@pytest.mark.parametrize("settings", [{"model.channels": "1"}, {"model.resolution": "32"}])
def test_grey_and_larger_pictures_are_looked_at_too(settings: dict[str, str]) -> None:
    assert len(looks(train({"transfer.source": "none"} | settings))) == 3


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("--set diagnose.extractor=buildin", "extractor 'buildin' is not known; did you mean 'builtin'?"),
        ("--set diagnose.extractor=file:none.pth", "none.pth"),
        ("--set diagnose.fakes=8", "diagnose.fakes: "),
        ("--patience -1", "diagnose.patience"),
    ],
)
def test_settings_that_cannot_work_are_told_before_the_first_second(
    cli: Cli, home: Path, words: str, fault: str
) -> None:
    before = tree(home)
    done = cli("finetune", "--target", "coverart", *sets(SETTINGS), *words.split())
    assert (done.code, tree(home)) == (2, before)
    assert fault in done.err


def test_a_killed_look_leaves_no_line_twice() -> None:
    run = train({"train.kimg": "0.064"})
    panel = run / "metric-panel.jsonl"
    panel.write_text(panel.read_text() + '{"kimg": 0.1')
    (run / "events.jsonl").write_text("")  # as if the run had been killed at its end
    assert train({"train.kimg": "0.064"}) == run
    assert [line["kimg"] for line in looks(run)] == [0.0, 0.064]


@pytest.mark.parametrize(
    ("cost", "expected"),
    [(0.4, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), (0.9, [2, 4, 6, 8, 10]), (3.0, [8, 10]), (900.0, [10])],
)
def test_looks_are_thinned_to_a_twentieth_of_the_time_and_the_last_is_always_taken(
    monkeypatch: pytest.MonkeyPatch, cost: float, expected: list[int]
) -> None:
    monkeypatch.setattr(monitor, "SHARE", 0.05)
    now = [0.0]
    monkeypatch.setattr(monitor.time, "perf_counter", lambda: now[0])
    made = Monitor(RunFolder(Path()), None, None, 96, Train(kimg=10, snapshot_kimg=1), CPU, 0.0)  # type: ignore[arg-type]
    taken = []
    for number in range(11):
        if made.due(number * 1000):
            taken.append(number)
            now[0] += cost
            made.looked(cost, number * 1000)
        now[0] += 10.0  # from snapshot to snapshot
    assert taken == [0, *expected]


def test_the_best_snapshot_is_replaced_whole(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(name)
        keep_best(tmp_path / name, tmp_path / "best")
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["second.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "first", "second"]
