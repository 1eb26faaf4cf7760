"""Parquet files: which column holds the pictures, how they are read, and what each bad file is answered with."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from places import colors, labels, png, refusal, write

from gan_transfer.data import parquet_rows
from gan_transfer.data.parquet import ParquetSource
from gan_transfer.data.parquet_rows import BATCH_ROWS, Column, look, row_groups
from gan_transfer.errors import DataError

STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})
IMAGENET = 1_281_167


def grey(value: int) -> bytes:
    return png(f"rgb({value}, {value}, {value})")


def structs(values: list[bytes | None]) -> pa.Array:
    return pa.array([None if value is None else {"bytes": value, "path": None} for value in values], STRUCT)


def write_parquet(path: Path, columns: dict[str, Any], rows: int = 100, **options: Any) -> Path:
    """A parquet file whose row groups hold `rows` rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows, **options)
    return path


def write_greys(path: Path, values: range, rows: int = 100, **options: Any) -> Path:
    return write_parquet(path, {"image": structs([grey(value) for value in values])}, rows, **options)


def greys(source: ParquetSource) -> list[int]:
    return [color[0] for color in colors(source)]


def test_files_of_a_folder_are_read_in_the_order_of_their_paths_and_rows(tmp_path: Path) -> None:
    write_greys(tmp_path / "b.parquet", range(4, 9), rows=2)
    write_greys(tmp_path / "a/train-1.PARQUET", range(4), rows=3)
    write_greys(tmp_path / ".cache/a.parquet", range(1))
    write(tmp_path, "README.md")
    source = ParquetSource(str(tmp_path))
    assert greys(source) == list(range(9))
    assert labels(source)[3:6] == ["train-1.PARQUET[3]", "b.parquet[0]", "b.parquet[1]"]
    assert source.spec == f"parquet:{tmp_path}"
    assert source.origin == f"parquet:{tmp_path.name}"


def test_a_single_file_and_patterns_are_read_too(tmp_path: Path) -> None:
    for number in range(3):
        write_greys(tmp_path / f"train-{number}.parquet", range(number, number + 1))
    assert greys(ParquetSource(f"{tmp_path}/train-1.parquet")) == [1]
    assert greys(ParquetSource(f"{tmp_path}/train-*.parquet")) == [0, 1, 2]
    assert greys(ParquetSource(f"{tmp_path}/train-{{1..2}}.parquet")) == [1, 2]
    assert ParquetSource(f"{tmp_path}/train-1.parquet").name == "train-1"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"label": [1, 2], "img": structs([grey(1), grey(2)])}, [1, 2]),
        ({"photo": pa.array([grey(3), grey(4)]), "Image": structs([grey(1), grey(2)])}, [1, 2]),
        ({"jpg": pa.array([grey(1), grey(2)], pa.large_binary()), "json": pa.array([b"{}", b"{}"])}, [1, 2]),
        ({"key": pa.array([b"0", b"1"]), "face": structs([grey(1), grey(2)])}, [1, 2]),
        ({"image": ["http://a", "http://b"], "content": pa.array([grey(1), grey(2)])}, [1, 2]),
        ({"a.b": pa.array([grey(1), grey(2)])}, [1, 2]),
    ],
)
def test_the_column_of_pictures_is_found_by_its_name_and_else_by_its_first_value(
    tmp_path: Path, columns: dict[str, Any], expected: list[int]
) -> None:
    assert greys(ParquetSource(str(write_parquet(tmp_path / "a.parquet", columns)))) == expected


