"""Which device and arithmetic a run gets, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gan_transfer.errors import RecipeError
from gan_transfer.models.dcgan import Generator
from gan_transfer.recipe import Model
from gan_transfer.training.hardware import Hardware, choose, memory_faults, multiplies_bfloat16

CPU = torch.device("cpu")
WITHOUT_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_asked_for_is_taken(precision: str) -> None:
    assert choose("cpu", precision) == Hardware(CPU, getattr(torch, precision))


def test_automatic_precision_is_bfloat16_where_the_hardware_has_it() -> None:
    wanted = torch.bfloat16 if multiplies_bfloat16(CPU) else torch.float32
    assert choose("cpu", "auto").dtype == wanted


def test_the_automatic_device_is_the_fastest_that_is_there() -> None:
    wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose("auto", "float32").device.type == wanted


@pytest.mark.parametrize("device", ["tpu", "", "cpu:", "cuda:", "cuda:x", "cuda:-1", "cpu:1", "mps:0x", "CPU"])
def test_a_device_that_is_no_name_is_refused_with_the_names(device: str) -> None:
    with pytest.raises(RecipeError) as caught:
        choose(device, "auto")
    wanted = "wanted auto, cpu, cuda, cuda:N or mps. See: --device auto"
    assert str(caught.value) == f"device {device!r} is not known; {wanted}"


@WITHOUT_CUDA
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_with_what_is(device: str) -> None:
    with pytest.raises(RecipeError) as caught:
        choose(device, "auto")
    message = str(caught.value)
    assert message.startswith(f"device {device!r} is not on this machine, which has: cpu")
    assert message.endswith(". Use --device auto")


def test_the_device_is_described_with_its_arithmetic() -> None:
    assert Hardware(CPU, torch.bfloat16).describe() == "cpu (bfloat16)"


def test_autocast_multiplies_in_bfloat16_only_where_that_was_chosen() -> None:
    product = torch.nn.Linear(2, 2)
    for dtype in (torch.float32, torch.bfloat16):
        with Hardware(CPU, dtype).autocast():
            assert product(torch.ones(1, 2)).dtype == dtype


def test_a_placed_network_gives_the_same_pictures() -> None:
    network = Generator(Model(resolution=16, base_channels=4, latent_dim=8)).eval()
    z = torch.randn(3, 8)
    before = network(z)
    Hardware(CPU, torch.float32).place(network)
    weight = network.blocks["g8"].conv.weight
    assert isinstance(weight, torch.Tensor)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(z), before)


@pytest.mark.parametrize(
    "ask", [lambda: torch.empty(2**60), lambda: np.empty(2**55, np.uint8)], ids=["PyTorch", "NumPy"]
)
def test_a_cpu_out_of_memory_is_told_like_a_gpu_out_of_memory(ask: Callable[[], object]) -> None:
    with pytest.raises(torch.OutOfMemoryError), memory_faults():
        ask()


def test_other_faults_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="must match") as told, memory_faults():
        torch.zeros(2) + torch.zeros(3)
    assert type(told.value) is RuntimeError
