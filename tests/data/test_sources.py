"""Data sources: what opens, in which order, and what each bad place is answered with."""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import labels, png, refusal, write, write_tar, write_zip

from gan_transfer.data.archive import ZipSource
from gan_transfer.data.celeba import CelebaSource
from gan_transfer.data.folder import FolderSource
from gan_transfer.data.idx import IdxSource
from gan_transfer.data.sources import KINDS, READERS, open_source
from gan_transfer.data.tar import TarSource


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Root may read everything: act as nobody for a moment."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_is_read_recursively_in_the_order_of_its_paths(tmp_path: Path) -> None:
    write(tmp_path, "b.png", "a/z.jpg", "a/B.PNG", "c/d/e.bmp", "notes.txt")
    source = open_source(f"folder:{tmp_path}")
    assert labels(source) == ["a/B.PNG", "a/z.jpg", "b.png", "c/d/e.bmp"]
    assert source.load(0).size == (8, 8)
    assert source.spec == f"folder:{tmp_path}"


def test_hidden_files_and_macos_litter_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a.png", ".b.png", "._a.png", ".git/c.png", "__MACOSX/a.png")
    assert labels(FolderSource(str(tmp_path))) == ["a.png"]
    entries = dict.fromkeys(("a.png", ".b.png", "x/._a.png", "__MACOSX/a.png"), png())
    assert labels(ZipSource(str(write_zip(tmp_path / "z.zip", entries)))) == ["a.png"]


def test_formats_that_run_other_programs_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path, "program.eps", "program.png", content=b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    source = FolderSource(str(tmp_path))
    assert labels(source) == ["program.png"]
    with pytest.raises(ValueError, match="not a picture"):
        source.load(0)


def test_loops_of_symlinks_end_and_each_folder_counts_once(tmp_path: Path) -> None:
    write(tmp_path, "b/c/a.png")
    (tmp_path / "b/c/up").symlink_to(tmp_path)
    (tmp_path / "a").symlink_to(tmp_path / "b")
    assert labels(FolderSource(str(tmp_path))) == ["a/c/a.png"]


def test_names_with_line_breaks_and_odd_bytes_have_labels_on_one_line(tmp_path: Path) -> None:
    write(tmp_path, "a\nb.png", os.fsdecode(b"c\xff.png"))
    source = FolderSource(str(tmp_path))
    assert labels(source) == ["a\\nb.png", "c\\udcff.png"]
    assert source.load(1).size == (8, 8)
    assert len(source.fingerprint()) == 64


def test_pipes_are_passed_over_and_links_to_nowhere_are_broken_pictures(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "nowhere.png").symlink_to("gone.png")
    source = FolderSource(str(tmp_path))
    assert labels(source) == ["a.png", "nowhere.png"]
    with pytest.raises(FileNotFoundError):
        source.load(1)


def test_plain_paths_are_recognised(tmp_path: Path) -> None:
    write(tmp_path / "folder", "a.png")
    write_zip(tmp_path / "My Pictures (1).ZIP", {"a.png": png()})
    write(tmp_path / "mnist", "train-images-idx3-ubyte", content=struct.pack(">IIII", 0x803, 1, 2, 2) + bytes(4))
    expected = {"folder": "folder", "My Pictures (1).ZIP": "my-pictures-1", "mnist": "mnist"}
    assert {place: open_source(str(tmp_path / place)).name for place in expected} == expected
    opened = [open_source(str(tmp_path / place)) for place in (*expected, "mnist/train-images-idx3-ubyte")]
    assert [type(source) for source in opened] == [FolderSource, ZipSource, IdxSource, IdxSource]


