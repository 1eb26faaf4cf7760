"""Warm start: what is kept is bit for bit the source's, what is adapted means the same, the rest is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_transfer.errors import WeightsError
from gan_transfer.files import sha256
from gan_transfer.models.dcgan import Network
from gan_transfer.models.weights import CONFIG, Pair, public_state, save_pair
from gan_transfer.recipe import Model
from gan_transfer.resources import resource_dir
from gan_transfer.transfer.refit import LUMA
from gan_transfer.transfer.start import BlockStart, find, from_scratch, open_generator, open_pair, warm_start

TINY = Model(resolution=16, base_channels=4, latent_dim=8)
NORMS = ["batch", "spectral", "none"]


def shaped(**changes: object) -> Model:
    return dataclasses.replace(TINY, **changes)  # type: ignore[arg-type]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def source_pair(model: Model = TINY) -> Pair:
    """A pair that has seen something, so that no tensor is as it was drawn, and in G no channel like another."""
    generator, discriminator, _ = from_scratch(model, seeded(0))
    with torch.no_grad():
        for p in (*generator.parameters(), *discriminator.parameters()):
            p.add_(0.05 * torch.randn(p.shape, generator=seeded(p.numel())))
        discriminator(generator(torch.randn(8, model.latent_dim, generator=seeded(2))))
    return Pair(generator.eval(), discriminator.eval(), {})


def started(rows: list[BlockStart]) -> dict[str, str]:
    """Block -> how it began, with the detail."""
    return {row.block: f"{row.start}: {row.detail}".removesuffix(": ") for row in rows}


def equal_tensors(one: Network, two: Network) -> set[str]:
    """The stored names under which both networks hold the same bits."""
    states = public_state(one), public_state(two)
    return {n for n in states[0].keys() & states[1].keys() if torch.equal(states[0][n], states[1][n])}


def of_blocks(network: Network, *blocks: str) -> set[str]:
    return {name for name in public_state(network) if name.split(".")[0] in blocks}


def grey(count: int, resolution: int = 16) -> Tensor:
    return torch.rand(count, 1, resolution, resolution, generator=seeded(3)) * 2 - 1


@pytest.mark.parametrize("norm_d", ["batch", "none"])
def test_a_pair_of_the_same_shape_is_kept_bit_for_bit(norm_d: str) -> None:
    pair = source_pair(shaped(norm_d=norm_d))
    generator, discriminator, rows = warm_start(pair, pair.model, seeded(1))
    assert {row.start for row in rows} == {"kept"}
    assert equal_tensors(generator, pair.generator) == set(public_state(generator))
    assert equal_tensors(discriminator, pair.discriminator) == set(public_state(discriminator))


def test_with_spectral_norm_the_weights_are_kept_and_their_norms_settle() -> None:
    pair = source_pair(shaped(norm_d="spectral"))
    _, discriminator, rows = warm_start(pair, pair.model, seeded(1))
    assert {row.start for row in rows} == {"kept"}
    kept = {name for name in public_state(discriminator) if name.endswith(("weight", "bias"))}
    assert kept <= equal_tensors(discriminator, pair.discriminator)
    for block in discriminator.eval().blocks.values():
        weight = block.conv.weight
        assert isinstance(weight, Tensor)
        largest = torch.linalg.matrix_norm(weight.detach().flatten(1), 2)
        torch.testing.assert_close(largest, torch.tensor(1.0), rtol=0.1, atol=0)


def test_the_rows_name_every_block_with_its_parameters() -> None:
    generator, discriminator, rows = warm_start(source_pair(), TINY, seeded(1))
    assert [(r.network, r.block) for r in rows] == [("G", b) for b in ("g4", "g8", "g16")] + [
        ("D", b) for b in ("d8", "d4", "d1")
    ]
    learned = sum(p.numel() for network in (generator, discriminator) for p in network.parameters())
    assert sum(row.parameters for row in rows) == learned


@pytest.mark.parametrize("norm_d", NORMS)
def test_from_scratch_the_seed_decides_every_number(norm_d: str) -> None:
    model = shaped(norm_d=norm_d)
    one, two, other = (from_scratch(model, seeded(seed)) for seed in (5, 5, 6))
    assert {row.start for row in one[2]} == {"re-drawn"}
    for first, second in zip(one[:2], two[:2], strict=True):
        assert equal_tensors(first, second) == set(public_state(first))
    assert not any(name.endswith("conv.weight") for name in equal_tensors(one[1], other[1]))


def test_new_spectral_norms_fit_the_weights_that_were_drawn() -> None:
    _, discriminator, _ = from_scratch(shaped(norm_d="spectral"), seeded(0))
    weight = discriminator.eval().blocks["d4"].conv.weight
    assert isinstance(weight, Tensor)
    torch.testing.assert_close(
        torch.linalg.matrix_norm(weight.detach().flatten(1), 2), torch.tensor(1.0), rtol=0.1, atol=0
    )


def test_three_colours_to_grey_keep_what_the_discriminator_says_of_grey_pictures() -> None:
    for norm_d in ("batch", "none"):
        pair = source_pair(shaped(norm_d=norm_d))
        _, discriminator, rows = warm_start(pair, shaped(norm_d=norm_d, channels=1), seeded(1))
        pictures = grey(5)
        wanted = pair.discriminator(pictures.expand(-1, 3, -1, -1))
        torch.testing.assert_close(discriminator.eval()(pictures), wanted, rtol=1e-4, atol=1e-5)
        assert started(rows)["d8"] == "adapted: 3 -> 1 channels"


def test_three_colours_to_grey_make_the_generator_draw_the_luma() -> None:
    pair = source_pair()
    generator, _, rows = warm_start(pair, shaped(channels=1), seeded(1))
    z = torch.randn(5, 8, generator=seeded(2))
    colours = pair.generator(z).atanh()
    luma = sum(weight * colours[:, channel] for channel, weight in enumerate(LUMA))
    assert isinstance(luma, Tensor)
    torch.testing.assert_close(generator.eval()(z)[:, 0].atanh(), luma, rtol=1e-4, atol=1e-4)
    assert started(rows)["g16"] == "adapted: 3 -> 1 channels"


def test_grey_to_three_colours_draws_and_judges_grey_pictures_as_before() -> None:
    pair = source_pair(shaped(channels=1))
    generator, discriminator, rows = warm_start(pair, TINY, seeded(1))
    z = torch.randn(5, 8, generator=seeded(2))
    torch.testing.assert_close(generator.eval()(z), pair.generator(z).expand(-1, 3, -1, -1))
    pictures = grey(5)
    found = discriminator.eval()(pictures.expand(-1, 3, -1, -1))
    torch.testing.assert_close(found, pair.discriminator(pictures), rtol=1e-4, atol=1e-5)
    assert {block for block, how in started(rows).items() if how == "adapted: 1 -> 3 channels"} == {"g16", "d8"}


@pytest.mark.parametrize("norm_d", NORMS)
def test_a_change_of_channels_leaves_all_other_blocks(norm_d: str) -> None:
    pair = source_pair(shaped(norm_d=norm_d))
    generator, discriminator, rows = warm_start(pair, shaped(norm_d=norm_d, channels=1), seeded(1))
    assert [row.start for row in rows] == ["kept", "kept", "adapted", "adapted", "kept", "kept"]
    assert of_blocks(generator, "g4", "g8") == equal_tensors(generator, pair.generator)
    learned = {name for name in of_blocks(discriminator, "d4", "d1") if not name.endswith(("_u", "_v"))}
    assert learned <= equal_tensors(discriminator, pair.discriminator)


@pytest.mark.parametrize(("latent_dim", "kept"), [(12, 8), (5, 5)])
def test_another_latent_keeps_the_first_rows_of_the_first_block(latent_dim: int, kept: int) -> None:
    pair = source_pair()
    generator, _, rows = warm_start(pair, shaped(latent_dim=latent_dim), seeded(1))
    old, new = public_state(pair.generator)["g4.conv.weight"], public_state(generator)["g4.conv.weight"]
    assert new.shape[0] == latent_dim
    assert torch.equal(new[:kept], old[:kept])
    assert new[kept:].isfinite().all()
    drawn = f", {latent_dim - kept} rows drawn" if latent_dim > kept else ""
    assert started(rows)["g4"] == f"adapted: latent_dim 8 -> {latent_dim}, {kept} rows kept{drawn}"
    assert {row.start for row in rows if row.block != "g4"} == {"kept"}


def test_a_longer_latent_whose_new_values_are_zero_gives_the_old_picture() -> None:
    pair = source_pair()
    generator, _, _ = warm_start(pair, shaped(latent_dim=12), seeded(1))
    z = torch.randn(3, 8, generator=seeded(2))
    longer = torch.cat([z, torch.zeros(3, 4)], dim=1)
    torch.testing.assert_close(generator.eval()(longer), pair.generator(z))


@pytest.mark.parametrize("norm_d", NORMS)
@pytest.mark.parametrize(("old", "new"), [(64, 32), (32, 64)])
def test_between_resolutions_the_inner_blocks_are_kept(norm_d: str, old: int, new: int) -> None:
    pair = source_pair(shaped(resolution=old, norm_d=norm_d))
    generator, _, rows = warm_start(pair, shaped(resolution=new, norm_d=norm_d), seeded(1))
    kept = {row.block for row in rows if row.start == "kept"}
    assert kept == {"g4", "g8", "g16", "d8", "d4", "d1"}
    assert {row.start for row in rows if row.block not in kept} == {"re-drawn"}
    assert equal_tensors(generator, pair.generator) == of_blocks(generator, "g4", "g8", "g16")


def test_skip_adapts_nothing_and_draws_what_would_be_adapted() -> None:
    pair = source_pair()
    model = shaped(channels=1, latent_dim=12)
    generator, discriminator, rows = warm_start(pair, model, seeded(1), "skip")
    assert started(rows) == {
        "g4": "re-drawn",
        "g8": "kept",
        "g16": "re-drawn",
        "d8": "re-drawn",
        "d4": "kept",
        "d1": "kept",
    }
    drawn = from_scratch(model, seeded(1))
    assert equal_tensors(generator, pair.generator) == of_blocks(generator, "g8")
    assert of_blocks(generator, "g4", "g16") <= equal_tensors(generator, drawn[0])
    assert of_blocks(discriminator, "d8") <= equal_tensors(discriminator, drawn[1])


def test_skip_folds_no_norm_and_draws_no_part_of_a_block() -> None:
    _, _, rows = warm_start(source_pair(), shaped(norm_d="none"), seeded(1), "skip")
    assert {row.start for row in rows if row.network == "D"} == {"re-drawn"}
    assert {row.detail for row in rows} == {""}


def test_error_refuses_a_pair_that_does_not_fit_and_lists_the_blocks() -> None:
    _, _, rows = warm_start(source_pair(), TINY, seeded(1), "error")
    assert {row.start for row in rows} == {"kept"}
    with pytest.raises(WeightsError) as caught:
        warm_start(source_pair(), shaped(channels=1, resolution=32), seeded(1), "error")
    assert str(caught.value) == (
        "4 of 8 blocks do not fit: G g16 would be re-drawn; G g32 would be re-drawn; D d16 would be re-drawn; "
        "D d8 would be re-drawn. Give --on-mismatch adapt, or skip, or ask for the shape of the source pair"
    )


@pytest.mark.parametrize("letter", ["G", "D"])
def test_a_network_that_was_only_drawn_as_a_partner_is_drawn_again(letter: str) -> None:
    pair = dataclasses.replace(source_pair(), info={"drawn": letter})
    _, _, rows = warm_start(pair, TINY, seeded(1))
    assert {row.start for row in rows if row.network == letter} == {"re-drawn"}
    assert {row.start for row in rows if row.network != letter} == {"kept"}


def test_biases_at_the_picture_are_adapted_with_its_channels() -> None:
    pair = source_pair(shaped(bias=True))
    generator, _, rows = warm_start(pair, shaped(bias=True, channels=1), seeded(1))
    z = torch.randn(5, 8, generator=seeded(2))
    colours = pair.generator(z).atanh()
    luma = sum(weight * colours[:, channel] for channel, weight in enumerate(LUMA))
    assert isinstance(luma, Tensor)
    torch.testing.assert_close(generator.eval()(z)[:, 0].atanh(), luma, rtol=1e-4, atol=1e-4)
    back, _, _ = warm_start(Pair(generator, pair.discriminator, {}), shaped(bias=True), seeded(1))
    torch.testing.assert_close(back.eval()(z), generator(z).expand(-1, 3, -1, -1))
    assert started(rows)["g16"] == "adapted: 3 -> 1 channels"


def test_nothing_of_a_re_drawn_block_comes_from_the_source() -> None:
    pair = source_pair(shaped(resolution=64, norm_d="none"))
    _, discriminator, _ = warm_start(pair, shaped(resolution=32, norm_d="none"), seeded(1))
    assert equal_tensors(discriminator, pair.discriminator) == of_blocks(discriminator, "d8", "d4", "d1")


def test_more_channels_re_draw_everything_and_the_pair_still_runs() -> None:
    generator, discriminator, rows = warm_start(source_pair(), shaped(base_channels=8), seeded(1))
    assert {row.start for row in rows} == {"re-drawn"}
    assert discriminator(generator(torch.randn(2, 8, generator=seeded(2)))).shape == (2,)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("batch", "none", ["conv.bias drawn", "batch norm folded in", "conv.bias drawn"]),
        ("batch", "spectral", ["conv.bias drawn", "norm dropped; conv.bias drawn", "conv.bias drawn"]),
        ("none", "batch", ["conv.bias dropped", "conv.bias dropped; norm drawn", "conv.bias dropped"]),
        ("spectral", "none", ["spectral norm folded in"] * 3),
    ],
)
def test_another_norm_in_the_discriminator_keeps_the_weights_and_says_what_went(
    old: str, new: str, told: list[str]
) -> None:
    pair = source_pair(shaped(norm_d=old))
    _, discriminator, rows = warm_start(pair, shaped(norm_d=new), seeded(1))
    assert [row.detail for row in rows if row.network == "D"] == told
    kept = {name for name in equal_tensors(discriminator, pair.discriminator) if name.endswith("conv.weight")}
    assert len(kept) == {("spectral", "none"): 0, ("batch", "none"): 2}.get((old, new), 3)


@pytest.mark.parametrize("norm_d", ["batch", "spectral"])
def test_without_its_norm_a_discriminator_still_says_the_same(norm_d: str) -> None:
    pair = source_pair(shaped(norm_d=norm_d))
    before = public_state(pair.discriminator)["d4.conv.weight"].clone()
    _, discriminator, _ = warm_start(pair, shaped(norm_d="none"), seeded(1))
    pictures = torch.randn(4, 3, 16, 16, generator=seeded(2))
    torch.testing.assert_close(discriminator.eval()(pictures), pair.discriminator(pictures))
    assert torch.equal(public_state(pair.discriminator)["d4.conv.weight"], before)


def test_the_source_is_a_copy_and_what_is_drawn_follows_the_seed() -> None:
    pair = source_pair()
    one, two = (warm_start(pair, shaped(resolution=32), seeded(7))[0] for _ in range(2))
    assert equal_tensors(one, two) == set(public_state(one))
    weight = public_state(pair.generator)["g4.conv.weight"].clone()
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.zero_()
    assert torch.equal(public_state(pair.generator)["g4.conv.weight"], weight)


def test_a_snapshot_folder_is_found(tmp_path: Path) -> None:
    pair = source_pair()
    save_pair(tmp_path / "pair", pair)
    assert find(str(tmp_path / "pair")) == (tmp_path / "pair", {})
    assert equal_tensors(open_generator(str(tmp_path / "pair")), pair.generator) == set(public_state(pair.generator))


def test_a_run_folder_means_its_newest_finished_snapshot(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("{}")
    for label in ("000020", "000100", "000120"):
        save_pair(tmp_path / "snapshots" / label, source_pair())
    (tmp_path / "snapshots" / "000120" / CONFIG).unlink()
    assert find(str(tmp_path)) == (tmp_path / "snapshots" / "000100", {})


def test_a_run_without_a_snapshot_asks_for_patience(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(WeightsError, match="has no snapshot yet; wait for its first, or take builtin"):
        find(str(tmp_path))


def test_a_snapshot_that_is_being_written_is_no_run(tmp_path: Path) -> None:
    save_pair(tmp_path, source_pair(), recipe={})
    (tmp_path / CONFIG).unlink()
    with pytest.raises(WeightsError, match=r"it holds: discriminator.safetensors, model.safetensors, recipe.json\)"):
        find(str(tmp_path))


def test_a_folder_called_builtin_does_not_hide_the_embedded_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "builtin").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find("builtin")[0].parent.name in ("pretrained", "_pretrained")
    with pytest.raises(WeightsError, match="it holds: nothing"):
        find("./builtin")


def test_what_is_no_pair_is_told_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "holiday.png").touch()
    wanted = "wanted builtin, hf:ORG/NAME, a snapshot folder or a run folder. Example: builtin"
    for where, found in {
        tmp_path: " (it holds: holiday.png); ",
        tmp_path / "holiday.png": " (it holds: a file); ",
        tmp_path / "nowhere": ": no such folder; ",
    }.items():
        with pytest.raises(WeightsError) as caught:
            find(str(where))
        assert str(caught.value) == f"no pair at {str(where)!r}{found}{wanted}"


def test_the_embedded_pair_opens_with_its_checksums() -> None:
    folder, sums = find("builtin")
    assert folder.parent == resource_dir("pretrained")
    assert set(sums) == {"model.safetensors", "discriminator.safetensors"}
    assert open_pair("builtin").model.resolution == 64


def test_the_embedded_pair_ships_whole_with_its_card_and_small() -> None:
    folder, sums = find("builtin")
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == [
        "README.md",
        "config.json",
        "discriminator.safetensors",
        "model.safetensors",
    ]
    assert {name: sha256(folder / name) for name in sums} == sums
    assert sum(path.stat().st_size for path in files) <= 14 * 10**6


def test_an_unknown_embedded_pair_is_met_with_the_nearest_name() -> None:
    folder, _ = find("builtin")
    with pytest.raises(WeightsError, match=f"did you mean '{folder.name}'"):
        find(f"builtin:{folder.name}x")
