"""A frozen block stays bit for bit as it was, whatever is trained around it, and lets gradients through."""

from __future__ import annotations

import copy
import dataclasses
import hashlib

import pytest
import torch
from torch import Tensor, nn

from gan_transfer.models.dcgan import Discriminator, Generator, Network, initialise
from gan_transfer.models.ema import recalibrate
from gan_transfer.recipe import Model, Objective, Recipe, Train, Transfer
from gan_transfer.training.hardware import Hardware
from gan_transfer.training.step import Players, Step, make_players
from gan_transfer.transfer.freeze import chosen, describe, freeze, recalibrate_blocks, recalibrate_frozen

TINY = Model(resolution=16, base_channels=4, latent_dim=8)
CPU = Hardware(torch.device("cpu"), torch.float32)


def drawn(norm_d: str = "batch", dropout_d: float = 0.0) -> tuple[Generator, Discriminator]:
    """A pair whose running statistics have seen a batch."""
    model = dataclasses.replace(TINY, norm_d=norm_d, dropout_d=dropout_d)  # type: ignore[arg-type]
    generator, discriminator = Generator(model), Discriminator(model)
    for seed, network in enumerate((generator, discriminator)):
        initialise(network, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        discriminator(generator(latents(8)))
    return generator, discriminator


def latents(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def state_hash(network: Network, block: str) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(network.blocks[block].state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def hashes(network: Network) -> dict[str, str]:
    return {block: state_hash(network, block) for block in network.blocks}


def train(generator: Generator, discriminator: Discriminator, steps: int, loss: str = "non-saturating") -> Players:
    objective = Objective(loss=loss, penalty_interval=2, r1_gamma=0.0 if discriminator.model.norm_d == "batch" else 1.0)  # type: ignore[arg-type]
    recipe = Recipe(model=generator.model, objective=objective)
    players = make_players(generator, discriminator, recipe, CPU)
    step = Step(players, recipe, CPU, torch.Generator().manual_seed(0))
    for number in range(steps):
        generator.train()
        discriminator.train()
        step(torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8), number * 8)
    return players


def test_blocks_are_counted_from_the_image_and_from_the_latent() -> None:
    networks = Generator(Model()), Discriminator(Model())
    settings = Transfer("builtin", freeze_d_image=2, freeze_g_image=1, freeze_g_latent=2)
    assert chosen(settings, *networks) == (["g4", "g8", "g64"], ["d32", "d16"])
    assert chosen(Transfer(), *networks) == ([], [])


@pytest.mark.parametrize("norm_d", ["batch", "spectral", "none"])
@pytest.mark.parametrize("loss", ["non-saturating", "relativistic"])
def test_a_frozen_block_is_bit_identical_after_ten_steps_and_the_others_are_not(norm_d: str, loss: str) -> None:
    generator, discriminator = drawn(norm_d)
    freeze(generator, ["g4", "g16"])
    freeze(discriminator, ["d8", "d4"])
    before = hashes(generator) | hashes(discriminator)
    train(generator, discriminator, 10, loss)
    after = hashes(generator) | hashes(discriminator)
    same = {block for block in before if before[block] == after[block]}
    assert same == {"g4", "g16", "d8", "d4"}


def test_the_average_of_a_frozen_block_is_the_block() -> None:
    generator, discriminator = drawn()
    freeze(generator, ["g4"])
    players = train(generator, discriminator, 10)
    recalibrate(players.ema.network, batch=4, batches=2)
    assert state_hash(players.ema.network, "g4") == state_hash(generator, "g4")
    assert state_hash(players.ema.network, "g8") != state_hash(generator, "g8")


@pytest.mark.parametrize("norm_d", ["batch", "spectral"])
def test_the_output_of_frozen_blocks_does_not_depend_on_batch_companions(norm_d: str) -> None:
    _, discriminator = drawn(norm_d, dropout_d=0.0 if norm_d == "batch" else 0.5)
    freeze(discriminator, ["d8", "d4"])
    discriminator.train()

    def features(x: Tensor) -> Tensor:
        out: Tensor = discriminator.blocks["d4"](discriminator.blocks["d8"](x))
        return out

    mine = pictures(1)
    alone, crowded = (features(torch.cat([mine, 5 * pictures(n, seed=1)])) for n in (3, 6))
    assert torch.equal(features(mine.repeat(4, 1, 1, 1))[0], alone[0])
    torch.testing.assert_close(crowded[0], alone[0])


def test_without_freezing_the_companions_do_matter() -> None:
    _, discriminator = drawn()
    mine, block = pictures(1), discriminator.train().blocks["d4"]
    features = [block(discriminator.blocks["d8"](torch.cat([mine, 5 * pictures(3, seed)])))[0] for seed in (1, 2)]
    assert not torch.allclose(*features)


def test_a_frozen_block_stays_in_eval_mode_whatever_is_called() -> None:
    generator, discriminator = drawn("none", dropout_d=0.5)
    freeze(discriminator, ["d8"])
    players = make_players(generator, discriminator, Recipe(), CPU)
    for network in (players.discriminator, copy.deepcopy(players.discriminator)):
        for mode in (True, False, True):
            network.train(mode)
        network.blocks["d8"].train()
        assert not any(m.training for m in network.blocks["d8"].modules())
        assert all(m.training for m in network.blocks["d4"].modules())


def test_frozen_parameters_are_in_no_optimiser_and_need_no_gradient() -> None:
    generator, discriminator = drawn()
    freeze(generator, ["g4"])
    freeze(discriminator, ["d8"])
    players = make_players(generator, discriminator, Recipe(), CPU)
    optimised = {id(p) for adam in (players.adam_g, players.adam_d) for p in adam.param_groups[0]["params"]}
    frozen = [*generator.blocks["g4"].parameters(), *discriminator.blocks["d8"].parameters()]
    assert not any(id(p) in optimised or p.requires_grad for p in frozen)
    everything = sum(1 for network in (generator, discriminator) for _ in network.parameters())
    assert len(optimised) == everything - len(frozen)


def test_gradients_pass_through_a_frozen_discriminator_to_every_block_of_the_generator() -> None:
    generator, discriminator = drawn()
    freeze(discriminator, list(discriminator.blocks))
    discriminator(generator(latents(4))).sum().backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in generator.parameters())
    assert all(p.grad is None for p in discriminator.parameters())


def test_gradients_pass_through_a_frozen_block_of_the_generator_to_the_ones_before() -> None:
    generator, _ = drawn()
    freeze(generator, ["g16"])
    generator(latents(4)).square().sum().backward()
    reached = {b for b, block in generator.blocks.items() if any(p.grad is not None for p in block.parameters())}
    assert reached == {"g4", "g8"}


def test_recalibrated_statistics_are_the_plain_average_over_batches() -> None:
    _, discriminator = drawn()
    batches = [pictures(6, seed) for seed in range(3)]
    with torch.no_grad():
        seen = [discriminator.blocks["d4"].conv(discriminator.blocks["d8"](x)).double() for x in batches]
    recalibrate_blocks(discriminator, ["d8", "d4"], [lambda x=x: x for x in batches])  # type: ignore[misc]
    norm = discriminator.blocks["d4"].norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    means = torch.stack([x.transpose(0, 1).flatten(1).mean(dim=1) for x in seen])
    variances = torch.stack([x.transpose(0, 1).flatten(1).var(dim=1) for x in seen])
    torch.testing.assert_close(norm.running_mean.double(), means.mean(dim=0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), variances.mean(dim=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_recalibration_changes_nothing_but_the_statistics_of_its_blocks(training: bool) -> None:
    generator, _ = drawn()
    generator.train(training)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    recalibrate_blocks(generator, ["g4"], [lambda: latents(4, seed=3)] * 2)
    changed = {name for name, value in generator.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name in changed if not name.endswith("num_batches_tracked")} == {
        "g4.norm.running_mean",
        "g4.norm.running_var",
    }
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.momentum, m.track_running_stats) for m in norms} == {(0.1, True)}
    assert {m.training for m in generator.modules()} == {training}


def test_fakes_for_a_frozen_discriminator_leave_the_generator_as_the_source_has_it() -> None:
    generator, discriminator = drawn()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    statistics = discriminator.blocks["d4"].norm.running_mean.clone()  # type: ignore[union-attr,operator]
    random, both = torch.Generator().manual_seed(0), (generator, discriminator)
    recalibrate_frozen(
        Recipe(model=TINY, train=Train(batch=4)), ([], ["d8", "d4"]), both, lambda: pictures(4, 1), random
    )
    assert not torch.equal(discriminator.blocks["d4"].norm.running_mean, statistics)  # type: ignore[union-attr,arg-type]
    assert [name for name, value in generator.state_dict().items() if not torch.equal(value, before[name])] == []


def test_recalibration_without_batch_norm_among_its_blocks_runs_nothing() -> None:
    generator, discriminator = drawn("none")

    def never() -> Tensor:
        raise AssertionError("a batch was asked for")

    recalibrate_blocks(discriminator, ["d8", "d4"], [never])
    recalibrate_blocks(generator, ["g16"], [never])
    recalibrate_blocks(generator, [], [never])


def test_what_is_frozen_is_said_by_network_and_side() -> None:
    assert describe([], ["d32", "d16"]) == "frozen: D d32, d16 (image side); G none"
    assert describe(["g4", "g64"], []) == "frozen: D none; G g4, g64"
