"""Files of other projects: what is found in them, and each kind of wrong file with its own line."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from strangers import tutorial_d, tutorial_g
from torch import nn

from gan_transfer.errors import WeightsError
from gan_transfer.models.foreign_chain import read_chain
from gan_transfer.models.foreign_file import read_states

SAVE = "in the program that wrote it, save weights alone: torch.save(model.state_dict(), 'weights.pth')"


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def saved(path: Path, content: object, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def fault(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_states(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path} ")


def letters(path: Path) -> dict[str, str]:
    """Where each network was found -> its letter."""
    return {where: read_chain("it", state).letter for where, state in read_states(path).items()}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_bare_state_is_read_from_files_of_any_age(tmp_path: Path, zipped: bool) -> None:
    state = tutorial_g().state_dict()
    (found,) = read_states(saved(tmp_path / "g.pth", state, zipped)).values()
    assert list(found) == list(state)
    assert all(torch.equal(found[name], state[name]) for name in state)


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_the_prefixes_of_wrappers_are_taken_off(tmp_path: Path, prefix: str) -> None:
    state = tutorial_g().state_dict()
    (found,) = read_states(saved(tmp_path / "g.pth", prefixed(state, prefix))).values()
    assert list(found) == list(state)


def test_networks_are_found_in_dictionaries_and_by_prefix(tmp_path: Path) -> None:
    g, d = tutorial_g().state_dict(), tutorial_d().state_dict()
    both = prefixed(g, "generator.model.") | prefixed(d, "discriminator.model.")
    optimiser = torch.optim.Adam(tutorial_g().parameters()).state_dict()
    for content, wanted in (
        ({"state_dict": g, "epoch": 3}, {"state_dict": "G"}),
        ({"generator": g, "discriminator": d, "optimizer": optimiser}, {"generator": "G", "discriminator": "D"}),
        ({"checkpoint": {"netG": prefixed(g, "module."), "loss": [0.5]}}, {"checkpoint.netG": "G"}),
        ({"state_dict": both}, {"state_dict.generator": "G", "state_dict.discriminator": "D"}),
        (prefixed(both, "gan."), {"gan.generator": "G", "gan.discriminator": "D"}),
    ):
        assert letters(saved(tmp_path / "c.pth", content)) == wanted


class Named(nn.Module):
    """Layers under names of their own, whose alphabetical order is not that of the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.ConvTranspose2d(9, 16, 4, 1, 0), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8)
        self.conv10 = nn.ConvTranspose2d(8, 3, 4, 2, 1)


@pytest.mark.parametrize("network", [tutorial_g(count=6), tutorial_d(count=6), Named()])
def test_safetensors_which_forget_the_order_of_layers_are_read_by_their_numbers(
    tmp_path: Path, network: nn.Module
) -> None:
    save_file(network.state_dict(), tmp_path / "n.safetensors")
    (found,) = read_states(tmp_path / "n.safetensors").values()
    wanted = read_chain("it", dict(network.state_dict()))
    assert [link.name for link in read_chain("it", found).links] == [link.name for link in wanted.links]


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_is_named_and_never_executed(tmp_path: Path, zipped: bool) -> None:
    path = saved(tmp_path / "evil.pth", {"netG": Touch(tmp_path / "touched")}, zipped)
    assert fault(path) == f"holds pickled code ({os.mkdir.__module__}.mkdir), which is never executed; {SAVE}"
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_plain_pickle_is_named_and_never_executed(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps([Touch(tmp_path / "touched")], protocol))
    told = fault(tmp_path / "evil.pkl")
    assert "mkdir), which is never executed" in told or (protocol < 2 and told.startswith("is no checkpoint"))
    assert not (tmp_path / "touched").exists()


