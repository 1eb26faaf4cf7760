"""The builtin network: folding changes nothing, what is saved comes back, and damage is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan_transfer.diagnostics.builtin import (
    CONFIG,
    WEIGHTS,
    Builtin,
    Shape,
    builtin_dir,
    folded,
    initialise,
    load_builtin,
    save_builtin,
)
from gan_transfer.diagnostics.extractors import open_extractor
from gan_transfer.errors import WeightsError

TINY = Shape(widths=(8, 8), hidden=16, dimension=4)


def drawn(shape: Shape = TINY) -> Builtin:
    """A network with batch-norm statistics that are not those of a new one."""
    network = Builtin(shape, norm=True)
    initialise(network, torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.train()(pictures(16, 64))
    return network.eval()


def pictures(count: int, side: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def edit(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    data = json.loads((folder / CONFIG).read_text())
    change(data)
    (folder / CONFIG).write_text(json.dumps(data))


def fault(folder: Path) -> str:
    """The message with which a folder is refused; always one line."""
    with pytest.raises(WeightsError) as caught:
        load_builtin(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_builtin(tmp_path / "extractor", folded(drawn()), {"teacher": "none"})
    return tmp_path / "extractor"


def test_folding_batch_norm_into_the_convolutions_changes_no_feature() -> None:
    network = drawn()
    with torch.no_grad():
        torch.testing.assert_close(folded(network)(pictures(4, 64)), network(pictures(4, 64)))


def test_a_saved_network_comes_back_in_half_precision(folder: Path) -> None:
    network, back = folded(drawn()), load_builtin(folder)
    assert (back.shape, back.training) == (TINY, False)
    assert {value.dtype for value in back.state_dict().values()} == {torch.float32}
    for name, value in back.state_dict().items():
        assert torch.equal(value, network.state_dict()[name].half().float())


def test_what_is_to_be_known_is_kept_beside_the_weights(folder: Path) -> None:
    assert json.loads((folder / CONFIG).read_text())["teacher"] == "none"


@pytest.mark.parametrize("side", [28, 96, 64])
def test_pictures_of_any_size_are_resized(side: int) -> None:
    with torch.no_grad():
        assert folded(drawn())(pictures(2, side)).shape == (2, 4)


def test_the_whole_network_takes_less_than_six_megabytes_on_disk(tmp_path: Path) -> None:
    save_builtin(tmp_path, folded(Builtin(Shape(), norm=True)), {})
    assert (tmp_path / WEIGHTS).stat().st_size < 6e6


def test_a_changed_byte_is_noticed(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    assert fault(folder).startswith(f"{folder / WEIGHTS} is damaged: its SHA-256 is")


def test_missing_files_are_named(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    assert f"{WEIGHTS} cannot be read: No such file or directory" in fault(folder)
    (folder / CONFIG).unlink()
    assert f"{CONFIG} does not describe the builtin extractor" in fault(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: data.update(format=2), "is of format 2; this version reads 1. Upgrade gan-transfer"),
        (lambda data: data.pop("network"), "does not describe the builtin extractor (KeyError: 'network')"),
        (lambda data: data.update(network=3), "does not describe the builtin extractor (TypeError:"),
        (lambda data: data["network"].update(hidden=32), "does not fit its config.json"),
    ],
)
def test_a_wrong_configuration_is_told(
    folder: Path, change: Callable[[dict[str, object]], object], expected: str
) -> None:
    edit(folder, change)
    assert expected in fault(folder)


@pytest.mark.skipif(not builtin_dir().is_dir(), reason="no weights are embedded yet")
def test_the_embedded_network_is_whole_and_small() -> None:
    extractor = open_extractor("builtin")
    assert (extractor.name, extractor.dimension) == ("builtin", Shape().dimension)
    assert sum(path.stat().st_size for path in builtin_dir().iterdir()) < 6e6
    features = extractor.features(pictures(3, 64))
    assert features.std(dim=0).min() > 0
