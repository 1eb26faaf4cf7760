"""Files of tensors are whole or absent, and a disk that takes no more is an error of the system."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gan_transfer.tensor_files import save_tensors


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    save_tensors(tmp_path / "file.safetensors", {"one": torch.arange(3)}, {"format": "pt"})
    assert load_file(tmp_path / "file.safetensors")["one"].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["file.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_disk_that_takes_no_more_is_an_error_of_the_system_and_nothing_is_left(tmp_path: Path) -> None:
    import resource

    path, before = tmp_path / "file.safetensors", resource.getrlimit(resource.RLIMIT_FSIZE)
    save_tensors(path, {"one": torch.arange(3)}, {})
    content = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            save_tensors(path, {"one": torch.arange(3000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert path.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file.safetensors"]


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save_tensors(tmp_path / "absent" / "file", {"one": torch.arange(3)}, {})