def test_plain_paths_to_tar_files_parquet_files_packs_and_celeba_are_recognised(tmp_path: Path) -> None:
    for name in ("a.tar", "b.TGZ", "shards/0.tar", "shards/1.tar", "mixed/0.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_tar(tmp_path / name, {"a.png": png()}, "w:gz" if name.endswith("TGZ") else "w")
    write(tmp_path / "shards", ".hidden", "README.md", content=b"")
    write(tmp_path / "mixed", "inner/a.png")
    write_zip(tmp_path / "img_align_celeba.zip", {"img_align_celeba/000001.jpg": png()})
    places = ["a.tar", "b.TGZ", "shards", "shards/{0..1}.tar", "shards/*.tar", "mixed", "img_align_celeba.zip"]
    opened = [open_source(str(tmp_path / place)) for place in places]
    assert [type(source) for source in opened] == [TarSource] * 5 + [FolderSource, CelebaSource]
    assert [len(source) for source in opened] == [1, 1, 2, 2, 2, 1, 1]


def test_what_a_source_is_called_in_public_holds_no_path(tmp_path: Path) -> None:
    write(tmp_path / "faces", "a.png")
    write_zip(tmp_path / "covers.zip", {"a.png": png()})
    write(tmp_path, "train-images-idx3-ubyte", content=struct.pack(">IIII", 0x803, 1, 2, 2) + bytes(4))
    origins = {"faces": "folder:faces", "covers.zip": "zip:covers.zip"}
    origins |= {"train-images-idx3-ubyte": "idx:train-images-idx3-ubyte"}
    assert {place: open_source(str(tmp_path / place)).origin for place in origins} == origins
    assert open_source("builtin:covers?count=9").origin == "builtin:covers?count=9&seed=0"


def test_local_sources_need_no_fetching(tmp_path: Path) -> None:
    write_zip(tmp_path / "covers.zip", {"a.png": png()})
    for text in (str(tmp_path / "covers.zip"), str(write(tmp_path / "faces", "a.png")), "builtin:covers"):
        source = open_source(text)
        before = source.fingerprint()
        source.fetch()
        assert source.fingerprint() == before


def test_every_kind_is_described() -> None:
    assert [usage.partition(":")[0] for usage in KINDS] == list(READERS)


def test_a_spec_opens_the_same_source_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a", "b.png")
    monkeypatch.chdir(tmp_path / "a")
    source = open_source("../a/../a")
    monkeypatch.chdir("/")
    assert source.spec == f"folder:{tmp_path}/a"
    assert open_source(source.spec).fingerprint() == source.fingerprint()


def test_a_linked_zip_keeps_the_name_of_the_link(tmp_path: Path) -> None:
    write_zip(tmp_path / "0123abcd", {"a.png": png()})
    (tmp_path / "covers.zip").symlink_to("0123abcd")
    assert open_source(str(tmp_path / "covers.zip")).name == "covers"


def test_fingerprints_follow_the_content_and_not_the_place(tmp_path: Path) -> None:
    one = ZipSource(str(write_zip(tmp_path / "1.zip", {"a.png": png()})))
    same = ZipSource(str(write_zip(tmp_path / "2.zip", {"a.png": png()}, zipfile.ZIP_DEFLATED)))
    other = ZipSource(str(write_zip(tmp_path / "3.zip", {"a.png": png("blue")})))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    folder = FolderSource(str(write(tmp_path / "f", "a.png")))
    write(tmp_path / "f", "b.png")
    assert folder.fingerprint() != FolderSource(str(tmp_path / "f")).fingerprint()


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    assert "'flder' is not known; did you mean 'folder'?" in refusal("flder:/tmp")
    assert "known: folder, zip, tar, wds, parquet, hf, idx, celeba, torchvision, pack, builtin" in refusal(
        "http://example.org/x.zip"
    )


@pytest.mark.parametrize("text", ["", " ", "folder:", "zip:"])
def test_an_empty_path_is_refused(text: str) -> None:
    assert "the data path is empty" in refusal(text)


@pytest.mark.parametrize("kind", ["", "folder:", "zip:", "idx:"])
def test_a_missing_path_is_refused(tmp_path: Path, kind: str) -> None:
    assert f"data path '{tmp_path}/none' does not exist" in refusal(f"{kind}{tmp_path}/none")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_an_impossible_path_is_refused(tmp_path: Path, name: str) -> None:
    assert "cannot be read" in refusal(f"folder:{tmp_path}/{name}")


def test_a_path_without_permission_is_refused() -> None:
    with tempfile.TemporaryDirectory() as name:  # tmp_path may not be entered by nobody
        place = write(Path(name), "inner/a.png", "mnist/train-images-idx3-ubyte")
        write_zip(place / "a.zip", {"a.png": png()})
        place.chmod(0o755)
        closed = [place / "inner", place / "mnist", place / "a.zip"]
        for path in closed:
            path.chmod(0)
        with unprivileged():
            answers = [refusal(str(path)) for path in (place, *closed)]
            answers += [refusal(f"idx:{place}/mnist"), refusal(f"folder:{place}/inner")]
        for path in closed:
            path.chmod(0o700)
    assert [("cannot be read: Permission denied" in answer) for answer in answers] == [True] * 6


def test_places_without_pictures_tell_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no pictures but no files at all" in refusal(f"{tmp_path}/empty")
    write(tmp_path / "texts", "a.txt", "b/c.txt", "d.md", "README")
    assert "holds no pictures but 4 files (.txt 2, " in refusal(f"{tmp_path}/texts")
    write_zip(tmp_path / "a.zip", {"a.csv": b"1,2"})
    assert "holds no pictures but 1 file (.csv 1)" in refusal(f"{tmp_path}/a.zip")
    write_zip(tmp_path / "b.zip", {})
    assert "holds no pictures but no files at all" in refusal(f"{tmp_path}/b.zip")


def test_the_wrong_kind_of_place_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    assert "is a file, wanted a folder" in refusal(f"folder:{tmp_path}/a.png")
    assert "is a folder, wanted a .zip file" in refusal(f"zip:{tmp_path}")
    assert "is not a folder or a .zip, .tar, .parquet or idx file; name its kind" in refusal(f"{tmp_path}/a.png")


def test_what_is_no_whole_zip_is_refused(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "whole.zip", {"a.png": png()}).read_bytes()
    for content in (b"", b"version https://git-lfs.github.com/spec/v1\n", whole[:-40], whole[40:60]):
        (tmp_path / "bad.zip").write_bytes(content)
        assert "is not a whole zip file" in refusal(f"{tmp_path}/bad.zip")


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/a.png", "x\\a.png", "C:a.png", "..", "../notes.txt"])
def test_a_zip_with_entries_that_point_outside_is_refused(tmp_path: Path, name: str) -> None:
    place = write_zip(tmp_path / "hostile.zip", {"good.png": png(), name: png()})
    assert "points outside the archive" in refusal(str(place))
    assert f"its entry '{name}'" in refusal(str(place))
    assert [path.name for path in tmp_path.iterdir()] == ["hostile.zip"]


def test_decompression_bombs_in_a_zip_are_broken_pictures(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a.png", png())
        archive.writestr("b.png", bytes(51_000_000))
    source = ZipSource(str(tmp_path / "bomb.zip"))
    with pytest.raises(ValueError, match="a decompression bomb: 49"):
        source.load(1)
    assert source.load(0).size == (8, 8)


def test_encrypted_and_damaged_entries_are_broken_pictures(tmp_path: Path) -> None:
    place = write_zip(tmp_path / "a.zip", {"a.png": png(), "b.png": png("blue")})
    content = bytearray(place.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 8] |= 1  # the flag of encryption of the first entry
    content[content.index(b"b.png") + 20] ^= 255
    place.write_bytes(content)
    source = ZipSource(str(place))
    with pytest.raises(ValueError, match="encrypted"):
        source.load(0)
    with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"):
        source.load(1)


def test_a_folder_of_pictures_beside_an_idx_file_is_a_folder_of_pictures(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "train-images-idx3-ubyte")
    assert labels(open_source(str(tmp_path))) == ["a.png"]


def test_built_in_covers_take_a_count_and_a_seed() -> None:
    source = open_source("builtin:covers?count=12&seed=3")
    assert (len(source), source.spec) == (12, "builtin:covers?count=12&seed=3")
    assert len(open_source("builtin:covers")) == 2000


@pytest.mark.parametrize(
    ("where", "answer"),
    [
        ("cover", "did you mean 'covers'?"),
        ("", "known: covers"),
        ("covers?cont=3", "option 'cont' of builtin: data is not known; did you mean 'count'?"),
        ("covers?count=0", "must be a whole number 1 to 1000000, got '0'"),
        ("covers?count=1000001", "must be a whole number 1 to 1000000, got '1000001'"),
        ("covers?seed=-1", "must be a whole number 0 to 4294967295, got '-1'"),
        ("covers?seed=", "got ''"),
        ("covers?count", "not of the form ?key=value&key=value"),
    ],
)
def test_unusable_options_of_built_in_data_are_refused(where: str, answer: str) -> None:
    assert answer in refusal(f"builtin:{where}")
