"""The tar reader: single files, shards, ranges, tars in tars, compressed ones, and the answers to damage."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import threading
from pathlib import Path

import pytest
from places import colors, labels, png, refusal, write, write_tar

from gan_transfer.data import cache as cache_module
from gan_transfer.data import unpacked
from gan_transfer.data.sources import open_source
from gan_transfer.data.tar import TarSource

RED, BLUE, LIME = (255, 0, 0), (0, 0, 255), (0, 255, 0)


def shards(folder: Path, *numbers: int) -> Path:
    """WebDataset's shards `train-0000.tar` ..., each with two pictures and their labels."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        samples = {f"{number}{key}": color for key, color in (("b", "red"), ("a", "blue"))}
        entries = [(f"{key}.{end}", png(color) if end == "png" else b"7") for key, color in samples.items()
                   for end in ("cls", "json", "png")]  # fmt: skip
        write_tar(folder / f"train-{number:04}.tar", entries)
    return folder


def test_the_pictures_of_a_tar_are_read_in_its_order(tmp_path: Path) -> None:
    write_tar(tmp_path / "My Faces.tar", {"b.png": png(), "x/a.png": png("blue"), "a.txt": b"", ".c.png": png()})
    source = open_source(f"tar:{tmp_path}/My Faces.tar")
    assert labels(source) == ["My Faces.tar/b.png", "My Faces.tar/x/a.png"]
    assert colors(source) == [RED, BLUE]
    assert (source.spec, source.origin, source.name) == (
        f"tar:{tmp_path}/My Faces.tar",
        "tar:My Faces.tar",
        "my-faces",
    )
    source.fetch()
    source.close()


@pytest.mark.parametrize(
    "where", ["", "/*.tar", "/train-{0000..0002}.tar", "/train-000{0,1,2}.tar", "/{train,train}-{0000..0002}.tar"]
)
def test_shards_are_given_as_a_folder_a_glob_or_a_range(tmp_path: Path, where: str) -> None:
    shards(tmp_path / "wds", 2, 0, 1)
    source = open_source(f"wds:{tmp_path}/wds{where}")
    names = [f"train-000{number}.tar/{number}{key}.png" for number in range(3) for key in "ba"]
    assert labels(source) == names
    assert colors(source) == [RED, BLUE] * 3
    assert open_source(source.spec).fingerprint() == source.fingerprint()


def test_a_range_that_runs_backwards_gives_the_shards_backwards(tmp_path: Path) -> None:
    shards(tmp_path, 0, 1)
    assert labels(open_source(f"{tmp_path}/train-{{0001..0000}}.tar"))[0] == "train-0001.tar/1b.png"


def test_the_origin_of_a_range_is_the_range(tmp_path: Path) -> None:
    shards(tmp_path, 0, 1)
    source = TarSource(f"{tmp_path}/train-{{0000..0001}}.tar")
    assert (source.origin, source.name) == ("tar:train-{0000..0001}.tar", "train-0000-0001")


def test_a_list_of_many_shards_in_several_folders_is_read(tmp_path: Path) -> None:
    names = [f"{folder}/train-{number:04}.tar" for folder in "ba" for number in range(20)]
    for name in names:
        shards((tmp_path / name).parent, int(name[-8:-4]))
    source = TarSource(f"{tmp_path}/{{{','.join(names)}}}")
    assert len(",".join(names)) > 255
    assert labels(source)[2::4] == [f"{name[2:]}/{int(name[-8:-4])}b.png" for name in names][1::2]


def test_missing_shards_of_a_range_are_counted_and_named(tmp_path: Path) -> None:
    shards(tmp_path, 0, 3)
    answer = refusal(f"wds:{tmp_path}/train-{{0000..0009}}.tar")
    assert f"8 of 10 shards of 'wds:{tmp_path}/train-{{0000..0009}}.tar' are missing" in answer.replace(
        "tar:/", "wds:/"
    )
    assert "are missing: train-0001.tar, train-0002.tar, train-0004.tar, ...; bring them there" in answer
    assert f"no file matches 'tar:{tmp_path}/val-*.tar'" in refusal(f"tar:{tmp_path}/val-*.tar")


def test_a_range_without_end_is_refused(tmp_path: Path) -> None:
    assert "stands for more than 100000 files" in refusal(f"tar:{tmp_path}/{{0..999999999999}}.tar")


def test_a_file_whose_name_has_braces_is_that_file(tmp_path: Path) -> None:
    write_tar(tmp_path / "a{1,2}[x].tar", {"a.png": png()})
    assert len(open_source(f"{tmp_path}/a{{1,2}}[x].tar")) == 1


