"""torchvision's sets: what is there is used, what is not is downloaded, and a download that fails says what to do."""

from __future__ import annotations

import gzip
import http.server
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from places import refusal
from torchvision import datasets

from gan_transfer.data.sources import open_source
from gan_transfer.data.torchvision_sets import SETS
from gan_transfer.errors import DataError

PIXELS = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)


def digits(root: Path, name: str = "MNIST") -> Path:
    """Three digits where torchvision looks for them; it asks for the test part as well."""
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">IIII", 0x803, *PIXELS.shape) + PIXELS.tobytes()
        )
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 3) + bytes(3))
    return root


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server that answers every question with the same wrong file."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(gzip.compress(b"not what was asked for"))

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever).start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()


@pytest.mark.parametrize("name", ["mnist", "MNIST", "fashion-mnist", "FashionMNIST", "fashion_mnist"])
def test_what_is_there_is_used(tmp_path: Path, name: str) -> None:
    root = digits(tmp_path, "MNIST" if name.lower() == "mnist" else "FashionMNIST")
    source = open_source(f"torchvision:{name}?root={root}")
    source.fetch()
    assert (len(source), source.load(2).mode) == (3, "L")
    assert np.array_equal(np.asarray(source.load(2)), PIXELS[2])
    assert source.label(2) == f"{source.name}[2]"


def test_the_cache_is_the_root_unless_one_is_given(cache: Path, tmp_path: Path) -> None:
    digits(cache / "torchvision")
    source = open_source("torchvision:mnist")
    source.fetch()
    assert (len(source), source.spec, source.origin) == (3, "torchvision:mnist", "torchvision:mnist")
    given = open_source(f"torchvision:mnist?root={tmp_path}")
    assert (given.spec, given.origin) == (f"torchvision:mnist?root={tmp_path}", "torchvision:mnist")


def test_before_it_is_fetched_a_set_promises_its_true_size(cache: Path) -> None:
    assert {name: len(open_source(f"torchvision:{name}")) for name in ("cifar10", "mnist", "celeba")} == {
        "cifar10": 50_000,
        "mnist": 60_000,
        "celeba": 162_770,
    }
    assert list(cache.iterdir()) == []


def test_every_set_is_one_of_torchvisions() -> None:
    assert [known.cls for known in SETS.values() if not hasattr(datasets, known.cls)] == []


def test_the_fingerprint_follows_the_pixels_and_not_the_place(tmp_path: Path) -> None:
    missing = open_source(f"torchvision:mnist?root={tmp_path}/none").fingerprint()
    first = open_source(f"torchvision:mnist?root={digits(tmp_path / 'a')}")
    unfetched = first.fingerprint()
    first.fetch()
    same = open_source(f"torchvision:mnist?root={digits(tmp_path / 'b')}").fingerprint()
    changed = digits(tmp_path / "c") / "MNIST/raw/train-images-idx3-ubyte"
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    other = open_source(f"torchvision:mnist?root={tmp_path}/c").fingerprint()
    assert unfetched == first.fingerprint() == same
    assert len({missing, same, other}) == 3


def test_pictures_are_not_loaded_before_they_are_fetched(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="torchvision:mnist has not been fetched"):
        open_source(f"torchvision:mnist?root={tmp_path}").load(0)


def test_a_server_that_cannot_be_reached_is_told_with_ways_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    source = open_source(f"torchvision:cifar10?root={tmp_path}")
    with pytest.raises(DataError) as caught:
        source.fetch()
    assert f"torchvision:cifar10 could not be downloaded to '{tmp_path}/cifar-10-batches-py': " in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert "try again, put torchvision's files there by hand, or take another source" in str(caught.value)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_download_with_a_wrong_checksum_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(datasets.MNIST, "mirrors", [server])
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{server}cifar-10-python.tar.gz")
    for name in ("mnist", "cifar10"):
        with pytest.raises(DataError) as caught:
            open_source(f"torchvision:{name}?root={tmp_path}").fetch()
        assert "\n" not in str(caught.value)
        assert "could not be downloaded" in str(caught.value)
        assert "corrupted" in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("where", "answer"),
    [
        ("cifar", "torchvision set 'torchvision:cifar' is not known; did you mean 'cifar10'?"),
        ("", "known: cifar10, cifar100, mnist"),
        ("mnist?split=test", "option 'split' of torchvision: data is not known; "),
    ],
)
def test_unknown_sets_and_options_are_refused(where: str, answer: str) -> None:
    assert answer in refusal(f"torchvision:{where}")
