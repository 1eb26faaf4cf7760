"""The idx reader: pictures of MNIST's kind, plain or gzip, and the answers to files that are damaged or others."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from gan_transfer.data.sources import open_source
from gan_transfer.errors import DataError


def idx3(count: int = 2, height: int = 3, width: int = 4, magic: int = 0x803) -> bytes:
    return struct.pack(">IIII", magic, count, height, width) + bytes(range(count * height * width))


def refusal(text: str) -> str:
    with pytest.raises(DataError) as caught:
        open_source(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_pictures_are_read_plain_and_compressed(tmp_path: Path, suffix: str) -> None:
    content = gzip.compress(idx3()) if suffix else idx3()
    (tmp_path / f"train-images-idx3-ubyte{suffix}").write_bytes(content)
    for other in (f"t10k-images-idx3-ubyte{suffix}", "train-labels-idx1-ubyte"):
        (tmp_path / other).touch()
    source = open_source(f"idx:{tmp_path}")
    assert (len(source), source.load(1).mode, source.load(1).size) == (2, "L", (4, 3))
    assert np.asarray(source.load(1))[0].tolist() == [12, 13, 14, 15]
    assert source.label(1) == f"train-images-idx3-ubyte{suffix}[1]"
    assert source.fingerprint() == open_source(f"{tmp_path}/train-images-idx3-ubyte{suffix}").fingerprint()


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (struct.pack(">II", 0x801, 9) + bytes(9), "holds labels (magic 0x00000801, idx1)"),
        (idx3(magic=0x903), "wanted magic 0x00000803, got 0x00000903"),
        (idx3()[:-1], "2 pictures of 4 x 3 need 24 bytes, got 23"),
        (idx3() + b"x", "2 pictures of 4 x 3 need 24 bytes, got more"),
        (idx3()[:9], "the header needs 16 bytes, got 9"),
        (b"", "the header needs 16 bytes, got 0"),
        (idx3(count=0), "holds no pictures"),
        (struct.pack(">IIII", 0x803, 2**31, 2**15, 2**15), "the header promises"),
    ],
)
def test_a_file_that_is_not_whole_idx_pictures_is_refused(tmp_path: Path, content: bytes, answer: str) -> None:
    (tmp_path / "images-idx3-ubyte").write_bytes(content)
    (tmp_path / "images-idx3-ubyte.gz").write_bytes(gzip.compress(content, mtime=0))
    assert answer in refusal(f"{tmp_path}/images-idx3-ubyte")
    assert answer in refusal(f"idx:{tmp_path}/images-idx3-ubyte.gz")


@pytest.mark.parametrize(
    "content", [gzip.compress(idx3(), mtime=0)[:-12], b"not gzip at all, by far"], ids=["cut off", "no gzip"]
)
def test_a_damaged_gzip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images-idx3-ubyte.gz").write_bytes(content)
    assert "its gzip stream is damaged" in refusal(str(tmp_path))


def test_a_plain_path_to_labels_is_answered_as_such(tmp_path: Path) -> None:
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 9) + bytes(9))
    assert "holds labels" in refusal(f"{tmp_path}/train-labels-idx1-ubyte")


def test_an_idx_folder_without_idx_files_is_refused(tmp_path: Path) -> None:
    assert "holds no file named *idx3-ubyte; wanted pictures such as train-images-idx3-ubyte" in refusal(
        f"idx:{tmp_path}"
    )
