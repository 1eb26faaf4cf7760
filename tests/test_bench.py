"""Claims about the benchmark: its figures agree with each other, and the textbook loop does learn."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import Cli

from gan_transfer.bench import compare, machine, textbook_step
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


def test_the_textbook_step_learns_and_reports_the_sum_of_its_losses() -> None:
    torch.manual_seed(0)
    step = textbook_step(CPU.device, MODEL)
    pictures = torch.full((16, 3, 16, 16), 255, dtype=torch.uint8)
    losses = [step(pictures) for _ in range(80)]
    assert losses[0] == pytest.approx(3 * 0.693, abs=0.5)  # three cross-entropies of a discriminator that knows nothing
    assert min(losses[40:]) < losses[0] - 0.1


def test_a_figure_comes_with_the_machine_it_was_measured_on() -> None:
    about = machine(CPU)
    assert list(about) == ["device", "processor", "threads", "torch", "python"]
    assert (about["device"], about["torch"]) == ("cpu (float32)", torch.__version__)
    assert [name for name, value in about.items() if not value] == []


def test_the_command_prints_one_json_object(cli: Cli) -> None:
    done = cli("bench", "--batch", 2, "--rounds", 3, "--device", "cpu", "--precision", "float32", "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert (found["batch"], found["rounds"]) == (2, 3)
    assert found["low"] <= found["ratio"] <= found["high"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--norm-d", "bath"], '--norm-d: norm_d: wanted one of "batch", "spectral", "none"; got "bath"'),
        (["--precision", "half"], '--precision: precision: wanted one of "auto", "float32", "bfloat16"; got "half"'),
        (["--device", "gpu"], "device 'gpu' is not known; wanted auto, cpu, cuda, cuda:N or mps"),
    ],
)
def test_bad_options_of_the_command_are_refused_in_one_line(cli: Cli, words: list[str], fault: str) -> None:
    done = cli("bench", "--batch", 2, "--rounds", 3, *words)
    assert (done.code, done.out) == (2, "")
    (line,) = done.faults
    assert fault in line
