"""The generator's moving average, and batch-norm statistics taken anew for it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_transfer.models.dcgan import Generator, initialise
from gan_transfer.models.ema import Ema, decay, recalibrate
from gan_transfer.recipe import Model
from gan_transfer.transfer.freeze import freeze

TINY = Model(resolution=16, base_channels=4, latent_dim=8)


def drawn(seed: int) -> Generator:
    network = Generator(TINY)
    initialise(network, torch.Generator().manual_seed(seed))
    return network


def statistics(generator: Generator) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in generator.named_buffers() if "running" in name}


@pytest.mark.parametrize("batch", [1, 50, 250])
def test_after_one_half_life_a_weight_has_lost_half_of_its_influence(batch: int) -> None:
    kept = np.prod([decay(batch, 1000.0, seen, 0.0) for seen in range(0, 1000, batch)])
    np.testing.assert_allclose(kept, 0.5)


def test_the_ramp_holds_the_half_life_to_a_share_of_the_images_seen() -> None:
    assert decay(64, 10_000, 2_000, 0.05) == pytest.approx(0.5 ** (64 / 100))
    assert decay(64, 10_000, 10_000_000, 0.05) == pytest.approx(0.5 ** (64 / 10_000))


def test_nothing_is_kept_at_the_start_of_the_ramp_and_without_a_half_life() -> None:
    assert decay(64, 10_000, 0, 0.05) == 0.0
    assert decay(64, 0, 5_000, 0.0) == 0.0


def test_an_update_equals_the_slow_sum_over_all_weights_so_far() -> None:
    generator = drawn(0)
    ema = Ema(generator)
    slow = [p.detach().double() for p in generator.parameters()]
    for number, keep in enumerate([0.9, 0.5, 0.99, 0.0, 0.7]):
        initialise(generator, torch.Generator().manual_seed(number))
        ema.update(keep)
        live = [p.detach().double() for p in generator.parameters()]
        slow = [keep * old + (1 - keep) * new for old, new in zip(slow, live, strict=True)]
    for fast, wanted in zip(ema.network.parameters(), slow, strict=True):
        torch.testing.assert_close(fast.double(), wanted, atol=1e-7, rtol=1e-5)


def test_keeping_nothing_copies_the_generator() -> None:
    generator = drawn(0)
    ema = Ema(generator)
    initialise(generator, torch.Generator().manual_seed(1))
    ema.update(0.0)
    pairs = zip(ema.network.parameters(), generator.parameters(), strict=True)
    assert all(torch.equal(averaged, live) for averaged, live in pairs)


def test_the_average_is_a_copy_in_eval_mode_without_gradients() -> None:
    generator = drawn(0)
    average = Ema(generator).network
    assert not average.training
    assert not any(p.requires_grad for p in average.parameters())
    assert not {p.data_ptr() for p in average.parameters()} & {p.data_ptr() for p in generator.parameters()}


def test_frozen_blocks_are_equal_in_the_average_after_updates() -> None:
    generator = drawn(0)
    freeze(generator, ["g4"])
    ema = Ema(generator)
    for parameter in generator.trainable():
        parameter.data.add_(1.0)
    ema.update(0.3)
    assert torch.equal(ema.network.blocks["g4"].conv.weight, generator.blocks["g4"].conv.weight)  # type: ignore[arg-type]
    assert not torch.equal(ema.network.blocks["g8"].conv.weight, generator.blocks["g8"].conv.weight)  # type: ignore[arg-type]


def test_recalibrated_statistics_are_the_plain_average_over_batches() -> None:
    generator = drawn(0)
    slow = copy.deepcopy(generator).train()
    inputs: dict[str, list[Tensor]] = {}
    for name, block in slow.blocks.items():
        inputs[name] = []
        block.norm.register_forward_pre_hook(lambda _, args, name=name: inputs[name].append(args[0].detach()))
    random = torch.Generator().manual_seed(5)
    for _ in range(4):
        slow(torch.randn(6, 8, generator=random))

    recalibrate(generator, batch=6, batches=4, seed=5)
    for name in ("g4", "g8"):
        seen = [x.double().transpose(0, 1).flatten(1) for x in inputs[name]]
        found = statistics(generator)
        mean, variance = found[f"{name}.norm.running_mean"], found[f"{name}.norm.running_var"]
        torch.testing.assert_close(mean.double(), torch.stack([x.mean(1) for x in seen]).mean(0), atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(variance.double(), torch.stack([x.var(1) for x in seen]).mean(0), rtol=1e-4, atol=0)


def test_recalibration_is_deterministic_and_leaves_the_randomness_of_training_alone() -> None:
    one, two = drawn(0), drawn(0)
    before = torch.get_rng_state()
    recalibrate(one, batch=4, batches=3)
    assert torch.equal(torch.get_rng_state(), before)
    recalibrate(two, batch=4, batches=3)
    assert all(torch.equal(a, b) for a, b in zip(statistics(one).values(), statistics(two).values(), strict=True))


def test_recalibration_forgets_what_the_statistics_were_and_puts_momentum_and_mode_back() -> None:
    one, two = drawn(0), drawn(0)
    for _ in range(3):
        one.train()(10 * torch.randn(4, 8))
    for network in (one, two):
        recalibrate(network, batch=4, batches=2)
        assert not network.training
        assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
    assert all(torch.equal(a, b) for a, b in zip(statistics(one).values(), statistics(two).values(), strict=True))


def test_recalibration_leaves_the_statistics_of_frozen_blocks() -> None:
    generator = drawn(0)
    generator.train()(torch.randn(4, 8))
    freeze(generator, ["g4"])
    before = statistics(generator)
    recalibrate(generator, batch=4, batches=2)
    same = {n: torch.equal(v, before[n]) for n, v in statistics(generator).items()}
    assert same == {name: name.startswith("g4") for name in before}
