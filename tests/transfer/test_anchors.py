"""Anchors against closed forms and plain loops, and the pair that they hold to through a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from test_freeze import TINY, drawn, latents
from torch.nn.functional import cosine_similarity

from gan_transfer.errors import RunError
from gan_transfer.models.dcgan import Generator, Network
from gan_transfer.objectives.terms import Fakes
from gan_transfer.recipe import Anchor
from gan_transfer.transfer import anchors, begun
from gan_transfer.transfer.anchors import consistency, drift, terms
from gan_transfer.transfer.freeze import freeze, train_only_affines


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stirred(network: Network, seed: int = 9) -> None:
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.01 * torch.randn(weight.shape, generator=seeded(seed)))


def fakes_of(generator: Generator, count: int = 6) -> Fakes:
    z = latents(count)
    pictures, features = generator.train()(z, with_features=True)
    return Fakes(z, pictures, features)


def test_drift_is_the_mean_of_the_squared_relative_changes() -> None:
    generator, discriminator = drawn()
    start = begun.remember(generator, discriminator)
    measure = drift(generator, start.generator)
    assert measure().item() == 0
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            weight.mul_(1.5 if name.endswith("conv.weight") else 1.0)
    count = sum(1 for _ in generator.parameters())
    assert measure().item() == pytest.approx(0.25 * 3 / count, rel=1e-5)  # three convolutions, each by a half


def test_drift_counts_offsets_that_began_with_zero_as_small_ones() -> None:
    generator, discriminator = drawn()
    start = begun.remember(generator, discriminator)
    offset = generator.blocks["g4"].norm.bias
    assert isinstance(offset, torch.Tensor)
    assert not offset.any()
    with torch.no_grad():
        offset.fill_(anchors.LEAST_RMS)
    count = sum(1 for _ in generator.parameters())
    assert drift(generator, start.generator)().item() == pytest.approx(1 / count, rel=1e-5)


def test_drift_asks_only_weights_that_learn() -> None:
    generator, discriminator = drawn()
    start = begun.remember(generator, discriminator)
    freeze(generator, ["g16"])
    measure = drift(generator, start.generator)
    stirred(generator.blocks["g16"])  # type: ignore[arg-type]
    assert measure().item() == 0


def test_blocks_that_the_source_did_not_give_are_held_to_nothing() -> None:
    generator, discriminator = drawn()
    start = begun.remember(generator, discriminator)
    names = {"g16", *discriminator.blocks}
    terms_on = terms(Anchor(l2_sp=1.0), generator, discriminator, start, names)
    stirred(generator.blocks["g16"])  # type: ignore[arg-type]
    stirred(discriminator)
    assert [term.value(fakes_of(generator)).item() for term in terms_on] == [0, 0]
    stirred(generator.blocks["g8"])  # type: ignore[arg-type]
    assert [term.value(fakes_of(generator)).item() > 0 for term in terms_on] == [False, True]


def test_ewc_weighs_every_weight_by_its_fisher_information() -> None:
    generator, discriminator = drawn()
    information = begun.fisher(generator, discriminator, seeded())
    start = begun.remember(generator, discriminator, information)
    (term,) = terms(Anchor(ewc=7.0), generator, discriminator, start)
    stirred(generator)
    before, rows = dict(start.generator.named_parameters()), []
    for name, weight in generator.named_parameters():
        size = before[name].square().sum().clamp_min(anchors.LEAST_RMS**2 * weight.numel())
        rows.append((information[name] * (weight - before[name]) ** 2).sum() / size)
    assert (term.name, term.player) == ("ewc", "generator")
    assert term.value(fakes_of(generator)).item() == pytest.approx(7 * sum(rows).item() / len(rows), rel=1e-5)  # type: ignore[union-attr]


def test_fisher_information_is_the_mean_squared_gradient_scaled_to_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begun, "FISHER_LATENTS", 5)
    generator, discriminator = drawn()
    found = begun.fisher(generator, discriminator, seeded(3))
    assert generator.training
    assert discriminator.training
    generator.eval()
    discriminator.eval()
    random, squares = seeded(3), torch.zeros_like(generator.blocks["g8"].conv.weight)  # type: ignore[arg-type]
    for _ in range(5):
        generator.zero_grad()
        loss = -torch.log(torch.sigmoid(discriminator(generator(torch.randn(1, 8, generator=random)))))
        loss.sum().backward()
        squares += generator.blocks["g8"].conv.weight.grad ** 2  # type: ignore[operator,union-attr]
    assert torch.allclose(found["g8.conv.weight"], squares / squares.mean(), rtol=1e-3, atol=1e-5)
    assert all(values.mean().item() == pytest.approx(1, rel=1e-4) for values in found.values())


def test_fisher_information_can_be_had_of_pairs_that_judge_stacks_and_groups() -> None:
    model = dataclasses.replace(TINY, stack=2, minibatch_std=True)
    generator, discriminator = drawn()
    generator, discriminator = type(generator)(model), type(discriminator)(model)
    assert all(values.isfinite().all() for values in begun.fisher(generator, discriminator, seeded()).values())


def test_distance_consistency_equals_the_paper_written_out() -> None:
    generator, discriminator = drawn()
    start = begun.remember(generator, discriminator)
    stirred(generator)
    fakes = fakes_of(generator)
    (term,) = terms(Anchor(cdc=2.0), generator, discriminator, start)
    theirs = start.generator.train()(fakes.z, with_features=True)[1]
    blocks = []
    for ours, given in zip(fakes.features, theirs, strict=True):
        divergences = []
        for i in range(6):
            others = [j for j in range(6) if j != i]
            p, q = (
                torch.softmax(
                    torch.stack([cosine_similarity(f[i].flatten(), f[j].flatten(), dim=0) for j in others]), dim=0
                )
                for f in (given, ours)
            )
            divergences.append((p * (p / q).log()).sum())
        blocks.append(torch.stack(divergences).mean())
    assert term.value(fakes).item() == pytest.approx(2 * torch.stack(blocks).mean().item(), rel=1e-3)


def test_distance_consistency_is_0_at_the_start_and_leaves_the_source_as_it_was() -> None:
    generator, discriminator = drawn()
    start = begun.remember(generator, discriminator)
    before = {name: value.clone() for name, value in start.generator.state_dict().items()}
    (term,) = terms(Anchor(cdc=1000.0), generator, discriminator, start)
    assert term.value(fakes_of(generator)).item() == pytest.approx(0, abs=1e-3)
    after = start.generator.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_distance_consistency_has_gradients_for_the_generator_alone() -> None:
    generator, discriminator = drawn()
    start = begun.remember(generator, discriminator)
    stirred(generator)
    source = anchors._source(start.generator)
    consistency(fakes_of(generator), source).backward()
    assert generator.blocks["g4"].conv.weight.grad is not None
    assert all(weight.grad is None for weight in start.generator.parameters())


def test_a_pair_that_was_remembered_comes_back_from_its_file_bit_for_bit(tmp_path: Path) -> None:
    generator, discriminator = drawn("spectral")
    kept = begun.remember(generator, discriminator, begun.fisher(generator, discriminator, seeded()))
    begun.save(tmp_path / "start.safetensors", kept)
    stirred(generator)
    read = begun.load(tmp_path / "start.safetensors", begun.remember(generator, discriminator))
    pairs = [(kept.generator.state_dict(), read.generator.state_dict()), (kept.fisher, read.fisher)]
    assert all(one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one) for one, two in pairs)


def test_a_damaged_file_of_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "start.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"start.safetensors: the pair that the run began with cannot be read: .*--new"):
        begun.load(path, begun.remember(*drawn()))


def test_scale_and_shift_leaves_to_learn_only_gains_offsets_and_the_block_at_the_image() -> None:
    generator, _ = drawn()
    train_only_affines(generator)
    learning = {name for name, weight in generator.named_parameters() if weight.requires_grad}
    norms = {f"{block}.norm.{part}" for block in ("g4", "g8") for part in ("weight", "bias")}
    assert learning == norms | {"g16.conv.weight"}
    assert len(generator.trainable()) == len(learning)
