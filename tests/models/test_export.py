"""Claims about ONNX models: PyTorch's pictures for every shape, a free batch, and what they say of themselves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from conftest import Cli, tree

from gan_transfer.errors import WeightsError
from gan_transfer.geometry import Layer
from gan_transfer.models.dcgan import Generator, initialise
from gan_transfer.models.ema import recalibrate
from gan_transfer.models.export import check, runner, to_onnx
from gan_transfer.recipe import Model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SHAPES = {
    "16": Model(resolution=16, base_channels=4, latent_dim=8),
    "grey with bias": Model(resolution=16, base_channels=4, latent_dim=8, channels=1, bias=True),
    "28": Model(resolution=28, base_channels=4, latent_dim=3, channels=1),
    "imported": Model(
        resolution=28, channels=1, latent_dim=8,
        layers_g=(Layer(8, 3, 1, 0), Layer(8, 3, 2, 1, 1), Layer(8, 4, 2, 0), Layer(1, 4, 2, 1)),
        layers_d=(Layer(8, 4, 2, 1), Layer(8, 4, 2, 1), Layer(1, 7, 1, 0)),
    ),
}  # fmt: skip


def trained(model: Model) -> Generator:
    """A generator whose statistics are not those of its first moment."""
    generator = Generator(model)
    initialise(generator, torch.Generator().manual_seed(0))
    recalibrate(generator, batch=16, batches=2)
    return generator.eval()


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_are_those_of_pytorch(shape: str, half: bool) -> None:
    generator = trained(SHAPES[shape])
    difference = check(to_onnx(generator, {}, half), generator, 1e-4 if not half else 1 / 127.5)
    assert difference is not None
    assert difference < (1e-4 if not half else 1 / 127.5)


def test_the_model_is_valid_takes_any_batch_and_tells_its_pair() -> None:
    model = to_onnx(trained(SHAPES["16"]), {"pair": "a 'pair' <b>"})
    read = onnx.load_from_string(model)
    onnx.checker.check_model(read, full_check=True)
    assert {item.key: item.value for item in read.metadata_props}["pair"] == "a 'pair' <b>"
    run = runner(model)
    assert run is not None
    for count in (1, 5):
        assert run(torch.zeros(count, 8)).shape == (count, 3, 16, 16)


def test_the_bytes_depend_on_the_weights_alone() -> None:
    assert to_onnx(trained(SHAPES["16"]), {}) == to_onnx(trained(SHAPES["16"]), {})


def test_weights_out_of_float16s_range_are_kept_as_they_are() -> None:
    generator = trained(SHAPES["16"])
    block = next(iter(generator.blocks.values()))
    weight = block.conv.weight
    assert isinstance(weight, torch.Tensor)
    weight.data.mul_(1e7)
    recalibrate(generator, batch=16, batches=2)
    assert check(to_onnx(generator.eval(), {}, half=True), generator, 1 / 127.5) is not None


def test_a_model_of_another_generator_is_refused() -> None:
    generator = trained(SHAPES["16"])
    model = to_onnx(generator, {})
    next(iter(generator.blocks.values())).norm.weight.data.mul_(100)  # type: ignore[operator, union-attr]
    with pytest.raises(WeightsError, match=r"pictures differ by .* wanted 0.0001 at most; nothing was written"):
        check(model, generator)


def test_the_command_writes_a_model_named_after_the_pair(cli: Cli, pair: Path, home: Path) -> None:
    done = cli("export", pair, "--onnx")
    assert (done.code, done.out) == (0, "pair.onnx\n")
    assert "ONNX opset 17; pictures as in PyTorch" in done.err
    assert (home / "pair.onnx").stat().st_size > 1000


def test_scripts_are_told_the_model_and_how_far_it_is_from_pytorch(cli: Cli, pair: Path, home: Path) -> None:
    told = json.loads(cli("export", pair, "--json").out)
    assert (told["written"], told["opset"]) == ("pair.onnx", 17)
    assert 0 <= told["difference"] <= 1e-4


def test_what_cannot_be_exported_is_told_in_a_line(cli: Cli, pair: Path, home: Path) -> None:
    (home / "file").write_text("")
    before = tree(home)
    assert "wanted an ending of .onnx" in cli("export", pair, "--output", "model.pb").faults[0]
    assert "cannot be written" in cli("export", pair, "--output", "file/model.onnx").faults[0]
    assert "no such folder" in cli("export", "nowhere").faults[0]
    assert tree(home) == before
    (pair / "model.safetensors").unlink()
    assert "is missing" in cli("export", pair).faults[0]


def test_without_onnx_the_extra_is_named(cli: Cli, pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    for command in ("export", "explore"):
        assert cli(command, pair).faults == [
            "the package onnx is not installed; run: pip install 'gan-transfer[export]'"
        ]


def test_without_onnxruntime_it_is_said_that_nothing_was_checked(
    cli: Cli, pair: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = cli("export", pair)
    assert done.code == 0
    assert "not checked against PyTorch, since onnxruntime is not installed" in done.err
