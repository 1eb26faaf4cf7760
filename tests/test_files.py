"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from gan_transfer.files import append_line, atomic, sha256, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "file"):
        pass
    assert names(tmp_path) == []


def test_a_folder_in_the_way_stays_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_text(tmp_path / "file", "text")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("parent", ["absent", "a file"])
def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path, parent: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(OSError, match="directory"):
        write_text(tmp_path / parent / "file", "text")
    assert names(tmp_path) == ["a file"]


def test_the_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        with atomic(tmp_path / "file") as temporary:
            temporary.touch(mode=0o600)
        (tmp_path / "other").touch()
    finally:
        os.umask(mask)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "other")}
    assert modes == {0o640}


def test_text_is_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "größer ✓\n")
    assert (tmp_path / "file").read_bytes() == "größer ✓\n".encode()


def test_json_keeps_the_order_of_its_keys_and_ends_in_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "file", {"b": 1, "a": [1.5, None]})
    text = (tmp_path / "file").read_text()
    assert json.loads(text) == {"b": 1, "a": [1.5, None]}
    assert text.index('"b"') < text.index('"a"')
    assert text.endswith("}\n")


def test_what_json_cannot_say_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "file", {"path": tmp_path})
    assert names(tmp_path) == []


def test_lines_are_appended_one_object_each(tmp_path: Path) -> None:
    for number in range(3):
        append_line(tmp_path / "file", {"kimg": number})
    lines = (tmp_path / "file").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"kimg": 0}, {"kimg": 1}, {"kimg": 2}]


def test_sha256_is_that_of_the_content(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("torn", ['{"kimg": 1', "x"])
def test_a_line_is_never_added_to_one_that_was_cut_off(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "lines.jsonl"
    append_line(path, {"kimg": 0})
    with open(path, "a") as file:
        file.write(torn)
    append_line(path, {"kimg": 2})
    append_line(path, {"kimg": 3})
    assert path.read_text() == f'{{"kimg": 0}}\n{torn}\n{{"kimg": 2}}\n{{"kimg": 3}}\n'