def test_files_that_are_known_may_have_any_name(tmp_path: Path) -> None:
    folder = shards(tmp_path / "in", 0, 1)
    known = [
        path.rename(path.with_name(f"{{a,b}} {number}.tar")) for number, path in enumerate(sorted(folder.iterdir()))
    ]
    assert len(TarSource(str(folder), known)) == len(TarSource(str(folder)))
    assert len(TarSource(str(folder), known[:1])) < len(TarSource(str(folder)))


def test_a_tar_of_tars_is_read_in_place(tmp_path: Path) -> None:
    inner = {name: write_tar(tmp_path / name, {f"{name[0]}_1.JPEG": png(color)}).read_bytes()
             for name, color in (("n1.tar", "red"), ("m2.tar", "lime"))}  # fmt: skip
    place = write_tar(
        tmp_path / "ILSVRC2012_img_train.tar", {**inner, "__MACOSX/._n1.tar": b"litter", "z.png": png("blue")}
    )
    source = open_source(str(place))
    prefix = "ILSVRC2012_img_train.tar"
    assert labels(source) == [f"{prefix}/n1.tar/n_1.JPEG", f"{prefix}/m2.tar/m_1.JPEG", f"{prefix}/z.png"]
    assert colors(source) == [RED, LIME, BLUE]


def test_of_a_name_that_comes_twice_the_last_counts(tmp_path: Path) -> None:
    place = write_tar(tmp_path / "a.tar", [("a.png", png("red")), ("b.png", png()), ("a.png", png("blue"))])
    source = TarSource(str(place))
    assert labels(source) == ["a.tar/b.png", "a.tar/a.png"]
    assert colors(source)[1] == BLUE


def test_names_that_begin_in_the_current_folder_are_told_without_it(tmp_path: Path) -> None:
    source = TarSource(str(write_tar(tmp_path / "a.tar", [("./x/a.png", png()), ("x/a.png", png("blue"))])))
    assert (labels(source), colors(source)) == (["a.tar/x/a.png"], [BLUE])


def test_links_devices_and_sparse_files_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("link.png", tarfile.SYMTYPE), ("hard.png", tarfile.LNKTYPE), ("dev.png", tarfile.CHRTYPE)):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            archive.addfile(header)
        header = tarfile.TarInfo("sparse.png")
        header.pax_headers = {"GNU.sparse.size": "1000000", "GNU.sparse.map": "0,512", "GNU.sparse.name": "sparse.png"}
        header.size = 512
        archive.addfile(header, io.BytesIO(bytes(512)))
        header = tarfile.TarInfo("a.png")
        header.size = len(png())
        archive.addfile(header, io.BytesIO(png()))
    assert labels(TarSource(str(tmp_path / "a.tar"))) == ["a.tar/a.png"]


