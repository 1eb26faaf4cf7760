"""One step of the game: against a plainly written one, and what it must leave alone."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from gan_transfer.images import to_float
from gan_transfer.models.dcgan import Discriminator, Generator, Network, initialise
from gan_transfer.models.learning import not_learning
from gan_transfer.objectives.losses import AdversarialLoss
from gan_transfer.objectives.penalties import gradient_penalty
from gan_transfer.recipe import Augment, Ema, Loss, Model, Objective, Optim, Recipe, Train
from gan_transfer.training.hardware import Hardware, choose
from gan_transfer.training.step import (
    SIGNALS,
    STATISTICS,
    Players,
    Step,
    make_players,
    signals,
    spread,
)

TINY = Model(resolution=16, base_channels=4, latent_dim=8)
CPU = Hardware(torch.device("cpu"), torch.float32)
BFLOAT16 = Hardware(torch.device("cpu"), torch.bfloat16)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def recipe_with(norm_d: str = "batch", **sections: Any) -> Recipe:
    model = dataclasses.replace(TINY, norm_d=norm_d)  # type: ignore[arg-type]
    return dataclasses.replace(Recipe(model=model), **sections)


def networks(model: Model) -> tuple[Generator, Discriminator]:
    pair = Generator(model), Discriminator(model)
    for seed, network in enumerate(pair):
        initialise(network, seeded(seed))
        for name, vector in network.named_buffers():
            if name.endswith("._v"):  # where spectral norm's power iteration starts
                vector.normal_(generator=seeded(seed))
    return pair


def begin(recipe: Recipe, seed: int = 0, hardware: Hardware = CPU) -> Step:
    players = make_players(*networks(recipe.model), recipe, hardware)
    return Step(players, recipe, hardware, seeded(seed))


def batch(number: int = 0, count: int = 8) -> Tensor:
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=seeded(100 + number))


def advance(step: Step, steps: int) -> list[dict[str, float]]:
    """Train, and return the statistics of each step."""
    return [dict(zip(STATISTICS, step(batch(n), n * 8).tolist(), strict=True)) for n in range(steps)]


def state(network: Network) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def players_state(players: Players) -> list[Tensor]:
    return [v for n in (players.generator, players.discriminator, players.ema.network) for v in state(n).values()]


def slow_training(recipe: Recipe, steps: int) -> tuple[Generator, Discriminator, list[float]]:
    """A textbook DCGAN loop with torch's own cross-entropy, default Adam, and every gradient taken."""
    generator, discriminator = networks(recipe.model)
    betas = recipe.optim.beta1, recipe.optim.beta2
    adam_g = torch.optim.Adam(generator.parameters(), recipe.optim.glr, betas, foreach=False)
    adam_d = torch.optim.Adam(discriminator.parameters(), recipe.optim.dlr, betas, foreach=False)
    random, told = seeded(0), []
    for number in range(steps):
        fake = generator(torch.randn(8, 8, generator=random))
        real_logits, fake_logits = discriminator(to_float(batch(number))), discriminator(fake.detach())
        label = torch.full_like(real_logits, recipe.objective.real_label)
        loss_d = binary_cross_entropy_with_logits(real_logits, label)
        loss_d = loss_d + binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
        discriminator.zero_grad()
        loss_d.backward()  # type: ignore[no-untyped-call]
        adam_d.step()
        logits = discriminator(fake)
        loss_g = binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        generator.zero_grad()
        loss_g.backward()  # type: ignore[no-untyped-call]
        adam_g.step()
        believed = [real_logits.sigmoid().mean(), fake_logits.sigmoid().mean()]
        told += [float(value.detach()) for value in (loss_d, loss_g, *believed)]
    return generator, discriminator, told


