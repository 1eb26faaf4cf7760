"""Claims about `gan-transfer diagnose`: the verdict, its exit code, what it says of a run, and what it refuses."""

from __future__ import annotations

import copy
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Cli, tree
from safetensors.torch import save_file
from torch import Tensor, nn

from gan_transfer import diagnose, sample
from gan_transfer.data.sources import open_source
from gan_transfer.diagnostics.backbones import LeNet
from gan_transfer.diagnostics.verdict import State
from gan_transfer.errors import DataError, GanTransferError, WeightsError
from gan_transfer.images import save_png
from gan_transfer.models.dcgan import Generator
from gan_transfer.models.weights import Pair, load_pair, save_pair
from gan_transfer.transfer.start import open_pair

COUNT = 256
"""Real pictures: samples of the embedded pair, so that it is healthy by them, and all is offline."""

N = ("-n", 128)


def write(folder: Path, pictures: Tensor) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        save_png(folder / f"{number:03d}.png", picture)
    return folder


def noisy(pictures: Tensor, scale: float = 4.0) -> Tensor:
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0)) * scale
    return (pictures + noise).round().clamp(0, 255).to(torch.uint8)


def altered(pair: Pair, folder: Path, change: Callable[[Generator], None]) -> Path:
    generator = copy.deepcopy(pair.generator)
    change(generator)
    save_pair(folder, Pair(generator, pair.discriminator, {"kimg": 1.0}))
    return folder


def damage(generator: Generator) -> None:
    """Running statistics that are not those of the weights."""
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.zero_()
            module.running_var.mul_(4)


@pytest.fixture(scope="module")
def embedded() -> Pair:
    return open_pair("builtin")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, embedded: Pair) -> Path:
    """`reals`, and `damaged`, a pair with wrong running statistics."""
    folder = tmp_path_factory.mktemp("diagnose")
    write(folder / "reals", sample(embedded.generator, range(100_000, 100_000 + COUNT)))
    altered(embedded, folder / "damaged", damage)
    return folder