def test_names_longer_than_the_header_has_room_for_are_read(tmp_path: Path) -> None:
    name = f"{'x' * 300}/é.png"
    place = write_tar(tmp_path / "gnu.tar", {name: png()})
    with tarfile.open(tmp_path / "pax.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        header = tarfile.TarInfo(name)
        header.size = len(png())
        archive.addfile(header, io.BytesIO(png()))
    assert labels(TarSource(str(place))) == [f"gnu.tar/{name}"]
    assert labels(TarSource(str(tmp_path / "pax.tar"))) == [f"pax.tar/{name}"]


def test_every_cut_of_a_tar_is_refused_with_the_pictures_before_it(tmp_path: Path) -> None:
    content = write_tar(tmp_path / "a.tar", {"a.png": png(), "b.png": png()}).read_bytes()
    assert len(png()) < 512
    for length, before in (
        (0, 0),
        (300, 0),
        (512, 0),
        (540, 0),
        (600, 1),
        (1024, 1),
        (1300, 1),
        (1600, 1),
        (2048, 2),
        (2100, 2),
    ):
        (tmp_path / "cut.tar").write_bytes(content[:length])
        answer = refusal(f"{tmp_path}/cut.tar")
        assert answer.startswith(f"'{tmp_path}/cut.tar' is not a whole tar file: ")
        assert f"after {before} pictures; copy or download it again and check it with tar -tf" in answer, length


def test_a_cut_in_an_inner_tar_is_found(tmp_path: Path) -> None:
    inner = write_tar(tmp_path / "inner.tar", {"a.png": png(), "b.png": png()}).read_bytes()
    place = write_tar(tmp_path / "outer.tar", {"inner.tar": inner[:1536], "z.png": png()})
    assert "is not a whole tar file: entry 'inner.tar/b.png' is cut short after 1 pictures" in refusal(str(place))


@pytest.mark.parametrize("at", [0, 1024])
@pytest.mark.parametrize("damage", [b"\xff" * 300, b"<html>", bytes(100) + b"x"])
def test_damaged_headers_are_refused(tmp_path: Path, at: int, damage: bytes) -> None:
    content = bytearray(write_tar(tmp_path / "a.tar", {"a.png": png(), "b.png": png()}).read_bytes())
    content[at : at + len(damage)] = damage
    (tmp_path / "a.tar").write_bytes(content)
    assert "is not a whole tar file" in refusal(f"{tmp_path}/a.tar")


def test_an_entry_of_negative_size_is_refused(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("a.png").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = tarfile.itn(-1024, 12, tarfile.GNU_FORMAT)
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(write_tar(tmp_path / "b.tar", {"b.png": png()}).read_bytes()[:1024] + header)
    assert "is not a whole tar file" in refusal(f"{tmp_path}/a.tar")


def test_tars_without_pictures_tell_what_is_there(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"a.cls": b"1", "b.cls": b"2", "c.json": b"{}"})
    assert "holds no pictures but 3 files (.cls 2, .json 1); give tar files" in refusal(f"{tmp_path}/a.tar")
    write_tar(tmp_path / "empty.tar", {})
    assert "holds no pictures but no files at all" in refusal(f"{tmp_path}/empty.tar")
    write(tmp_path / "notes", "a.txt")
    assert "holds no .tar files but 1 file (.txt 1)" in refusal(f"tar:{tmp_path}/notes")


def test_what_is_no_tar_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")
    assert "is not a file" in refusal(f"{tmp_path}/pipe.tar")
    assert "does not exist" in refusal(f"tar:{tmp_path}/none.tar")
    (tmp_path / "a.tar").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "is not a whole tar file" in refusal(f"{tmp_path}/a.tar")


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    place = write_tar(tmp_path / "a.tar", {"a.png": png()})
    first = TarSource(str(place)).fingerprint()
    assert TarSource(str(place)).fingerprint() == first
    write_tar(place, {"b.png": png()})
    second = TarSource(str(place)).fingerprint()
    os.utime(place, ns=(0, 0))
    assert len({first, second, TarSource(str(place)).fingerprint()}) == 3


def test_pictures_are_loaded_from_many_threads_at_once(tmp_path: Path) -> None:
    source = TarSource(str(shards(tmp_path / "wds", *range(8))))
    found: dict[int, tuple[int, ...]] = {}
    rows = [range(start, len(source), 4) for start in range(4)]
    threads = [
        threading.Thread(
            target=lambda part: found.update({i: source.load(i).getpixel((0, 0)) for i in part}), args=(part,)
        )
        for part in rows
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(len(source))] == [RED, BLUE] * 8


@pytest.mark.parametrize(
    ("suffix", "pack"), [("tar.gz", gzip.compress), ("tar.bz2", bz2.compress), ("txz", lzma.compress)]
)
def test_compressed_tars_are_unpacked_into_the_cache_once(
    tmp_path: Path, cache: Path, suffix: str, pack: object
) -> None:
    content = write_tar(tmp_path / "a.tar", {"a.png": png(), "b.png": png("blue")}).read_bytes()
    place = tmp_path / f"My Set.{suffix}"
    place.write_bytes(pack(content))  # type: ignore[operator]
    sources = [open_source(str(place)) for _ in range(2)]
    assert [colors(source) for source in sources] == [[RED, BLUE]] * 2
    assert (sources[0].name, sources[0].origin) == ("my-set", f"tar:My Set.{suffix}")
    assert [path.name for path in (cache / "unpacked").glob("*/*")] == ["plain.tar"]
    os.utime(place, ns=(0, 0))
    open_source(str(place))
    assert len(list((cache / "unpacked").iterdir())) == 2


def test_a_damaged_compressed_tar_leaves_nothing_behind(tmp_path: Path, cache: Path) -> None:
    content = gzip.compress(write_tar(tmp_path / "a.tar", {"a.png": png()}).read_bytes())
    for damaged in (content[:-9], content[:20] + b"xxxxxxxx" + content[28:]):
        (tmp_path / "a.tar.gz").write_bytes(damaged)
        assert f"compressed file '{tmp_path}/a.tar.gz' is damaged: " in refusal(f"{tmp_path}/a.tar.gz")
    assert list((cache / "unpacked").iterdir()) == []


def test_a_compressed_bomb_is_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "a.tar.bz2").write_bytes(bz2.compress(bytes(60_000_000)))
    assert "is refused, a decompression bomb: its" in refusal(f"{tmp_path}/a.tar.bz2")
    assert list((cache / "unpacked").iterdir()) == []


def test_a_disk_too_small_for_unpacking_is_told(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "SPARE_BYTES", 10**18)
    write_tar(tmp_path / "a.tgz", {"a.png": png()}, "w:gz")
    assert "unpacking 'a.tgz' needs 1000000000.00 GB" in refusal(f"{tmp_path}/a.tgz")
    assert list((cache / "unpacked").iterdir()) == []


def test_zstd_is_answered_with_the_command_that_unpacks_it(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(unpacked._ZSTD + bytes(100))
    assert "is compressed with zstd; unpack it with zstd -d" in refusal(f"{tmp_path}/a.tar")