def test_pixels_as_nested_lists_are_pictures(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    source = ParquetSource(str(write_parquet(tmp_path / "a.parquet", {"image": pa.array(images.tolist(), nested(3))})))
    assert [np.array_equal(np.asarray(source.load(index)), image) for index, image in enumerate(images)] == [True] * 3
    for shape, kind in (((4, 6), nested(2)), ((4, 6, 1), nested(3))):
        column = pa.array([images[0, :, :, 0].reshape(shape).tolist()], kind)
        flat = ParquetSource(str(write_parquet(tmp_path / "b.parquet", {"image": column})))
        assert np.array_equal(np.asarray(flat.load(0)), images[0, :, :, 0])


def nested(depth: int) -> pa.DataType:
    return pa.list_(nested(depth - 1)) if depth else pa.uint8()


def test_opening_reads_no_rows_and_a_million_are_counted_at_once(tmp_path: Path) -> None:
    picture = pa.DictionaryArray.from_arrays(pa.array(np.zeros(IMAGENET, np.int32)), pa.array([png()]))
    place = write_parquet(tmp_path / "a.parquet", {"image": picture.cast(pa.binary())}, IMAGENET, store_schema=False)
    assert place.stat().st_size < 100_000
    start = time.perf_counter()
    source = ParquetSource(str(place))
    assert len(source) == IMAGENET
    assert time.perf_counter() - start < 1
    assert source.load(1000).size == (8, 8)
    assert source.label(IMAGENET - 1) == f"a.parquet[{IMAGENET - 1}]"


def test_threads_share_what_is_read_and_get_the_right_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ParquetSource(str(write_greys(tmp_path / "a.parquet", range(250), rows=100)))
    read: list[int] = []
    advance = parquet_rows._Cursor.advance

    def counted(cursor: Any) -> Any:
        read.append(cursor.number)
        return advance(cursor)

    monkeypatch.setattr(parquet_rows._Cursor, "advance", counted)
    barrier = threading.Barrier(4)

    def load(thread: int) -> list[int]:
        barrier.wait()
        return [source.load(row).getpixel((0, 0))[0] for row in range(thread, 250, 4)]  # type: ignore[index]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(load, range(4)))
    assert found == [list(range(thread, 250, 4)) for thread in range(4)]
    assert len(read) == 4 + 4 + 2  # row groups of 100, 100 and 50 rows in batches of 32
    source.close()


def test_rows_are_right_in_any_order_however_little_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "KEPT_BYTES", 1)
    monkeypatch.setattr(parquet_rows, "MAX_CURSORS", 1)
    source = ParquetSource(str(write_greys(tmp_path / "a.parquet", range(250), rows=90)))
    rows = np.random.default_rng(0).permutation(250)[:60].tolist()
    assert [source.load(row).getpixel((0, 0))[0] for row in rows] == rows  # type: ignore[index]


def test_batches_are_whole_where_a_dictionary_gives_way_to_plain_values(tmp_path: Path) -> None:
    values = [bytes([index % 256]) * (1 + index % 7) for index in range(500)]
    place = write_parquet(
        tmp_path / "a.parquet", {"x": pa.array(values)}, 500, dictionary_pagesize_limit=200, data_page_size=100
    )
    (group,) = row_groups([look(place)])
    column = Column("x")
    assert [column.value(group, row).as_py() for row in range(500)] == values
    assert 500 % BATCH_ROWS > 0
    column.close()


def test_empty_row_groups_and_empty_files_hold_no_pictures(tmp_path: Path) -> None:
    empty = pa.schema({"image": STRUCT}).empty_table()
    pq.write_table(empty, tmp_path / "a.parquet")
    write_greys(tmp_path / "b.parquet", range(3))
    assert greys(ParquetSource(str(tmp_path))) == [0, 1, 2]
    assert "holds no rows" in refusal(f"parquet:{tmp_path}/a.parquet")


def test_rows_without_a_picture_are_broken_pictures(tmp_path: Path) -> None:
    rows = [None, {"bytes": None, "path": "a.png"}, {"bytes": b"", "path": None}, {"bytes": b"<html>"}]
    values = pa.array(rows, STRUCT)
    source = ParquetSource(str(write_parquet(tmp_path / "a.parquet", {"image": values})))
    for row, answer in enumerate(("value is null", "value is null", "the file is empty", "not a picture")):
        with pytest.raises(ValueError, match=answer):
            source.load(row)


