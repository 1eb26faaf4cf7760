"""Rates by block and gradual unfreezing: which weights move, how far, and from when on."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from test_step import CPU, TINY, batch, begin, networks, recipe_with, state

from gan_transfer.policies import slow_down
from gan_transfer.recipe import Objective, Optim
from gan_transfer.training.schedule import begins, factors, groups
from gan_transfer.training.step import STATISTICS, Step, make_players


def moves(step: Step, steps: int = 1) -> dict[str, float]:
    """By block, the largest change of a weight in some steps."""
    pair = step.players.generator, step.players.discriminator
    before = [state(network) for network in pair]
    for number in range(steps):
        step(batch(number), number * 8)
    found = {}
    for network, old in zip(pair, before, strict=True):
        for name in network.blocks:
            key = f"{name}.conv.weight"
            found[name] = float((network.state_dict()[key] - old[key]).abs().max())
    return found


def test_a_factor_multiplies_the_rate_of_its_block() -> None:
    """Adam's first step moves every weight by the learning rate, whatever the gradient."""
    optim = Optim(glr=1e-3, dlr=1e-3, lr_mult={"g8": 0.1, "d8": 3.0})
    expected = {"g4": 1e-3, "g8": 1e-4, "g16": 1e-3, "d8": 3e-3, "d4": 1e-3, "d1": 1e-3}
    assert moves(begin(recipe_with(optim=optim))) == pytest.approx(expected, rel=0.02)


def test_discriminative_rates_fall_towards_the_image_in_both_networks() -> None:
    generator, discriminator = networks(TINY)
    optim = Optim(block_decay=2.0, lr_mult={"g16": 10.0})
    assert factors(generator, optim) == {"g4": 1.0, "g8": 0.5, "g16": 2.5}
    assert factors(discriminator, optim) == {"d8": 0.25, "d4": 0.5, "d1": 1.0}


def test_without_factors_all_weights_are_one_group_in_their_order() -> None:
    generator, _ = networks(TINY)
    (group,) = groups(generator, Optim(), 1e-3)
    assert [id(weight) for weight in group["params"]] == [id(weight) for weight in generator.parameters()]


def test_a_factor_of_1_for_each_block_trains_as_none_does() -> None:
    plain, grouped = begin(recipe_with()), begin(recipe_with(optim=Optim(lr_mult={"g4": 1.0, "d1": 1.0})))
    generator, _ = networks(TINY)
    grouped.players.adam_g.param_groups[0]["lr"] *= 1.0
    told = [[step(batch(n), n * 8).tolist() for n in range(3)] for step in (plain, grouped)]
    assert told[0] == told[1]
    assert len(groups(generator, Optim(lr_mult={"g4": 2.0}), 1e-3)) == 3


def test_slowing_down_halves_every_blocks_rate() -> None:
    recipe = recipe_with(optim=Optim(block_decay=2.0))
    players = make_players(*networks(TINY), recipe, CPU)
    assert slow_down(players, recipe.optim, 1) == (1e-4, 1e-4)
    assert [group["lr"] for group in players.adam_g.param_groups] == [1e-4, 5e-5, 2.5e-5]


def test_blocks_begin_to_learn_one_after_the_other_from_the_far_side_on() -> None:
    generator, discriminator = networks(TINY)
    assert begins(generator, Optim(thaw_kimg=4)) == {"g4": 0, "g8": 4, "g16": 8}
    assert begins(discriminator, Optim(thaw_kimg=4)) == {"d1": 0, "d4": 4, "d8": 8}
    step = begin(recipe_with(optim=Optim(thaw_kimg=0.016)))  # two steps of eight pictures
    assert {name for name, moved in moves(step, 2).items() if moved} == {"g4", "d1"}
    step(batch(2), 16)
    assert {name for name, moved in moves_after(step, 3).items() if moved} == {"g4", "g8", "d4", "d1"}
    step(batch(4), 32)
    assert all(moves_after(step, 5).values())


def moves_after(step: Step, number: int) -> dict[str, float]:
    """Like `moves`, of the step of that number."""
    pair = step.players.generator, step.players.discriminator
    before = [state(network) for network in pair]
    step(batch(number), number * 8)
    return {
        name: float((network.state_dict()[f"{name}.conv.weight"] - old[f"{name}.conv.weight"]).abs().max())
        for network, old in zip(pair, before, strict=True)
        for name in network.blocks
    }


def test_a_step_reports_what_is_on_and_nothing_else() -> None:
    recipe = recipe_with(objective=Objective(lecam=0.3, mode_seeking=1.0, moments=10.0))
    recipe = dataclasses.replace(recipe, augment=dataclasses.replace(recipe.augment, ada_target=0.6, p=0.8))
    step = begin(recipe)
    assert begin(recipe_with()).statistics == STATISTICS
    assert step.statistics == (*STATISTICS, "lecam", "mode_seeking", "moments", "ada_p")
    told = dict(zip(step.statistics, step(batch(), 0).tolist(), strict=True))
    assert told["ada_p"] == 0
    assert min(told["mode_seeking"], told["moments"]) > 0
    assert torch.equal(step.players.memory["ada"][2], torch.tensor(1.0))