@pytest.fixture(autouse=True)
def cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One cache for the module: the features of the reals are made once."""
    monkeypatch.setenv("GAN_TRANSFER_CACHE", str(place / "cache"))
    monkeypatch.chdir(place)
    return place / "cache"


@pytest.fixture
def judged(cli: Cli) -> Callable[..., dict[str, Any]]:
    """Diagnose, and give back the one JSON object; its exit code is that of the command."""

    def run(*words: object) -> dict[str, Any]:
        done = cli("diagnose", *words, "--json")
        told: dict[str, Any] = json.loads(done.out)
        assert done.code == told["exit_code"] == State(told["verdict"]).exit_code
        return told

    return run


# Verdicts


def test_a_generator_that_draws_like_the_reals_is_healthy(judged: Callable[..., dict[str, Any]]) -> None:
    told = judged("--network", "builtin", "--data", "reals", *N, "--metrics", "kid,recall")
    assert (told["verdict"], told["exit_code"], told["n"], told["extractor"]) == ("healthy", 0, 128, "builtin")
    assert [score["metric"] for score in told["scores"]] == ["kid_x1000", "recall"]
    assert [score["reals_n"] for score in told["scores"]] == [128, 128]
    assert told["advice"].startswith("gan-transfer sample --network builtin")


def test_the_same_words_give_the_same_answer(judged: Callable[..., dict[str, Any]]) -> None:
    first, second = (judged("--network", "builtin", "--data", "reals", "-n", 96, "--seed", 3) for _ in range(2))
    assert first | {"seconds": 0} == second | {"seconds": 0}


def test_wrong_running_statistics_are_named_and_mended_by_the_command_that_is_told(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_transfer.diagnosis.RECALIBRATION", 10)  # batches: some seconds less
    before = tree(place / "damaged")
    done = cli("diagnose", "--network", "damaged", "--data", "reals", *N)
    assert done.code == 60
    assert done.out.startswith("batch-norm mismatch")
    assert "with the running statistics of batch norm" in done.out
    assert "healthy with those of each batch" in done.out
    told = done.err.splitlines()[-1].removeprefix("next: gan-transfer ")
    assert done.out.count(told) == 1
    words = shlex.split(told)
    assert cli(*words, "--metrics", "fid", *N).faults  # too few pictures for it: nothing is left that is in the way
    mended = cli(*words, *N)
    assert (mended.code, mended.out.split()[0]) == (0, "healthy")
    assert load_pair(place / words[-1]).info["kimg"] == 1.0
    assert tree(place / "damaged") == before
    fault = "--recalibrate mended: wanted a new folder, this one is not empty; give another"
    assert cli(*words, *N).faults == [fault]


def test_replayed_training_pictures_are_memorised_and_named(judged: Callable[..., dict[str, Any]], place: Path) -> None:
    told = judged("--fakes", "reals", "--data", "reals", *N)
    assert (told["verdict"], told["exit_code"]) == ("memorised", 40)
    assert len(told["copies"]) == 64
    assert [row for row in told["copies"] if row["fake"] != row["other"] or row["mirrored"]] == []


def test_few_pictures_again_and_again_are_a_collapse(
    judged: Callable[..., dict[str, Any]], place: Path, embedded: Pair
) -> None:
    few = sample(embedded.generator, range(500, 516)).repeat(8, 1, 1, 1)
    write(place / "few", noisy(few))
    told = judged("--fakes", "few", "--data", "reals", *N)
    assert (told["verdict"], told["exit_code"]) == ("collapsed", 30)
    same = [int(row["fake"][:3]) % 16 == int(row["other"][:3]) % 16 for row in told["repeats"]]
    assert sum(same) >= 0.9 * len(same) > 0


def test_a_tensor_and_a_generator_can_be_judged_too(embedded: Pair) -> None:
    found = diagnose(embedded.generator, "reals", n=128)
    pictures = diagnose(sample(embedded.generator, range(128)), open_source("reals"), n=128)
    assert (found.state, pictures.state) == (State.HEALTHY, State.HEALTHY)
    assert (found.subject, pictures.subject, found.data) == ("the generator", "tensor", "folder:reals")


# Output


def test_the_tables_show_verdict_evidence_and_scores(cli: Cli) -> None:
    done = cli(
        "diagnose", "--network", "builtin", "--data", "reals", *N, "--metrics", "density,coverage,vendi,precision"
    )
    assert done.code == 0
    assert done.out.startswith("healthy  no loss of diversity was found\nbuiltin against folder:reals: ")
    shown = ("modes missing", "Vendi score lost", "repeats of another", "copies of training", "kid_x1000", "density")
    assert [word for word in shown if word not in done.out] == []
    assert "of 128 fakes 85 were compared, as there are but 256 reals" in done.out
    assert done.err.splitlines()[-1].startswith("next: gan-transfer sample --network builtin --seeds 0-63")


def test_the_output_file_holds_what_json_prints(cli: Cli, place: Path) -> None:
    done = cli("diagnose", "--network", "builtin", "--data", "reals", *N, "--json", "--output", "found.json")
    assert json.loads(done.out) == json.loads((place / "found.json").read_text(encoding="utf-8"))


def test_a_classifier_gives_the_inception_score_and_the_shares_of_the_classes(
    judged: Callable[..., dict[str, Any]], place: Path
) -> None:
    torch.manual_seed(0)
    save_file(LeNet(10).state_dict(), place / "lenet.safetensors")
    told = judged("--network", "builtin", "--data", "reals", *N, "--classifier", "lenet.safetensors")
    (score,) = told["scores"]
    assert (score["metric"], score["extractor"]) == ("is128", "file:lenet.safetensors")
    assert 1 <= score["value"] <= 10
    assert [len(told["classes"][side]) for side in ("fakes", "reals")] == [10, 10]
    assert [round(sum(told["classes"][side]), 4) for side in ("fakes", "reals")] == [1, 1]


# A run


LOOKS = [
    {"kimg": 0, "verdict": "untrained", "kid_x1000": 5.0, "vendi_ratio": 0.1, "copy_rate": None},
    {"kimg": 0.128, "verdict": "warning", "kid_x1000": 40.0, "vendi_ratio": 0.9, "copy_rate": 0.01},
    {"kimg": 0.256, "verdict": "collapsed", "kid_x1000": 30.0, "vendi_ratio": 0.4, "copy_rate": 0.01},
]


def test_a_run_is_judged_by_its_own_recipe_and_shows_its_history(cli: Cli, tiny: list[str], home: Path) -> None:
    words = ("finetune", "--target", "coverart", *tiny, "--set", "data.source=builtin:covers?count=128")
    assert cli(*words, "--from", "none").code == 0
    (run,) = (home / "runs").iterdir()
    (run / "metric-panel.jsonl").unlink(missing_ok=True)
    bare = cli("diagnose", run, "-n", 96)
    assert bare.code in (20, 30, 50)
    assert "snapshots/000000.256 against builtin:covers?count=128" in bare.out
    assert "no history: the run has no metric-panel.jsonl" in bare.out
    lines = [*map(json.dumps, LOOKS), '{"kimg": 0.3', "7"]  # the last ones were cut off by a kill
    (run / "metric-panel.jsonl").write_text("\n".join(lines))
    told = json.loads(cli("diagnose", run, "-n", 96, "--snapshot", "0.128", "--json").out)
    assert told["history"] == LOOKS
    assert told["subject"].endswith("000000.128")
    assert [note for note in told["notes"] if "trained on other pictures" in note] == []
    shown = cli("diagnose", run, "-n", 96).out
    assert [line.split()[0] for line in shown.splitlines() if line.rstrip().endswith("best")] == ["0.128"]
    other = cli("diagnose", run, "-n", 96, "--data", "builtin:covers?count=128&seed=5")
    assert "was trained on other pictures" in other.out
    fault = cli("diagnose", run, "--snapshot", "9").faults[0]
    assert fault.startswith(f"the run {run} has no snapshot '9'; wanted one of 000000.128, 000000.256")


# Bad input


def test_weights_and_pictures_that_are_not_finite_are_refused(cli: Cli, place: Path, embedded: Pair) -> None:
    def nan(generator: Generator) -> None:
        generator.get_parameter("g8.conv.weight").data[0, 0, 0, 0] = float("nan")

    def huge(generator: Generator) -> None:
        generator.get_parameter("g8.conv.weight").data.fill_(3e38)

    altered(embedded, place / "nan", nan)
    altered(embedded, place / "huge", huge)
    faults = [cli("diagnose", "--network", name, "--data", "reals").faults for name in ("nan", "huge")]
    advice = "Take an earlier snapshot, or train with lower learning rates"
    assert faults == [
        [f"nan is damaged: g8.conv.weight is not finite. {advice}"],
        [f"huge makes pictures that are not finite. {advice}"],
    ]


NETWORK = ("--network", "builtin", "--data", "reals")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ((), "wanted one of RUN, --network and --fakes, got none of them. See: gan-transfer diagnose --help"),
        (("runs", *NETWORK), "wanted one of RUN, --network and --fakes, got RUN and --network. See: "),
        (("reals",), "reals is no run folder: it has no recipe.json that can be read; give a run folder, or --network"),
        (("--fakes", "reals"), "--fakes needs real pictures to be compared with: --data folder:PATH or another source"),
        ((*NETWORK, "--snapshot", "best"), "--snapshot best chooses among those of a RUN; with --network leave it out"),
        ((*NETWORK, "--resolution", 32), "--resolution 32 is for --fakes; this generator's pictures have 64 pixels"),
        (
            ("--fakes", "reals", "--data", "reals", "--recalibrate", "x"),
            "--recalibrate x needs a generator; with --fakes",
        ),
        ((*NETWORK, "--metrics", "kid,fdi"), "metric 'fdi' is not known; did you mean 'fid'? (--metrics kid,fid,"),
        ((*NETWORK, "--metrics", "fid", *N), "metric fid with the 256 features of builtin needs at least 257 pictures"),
        ((*NETWORK, "--extractor", "dino"), "extractor 'dino' is not known; did you mean 'dinov2'? (forms: builtin, "),
        ((*NETWORK, "--crop", "face"), "crop 'face' is not known; "),
        ((*NETWORK, "-n", 95), "Invalid value for '-n': "),
        ((*NETWORK, "--output", "none/x.json"), "--output none/x.json: no such folder; make it with mkdir -p none"),
        ((*NETWORK, "--output", "reals"), "--output reals is a folder, wanted a file: --output reals/diagnosis.json"),
        (("--network", "gone", "--data", "reals"), "no pair at 'gone': no such folder; wanted builtin, hf:ORG/NAME"),
        (("--network", "builtin", "--data", "gone"), "data path 'gone' does not exist; give a folder or a .zip"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(cli: Cli, words: tuple[object, ...], fault: str) -> None:
    done = cli("diagnose", *words)
    assert (done.code, done.out) == (2, "")
    told = [line for line in done.err.splitlines() if not line.startswith("comparing ")]
    assert len(told) == 1
    assert told[0].startswith(f"error: {fault}")


def test_too_few_reals_are_told_with_the_number_that_is_needed(embedded: Pair) -> None:
    with pytest.raises(DataError, match=r"'builtin:covers\?count=95&seed=0' has 95 pictures; .* at least 96"):
        diagnose(embedded.generator, "builtin:covers?count=95", n=96)


def test_an_extractor_that_cannot_be_had_names_the_offline_one(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(place / "torch"))
    monkeypatch.setattr("socket.getaddrinfo", _unplugged)
    with pytest.raises(WeightsError, match=r"extractor inception cannot be downloaded: .* --extractor builtin"):
        diagnose("builtin", "reals", extractor="inception")
    with pytest.raises(WeightsError, match=r"cannot be downloaded: .*or give --classifier FILE"):
        diagnose("builtin", "reals", metrics="is")


def _unplugged(*_: object, **__: object) -> None:
    raise OSError("no network")


def test_no_verdict_shares_its_exit_code_with_an_error() -> None:
    def codes(cls: type[GanTransferError]) -> set[int]:
        own = {cls.exit_code} if cls.__name__ not in ("Interrupted", "Collapsed") else set()
        return own.union(*(codes(below) for below in cls.__subclasses__()))

    assert [state.exit_code for state in State] == [0, 10, 20, 30, 40, 50, 60]
    assert codes(GanTransferError) == {1, 2}