@pytest.mark.parametrize("norm_d", ["batch", "none"])
@pytest.mark.parametrize("real_label", [1.0, 0.9])
def test_steps_equal_those_of_a_textbook_loop(norm_d: str, real_label: float) -> None:
    recipe = recipe_with(norm_d, objective=Objective(real_label=real_label), optim=Optim(glr=1e-3, dlr=2e-3))
    generator, discriminator, wanted = slow_training(recipe, 3)
    step = begin(recipe)
    told = [line[name] for line in advance(step, 3) for name in STATISTICS[:4]]
    assert told == pytest.approx(wanted, rel=1e-4)
    for slow, fast in ((generator, step.players.generator), (discriminator, step.players.discriminator)):
        for old, new in zip(slow.parameters(), fast.parameters(), strict=True):
            torch.testing.assert_close(new, old, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("norm_d", ["batch", "none"])
def test_the_generators_step_makes_no_gradients_for_the_discriminator_nor_moves_its_statistics(norm_d: str) -> None:
    step = begin(recipe_with(norm_d))
    after_its_step: list[dict[str, Tensor]] = []

    def look(*_: object) -> None:
        network = step.players.discriminator
        gradients = {f"gradient of {n}": p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        after_its_step.append(state(network) | gradients)

    step.players.adam_d.register_step_post_hook(look)
    step(batch(), 0)
    look()
    first, last = after_its_step
    assert first.keys() == last.keys()
    assert all(torch.equal(first[name], last[name]) for name in first)


def test_the_discriminators_step_makes_no_gradients_for_the_generator() -> None:
    step = begin(recipe_with())
    found: list[bool] = []
    step.players.adam_d.register_step_post_hook(
        lambda *_: found.extend(p.grad is not None for p in step.players.generator.parameters())
    )
    step(batch(), 0)
    assert not any(found)


@pytest.mark.parametrize(("loss", "looks"), [("non-saturating", 3), ("relativistic", 4)])
def test_the_fakes_of_a_step_are_made_once(loss: Loss, looks: int) -> None:
    step = begin(recipe_with(objective=Objective(loss=loss)))
    calls: list[str] = []
    step.players.generator.register_forward_hook(lambda *_: calls.append("G"))
    step.players.discriminator.register_forward_hook(lambda *_: calls.append("D"))
    step(batch(), 0)
    assert calls == ["G"] + ["D"] * looks


def test_a_step_sees_the_real_pictures_whole_and_in_range() -> None:
    step, seen = begin(recipe_with()), []
    step.players.discriminator.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    step(batch(), 0)
    assert torch.equal(seen[0], to_float(batch()))
    assert torch.equal(seen[1], seen[2])


def test_every_look_is_augmented() -> None:
    step, seen = begin(recipe_with(augment=Augment(("cutout",), 1.0))), []
    step.players.discriminator.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    step(batch(), 0)
    assert len(seen) == 3
    assert all((pictures == 0).flatten(1).sum(dim=1).min() >= 3 * 4 * 4 for pictures in seen)


@pytest.mark.parametrize("norm_d", ["batch", "spectral", "none"])
def test_one_step_changes_every_weight_of_both_networks(norm_d: str) -> None:
    step = begin(recipe_with(norm_d))
    learning = [*step.players.generator.parameters(), *step.players.discriminator.parameters()]
    before = [p.detach().clone() for p in learning]
    step(batch(), 0)
    assert not any(torch.equal(old, new) for old, new in zip(before, learning, strict=True))


@pytest.mark.parametrize("norm_d", ["batch", "spectral"])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(norm_d: str) -> None:
    recipe = recipe_with(norm_d, augment=Augment(("color", "translation", "cutout"), 0.7))
    steps = [begin(recipe, seed) for seed in (0, 0, 1)]
    for step in steps:
        advance(step, 3)
    one, two, other = (players_state(step.players) for step in steps)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_step_leaves_the_global_randomness_alone() -> None:
    step = begin(recipe_with(augment=Augment(("color", "cutout"), 0.5)))
    before = torch.get_rng_state()
    step(batch(), 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("hardware", [CPU, BFLOAT16])
@pytest.mark.parametrize("norm_d", ["batch", "spectral", "none"])
@pytest.mark.parametrize("loss", get_args(Loss))
def test_every_loss_trains_to_finite_figures_in_range(loss: Loss, norm_d: str, hardware: Hardware) -> None:
    gamma = 0.0 if norm_d == "batch" else 1.0
    objective = Objective(loss=loss, r1_gamma=gamma, r2_gamma=gamma, penalty_interval=2)
    step = begin(recipe_with(norm_d, objective=objective), hardware=hardware)
    for line in advance(step, 3):
        assert all(torch.tensor(value).isfinite() for value in line.values())
        assert 0 <= min(line["d_real"], line["d_fake"]) <= max(line["d_real"], line["d_fake"]) <= 1
        assert line["penalty"] >= 0
    assert all(value.isfinite().all() for value in players_state(step.players))


def test_statistics_are_ten_float32_values() -> None:
    told = begin(recipe_with(), hardware=BFLOAT16)(batch(), 0)
    assert (told.shape, told.dtype, told.requires_grad) == ((len(STATISTICS),), torch.float32, False)
    assert ("loss_d", "loss_g", *SIGNALS, "contrast", "penalty") == STATISTICS
    assert list(SIGNALS) == ["d_real", "d_fake", "real_right", "fake_right", "r_t", "spread_ratio"]


def test_the_signals_say_how_sure_the_discriminator_is() -> None:
    real, fake = torch.tensor([2.0, 1.0, 3.0, -1.0]), torch.tensor([-2.0, 1.0, 1.0, -1.0])
    told = dict(zip(SIGNALS, signals(real, fake, torch.eye(4), torch.eye(4)), strict=True))
    assert {name: float(told[name]) for name in ("real_right", "fake_right", "r_t")} == {
        "real_right": 0.75,
        "fake_right": 0.5,
        "r_t": 0.5,
    }
    assert float(told["d_real"]) == pytest.approx(float(real.sigmoid().mean()))


def test_the_spread_is_the_mean_cosine_distance_of_all_pairs() -> None:
    rows = torch.randn(6, 20, generator=seeded(0))
    unit = rows / rows.norm(dim=1, keepdim=True)
    distances = [float(1 - unit[i] @ unit[j]) for i in range(6) for j in range(6) if i != j]
    assert float(spread(rows)) == pytest.approx(sum(distances) / 30, abs=1e-6)
    assert float(spread(rows.bfloat16())) == pytest.approx(float(spread(rows)), abs=0.01)


def test_fakes_that_are_all_alike_have_no_spread_and_reals_none_do_no_harm() -> None:
    alike, varied = torch.ones(4, 8), torch.randn(4, 8, generator=seeded(0))
    logits = torch.zeros(4)
    ratios = [signals(logits, logits, *pair)[-1] for pair in ((varied, alike), (varied, varied), (alike, varied))]
    assert float(ratios[0]) == pytest.approx(0, abs=1e-6)
    assert float(ratios[1]) == 1
    assert ratios[2].isfinite()


def test_the_signals_are_taken_from_the_looks_that_are_taken_anyway() -> None:
    step, seen = begin(recipe_with()), []
    step.players.discriminator.blocks["d1"].register_forward_pre_hook(
        lambda _, args: seen.append(args[0].detach().flatten(1))
    )
    told = dict(zip(STATISTICS, step(batch(), 0).tolist(), strict=True))
    assert len(seen) == 3
    assert told["spread_ratio"] == pytest.approx(float(spread(seen[1]) / spread(seen[0])), rel=1e-5)


def test_under_bfloat16_losses_and_weights_are_float32_and_products_are_not() -> None:
    step, kinds = begin(recipe_with("none"), hardware=BFLOAT16), []
    plain = step.loss

    def discriminator_loss(real: Tensor, fake: Tensor, label: float) -> Tensor:
        kinds.extend([real.dtype, fake.dtype])
        return plain.discriminator(real, fake, label)

    def generator_loss(fake: Tensor, real: Tensor) -> Tensor:
        kinds.append(fake.dtype)
        return plain.generator(fake, real)

    step.loss = AdversarialLoss(discriminator_loss, generator_loss)
    products: list[torch.dtype] = []
    for network in (step.players.generator, step.players.discriminator):
        for block in network.blocks.values():
            block.conv.register_forward_hook(lambda _, __, out: products.append(out.dtype))
    step(batch(), 0)
    assert kinds == [torch.float32] * 3
    assert set(products) == {torch.bfloat16}
    assert {v.dtype for v in players_state(step.players) if v.is_floating_point()} == {torch.float32}


def test_bfloat16_steps_stay_near_float32_ones() -> None:
    lines = [advance(begin(recipe_with(), hardware=hardware), 2)[-1] for hardware in (CPU, BFLOAT16)]
    assert lines[1] == pytest.approx(lines[0], abs=0.05)


@pytest.mark.parametrize(("r1_gamma", "r2_gamma"), [(3.0, 0.0), (0.0, 3.0), (1.0, 2.0)])
def test_a_due_penalty_is_multiplied_by_its_interval(r1_gamma: float, r2_gamma: float) -> None:
    objective = Objective(r1_gamma=r1_gamma, r2_gamma=r2_gamma, penalty_interval=4)
    recipe = recipe_with("none", objective=objective)
    generator, discriminator = networks(recipe.model)
    fake = generator(torch.randn(8, 8, generator=seeded(0)))
    r1, r2 = (gradient_penalty(discriminator, pictures).detach() for pictures in (to_float(batch()), fake))
    (line,) = advance(begin(recipe), 1)
    assert line["penalty"] == pytest.approx(4 * float(r1_gamma * r1 + r2_gamma * r2), rel=1e-4)


def test_a_penalty_is_taken_only_every_so_many_steps_by_the_clock() -> None:
    recipe = recipe_with("none", objective=Objective(r1_gamma=1.0, penalty_interval=3))
    due = [line["penalty"] > 0 for line in advance(begin(recipe), 7)]
    assert due == [True, False, False, True, False, False, True]
    resumed = begin(recipe)(batch(), images_seen=6 * 8)
    assert resumed[STATISTICS.index("penalty")] > 0


def test_a_step_without_a_due_penalty_is_one_without_any() -> None:
    steps = [
        begin(recipe_with("none", objective=Objective(r1_gamma=gamma, penalty_interval=2))) for gamma in (0.0, 9.0)
    ]
    for step in steps:
        step(batch(), images_seen=8)
    one, two = (players_state(step.players) for step in steps)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_penalty_flattens_the_discriminator() -> None:
    slopes = []
    for gamma in (0.0, 10.0):
        objective = Objective(r1_gamma=gamma, penalty_interval=1)
        step = begin(recipe_with("none", objective=objective, optim=Optim(dlr=2e-3)))
        advance(step, 20)
        slopes.append(float(gradient_penalty(step.players.discriminator, to_float(batch())).detach()))
    assert slopes[1] < slopes[0] / 2


def test_the_average_follows_the_generator_at_its_half_life() -> None:
    settings = Ema(half_life_kimg=0.008, rampup=0.0)  # one batch: half of the way at each step
    step = begin(recipe_with(ema=settings))
    before = [p.clone() for p in step.players.ema.network.parameters()]
    step(batch(), 800)
    live = step.players.generator.parameters()
    for old, new, average in zip(before, live, step.players.ema.network.parameters(), strict=True):
        torch.testing.assert_close(average, (old + new.detach()) / 2)


def test_nothing_is_learned_inside_not_learning_and_all_is_as_before_after_it() -> None:
    _, network = networks(TINY)
    network.blocks["d8"].requires_grad_(False)
    norm = network.blocks["d4"].norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    needed = [p.requires_grad for p in network.parameters()]
    pictures = torch.randn(4, 3, 16, 16, requires_grad=True)
    with pytest.raises(RuntimeError, match="inside"), not_learning(network):
        network(pictures).sum().backward()
        raise RuntimeError("inside")
    assert pictures.grad is not None
    assert all(p.grad is None for p in network.parameters())
    assert norm.running_mean.count_nonzero() == 0
    assert [p.requires_grad for p in network.parameters()] == needed
    network(pictures)
    assert norm.running_mean.count_nonzero() > 0


class Cramped(Generator):
    """A generator on a device with memory for two pictures at a time: more ask the CPU for an exabyte."""

    def forward(self, z: Tensor, with_features: bool = False) -> Any:
        if len(z) > 2:
            torch.empty(2**60, dtype=torch.uint8)
        return super().forward(z, with_features)


def test_out_of_memory_the_batch_goes_through_in_smaller_parts_with_the_same_draws() -> None:
    recipe = Recipe(
        model=Model(resolution=16, base_channels=4, latent_dim=8, norm_d="none"),
        augment=Augment(operations=("color", "cutout")),
        train=Train(batch=12),
    )
    batch = torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    told = []
    for kind, parts in ((Cramped, 1), (Generator, 6)):
        generator, discriminator = kind(recipe.model), Discriminator(recipe.model)
        for network in (generator, discriminator):
            initialise(network, torch.Generator().manual_seed(2))
        cpu = choose("cpu", "float32")
        step = Step(make_players(generator, discriminator, recipe, cpu), recipe, cpu, torch.Generator().manual_seed(3))
        step.parts = parts
        told.append([step(batch, number * 12) for number in range(3)])
        assert step.parts == 6
    assert all(map(torch.equal, *told))


def test_memory_for_not_even_one_picture_is_an_error() -> None:
    class Full(Generator):
        def forward(self, z: Tensor, with_features: bool = False) -> Any:
            raise torch.OutOfMemoryError

    recipe = Recipe(model=Model(resolution=16, base_channels=4), train=Train(batch=4))
    players = make_players(Full(recipe.model), Discriminator(recipe.model), recipe, choose("cpu", "float32"))
    step = Step(players, recipe, choose("cpu", "float32"), torch.Generator())
    with pytest.raises(torch.OutOfMemoryError):
        step(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), 0)
    assert step.parts == 4