def test_ragged_pixels_are_broken_pictures(tmp_path: Path) -> None:
    values = pa.array([[[1, 2], [3]], [], [[1, 2], [3, 4]]], nested(2))
    source = ParquetSource(str(write_parquet(tmp_path / "a.parquet", {"image": values})))
    for row in range(2):
        with pytest.raises(ValueError, match="lists of pixels are empty or not of one length"):
            source.load(row)
    assert source.load(2).size == (2, 2)


def test_files_without_a_column_of_pictures_are_refused_and_their_columns_listed(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"url": ["http://a"], "n": [1], "raw": pa.array([b"x"]), "e": [[0.5, 1.0]]})
    answer = refusal(f"parquet:{tmp_path}/a.parquet")
    assert f"parquet file '{tmp_path}/a.parquet' has no column of pictures; wanted one named image, img, " in answer
    assert answer.endswith("its columns: url (string), n (int64), raw (binary), e (list<element: double>)")


def test_files_with_other_columns_than_the_first_are_refused(tmp_path: Path) -> None:
    write_greys(tmp_path / "a.parquet", range(1))
    write_parquet(tmp_path / "b.parquet", {"img": structs([grey(1)])})
    answer = refusal(f"parquet:{tmp_path}")
    assert f"'{tmp_path}/b.parquet' has no pictures in a column 'image' as the files before it" in answer


def test_damaged_and_cut_files_are_refused_by_name(tmp_path: Path) -> None:
    whole = write_greys(tmp_path / "whole.parquet", range(40)).read_bytes()
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    for content in (b"", lfs, whole[:-40], whole[:200], whole[200:] + b"PAR1"):
        (tmp_path / "bad.parquet").write_bytes(content)
        assert f"parquet file '{tmp_path}/bad.parquet' is damaged or cut short" in refusal(f"parquet:{tmp_path}")


def test_damage_found_while_reading_names_the_file_and_is_no_broken_picture(tmp_path: Path) -> None:
    place = write_greys(tmp_path / "a.parquet", range(40))
    content = bytearray(place.read_bytes())
    content[4:300] = bytes(296)
    place.write_bytes(content)
    with pytest.raises(DataError, match=r"parquet file '.*a\.parquet' is damaged or cut short"):
        ParquetSource(str(place)).load(0)


def test_a_file_that_goes_away_is_told(tmp_path: Path) -> None:
    source = ParquetSource(str(write_greys(tmp_path / "a.parquet", range(2))))
    (tmp_path / "a.parquet").unlink()
    for act in (lambda: source.load(0), source.fingerprint):
        with pytest.raises(DataError, match=r"cannot be read: .*No such file"):
            act()


def test_places_without_parquet_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "pictures", "a.png")
    assert "holds no .parquet files but 1 file (.png 1)" in refusal(f"parquet:{tmp_path}/pictures")
    assert "does not exist" in refusal(f"parquet:{tmp_path}/none")
    assert "the data path is empty" in refusal("parquet:")
    assert "is damaged or cut short" in refusal(f"parquet:{tmp_path}/pictures/a.png")
    os.mkfifo(tmp_path / "pipe.parquet")
    assert "is not a file" in refusal(f"parquet:{tmp_path}/pipe.parquet")


def test_fingerprints_follow_the_content_and_not_the_place(tmp_path: Path) -> None:
    one = write_greys(tmp_path / "1/a.parquet", range(3))
    two = write_greys(tmp_path / "2/a.parquet", range(3))
    os.utime(two, ns=(0, one.stat().st_mtime_ns))
    first = ParquetSource(str(one)).fingerprint()
    assert (len(first), ParquetSource(str(two)).fingerprint()) == (64, first)
    write_greys(two, range(1, 4))
    assert ParquetSource(str(two)).fingerprint() != first


def test_of_a_large_row_group_only_the_rows_near_by_are_held(tmp_path: Path) -> None:
    values = [grey(1), *[os.urandom(12_000)] * 4000]
    place = write_parquet(tmp_path / "a.parquet", {"image": pa.array(values)}, 4001, use_dictionary=False)
    source = ParquetSource(str(place))
    before = pa.total_allocated_bytes()
    assert source.load(0).size == (8, 8)
    assert pa.total_allocated_bytes() - before < 20_000_000  # of 48
    source.close()
