"""Other people's DCGANs: the same pictures, the same logits, to 1e-6; what does not fit is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from strangers import (
    Tutorial,
    discriminator,
    foreign,
    generator,
    pictures,
    same_logits,
    same_pictures,
    seeded,
    tutorial_d,
    tutorial_g,
    used,
)
from torch import nn
from torch.nn.utils import spectral_norm as old_spectral_norm  # type: ignore[attr-defined]
from torch.nn.utils.parametrizations import spectral_norm

from gan_transfer.errors import WeightsError
from gan_transfer.models.foreign import convert
from gan_transfer.models.foreign_chain import read_chain
from gan_transfer.models.foreign_file import read_states

GIVEN = os.environ.get("GAN_TRANSFER_DATA")
DATA = Path(GIVEN) if GIVEN else Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.mark.parametrize(("count", "resolution"), [(4, 32), (5, 64), (6, 128)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("width", "nz", "nc"), [(8, 100, 3), (4, 17, 1)])
def test_the_tutorials_pair_draws_and_judges_the_same(
    count: int, resolution: int, bias: bool, width: int, nz: int, nc: int
) -> None:
    g, d = tutorial_g(nz, width, nc, count, bias), tutorial_d(width, nc, count, bias)
    found = foreign(g, d)
    model = found.model
    assert (model.resolution, model.channels, model.latent_dim, model.bias) == (resolution, nc, nz, bias)
    assert found.notes == []
    assert found.generator is not None
    assert found.discriminator is not None
    assert same_pictures(g, found.generator, nz)
    assert same_logits(d, found.discriminator, nc, resolution)


def test_without_biases_pictures_and_logits_are_the_same_bit_for_bit() -> None:
    g, d = tutorial_g(), tutorial_d()
    found = foreign(g, d)
    z, x = torch.randn(4, 100, generator=seeded(1)), pictures(3, 64)
    assert torch.equal(found.generator(z), g(z[:, :, None, None]))  # type: ignore[misc]
    assert torch.equal(found.discriminator(x), d.main[:-1](x).flatten())  # type: ignore[misc]


def test_a_network_of_the_papers_shape_needs_no_layers_of_its_own() -> None:
    model = foreign(tutorial_g(ngf=8), tutorial_d(ndf=8)).model
    assert (model.base_channels, model.layers_g, model.layers_d) == (8, (), ())


def test_the_two_networks_may_have_different_widths() -> None:
    g, d = tutorial_g(ngf=8), tutorial_d(ndf=12)
    found = foreign(g, d)
    assert (found.model.base_channels, found.model.layers_g) == (8, ())
    assert [layer.channels for layer in found.model.layers_d] == [12, 24, 48, 96, 1]
    assert same_pictures(g, found.generator, 100)  # type: ignore[arg-type]
    assert same_logits(d, found.discriminator, 3, 64)  # type: ignore[arg-type]


MNIST_UP = {
    "7x7 first": ([24, 9], [(7, 1, 0), (4, 2, 1), (4, 2, 1)]),
    "4 becomes 7": ([24, 12, 5], [(4, 1, 0), (3, 2, 1), (4, 2, 1), (4, 2, 1)]),
    "32 is cut": ([32, 16, 8, 4], [(4, 1, 0), (4, 2, 1), (4, 2, 1), (4, 2, 1), (1, 1, 2)]),
    "a course's": ([16, 32, 16], [(3, 2, 0), (4, 1, 0), (3, 2, 0), (4, 2, 0)]),
}
MNIST_DOWN = {
    "ends on 7x7": ([9, 24], [(4, 2, 1), (4, 2, 1), (7, 1, 0)]),
    "ends on 3x3, padded": ([4, 8, 16], [(4, 2, 1), (4, 2, 1), (4, 2, 1), (4, 2, 1)]),
    "ends on 3x3": ([4, 8, 16], [(4, 2, 1), (4, 2, 1), (4, 2, 1), (3, 1, 0)]),
    "7 becomes 4": ([4, 8, 16], [(4, 2, 1), (4, 2, 1), (3, 2, 1), (4, 1, 0)]),
    "a course's": ([16, 32], [(4, 2, 0), (4, 2, 0), (4, 2, 0)]),
}


@pytest.mark.parametrize("name", MNIST_UP)
@pytest.mark.parametrize("bias", [False, True])
def test_a_generator_of_28_pixels_draws_the_same(name: str, bias: bool) -> None:
    widths, shapes = MNIST_UP[name]
    g = generator(20, widths, 1, shapes, bias)
    found = foreign(g)
    assert (found.model.resolution, found.discriminator) == (28, None)
    assert same_pictures(g, found.generator, 20)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MNIST_DOWN)
@pytest.mark.parametrize("bias", [False, True])
def test_a_discriminator_of_28_pixels_judges_the_same(name: str, bias: bool) -> None:
    widths, shapes = MNIST_DOWN[name]
    d = discriminator(1, widths, shapes, 28, bias)
    found = foreign(d, layout="mnist" if "padded" in name else "auto")
    assert (found.model.resolution, found.generator) == (28, None)
    assert same_logits(d, found.discriminator, 1, 28)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("up", "down", "resolution"),
    [
        ([(4, 1, 0), (3, 2, 1, 1), (3, 2, 1, 1), (3, 2, 1, 1)], [(3, 2, 1), (3, 2, 1), (3, 2, 1), (4, 1, 0)], 32),
        ([(2, 1, 0), *[(2, 2, 0)] * 4], [*[(2, 2, 0)] * 4, (2, 1, 0)], 32),
        ([(4, 1, 0), *[(5, 2, 2, 1)] * 4], [*[(5, 2, 2)] * 4, (4, 1, 0)], 64),
    ],
)
def test_other_kernels_than_4x4_are_read_by_the_resolution_that_they_give(
    up: list[tuple[int, ...]], down: list[tuple[int, ...]], resolution: int
) -> None:
    g, d = (
        generator(9, [16, 9, 8, 7][: len(up) - 1], 3, up),
        discriminator(3, [5, 8, 9, 16][: len(down) - 1], down, resolution),
    )
    found = foreign(g, d)
    assert found.model.resolution == resolution
    assert same_pictures(g, found.generator, 9)  # type: ignore[arg-type]
    assert same_logits(d, found.discriminator, 3, resolution)  # type: ignore[arg-type]


def test_the_generator_decides_where_the_discriminator_could_be_for_two_resolutions() -> None:
    d = discriminator(1, *MNIST_DOWN["ends on 3x3, padded"], 28)
    g = generator(20, *MNIST_UP["7x7 first"][:1], 1, MNIST_UP["7x7 first"][1])
    found = foreign(g, d)
    assert (found.model.resolution, found.notes) == (28, [])
    assert same_logits(d, found.discriminator, 1, 28)  # type: ignore[arg-type]


def test_alone_it_is_read_as_the_tutorials_and_the_other_way_is_told() -> None:
    d = tutorial_d(nc=1, count=4)
    found = foreign(d)
    assert found.notes == ["read as 32x32; 28x28 would fit as well: --layout mnist"]
    assert same_logits(d, found.discriminator, 1, 32)  # type: ignore[arg-type]


def test_a_last_layer_whose_border_was_never_trained_gives_28_pixels_away() -> None:
    d = discriminator(1, *MNIST_DOWN["ends on 3x3, padded"], 28)
    head = d.main[-2]
    assert isinstance(head, nn.Conv2d)
    with torch.no_grad():
        head.weight[:, :, 0] = head.weight[:, :, :, 0] = 0.02 * torch.randn(1, 16, 4, generator=seeded(1))
    found = foreign(d)
    (note,) = found.notes
    assert note.startswith("read as 28x28, because the first row and column of main.8 were never trained")
    assert note.endswith("32x32 would fit as well: --layout dcgan")
    assert same_logits(d, found.discriminator, 1, 28)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrap", [spectral_norm, old_spectral_norm])
@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_spectral_norm_is_read_under_both_of_its_names(wrap: object) -> None:
    layers = [wrap(nn.Conv2d(a, b, 4, 2, 1)) for a, b in [(3, 8), (8, 16), (16, 32)]]  # type: ignore[operator]
    last = wrap(nn.Conv2d(32, 1, 4, 1, 0))  # type: ignore[operator]
    d = Tutorial(*(m for layer in layers for m in (layer, nn.LeakyReLU(0.2))), last, nn.Sigmoid())
    d = used(d, pictures(3, 32))
    found = foreign(d)
    assert found.model.norm_d == "spectral"
    assert same_logits(d, found.discriminator, 3, 32)  # type: ignore[arg-type]


def test_a_discriminator_without_batch_norm_is_read_as_one() -> None:
    d = Tutorial(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 16, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
                 nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 1, 4), nn.Sigmoid())  # fmt: skip
    d = used(d, pictures(3, 32))
    found = foreign(d)
    assert found.model.norm_d == "none"
    assert same_logits(d, found.discriminator, 3, 32)  # type: ignore[arg-type]


def test_in_train_mode_the_biases_before_batch_norm_change_nothing_either() -> None:
    g = tutorial_g(bias=True)
    found = foreign(g).generator
    assert found is not None
    z = torch.randn(8, 100, generator=seeded(1))
    assert torch.allclose(found.train()(z), g.train()(z[:, :, None, None]), rtol=0, atol=1e-6)


def test_weights_in_half_precision_are_read() -> None:
    found = foreign(tutorial_g().half()).generator
    assert found is not None
    assert {p.dtype for p in found.parameters()} == {torch.float32}


def test_the_strangers_mnist_discriminator_judges_digits_as_it_did() -> None:
    path = DATA / "weights" / "netD_epoch_99.pth"
    if not path.exists():
        pytest.skip("the weights are not here")
    (state,) = read_states(path).values()
    d = Tutorial(nn.Conv2d(1, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
                 nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
                 nn.Conv2d(128, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.LeakyReLU(0.2),
                 nn.Conv2d(256, 1, 4, 2, 1, bias=False), nn.Sigmoid())  # fmt: skip
    d.load_state_dict(state)
    found = convert("netD", [read_chain("netD", state)])
    assert (found.model.resolution, found.layout) == (28, "mnist")
    assert same_logits(d.eval(), found.discriminator, 1, 28)  # type: ignore[arg-type]


# What is refused


def fault(*networks: nn.Module, layout: str = "auto") -> str:
    with pytest.raises(WeightsError) as caught:
        foreign(*networks, layout=layout)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def bn(width: int) -> nn.Module:
    return nn.BatchNorm2d(width)


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ([nn.Linear(100, 512), nn.ConvTranspose2d(32, 3, 4, 2, 1)], "main.0.weight [512, 100] is a dense layer"),
        ([nn.ConvTranspose2d(9, 8, 4), nn.ConvTranspose2d(8, 3, 4, 2, 1)], "main.0 has no batch norm behind it"),
        ([nn.ConvTranspose2d(9, 8, 4), bn(8), nn.ConvTranspose2d(8, 3, 4, 2, 1), bn(3)], "main.2 has batch norm"),
        ([nn.ConvTranspose2d(9, 8, 4), bn(8), nn.ConvTranspose2d(7, 3, 4, 2, 1)], "[7, 3, 4, 4] does not take what"),
        ([nn.ConvTranspose2d(9, 8, 4), bn(7), nn.ConvTranspose2d(8, 3, 4, 2, 1)], "is not for 8 channels"),
        ([bn(9), nn.ConvTranspose2d(9, 3, 4)], "main.0.weight [9] is a batch norm without a convolution before it"),
        ([nn.Conv2d(3, 8, 4, 2, 1), nn.PReLU(), nn.Conv2d(8, 1, 4)], "main.1.weight [1] is neither a convolution nor"),
        ([nn.Conv2d(3, 8, 4, 2, 1), nn.InstanceNorm2d(8, affine=True), nn.Conv2d(8, 1, 4)], "[8] is neither"),
        ([nn.Conv2d(3, 8, 4, 2, 1), bn(8), nn.Conv2d(8, 1, 4)], "main.0 has batch norm, which is not wanted"),
        ([nn.Conv2d(4, 8, 4, 2, 1), nn.Conv2d(8, 1, 4)], "main.0.weight [8, 4, 4, 4] takes 4 channels"),
        ([nn.Conv2d(3, 8, 4, 2, 1), nn.Conv2d(8, 10, 4)], "main.1.weight [10, 8, 4, 4] puts out 10 values"),
        ([nn.Conv1d(3, 8, 4)], "main.0.weight [8, 3, 4] is a convolution in one dimension"),
        ([nn.Conv2d(3, 1, 4)], "it has fewer than two convolutions"),
    ],
)  # fmt: skip
def test_the_layer_that_does_not_fit_is_named_with_its_shape(layers: list[nn.Module], wanted: str) -> None:
    told = fault(Tutorial(*layers))
    assert told.startswith("file.pth is no DCGAN: ")
    assert wanted in told
    assert told.endswith("Give the file of a DCGAN's generator or discriminator: gan-transfer import FILE")


def test_kernels_that_give_no_known_pictures_are_told() -> None:
    assert fault(generator(9, [8, 8], 3, [(4, 1, 0), (7, 2, 3), (4, 2, 1)])) == (
        "file.pth: the generator's main.3.weight has a kernel of 7x7; wanted 1x1, 2x2, 3x3, 4x4, 5x5, 6x6. "
        "Give another --layout, or a network of a tutorial"
    )
    assert "the generator's kernels 4x4, 4x4 are for no pictures of 16, 28, 32, 64, 128, 256 pixels" in fault(
        generator(9, [8], 3, [(4, 1, 0), (4, 2, 1)])
    )


def test_a_layout_that_does_not_fit_is_refused_and_an_unknown_one_gets_the_nearest() -> None:
    assert "the generator's kernels 4x4, 4x4, 4x4, 4x4 are for no pictures of 28 pixels" in fault(
        tutorial_g(count=4), layout="mnist"
    )
    assert fault(tutorial_g(), layout="dcgn") == "--layout 'dcgn' is not known; did you mean 'dcgan'?"


def test_two_networks_that_are_no_pair_are_refused() -> None:
    assert "draws 64x64 and the discriminator judges 128x128: they are no pair" in fault(
        tutorial_g(count=5), tutorial_d(count=6)
    )
    assert "the generator draws 1 channels and the discriminator takes 3: they are no pair" in fault(
        tutorial_g(nc=1), tutorial_d(nc=3)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("main.1.num_batches_tracked", torch.zeros(2, 2)),
        ("main.1.running_var", torch.zeros(5)),
        ("main.0.bias", torch.zeros(5)),
        ("main.3.weight", torch.zeros(16, 8, 4, 4, dtype=torch.int32)),
        ("main.3.weight", torch.zeros(16, 8, 4, 4, dtype=torch.complex64)),
        ("main.3.weight", torch.zeros(16, 8, 0, 0)),
        ("main.3.weight", torch.zeros(16, 8, 4, 3)),
        ("main.99.scale", torch.zeros(())),
        ("main", torch.zeros(())),
    ],
)
def test_an_odd_tensor_is_refused_and_not_stumbled_over(name: str, value: torch.Tensor) -> None:
    state = {**tutorial_g(ngf=4, count=4).state_dict(), name: value}
    with pytest.raises(WeightsError, match="it is no DCGAN: "):
        read_chain("it", state)


def test_a_latent_that_no_pair_has_is_refused_before_anything_is_written() -> None:
    assert fault(generator(5000, [4, 4, 4], 3, [(4, 1, 0), *[(4, 2, 1)] * 3])) == (
        "file.pth: too large to be read: import: latent_dim: wanted a whole number >= 1 and <= 4096; got 5000"
    )


def test_values_that_are_not_finite_are_refused() -> None:
    g = tutorial_g()
    with torch.no_grad():
        g.main[3].weight[0, 0, 0, 0] = float("nan")  # type: ignore[union-attr,index]
    assert "main.3.weight [64, 32, 4, 4], or of its batch norm, holds values that are no finite numbers" in fault(g)
