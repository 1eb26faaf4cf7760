"""Distillation: the basis is that of the textbook, the network learns its teacher, and the seed decides all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from real_pictures import real
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from gan_transfer.diagnostics.builtin import Shape
from gan_transfer.diagnostics.distil import Progress, Settings, Teacher, altered, distil, loss, principal
from gan_transfer.errors import DataError, WeightsError

QUICK = Settings(epochs=2, batch=32, shape=Shape(widths=(8, 16), hidden=32, dimension=8))


def pictures(count: int) -> Tensor:
    """Coloured clouds, no two alike."""
    small = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(count)) * 255
    return functional.interpolate(small, 64, mode="bilinear").to(torch.uint8)


def toy_teacher() -> Callable[[Tensor], Tensor]:
    """A random picture of what is left of pictures at 16 x 16: 300 features."""
    projection = torch.randn(768, 300, generator=torch.Generator().manual_seed(5)) / 28

    def features(images: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(images.float() / 255, 16).flatten(1) @ projection

    return features


def silent(progress: Progress) -> None:
    """Say nothing."""


def test_the_components_are_those_of_a_singular_value_decomposition() -> None:
    features = torch.randn(200, 10, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.arange(1.0, 11))
    features[:, 1] += features[:, 0]
    basis = principal(features + 3, 4)
    standardised = ((features - features.mean(0)) / features.std(0)).double().numpy()
    left, values, _ = np.linalg.svd(standardised - standardised.mean(0), full_matrices=False)
    wanted = left[:, :4] * values[:4]
    wanted *= np.sqrt(4 * 199 / (values[:4] ** 2).sum())
    np.testing.assert_allclose(np.abs(basis(features + 3).numpy()), np.abs(wanted), atol=1e-4)
    assert basis.share == pytest.approx((values[:4] ** 2).sum() / (values**2).sum())


def test_outputs_of_zeros_have_a_loss_of_one() -> None:
    features = torch.randn(500, 40, generator=torch.Generator().manual_seed(0))
    targets = principal(features, 8)(features)
    assert float(loss(torch.zeros_like(targets), targets, 0.0)) == pytest.approx(1.0, abs=0.01)
    assert float(loss(targets, targets, 1.0)) == 0.0


def test_relations_cost_what_the_products_of_pairs_differ_by() -> None:
    outputs, targets = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert float(loss(outputs, targets, 1.0) - loss(outputs, targets, 0.0)) == pytest.approx(2 * 0.25 / 4)


def test_each_picture_gets_one_altered_copy_and_a_few_pictures_show_nothing() -> None:
    parts = torch.cat(list(altered(pictures(600), Settings(), silent)))
    assert len(parts) == 600 + 18
    assert all(not torch.equal(copy, picture) for copy, picture in zip(parts, pictures(600), strict=False))


def test_a_network_learns_its_teacher_and_the_seed_decides_all() -> None:
    told: list[Progress] = []
    first = distil(pictures(400), toy_teacher(), dataclasses.replace(QUICK, epochs=6), told.append)
    losses = [progress.loss for progress in told if progress.loss is not None]
    assert [progress.phase for progress in told[:2]] == ["altering", "asking the teacher"]
    assert told[-1].done == told[-1].total
    assert losses[-1] < 0.7 * losses[0]
    with torch.no_grad():
        assert first(pictures(2)).isfinite().all()
    again, other = (distil(pictures(40), toy_teacher(), dataclasses.replace(QUICK, seed=s), silent) for s in (0, 1))
    same = distil(pictures(40), toy_teacher(), QUICK, silent)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), same.parameters(), strict=True))
    assert not torch.equal(again.head.weight, other.head.weight)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.zeros(9, 3, 64, 64, dtype=torch.uint8), "wanted at least a batch of 32, got 9"),
        (torch.zeros(64, 1, 64, 64, dtype=torch.uint8), "wanted uint8 [N, 3, 64, 64], got uint8 [64, 1, 64, 64]"),
        (torch.zeros(64, 3, 64, 64), "wanted uint8 [N, 3, 64, 64], got float32 [64, 3, 64, 64]"),
    ],
)
def test_unfit_pictures_are_refused(given: Tensor, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        distil(given, toy_teacher(), QUICK, silent)
    assert str(caught.value) == f"pictures to distil from: {expected}"


def test_a_file_that_is_not_the_teacher_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("other.safetensors", "missing.safetensors"):
        with pytest.raises(WeightsError, match="is not MobileNetV2 with 1001 classes"):
            Teacher(tmp_path / name)


def test_the_teacher_names_what_is_on_real_photographs() -> None:
    """Reads the network as its own notes say, and compares features before and after the classifier."""
    path = real("weights/mobilenet_v2_imagenet_coral_dequant_fp16.safetensors")
    network = torchvision.models.mobilenet_v2(num_classes=1001)
    network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
            layer.padding = (0, 0)
            layer.register_forward_pre_hook(lambda _, given: (functional.pad(given[0], (0, 1, 0, 1)),))
    network.eval()
    images = pictures(3)
    floats = images / 127.5 - 1
    with torch.no_grad():
        enlarged = functional.interpolate(floats, 128, mode="bicubic", antialias=True).clamp(-1, 1)
        wanted = network.features(enlarged).mean((2, 3))
        torch.testing.assert_close(Teacher(path)(images), wanted, atol=1e-3, rtol=1e-3)
