"""The fast products against PyTorch's own convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gan_transfer.models import products
from gan_transfer.models.dcgan import Discriminator, Generator
from gan_transfer.models.products import StridedConv, TransposedConv, correlate, spread, weigh, windows
from gan_transfer.recipe import Model

SHAPES = [(3, 8, 64), (1, 8, 16), (4, 6, 8), (5, 6, 8), (128, 16, 8), (256, 12, 4), (64, 128, 32)]


@pytest.fixture(params=[False, True], ids=["", "tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor without AMX and on one with it."""
    monkeypatch.setattr(products, "_has_tiles", lambda: request.param)


def picture(channels: int, size: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(3, channels, size, size, generator=random).contiguous(memory_format=torch.channels_last)


def error(got: Tensor, wanted: Tensor) -> float:
    got, wanted = got.detach().float(), wanted.detach().float()
    return float((got - wanted).norm() / wanted.norm())


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(("channels", "out", "size"), SHAPES)
def test_every_product_equals_pytorchs_in_float64(channels: int, out: int, size: int) -> None:
    pictures = picture(channels, size).double().requires_grad_()
    weight = torch.randn(out, channels, 4, 4, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    features = functional.conv2d(pictures, weight, stride=2, padding=1)
    upstream = torch.randn(features.shape, generator=torch.Generator().manual_seed(2)).double()
    to_pictures, to_weight = torch.autograd.grad(features, (pictures, weight), upstream)

    torch.testing.assert_close(correlate(pictures, weight), features)
    torch.testing.assert_close(spread(upstream, weight), to_pictures)
    torch.testing.assert_close(weigh(pictures, upstream), to_weight)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(("channels", "out", "size"), SHAPES)
@pytest.mark.parametrize("transposed", [False, True], ids=["strided", "transposed"])
def test_a_bfloat16_layer_agrees_with_float32_to_bfloat16s_precision(
    channels: int, out: int, size: int, transposed: bool
) -> None:
    layer = (
        TransposedConv(out, channels, 4, 2, 1, bias=False)
        if transposed
        else StridedConv(channels, out, 4, 2, 1, bias=False)
    )
    entering = picture(out, size // 2) if transposed else picture(channels, size)
    entering.requires_grad_()
    exact = layer(entering)
    upstream = torch.randn(exact.shape, generator=torch.Generator().manual_seed(3))
    wanted = torch.autograd.grad(exact, (entering, layer.weight), upstream)
    with torch.autocast("cpu", torch.bfloat16):
        fast = layer(entering)
    got = torch.autograd.grad(fast, (entering, layer.weight), upstream.bfloat16())

    assert fast.dtype == torch.bfloat16
    assert error(fast, exact) < 0.01
    assert [error(g, w) < 0.01 for g, w in zip(got, wanted, strict=True)] == [True, True]


def test_a_layers_bias_is_added_under_autocast_too() -> None:
    layer = StridedConv(3, 8, 4, 2, 1)
    with torch.autocast("cpu", torch.bfloat16):
        fast = layer(picture(3, 16))
    assert error(fast, layer(picture(3, 16))) < 0.01


def test_float32_goes_through_pytorch_exactly() -> None:
    layer = StridedConv(3, 8, 4, 2, 1, bias=False)
    pictures = picture(3, 16)
    assert torch.equal(layer(pictures), functional.conv2d(pictures, layer.weight, stride=2, padding=1))


def test_float32_layers_can_be_differentiated_twice_for_penalties() -> None:
    discriminator = Discriminator(Model(resolution=16, base_channels=4, norm_d="none"))
    pictures = picture(3, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(pictures).sum(), pictures, create_graph=True)
    gradient.square().sum().backward()
    assert discriminator.blocks["d8"].conv.weight.grad is not None


def test_all_stride_two_layers_of_both_networks_are_the_fast_kind() -> None:
    generator, discriminator = Generator(Model()), Discriminator(Model())
    assert [type(b.conv) for b in generator.blocks.values()][1:] == [TransposedConv] * 4
    assert [type(b.conv) for b in discriminator.blocks.values()][:-1] == [StridedConv] * 4


def test_windows_holds_what_each_window_sees() -> None:
    pictures = picture(2, 8)
    unfolded = functional.unfold(pictures, 4, padding=1, stride=2)  # [N, C * 16, H * W], channels first
    wanted = unfolded.view(3, 2, 16, -1).permute(0, 3, 2, 1).reshape(-1, 32)
    assert torch.equal(windows(pictures), wanted)
