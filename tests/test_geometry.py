"""Chains of convolutions: the paper's, that of 28 pixels, and what no network can be built from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gan_transfer.errors import RecipeError, WeightsError
from gan_transfer.geometry import Layer, discriminator_layers, faults, generator_layers, sizes_down, sizes_up
from gan_transfer.models.dcgan import Discriminator, Generator
from gan_transfer.models.weights import load_pair
from gan_transfer.recipe import Model, load_recipe


@pytest.mark.parametrize(
    ("resolution", "up", "down"),
    [
        (16, [4, 8, 16], [8, 4, 1]),
        (28, [7, 14, 28], [14, 7, 1]),
        (64, [4, 8, 16, 32, 64], [32, 16, 8, 4, 1]),
    ],
)
def test_the_rule_doubles_the_resolution_to_that_of_the_picture(
    resolution: int, up: list[int], down: list[int]
) -> None:
    layers_g, layers_d = generator_layers(resolution, 64, 3), discriminator_layers(resolution, 64)
    assert (sizes_up(layers_g), sizes_down(layers_d, resolution)) == (up, down)
    assert faults(resolution, layers_g, layers_d) == []


def test_channels_belong_to_the_resolution_and_28_pixels_count_as_32() -> None:
    assert [layer.channels for layer in generator_layers(28, 64, 1)] == [256, 128, 1]
    assert [layer.channels for layer in generator_layers(32, 64, 1)] == [512, 256, 128, 1]
    assert [layer.channels for layer in discriminator_layers(28, 64)] == [128, 256, 1]


def test_layers_that_end_elsewhere_or_twice_at_one_size_are_faults() -> None:
    same = Layer(8, 3, 1, 1)
    assert faults(64, generator_layers(32, 8, 3), ()) == [
        "layers_g: put out 4, 8, 16, 32 pixels; wanted rising sizes up to 64"
    ]
    assert faults(32, (Layer(8, 4, 1, 0), same, Layer(8, 4, 2, 1)), ())[0].startswith(
        "layers_g: put out 4, 4, 8 pixels"
    )
    assert faults(64, (), discriminator_layers(32, 8)) == [
        "layers_d: put out 32, 16, 8, 5 pixels; wanted falling sizes from 64 to 1"
    ]


def test_a_recipe_with_impossible_layers_is_told_where_they_came_from() -> None:
    layer = "{channels=8, kernel=4, stride=1, padding=0}"
    with pytest.raises(RecipeError, match=r"--set model.layers_g=.*: model.layers_g: put out 4 pixels; wanted rising"):
        load_recipe(
            "finetune", "coverart", [f"model.layers_g=[{layer}]", "model.resolution=64", "transfer.source=none"]
        )
    with pytest.raises(RecipeError, match=r"layers_g: wanted a list, each a table of channels, .*; got \[7\]"):
        load_recipe("finetune", "coverart", ["model.layers_g=[7]"])
    with pytest.raises(RecipeError, match=r"layers_g: wanted a list, each a table of .*; got \[\{ kernel = 4 \}\]"):
        load_recipe("finetune", "coverart", ["model.layers_g=[{kernel=4}]"])


def test_a_snapshot_with_impossible_layers_is_refused(pair: Path) -> None:
    settings = json.loads((pair / "config.json").read_text())
    settings["model"]["layers_d"] = [{"channels": 8, "kernel": 4, "stride": 2, "padding": 1}]
    (pair / "config.json").write_text(json.dumps(settings))
    with pytest.raises(
        WeightsError, match="no networks can have this shape: layers_d: put out 8 pixels; wanted falling"
    ):
        load_pair(pair)


@pytest.mark.parametrize("norm_d", ["batch", "spectral", "none"])
def test_biases_are_where_no_batch_norm_follows(norm_d: str) -> None:
    model = Model(resolution=28, base_channels=4, latent_dim=8, norm_d=norm_d, bias=True)  # type: ignore[arg-type]
    with_bias = {
        n for net in (Generator(model), Discriminator(model)) for n, _ in net.named_parameters() if "conv.bias" in n
    }
    assert with_bias == {"g28.conv.bias", "d14.conv.bias", "d1.conv.bias"} | (
        {"d7.conv.bias"} if norm_d != "batch" else set()
    )


def test_maps_of_odd_size_train_in_bfloat16_too() -> None:
    layers = (Layer(8, 4, 2, 1), Layer(8, 4, 2, 1), Layer(8, 4, 2, 1), Layer(1, 3, 1, 0))
    network = Discriminator(Model(resolution=28, channels=1, layers_d=layers))
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(4, 1, 28, 28)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
