"""The two networks: sizes, names, shapes, ranges and how their weights are drawn."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
import torch
from torch import nn

from gan_transfer.models.dcgan import Discriminator, Generator, Network, initialise, probability
from gan_transfer.recipe import Model, Resolution

TINY = Model(resolution=16, base_channels=4, latent_dim=8)
NORMS = ["batch", "spectral", "none"]


def shaped(**changes: object) -> Model:
    return dataclasses.replace(TINY, **changes)  # type: ignore[arg-type]


def parameters(network: Network) -> int:
    return sum(p.numel() for p in network.parameters())


def drawn(network: Network, seed: int) -> dict[str, torch.Tensor]:
    initialise(network, torch.Generator().manual_seed(seed))
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def test_the_faithful_pair_has_the_parameters_of_the_paper() -> None:
    assert (parameters(Generator(Model())), parameters(Discriminator(Model()))) == (3_576_704, 2_765_568)


def test_blocks_are_named_after_the_resolution_that_they_put_out() -> None:
    assert list(Generator(Model()).blocks) == ["g4", "g8", "g16", "g32", "g64"]
    assert list(Discriminator(Model()).blocks) == ["d32", "d16", "d8", "d4", "d1"]
    assert list(Generator(TINY).blocks) == ["g4", "g8", "g16"]
    assert list(Discriminator(TINY).blocks) == ["d8", "d4", "d1"]


@pytest.mark.parametrize("resolution", get_args(Resolution))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_resolution_gives_pictures_of_its_size_in_range(resolution: int, channels: int) -> None:
    model = shaped(resolution=resolution, channels=channels)
    pictures = Generator(model)(torch.randn(2, 8)).detach()
    assert pictures.shape == (2, channels, resolution, resolution)
    assert -1 <= pictures.min() < pictures.max() <= 1


@pytest.mark.parametrize("resolution", get_args(Resolution))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("norm_d", NORMS)
def test_every_discriminator_gives_one_logit_a_picture(resolution: int, channels: int, norm_d: str) -> None:
    model = shaped(resolution=resolution, channels=channels, norm_d=norm_d)
    logits = Discriminator(model)(torch.randn(2, channels, resolution, resolution))
    assert (logits.shape, logits.dtype) == ((2,), torch.float32)
    assert logits.isfinite().all()


@pytest.mark.parametrize("norm_d", NORMS)
def test_strides_take_the_place_of_pooling_and_of_dense_layers(norm_d: str) -> None:
    model = shaped(norm_d=norm_d, resolution=64)
    for network in (Generator(model), Discriminator(model)):
        layers = [m for m in network.modules() if not list(m.children())]
        allowed = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.Identity, nn.ReLU, nn.LeakyReLU, nn.Tanh)
        convolutions = [b.conv for b in network.blocks.values()]
        assert {c.kernel_size for c in convolutions} == {(4, 4)}
        assert all(isinstance(m, allowed) or type(m).__name__ == "_SpectralNorm" for m in layers)


def test_the_generator_ends_in_tanh_after_relus_and_the_discriminator_has_leaky_ones() -> None:
    assert [type(b.activation) for b in Generator(TINY).blocks.values()] == [nn.ReLU, nn.ReLU, nn.Tanh]
    activations = [b.activation for b in Discriminator(TINY).blocks.values()]
    assert [type(a) for a in activations] == [nn.LeakyReLU, nn.LeakyReLU, nn.Identity]
    assert {a.negative_slope for a in activations if isinstance(a, nn.LeakyReLU)} == {0.2}


def test_batch_norm_is_everywhere_but_at_the_picture_and_at_the_logit() -> None:
    assert [type(b.norm) for b in Generator(TINY).blocks.values()] == [nn.BatchNorm2d, nn.BatchNorm2d, nn.Identity]
    assert [type(b.norm) for b in Discriminator(TINY).blocks.values()] == [nn.Identity, nn.BatchNorm2d, nn.Identity]


def test_dropout_follows_each_hidden_block_of_the_discriminator() -> None:
    network = Discriminator(shaped(norm_d="none", dropout_d=0.5))
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    images = torch.randn(4, 3, 16, 16)
    assert not torch.equal(network(images), network(images))
    assert torch.equal(network.eval()(images), network(images))


def test_weights_are_drawn_with_the_deviations_of_the_paper() -> None:
    for network in (Generator(Model()), Discriminator(Model())):
        weights = drawn(network, 0)
        for name, value in weights.items():
            if name.endswith("conv.weight"):
                # 5 standard errors of mean and deviation of N(0, 0.02)
                error = 5 * 0.02 / value.numel() ** 0.5
                assert (abs(value.mean()) < error, abs(value.std() - 0.02) < error) == (True, True), name
            elif name.endswith("norm.bias"):
                assert value.count_nonzero() == 0
        gains = torch.cat([v for n, v in weights.items() if n.endswith("norm.weight")])
        error = 5 * 0.02 / len(gains) ** 0.5
        assert (abs(gains.mean() - 1) < error, abs(gains.std() - 0.02) < error) == (True, True)


def test_a_discriminator_without_norm_is_drawn_uniformly_within_one_over_the_root_of_its_fan_in() -> None:
    network = Discriminator(dataclasses.replace(Model(), norm_d="none"))
    initialise(network, torch.Generator().manual_seed(0))
    for block in network.blocks.values():
        weight, bias = block.conv.weight.detach(), block.conv.bias.detach()
        bound = weight[0].numel() ** -0.5
        assert 0.95 * bound < float(weight.abs().max()) <= bound
        assert abs(float(weight.std()) * 3**0.5 / bound - 1) < 0.03
        assert torch.equal(bias, torch.zeros_like(bias))


@pytest.mark.parametrize("norm_d", NORMS)
def test_the_same_seed_draws_the_same_weights(norm_d: str) -> None:
    for kind in (Generator, Discriminator):
        one, two, other = (drawn(kind(shaped(norm_d=norm_d)), seed) for seed in (1, 1, 2))
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert not all(torch.equal(one[name], other[name]) for name in one)


def test_drawing_anew_forgets_the_running_statistics() -> None:
    network = Generator(TINY)
    network(torch.randn(4, 8))
    initialise(network)
    norm = network.blocks["g4"].norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_mean.count_nonzero() == 0


def test_probability_is_the_sigmoid_in_float32() -> None:
    logits = torch.tensor([-200.0, -1.0, 0.0, 3.0, 200.0])
    wanted = 1 / (1 + (-logits.double()).exp())
    torch.testing.assert_close(probability(logits), wanted.float())
    assert probability(logits.bfloat16()).dtype == torch.float32


def test_in_eval_mode_a_picture_does_not_depend_on_its_companions() -> None:
    network = Generator(TINY).eval()
    z = torch.randn(4, 8)
    torch.testing.assert_close(network(z)[:1], network(z[:1]))


def test_frozen_blocks_are_not_trainable_and_stay_in_eval_mode() -> None:
    network = Discriminator(TINY)
    everything = len(network.trainable())
    network.blocks["d8"].frozen = True
    network.train()
    assert len(network.trainable()) == everything - 1
    assert {n: b.training for n, b in network.blocks.items()} == {"d8": False, "d4": True, "d1": True}
