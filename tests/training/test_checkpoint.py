"""Checkpoints: a restored run goes on bit for bit; a damaged file costs only the time since the one before."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from gan_transfer.errors import RunError, TrainingError
from gan_transfer.models.dcgan import Discriminator, Generator, initialise
from gan_transfer.recipe import Augment, Ema, Model, Objective, Recipe
from gan_transfer.training import checkpoint, checkpoint_file
from gan_transfer.training.checkpoint import KEPT, Checkpoints
from gan_transfer.training.hardware import Hardware
from gan_transfer.training.step import Players, Step, make_players
from gan_transfer.transfer.freeze import freeze

TINY = Model(resolution=16, base_channels=4, latent_dim=8)
PLAIN = Recipe(model=TINY)
SPECTRAL = Recipe(
    model=dataclasses.replace(TINY, norm_d="spectral", dropout_d=0.3),
    objective=Objective(r1_gamma=1.0, penalty_interval=2),
    augment=Augment(("color", "translation", "cutout"), 0.5),
    ema=Ema(half_life_kimg=0.02),
)
BATCH = 8


def begin(recipe: Recipe = PLAIN, seed: int = 0, frozen: bool = False, precision: torch.dtype = torch.float32) -> Step:
    """A new run; different seeds begin with different weights."""
    networks = Generator(recipe.model), Discriminator(recipe.model)
    for number, network in enumerate(networks):
        initialise(network, torch.Generator().manual_seed(10 * seed + number))
        if frozen:
            freeze(network, list(network.blocks)[:1])
    hardware = Hardware(torch.device("cpu"), precision)
    players = make_players(*networks, recipe, hardware)
    return Step(players, recipe, hardware, torch.Generator().manual_seed(seed))


def advance(step: Step, first: int, steps: int) -> None:
    for number in range(first, first + steps):
        random = torch.Generator().manual_seed(100 + number)
        batch = torch.randint(0, 256, (BATCH, 3, 16, 16), dtype=torch.uint8, generator=random)
        step(batch, number * BATCH)


def everything(players: Players) -> dict[str, Tensor]:
    """All weights, statistics, averages and moments."""
    networks = {"g": players.generator, "d": players.discriminator, "ema": players.ema.network}
    tensors = {
        f"{part}.{name}": v.detach().clone() for part, n in networks.items() for name, v in n.state_dict().items()
    }
    for part, adam in (("adam_g", players.adam_g), ("adam_d", players.adam_d)):
        for number, moments in adam.state_dict()["state"].items():
            tensors |= {f"{part}.{number}.{name}": value.clone() for name, value in moments.items()}
    return tensors


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def saved_run(folder: Path, saves: int = 2) -> list[dict[str, Tensor]]:
    """A run with a checkpoint after each of its first steps; returns what each one holds."""
    step, held = begin(), []
    for number in range(saves):
        advance(step, number, 1)
        Checkpoints(folder).save(step.players, step.random, {"images_seen": (number + 1) * BATCH})
        held.append(everything(step.players))
    return held


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("recipe", [PLAIN, SPECTRAL])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_restored_run_goes_on_bit_for_bit_as_an_unbroken_one(
    tmp_path: Path, recipe: Recipe, frozen: bool, precision: torch.dtype
) -> None:
    torch.manual_seed(0)  # of dropout, and of where spectral norm begins
    unbroken = begin(recipe, frozen=frozen, precision=precision)
    advance(unbroken, 0, 6)

    torch.manual_seed(0)
    broken = begin(recipe, frozen=frozen, precision=precision)
    advance(broken, 0, 3)
    Checkpoints(tmp_path).save(broken.players, broken.random, {"images_seen": 3 * BATCH})

    torch.manual_seed(99)
    resumed = begin(recipe, seed=1, frozen=frozen, precision=precision)
    clock, faults = Checkpoints(tmp_path).restore(resumed.players, resumed.random)
    assert (clock, faults) == ({"images_seen": 3 * BATCH}, [])
    advance(resumed, 3, 3)
    assert same(everything(resumed.players), everything(unbroken.players))
    assert torch.equal(resumed.random.get_state(), unbroken.random.get_state())


def test_restored_moments_lie_in_memory_as_their_weights_do(tmp_path: Path) -> None:
    saved_run(tmp_path)
    step = begin(seed=1)
    Checkpoints(tmp_path).restore(step.players, step.random)
    for adam in (step.players.adam_g, step.players.adam_d):
        for weight in adam.param_groups[0]["params"]:
            assert adam.state[weight]["exp_avg"].stride() == weight.stride()
            assert adam.state[weight]["exp_avg_sq"].stride() == weight.stride()
            assert adam.state[weight]["step"] == 2
    wide = step.players.generator.blocks["g8"].conv.weight
    assert isinstance(wide, Tensor)
    assert wide.is_contiguous(memory_format=torch.channels_last)


def test_going_back_to_before_the_first_step_forgets_the_moments(tmp_path: Path) -> None:
    step = begin()
    Checkpoints(tmp_path).save(step.players, step.random, {"images_seen": 0})
    advance(step, 0, 3)
    Checkpoints(tmp_path).restore(step.players, step.random)
    assert not step.players.adam_g.state
    assert not step.players.adam_d.state


def test_the_clock_comes_back_as_it_was_given(tmp_path: Path) -> None:
    step = begin()
    clock = {"images_seen": 64, "pack": "abc", "list": [1, 2.5, None]}
    Checkpoints(tmp_path).save(step.players, step.random, clock)
    assert Checkpoints(tmp_path).restore(step.players, step.random) == (clock, [])


def test_without_a_checkpoint_nothing_is_restored(tmp_path: Path) -> None:
    step = begin()
    before = everything(step.players)
    for folder in (tmp_path, tmp_path / "absent"):
        assert Checkpoints(folder).restore(step.players, step.random) == (None, [])
    assert same(everything(step.players), before)


def test_the_newest_two_are_kept_and_nothing_else_lies_beside_them(tmp_path: Path) -> None:
    saved_run(tmp_path, 4)
    names = [f"checkpoint-{images:012d}.safetensors" for images in (32, 24)]
    assert [p.name for p in Checkpoints(tmp_path).paths()] == names
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    assert len(names) == KEPT


def test_going_back_to_an_earlier_moment_forgets_those_after_it(tmp_path: Path) -> None:
    held = saved_run(tmp_path / "latest", 2)
    step = begin(seed=1)
    latest, healthy = Checkpoints(tmp_path / "latest"), Checkpoints(tmp_path / "healthy", kept=1)
    for path in latest.paths()[1:]:  # the first of the two
        healthy.folder.mkdir()
        path.rename(healthy.folder / path.name)
    advance(step, 0, 3)
    latest.save(step.players, step.random, {"images_seen": 3 * BATCH})
    healthy.restore(step.players, step.random)
    latest.rewind(step.players, step.random, {"images_seen": BATCH, "rollbacks": 1})
    assert [path.name for path in latest.paths()] == [f"checkpoint-{BATCH:012d}.safetensors"]
    other = begin(seed=2)
    assert latest.restore(other.players, other.random) == ({"images_seen": BATCH, "rollbacks": 1}, [])
    assert same(everything(other.players), held[0])


def test_the_folder_is_made_by_the_first_save(tmp_path: Path) -> None:
    saved_run(tmp_path / "state-latest", 1)
    assert len(Checkpoints(tmp_path / "state-latest").paths()) == 1


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_other_weights(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, path)


def replace_by_page(path: Path) -> None:
    path.write_text("<html>not found</html>")


def misname(path: Path) -> None:
    path.rename(path.with_name("checkpoint-000000000999.safetensors"))


DAMAGES = [cut, empty, flip, replace_by_other_weights, replace_by_page, misname]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_gives_way_to_the_one_before_and_is_told(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    held = saved_run(tmp_path)
    damage(Checkpoints(tmp_path).paths()[0])
    name = Checkpoints(tmp_path).paths()[0].name
    step = begin(seed=1)
    clock, (fault,) = Checkpoints(tmp_path).restore(step.players, step.random)
    assert clock == {"images_seen": BATCH}
    assert fault.startswith(f"{name} is damaged (")
    assert "\n" not in fault
    assert same(everything(step.players), held[0])


def test_a_flipped_bit_never_changes_what_is_restored(tmp_path: Path) -> None:
    held = saved_run(tmp_path)
    newest = Checkpoints(tmp_path).paths()[0]
    whole = newest.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    places = [*range(8, header, header // 40), *range(header + 8, len(whole), len(whole) // 20)]
    step = begin(seed=1)
    for number, place in enumerate(places):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << number % 8
        newest.write_bytes(damaged)
        clock, faults = Checkpoints(tmp_path).restore(step.players, step.random)
        wanted = held[0] if faults else held[1]
        assert clock == {"images_seen": BATCH if faults else 2 * BATCH}, place
        assert same(everything(step.players), wanted), place


@pytest.mark.parametrize("damage", [cut, empty, flip, replace_by_other_weights])
def test_when_none_is_whole_the_run_stops_with_the_way_out(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    saved_run(tmp_path)
    for path in Checkpoints(tmp_path).paths():
        damage(path)
    step = begin(seed=1)
    before, files = everything(step.players), sorted(tmp_path.iterdir())
    with pytest.raises(RunError) as caught:
        Checkpoints(tmp_path).restore(step.players, step.random)
    assert sorted(tmp_path.iterdir()) == files
    message = str(caught.value)
    assert message.startswith(
        f"no checkpoint in {tmp_path} can be read: checkpoint-000000000016.safetensors is damaged"
    )
    assert message.endswith(". Begin anew with --new")
    assert same(everything(step.players), before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_not_saved_and_the_last_good_one_stays(tmp_path: Path, value: float) -> None:
    saved_run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    step = begin()
    step.players.discriminator.blocks["d4"].conv.weight.data[0, 0, 0, 0] = value  # type: ignore[operator]
    with pytest.raises(TrainingError, match=r"^discriminator\.d4\.conv\.weight is not finite at 0\.02 kimg$"):
        Checkpoints(tmp_path).save(step.players, step.random, {"images_seen": 3 * BATCH})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_write_that_fails_leaves_the_others(tmp_path: Path) -> None:
    saved_run(tmp_path, 1)
    step = begin()
    (tmp_path / "checkpoint-000000000024.safetensors").mkdir()
    with pytest.raises(OSError, match="directory"):
        Checkpoints(tmp_path).save(step.players, step.random, {"images_seen": 24})
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint-000000000008.safetensors",
        "checkpoint-000000000024.safetensors",
    ]


def rewritten(path: Path, **changes: str) -> None:
    """Write a checkpoint again with other entries in its header, under a checksum that fits."""
    with safe_open(path, framework="pt") as file:
        told = dict(file.metadata()) | changes
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    del told["sha256"]
    save_file(tensors, path, told | {"sha256": checkpoint_file._digest(tensors, told)})


def test_a_checkpoint_of_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    saved_run(tmp_path)
    newest = Checkpoints(tmp_path).paths()[0]
    rewritten(newest, version="3")
    before = newest.read_bytes()
    step = begin(seed=1)
    with pytest.raises(RunError) as caught:
        Checkpoints(tmp_path).restore(step.players, step.random)
    assert str(caught.value) == (
        f"{newest} was written by a newer gan-transfer (format 3, this one reads up to 2). "
        "Update gan-transfer, or begin anew with --new"
    )
    assert newest.read_bytes() == before


def test_a_checkpoint_of_the_first_format_is_read(tmp_path: Path) -> None:
    held = saved_run(tmp_path)
    newest = Checkpoints(tmp_path).paths()[0]
    with safe_open(newest, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].flatten().view(torch.uint8).numpy().tobytes())
    clock = {"images_seen": 2 * BATCH, "pack": "abc", "rollbacks": 0}
    save_file(tensors, newest, {"format": "pt", "clock": json.dumps(clock), "sha256": digest.hexdigest()})
    step = begin(seed=1)
    assert Checkpoints(tmp_path).restore(step.players, step.random) == (clock, [])
    assert same(everything(step.players), held[1])


def test_a_flipped_bit_in_the_clock_or_the_format_is_damage(tmp_path: Path) -> None:
    held = saved_run(tmp_path)
    newest = Checkpoints(tmp_path).paths()[0]
    whole = newest.read_bytes()
    step = begin(seed=1)
    for key in (b'"clock":"', b'"version":"'):
        start = whole.index(key)
        for place in range(start, start + len(key) + 20):
            for bit in (0, 1, 4):
                damaged = bytearray(whole)
                damaged[place] ^= 1 << bit
                newest.write_bytes(damaged)
                clock, faults = Checkpoints(tmp_path).restore(step.players, step.random)
                assert (clock, len(faults)) == ({"images_seen": BATCH}, 1), damaged[start : start + 40]
    assert same(everything(step.players), held[0])


def test_in_the_background_what_is_written_is_the_moment_of_saving(tmp_path: Path) -> None:
    step = begin()
    advance(step, 0, 1)
    held = everything(step.players)
    checkpoints = Checkpoints(tmp_path)
    with checkpoints.in_background():
        checkpoints.save(step.players, step.random, {"images_seen": BATCH})
        advance(step, 1, 2)
        assert [path.name for path in checkpoints.paths()] == [f"checkpoint-{BATCH:012d}.safetensors"]
    other = begin(seed=1)
    assert checkpoints.restore(other.players, other.random) == ({"images_seen": BATCH}, [])
    assert same(everything(other.players), held)


def test_when_the_background_ends_all_is_written_in_order_and_the_last_two_are_there(tmp_path: Path) -> None:
    step, checkpoints = begin(), Checkpoints(tmp_path)
    with checkpoints.in_background():
        for number in range(5):
            checkpoints.save(step.players, step.random, {"images_seen": number * BATCH})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"checkpoint-{number * BATCH:012d}.safetensors" for number in (3, 4)
    ]


@pytest.mark.parametrize("ask", ["save", "paths", "cheap", "the end"])
def test_what_goes_wrong_in_the_background_is_raised_by_the_next_call(tmp_path: Path, ask: str) -> None:
    step, checkpoints = begin(), Checkpoints(tmp_path)
    (tmp_path / "checkpoint-000000000024.safetensors").mkdir()
    with pytest.raises(OSError, match="directory"), checkpoints.in_background():
        checkpoints.save(step.players, step.random, {"images_seen": 24})
        if ask == "save":
            checkpoints.save(step.players, step.random, {"images_seen": 32})
        if ask == "paths":
            checkpoints.paths()
        while ask == "cheap":
            checkpoints.cheap()
    assert checkpoints._files() == [tmp_path / "checkpoint-000000000024.safetensors"]


def test_checkpoints_become_rarer_where_they_would_take_more_than_their_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, checkpoints = begin(), Checkpoints(tmp_path)
    with checkpoints.in_background():
        assert checkpoints.cheap()
        checkpoints.save(step.players, step.random, {"images_seen": 8})
        held = checkpoints.seconds
        assert 0 < held < 60
        assert not checkpoints.cheap()
        monkeypatch.setattr(checkpoint, "SHARE", math.inf)
        checkpoints.save(step.players, step.random, {"images_seen": 16})
        assert checkpoints.cheap()
        assert checkpoints.seconds > held


def test_a_weight_that_is_not_finite_is_told_at_once_also_in_the_background(tmp_path: Path) -> None:
    step, checkpoints = begin(), Checkpoints(tmp_path)
    step.players.generator.blocks["g4"].conv.weight.data[0, 0, 0, 0] = math.nan  # type: ignore[operator]
    with checkpoints.in_background(), pytest.raises(TrainingError, match=r"^generator\.g4\.conv\.weight is not finite"):
        checkpoints.save(step.players, step.random, {"images_seen": 24})
    assert checkpoints.paths() == []


def test_saving_changes_nothing_in_the_run(tmp_path: Path) -> None:
    steps = [begin(), begin()]
    for step in steps:
        advance(step, 0, 2)
    Checkpoints(tmp_path).save(steps[0].players, steps[0].random, {"images_seen": 2 * BATCH})
    for step in steps:
        advance(step, 2, 2)
    assert same(*(everything(step.players) for step in steps))
