"""Extractors: what is opened by which name, that a picture's features hang on nothing else, and what is refused."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from real_pictures import real
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from gan_transfer.diagnostics import backbones
from gan_transfer.diagnostics.backbones import Backbone, LeNet
from gan_transfer.diagnostics.builtin import Builtin, Shape
from gan_transfer.diagnostics.extractors import NetworkExtractor, open_classifier, open_extractor
from gan_transfer.errors import DataError, GanTransferError, RecipeError, WeightsError
from gan_transfer.files import sha256

TINY = "test_resnet.r160_in1k"
"""A network of timm that was made for tests: 160 pixels, 384 features."""


def pictures(count: int, channels: int = 3, side: int = 40) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, side, side), generator=random).to(torch.uint8)


def tiny(seed: int = 0) -> NetworkExtractor:
    torch.manual_seed(seed)
    network = Builtin(Shape(widths=(8, 8), hidden=16, dimension=4)).eval()
    return NetworkExtractor(Backbone("tiny", network, "none"))


def timm_file(folder: Path) -> tuple[nn.Module, Path]:
    """A network with random weights, and the file that holds them."""
    network = timm.create_model(TINY, pretrained=False).eval()
    path = folder / "tiny.safetensors"
    save_file(network.state_dict(), path)
    return network, path


def fault(text: str, kind: type[GanTransferError] = WeightsError) -> str:
    """The message with which an extractor is refused; always one line."""
    with pytest.raises(kind) as caught:
        open_extractor(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_picture_has_the_same_features_in_any_company() -> None:
    extractor, images = tiny(), pictures(70)
    features = extractor.features(images)
    assert (features.shape, features.dtype) == ((70, extractor.dimension), torch.float32)
    for row in (0, 33, 69):
        assert torch.equal(extractor.features(images[row : row + 1])[0], features[row])


def test_a_grey_picture_has_the_features_of_the_same_picture_in_colour() -> None:
    grey = pictures(5, channels=1)
    assert torch.equal(tiny().features(grey), tiny().features(grey.expand(-1, 3, -1, -1)))


def test_the_key_tells_weights_and_preprocessing_apart() -> None:
    network = Builtin(Shape(widths=(8, 8), hidden=16, dimension=4))
    keys = {NetworkExtractor(Backbone("x", network, text)).key for text in ("a", "b", "a")}
    assert len(keys) == 2
    assert len({tiny(0).key, tiny(1).key, tiny(0).key}) == 2


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (torch.zeros(2, 3, 8, 8), "float32 [2, 3, 8, 8]"),
        (torch.zeros(2, 4, 8, 8, dtype=torch.uint8), "uint8 [2, 4, 8, 8]"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "uint8 [3, 8, 8]"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), "uint8 [0, 3, 8, 8]"),
    ],
)
def test_what_are_no_pictures_is_refused(images: Tensor, got: str) -> None:
    with pytest.raises(DataError) as caught:
        tiny().features(images)
    assert str(caught.value) == f"pictures for extractor tiny: wanted uint8 [N, 1 or 3, H, W] with N >= 1, got {got}"


def test_features_that_are_not_finite_are_refused() -> None:
    network = Builtin(Shape(widths=(8, 8), hidden=16, dimension=4))
    nn.init.constant_(network.head.bias, torch.nan)
    with pytest.raises(WeightsError, match="extractor broken gives features that are not finite"):
        NetworkExtractor(Backbone("broken", network, "")).features(pictures(2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("inceptoin", "extractor 'inceptoin' is not known; did you mean 'inception'? (forms: builtin, inception,"),
        ("", "extractor '' is not known; known: builtin, inception, dinov2, timm, file"),
        ("builtin=x.pth", "extractor builtin takes no file, got 'x.pth'"),
        ("timm:", "extractor timm names no network; wanted for example timm:resnet18.a1_in1k"),
        ("timm:resnet81", "network 'resnet81' is not known to torchvision or timm; did you mean 'resnet"),
        ("file:", "extractor file names no file; wanted file:PATH or file:PATH?arch=NAME"),
    ],
)
def test_a_text_that_names_no_extractor_is_refused(text: str, expected: str) -> None:
    assert fault(text, RecipeError).startswith(expected)


def test_a_network_of_timm_runs_on_local_weights_as_timm_prepares_pictures(tmp_path: Path) -> None:
    network, path = timm_file(tmp_path)
    extractor = open_extractor(f"timm:{TINY}={path}")
    settings = timm.data.resolve_model_data_config(network)
    assert settings["input_size"] == (3, 160, 160)
    images = pictures(2)
    enlarged = functional.interpolate(images / 255, 160, mode=settings["interpolation"], antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(settings[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        wanted = network.forward_head(network.forward_features((enlarged - mean) / std), pre_logits=True)
    torch.testing.assert_close(extractor.features(images), wanted, atol=1e-4, rtol=1e-4)
    assert (extractor.name, extractor.dimension) == (f"timm:{TINY}", wanted.shape[1])


def test_a_state_dict_of_timm_is_opened_by_the_name_of_its_architecture(tmp_path: Path) -> None:
    _, path = timm_file(tmp_path)
    extractor = open_extractor(f"file:{path}?arch={TINY}")
    assert extractor.name == "file:tiny.safetensors"
    expected = open_extractor(f"timm:{TINY}={path}").features(pictures(2))
    torch.testing.assert_close(extractor.features(pictures(2)), expected)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_network_of_torchvision_is_recognised_by_its_tensors(tmp_path: Path, wrapped: bool) -> None:
    network = torchvision.models.mobilenet_v2(num_classes=7).eval()
    state = network.state_dict()
    path = tmp_path / "net.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}} if wrapped else state, path)
    extractor, images = open_extractor(f"file:{path}"), pictures(1)
    enlarged = functional.interpolate(images / 255, 224, mode="bilinear", antialias=True).clamp(0, 1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    prepared = (enlarged - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        wanted, logits = network.features(prepared).mean((2, 3)), network(prepared)
    torch.testing.assert_close(extractor.features(images), wanted, atol=1e-4, rtol=1e-4)
    classifier = open_classifier(str(path))
    assert (classifier.name, classifier.classes) == ("file:net.pth", 7)
    torch.testing.assert_close(classifier.logits(images), logits, atol=1e-4, rtol=1e-4)


def test_a_file_of_no_known_architecture_asks_for_its_name(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_file({"a.weight": torch.zeros(3, 3)}, path)
    assert fault(f"file:{path}").startswith(f"'{path}' is of no known architecture (lenet, resnet18,")
    assert f"'{path}' does not fit resnet18: Error(s) in loading" in fault(f"file:{path}?arch=resnet18")
    assert fault(f"timm:{TINY}={path}").startswith(f"'{path}' does not fit timm:{TINY}: ")


def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "touched"),)

    path = tmp_path / "evil.pth"
    torch.save({"x": Touch()}, path)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"x": Touch()}))
    for name in ("evil.pth", "plain.pth"):
        assert fault(f"file:{tmp_path / name}").startswith(f"'{tmp_path / name}' is no file of weights alone: ")
        assert "SHA-256" in fault(f"inception={tmp_path / name}")
        assert "is no file of weights alone" in fault(f"timm:{TINY}={tmp_path / name}")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    assert "is no file of weights alone" in fault(f"file:{path}")


def test_a_file_of_other_values_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    for name, got in (("list", "list"), ("epoch", "dict")):
        path = tmp_path / f"{name}.pth"
        assert fault(f"file:{path}") == f"'{path}' holds no state dict: wanted tensors by name, got {got}"


@pytest.mark.parametrize("text", ["file:{}", "inception={}", "inception:{}", "dinov2={}", f"timm:{TINY}={{}}"])
def test_a_missing_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "missing.safetensors"
    assert f"'{path}' cannot be read: No such file or directory" in fault(text.format(path))


def test_a_name_with_a_line_break_and_a_home_of_nobody_are_told_in_one_line() -> None:
    assert "'a\\nb.pth' cannot be read" in fault("file:a\nb.pth")
    assert fault("file:~nobody-at-all/x.pth").endswith("Give the whole path")


def test_without_a_network_the_offline_extractor_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torch_fidelity import feature_extractor_inceptionv3

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(feature_extractor_inceptionv3, "URL_INCEPTION_V3", "http://127.0.0.1:1/inception.pth")
    message = fault("inception")
    assert message.startswith("extractor inception cannot be downloaded: ")
    assert "get http://127.0.0.1:1/inception.pth and give inception=PATH" in message
    assert message.endswith("without a network use --extractor builtin")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_the_inception_gives_2048_features_and_1008_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights, whose checksum stands in for the known one."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    empty, path = tmp_path / "empty.pth", tmp_path / "inception.pth"
    torch.save({}, empty)
    with monkeypatch.context() as patched:
        patched.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(empty))
    torch.save(network.state_dict(), path)
    assert "is not the FID Inception: its SHA-256 is" in fault(f"inception={path}")
    monkeypatch.setattr(backbones, "INCEPTION_SHA256", sha256(path))
    extractor, classifier = open_extractor(f"inception:{path}"), open_classifier(f"inception={path}")
    assert (extractor.name, extractor.dimension) == ("inception", 2048)
    assert (classifier.name, classifier.classes) == ("inception", 1008)
    torch.testing.assert_close(extractor.features(pictures(2)), network(pictures(2))[0])


@pytest.mark.slow
def test_dinov2_runs_at_224_pixels_on_local_weights(tmp_path: Path) -> None:
    network = timm.create_model("vit_small_patch14_dinov2.lvd142m", pretrained=False, num_classes=0)
    save_file(network.state_dict(), tmp_path / "dinov2.safetensors")
    extractor = open_extractor(f"dinov2={tmp_path / 'dinov2.safetensors'}")
    assert extractor.name == "timm:vit_small_patch14_dinov2.lvd142m"
    assert extractor.features(pictures(1)).shape == (1, 384)


def test_a_lenet_is_recognised_and_its_classes_are_counted(tmp_path: Path) -> None:
    torch.save(LeNet(26).state_dict(), tmp_path / "letters.pth")
    assert open_classifier(f"file:{tmp_path / 'letters.pth'}").classes == 26
    assert open_extractor(f"file:{tmp_path / 'letters.pth'}").dimension == 84


def test_the_lenet_reads_real_digits() -> None:
    weights = real("weights/lenet_epoch=12_test_acc=0.991.pth")
    images, labels = (
        np.frombuffer(gzip.decompress(real(f"mnist/t10k-{name}.gz").read_bytes()), np.uint8)
        for name in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    digits = torch.from_numpy(images[16:].copy()).view(-1, 1, 28, 28)[:2000]
    found = open_classifier(str(weights)).logits(digits).argmax(1)
    assert (found.numpy() == labels[8:2008]).mean() > 0.98
