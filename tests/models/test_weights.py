"""Snapshots: what is saved comes back, and whatever stands in the place of weights is named for what it is."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from gan_transfer.errors import WeightsError
from gan_transfer.files import sha256
from gan_transfer.models.dcgan import Discriminator, Generator, Network, initialise
from gan_transfer.models.snapshot import CONFIG, DISCRIMINATOR, GENERATOR, METRICS, PAIR, PARTNER, RECIPE, read_header
from gan_transfer.models.weights import (
    Pair,
    load_generator,
    load_pair,
    public_state,
    save_pair,
)
from gan_transfer.recipe import Model

TINY = Model(resolution=16, base_channels=4, latent_dim=8)
NORMS = ["batch", "spectral", "none"]


def drawn_pair(model: Model = TINY) -> Pair:
    """A pair whose every tensor, running statistics included, differs from a new one's."""
    generator, discriminator = Generator(model), Discriminator(model)
    for seed, network in enumerate((generator, discriminator)):
        initialise(network, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        discriminator(generator(torch.randn(4, model.latent_dim)))
    return Pair(generator.eval(), discriminator.eval(), {"kimg": 12.5, "recipe": "tiny"})


def shaped(norm_d: str) -> Model:
    return dataclasses.replace(TINY, norm_d=norm_d)  # type: ignore[arg-type]


def networks(pair: Pair) -> list[Network]:
    return [pair.generator, pair.discriminator]


def edit_config(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    path = folder / CONFIG
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def fault(folder: Path) -> str:
    """The message with which a snapshot is refused; always one line."""
    with pytest.raises(WeightsError) as caught:
        load_pair(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good snapshot of a tiny pair, to be damaged."""
    save_pair(tmp_path / "snapshot", drawn_pair())
    return tmp_path / "snapshot"


@pytest.mark.parametrize("norm_d", NORMS)
def test_a_pair_comes_back_bit_for_bit(tmp_path: Path, norm_d: str) -> None:
    pair = drawn_pair(shaped(norm_d))
    save_pair(tmp_path / "new" / "deep", pair)
    back = load_pair(tmp_path / "new" / "deep")
    assert back.model == pair.model
    for saved, loaded in zip(networks(pair), networks(back), strict=True):
        assert not loaded.training
        states = saved.state_dict(), loaded.state_dict()
        assert list(states[0]) == list(states[1])
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("norm_d", NORMS)
def test_a_pair_in_bfloat16_comes_back_within_its_rounding(tmp_path: Path, norm_d: str) -> None:
    pair = drawn_pair(shaped(norm_d))
    save_pair(tmp_path, pair, torch.bfloat16)
    for saved, loaded in zip(networks(pair), networks(load_pair(tmp_path)), strict=True):
        for name, value in loaded.state_dict().items():
            wanted = saved.state_dict()[name]
            assert value.dtype == wanted.dtype
            exact = "running" in name or not value.is_floating_point()
            torch.testing.assert_close(value, wanted, rtol=0 if exact else 2**-8, atol=0)


def test_the_information_beside_the_weights_comes_back(folder: Path) -> None:
    info = load_pair(folder).info
    assert (info["kimg"], info["recipe"]) == (12.5, "tiny")
    assert info["sha256"] == {name: sha256(folder / name) for name in (GENERATOR, DISCRIMINATOR)}


def test_the_headers_tell_clock_and_recipe_and_the_generators_names_its_partner(tmp_path: Path) -> None:
    save_pair(tmp_path, drawn_pair(), recipe={"name": "tiny"})
    assert json.loads((tmp_path / RECIPE).read_text()) == {"name": "tiny"}
    common = {"format": "pt", "library": "gan-transfer", "kimg": "12.5", "recipe_sha256": sha256(tmp_path / RECIPE)}
    assert read_header(tmp_path / DISCRIMINATOR) == common
    assert read_header(tmp_path / GENERATOR) == common | {PARTNER: sha256(tmp_path / DISCRIMINATOR)}


def test_what_another_pair_left_in_the_folder_does_not_stay(tmp_path: Path) -> None:
    save_pair(tmp_path, drawn_pair(), recipe={"name": "tiny"})
    (tmp_path / METRICS).write_text("{}")
    save_pair(tmp_path, drawn_pair())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(PAIR)
    assert "recipe_sha256" not in read_header(tmp_path / GENERATOR)


def test_a_discriminator_of_another_pair_is_no_partner(folder: Path, tmp_path: Path) -> None:
    other = drawn_pair()
    with torch.no_grad():
        other.discriminator.blocks["d8"].conv.weight.mul_(2)
    save_pair(tmp_path / "other", other)
    wanted, found = sha256(folder / DISCRIMINATOR), sha256(tmp_path / "other" / DISCRIMINATOR)
    (folder / DISCRIMINATOR).write_bytes((tmp_path / "other" / DISCRIMINATOR).read_bytes())
    edit_config(folder, lambda data: data.pop("sha256"))
    assert fault(folder) == (
        f"{folder / GENERATOR} and discriminator.safetensors were not trained together: the generator names a partner "
        f"of SHA-256 {wanted[:12]}..., this one has {found[:12]}... Get the snapshot again"
    )


def test_the_generator_can_be_read_alone(tmp_path: Path) -> None:
    pair = drawn_pair()
    save_pair(tmp_path, pair)
    (tmp_path / DISCRIMINATOR).unlink()
    found, wanted = public_state(load_generator(tmp_path)), public_state(pair.generator)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("norm_d", NORMS)
def test_stored_names_are_plain_in_every_form(tmp_path: Path, norm_d: str) -> None:
    save_pair(tmp_path, drawn_pair(shaped(norm_d)))
    with safe_open(tmp_path / DISCRIMINATOR, framework="pt") as file:
        names = set(file.keys())
    extra = {
        "batch": {f"d4.norm.{k}" for k in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")},
        "spectral": {f"{b}.conv.{k}" for b in ("d8", "d4", "d1") for k in ("bias", "weight_u", "weight_v")},
        "none": {f"{b}.conv.bias" for b in ("d8", "d4", "d1")},
    }
    assert names == {"d8.conv.weight", "d4.conv.weight", "d1.conv.weight"} | extra[norm_d]


def test_a_network_in_channels_last_order_is_stored_like_any_other(tmp_path: Path) -> None:
    pair = drawn_pair()
    wanted = {name: value.clone() for name, value in public_state(pair.discriminator).items()}
    pair.discriminator.to(memory_format=torch.channels_last)
    save_pair(tmp_path, pair)
    found: dict[str, Tensor] = public_state(load_pair(tmp_path).discriminator)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_folder_without_config_is_no_snapshot_and_what_it_holds_is_told(folder: Path) -> None:
    (folder / CONFIG).unlink()
    assert fault(folder) == (
        f"{folder} is not a snapshot: it has no config.json (it holds: discriminator.safetensors, model.safetensors). "
        "Give a folder with config.json, model.safetensors and discriminator.safetensors, or builtin"
    )
    assert "no such folder" in fault(folder / "nowhere")


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"text"', "null", "{}", '{"model": {}}', "\x00\x01"])
def test_a_config_that_is_not_one_is_named(folder: Path, text: str) -> None:
    (folder / CONFIG).write_text(text)
    message = fault(folder)
    assert message.startswith(f"{folder / CONFIG} is not the configuration of a pair (")
    assert message.endswith("). Get the snapshot again")


def test_a_newer_format_asks_for_an_upgrade(folder: Path) -> None:
    edit_config(folder, lambda data: data.update(format=2))
    upgrade = "Upgrade gan-transfer: pip install --upgrade gan-transfer"
    assert fault(folder) == f"{folder / CONFIG} is of format 2; this version reads 1. {upgrade}"


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ({"resolution": 48}, "resolution"),
        ({"colour": 1}, "colour"),
        ({"latent_dim": "many", "channels": 2}, "channels"),
        ([1, 2], "[1, 2]"),
        ("big", "'big'"),
        (None, "None"),
    ],
)
def test_a_model_section_that_cannot_be_is_refused(folder: Path, model: object, named: str) -> None:
    edit_config(folder, lambda data: data.update(model=model))
    message = fault(folder)
    assert message.startswith(f"{folder / CONFIG} describes no model: ")
    assert named in message
    assert "recipe" not in message
    assert message.endswith(". Get the snapshot again")


@pytest.mark.parametrize("sums", ["abc", None, 7, {GENERATOR: 7}])
def test_checksums_that_are_none_are_refused(folder: Path, sums: object) -> None:
    edit_config(folder, lambda data: data.update(sha256=sums))
    assert fault(folder).startswith(f"{folder / CONFIG}: sha256 is {sums!r}; wanted a checksum for each file")


@pytest.mark.parametrize("name", [GENERATOR, DISCRIMINATOR])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert fault(folder) == (
        f"{folder / name} is missing; a pair is config.json, model.safetensors and discriminator.safetensors. "
        "Get it again"
    )


@pytest.mark.parametrize("name", [GENERATOR, DISCRIMINATOR])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_told_as_cut_off(folder: Path, name: str, share: float) -> None:
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    message = fault(folder)
    assert message.startswith(f"{path} is not a safetensors file: it is ")
    assert ("cut off or damaged" in message, "empty" in message) == (share > 0, share == 0)
    assert message.endswith(". Get it again")


@pytest.mark.parametrize("length", range(8, 2056, 128))
def test_a_truncated_file_is_never_taken_for_a_pickle(folder: Path, length: int) -> None:
    # A safetensors file opens with the length of its header; a pickle may open with the same bytes.
    (folder / GENERATOR).write_bytes(length.to_bytes(8, "little") + b'{"g4.conv')
    assert "cut off or damaged" in fault(folder)


def test_one_flipped_bit_is_noticed_wherever_it_is(folder: Path) -> None:
    path = folder / GENERATOR
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 61):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert str(path) in fault(folder), place


def test_a_flipped_weight_is_told_by_its_checksum(folder: Path) -> None:
    path = folder / DISCRIMINATOR
    wanted = sha256(path)
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 4
    path.write_bytes(damaged)
    assert fault(folder) == (
        f"{path} is damaged: its SHA-256 is {sha256(path)[:12]}..., wanted {wanted[:12]}... Get it again"
    )


def test_checksums_from_outside_hold_as_well(folder: Path) -> None:
    load_pair(folder, {GENERATOR: sha256(folder / GENERATOR)})
    with pytest.raises(WeightsError, match="is damaged"):
        load_pair(folder, {GENERATOR: "0" * 64})


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n", "a Git LFS pointer, not the weights"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "a web page, not the weights"),
        (b"\n  <html lang='en'>", "a web page, not the weights"),
        (pickle.dumps({"weight": [1.0]}), "a pickled checkpoint, which is not read"),
        (b"PK\x03\x04" + bytes(100), "a pickled checkpoint, which is not read"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a pickled checkpoint, which is not read"),
    ],
)
def test_what_stands_in_the_place_of_weights_is_named(folder: Path, content: bytes, what: str) -> None:
    (folder / GENERATOR).write_bytes(content)
    message = fault(folder)
    assert message.startswith(f"{folder / GENERATOR} is not a safetensors file: it is {what}")
    assert message.endswith(". Get it again")


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"base_channels": 8}, "g4.conv.weight is [8, 32, 4, 4], wanted [8, 64, 4, 4]"),
        ({"latent_dim": 9}, "g4.conv.weight is [8, 32, 4, 4], wanted [9, 32, 4, 4]"),
        ({"channels": 1}, "g16.conv.weight is [16, 3, 4, 4], wanted [16, 1, 4, 4]"),
        ({"resolution": 32}, "g16.norm.weight is missing"),
        ({"norm_d": "none"}, "d8.conv.bias is missing"),
    ],
)
def test_a_config_that_does_not_fit_the_weights_is_told_by_tensor(
    folder: Path, change: dict[str, object], difference: str
) -> None:
    def reshape(data: dict[str, object]) -> None:
        data["model"] |= change  # type: ignore[operator]

    edit_config(folder, reshape)
    message = fault(folder)
    assert "does not fit its config.json: " in message
    assert difference in message
    assert message.endswith(". Get the snapshot again")


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "snapshot").write_text("in the way")
    with pytest.raises(OSError, match="exists"):
        save_pair(tmp_path / "snapshot", drawn_pair())
    (tmp_path / "other" / DISCRIMINATOR).mkdir(parents=True)  # the first to be written
    with pytest.raises(OSError, match="directory"):
        save_pair(tmp_path / "other", drawn_pair())
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert left == ["other", f"other/{DISCRIMINATOR}", "snapshot"]


def test_config_is_written_last(tmp_path: Path) -> None:
    (tmp_path / GENERATOR).mkdir()
    with pytest.raises(OSError, match="directory"):
        save_pair(tmp_path, drawn_pair())
    assert sorted(p.name for p in tmp_path.iterdir()) == [DISCRIMINATOR, GENERATOR]


def test_a_snapshot_written_again_is_unfinished_until_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = drawn_pair()
    save_pair(tmp_path, pair)
    monkeypatch.setattr("gan_transfer.models.weights.write_json", _killed)
    with pytest.raises(KeyboardInterrupt):
        save_pair(tmp_path, pair)
    assert not (tmp_path / "config.json").exists()


def _killed(path: Path, value: object) -> None:
    raise KeyboardInterrupt
