"""Claims about the estimates of runs on several devices: the model's arithmetic, and where time goes."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import Cli
from torch import nn

from gan_transfer.models.dcgan import Discriminator, Generator
from gan_transfer.recipe import Model
from gan_transfer.scaling import (
    Device,
    Network,
    estimate,
    exchanged_bytes,
    fit,
    multiply_adds,
    step_bytes,
    step_multiply_adds,
)

NETWORK = Network(bandwidth=1e9, latency=1e-5)


def counted(network: nn.Module, x: torch.Tensor) -> int:
    """Multiply-adds of one picture, layer by layer as it runs."""
    found = 0
    for block in network.children():
        before, x = x, block(x)
        smaller = before if isinstance(block.conv, nn.ConvTranspose2d) else x  # which it walks over
        found += smaller.shape[2] * smaller.shape[3] * block.conv.weight.numel()
    return found


@pytest.mark.parametrize("model", [Model(), Model(resolution=128), Model(resolution=28, channels=1, base_channels=16)])
def test_multiply_adds_are_those_that_the_networks_do(model: Model) -> None:
    generator, discriminator = Generator(model).eval(), Discriminator(model).eval()
    z, picture = torch.zeros(1, 100, 1, 1), torch.zeros(1, int(model.channels), model.resolution, model.resolution)
    assert multiply_adds(model) == (counted(generator, z), counted(discriminator, picture))


@pytest.mark.parametrize("model", [Model(), Model(resolution=28, channels=1, base_channels=16)])
def test_the_bytes_of_a_step_are_those_of_the_maps(model: Model) -> None:
    generator, discriminator = Generator(model).eval(), Discriminator(model).eval()
    maps: list[int] = []
    for network in (generator, discriminator):
        for block in network.children():
            block.register_forward_hook(lambda _block, _given, made: maps.append(made.numel()))
    discriminator(generator(torch.zeros(1, 100)))
    in_g, in_d = sum(maps[: len(list(generator.children()))]), sum(maps[len(list(generator.children())) :])
    assert step_bytes(model, 2) == (in_g + 3 * in_d) * 13 * 2


def test_a_step_of_the_faithful_pair_needs_eleven_times_105_million() -> None:
    assert step_multiply_adds(Model()) == pytest.approx(11 * 105e6, rel=0.02)
    assert exchanged_bytes(Model()) == (4 * 3_576_704, 4 * 2_765_568)


def test_a_device_is_fitted_through_two_steps() -> None:
    device = fit((10, 0.3), (30, 0.7))
    assert (device.fixed, device.each) == pytest.approx((0.1, 0.02))


def test_one_device_exchanges_nothing_and_many_pay_for_what_they_wait() -> None:
    device = Device(fixed=0.001, each=0.0001)
    one, eight = (estimate(Model(), device, NETWORK, 512, 1000, count) for count in (1, 8))
    assert one.img_per_sec == pytest.approx(512 / 0.0522)
    assert (one.efficiency, one.device_hours) == (1.0, one.hours)
    exchange = 2 * 7 / 8 * sum(exchanged_bytes(Model())) / 1e9 + 2 * 14 * 1e-5
    assert eight.hours == pytest.approx(1_000_000 / 512 * (0.001 + 64 * 0.0001 + exchange) / 3600)
    assert eight.device_hours == pytest.approx(8 * eight.hours)
    assert eight.efficiency == pytest.approx(one.hours / eight.device_hours)


def test_the_command_tells_a_row_for_each_number_of_devices(cli: Cli) -> None:
    done = cli("bench", "scale", "--img-per-sec", 50000, "--price", 2, "--devices", "1,4", "--json")
    told = json.loads(done.out)
    assert [(row["resolution"], row["devices"]) for row in told["estimates"]] == [(64, 1), (64, 4), (128, 1), (128, 4)]
    assert told["estimates"][0]["hours"] == pytest.approx(1_500_000 / 50000 / 3600)
    assert told["estimates"][0]["cost"] == pytest.approx(2 * told["estimates"][0]["hours"])


def test_the_command_measures_this_machine(cli: Cli) -> None:
    done = cli("bench", "scale", "--resolutions", 16, "--devices", 2, "--device", "cpu", "--precision", "float32")
    assert done.code == 0
    assert "16        2" in done.out


@pytest.mark.parametrize("words", [("--devices", "1,x"), ("--devices", "0"), ("--resolutions", "48")])
def test_what_is_no_number_of_devices_or_pixels_is_refused_by_its_flag(cli: Cli, words: tuple[str, str]) -> None:
    done = cli("bench", "scale", "--img-per-sec", 1, *words)
    (fault,) = done.faults
    assert (done.code, fault.startswith(words[0])) == (2, True)
