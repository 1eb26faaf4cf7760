"""Claims about the benchmark: its figures agree with each other, and the textbook's step does learn."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import Cli

from gan_transfer import roofline
from gan_transfer.bench import compare, compare_loops, machine, textbook_step
from gan_transfer.bench_profile import where_time_goes
from gan_transfer.recipe import Model
from gan_transfer.training import hardware

MODEL = Model(resolution=16, base_channels=4, latent_dim=8)
CPU = hardware.choose("cpu", "float32")


def test_the_figures_of_a_comparison_agree() -> None:
    found = compare(CPU, MODEL, batch=4, rounds=5, steps=2)
    assert found.textbook > 0
    assert found.low <= found.ratio <= found.high
    assert found.low <= found.ours / found.textbook <= found.high


def test_one_round_has_one_ratio() -> None:
    found = compare(CPU, MODEL, batch=4, rounds=1, steps=1)
    assert found.low == found.ratio == found.high == pytest.approx(found.ours / found.textbook)


def test_the_textbook_step_learns_and_reports_its_three_losses() -> None:
    torch.manual_seed(0)
    step = textbook_step(CPU.device, MODEL)
    pictures = torch.full((16, 3, 16, 16), 255, dtype=torch.uint8)
    losses = [float(step(pictures).sum()) for _ in range(80)]
    assert losses[0] == pytest.approx(3 * 0.693, abs=0.5)  # three cross-entropies of a discriminator that knows nothing
    assert min(losses[40:]) < losses[0] - 0.1


def test_whole_loops_read_their_data_and_stand_beside_the_bare_step() -> None:
    found = compare_loops(CPU, MODEL, batch=4, rounds=3, workers=1)
    assert found.workers == 1
    assert found.loop.low <= found.loop.ratio <= found.loop.high
    assert found.loop.ours == found.step.ours
    assert found.loop.textbook < found.step.textbook  # at 16 x 16 pixels the files take most of its time


def test_no_step_is_faster_than_products_and_memory_let_it() -> None:
    bound = roofline.measure(CPU, Model())
    assert 1e9 < bound.bytes_per_sec < 1e13
    assert bound.flop == pytest.approx(2 * 11 * 105e6, rel=0.02)
    assert bound.img_per_sec == min(bound.flop_per_sec / bound.flop, bound.bytes_per_sec / bound.bytes)
    assert compare(CPU, Model(), batch=4, rounds=1, steps=1).ours < bound.img_per_sec


def test_a_figure_comes_with_the_machine_it_was_measured_on() -> None:
    about = machine(CPU)
    assert list(about) == ["device", "processor", "threads", "torch", "python"]
    assert (about["device"], about["torch"]) == ("cpu (float32)", torch.__version__)
    assert [name for name, value in about.items() if not value] == []


def test_the_command_prints_one_json_object(cli: Cli) -> None:
    words = ["--batch", 2, "--rounds", 3, "--device", "cpu", "--precision", "float32", "--no-loops"]
    done = cli("bench", *words, "--profile", 3, "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert (found["batch"], found["rounds"], found["resolution"]) == (2, 3, 64)
    assert found["low"] <= found["ratio"] <= found["high"]
    assert found["roofline"]["reached"] == pytest.approx(found["ours"] / found["roofline"]["img_per_sec"])
    assert found["loops"] is None
    assert [row["share"] for row in found["profile"]] == sorted(
        (row["share"] for row in found["profile"]), reverse=True
    )


def test_the_profile_names_all_that_a_step_does() -> None:
    rows = where_time_goes(CPU, MODEL, batch=4)
    assert sum(row.share for row in rows) == pytest.approx(1)
    calls = {row.name: row.calls for row in rows}
    assert calls["aten::_fused_adam_"] == 2  # both players learn once
    assert calls["aten::native_batch_norm"] == 3 * 1 + 2  # D's one, of three looks, and G's two


def test_the_command_tells_loops_and_what_is_reached_of_the_best(cli: Cli) -> None:
    shape = ["--resolution", 16, "--base-channels", 4, "--batch", 2, "--rounds", 3, "--workers", 1]
    done = cli("bench", *shape, "--device", "cpu", "--precision", "float32")
    assert (done.code, done.err) == (0, "")
    rows = [line.split() for line in done.out.splitlines()]
    assert ["its", "loop"] in [row[:2] for row in rows]
    (best,) = (row for row in rows if row[:2] == ["at", "best"])
    assert 0 < int(best[-1].removesuffix("%")) < 100


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--norm-d", "bath"], 'norm_d: wanted one of "batch", "spectral", "none"; got "bath"'),
        (["--precision", "half"], '--precision: precision: wanted one of "auto", "float32", "bfloat16"; got "half"'),
        (["--device", "gpu"], "device 'gpu' is not known; wanted auto, cpu, cuda, cuda:N or mps"),
    ],
)
def test_bad_options_of_the_command_are_refused_in_one_line(cli: Cli, words: list[str], fault: str) -> None:
    done = cli("bench", "--batch", 2, "--rounds", 3, *words)
    assert (done.code, done.out) == (2, "")
    (line,) = done.faults
    assert fault in line