@pytest.mark.filterwarnings("ignore:.*source code.*:UserWarning")
def test_a_whole_module_is_code_too(tmp_path: Path) -> None:
    told = fault(saved(tmp_path / "whole.pth", tutorial_g()))
    assert told == f"holds pickled code (strangers.Tutorial), which is never executed; {SAVE}"


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_pkl", ".pkl"), content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "is empty; get the file again"),
        (b"\n<!DOCTYPE html>\n<html>Not found", "is a web page, not the weights; get the file itself "),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "is a Git LFS pointer, not the weights; "),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file (Keras); only PyTorch's are read"),
        (b"GIF89a......", "is no checkpoint: it begins with b'GIF89a..'; give a .pth, .pt or .safetensors file"),
        (zipped(a=b"x"), "is a zip file, but not of torch.save (it holds: a); give the .pth in it"),
        (zipped(m__data_pkl=b"x", m__constants_pkl=b"x"), "is a TorchScript program, which is never run; "),
        (pickle.dumps({"a": 1}, 4), f"is a pickle, but not of torch.save; {SAVE}"),
        (b"\x80\x02", "is cut off or damaged ("),
        (b"\x40\x00\x00\x00\x00\x00\x00\x00{}", "is cut off or damaged ("),
    ],
)  # fmt: skip
def test_what_stands_in_the_place_of_weights_is_recognised(tmp_path: Path, content: bytes, wanted: str) -> None:
    (tmp_path / "netG.pth").write_bytes(content)
    assert fault(tmp_path / "netG.pth").startswith(wanted)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_told_as_one(tmp_path: Path, zipped: bool) -> None:
    whole = saved(tmp_path / "g.pth", tutorial_g().state_dict(), zipped).read_bytes()
    for share in (0.05, 0.5, 0.99):
        (tmp_path / "g.pth").write_bytes(whole[: int(share * len(whole))])
        told = fault(tmp_path / "g.pth")
        assert "cut off" in told
        assert told.endswith("get the file again")


def test_a_damaged_zip_file_is_told_as_one(tmp_path: Path) -> None:
    whole = bytearray(saved(tmp_path / "g.pth", tutorial_g().state_dict()).read_bytes())
    whole[200:400] = bytes(200)
    (tmp_path / "g.pth").write_bytes(whole)
    assert "get the file again" in fault(tmp_path / "g.pth") or "torch.save" in fault(tmp_path / "g.pth")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (torch.optim.Adam(tutorial_g().parameters()).state_dict(), "the state of an optimiser (param_groups, state)"),
        ({"optimizer": torch.optim.Adam(tutorial_g().parameters()).state_dict(), "epoch": 3}, "optimizer, epoch"),
        ({"epoch": 3, "loss": [0.5]}, "epoch, loss"),
        ({}, "nothing"),
        (torch.zeros(3), "a Tensor"),
        ([torch.zeros(3)], "a list"),
    ],
)  # fmt: skip
def test_a_file_without_weights_says_what_it_holds(tmp_path: Path, content: object, wanted: str) -> None:
    assert fault(saved(tmp_path / "c.pth", content)) == f"holds no weights but {wanted}; {SAVE}"


def test_a_file_that_is_not_there_and_folders_are_told(tmp_path: Path, pair: Path) -> None:
    assert fault(tmp_path / "netG.pth") == "does not exist; give a .pth, .pt or .safetensors file"
    (tmp_path / "folder").mkdir()
    assert fault(tmp_path / "folder") == "is a folder; give a .pth, .pt or .safetensors file in it"
    assert fault(pair) == f"is a snapshot already: gan-transfer finetune --target NAME --from {pair}"


def test_a_resnet_is_recognised(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    (state,) = read_states(saved(tmp_path / "r.pth", resnet18(weights=None).state_dict())).values()
    with pytest.raises(WeightsError) as caught:
        read_chain("r.pth", state)
    assert str(caught.value).startswith("r.pth is no DCGAN: ")
    assert "It looks like a ResNet. Give the file of a DCGAN's" in str(caught.value)
