"""CelebA: the official zip, the folders that people have, and the partition file in each place where it may lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import colors, labels, png, refusal, write, write_zip

from gan_transfer.data.sources import open_source

LIST = "000001.jpg 0\n000002.jpg 0\n000003.jpg 1\n000004.jpg 2\n"
KAGGLE = "image_id,partition\n000001.jpg,0\n000002.jpg,0\n000003.jpg,1\n000004.jpg,2\n"
COLORS = ("red", "blue", "lime", "white")
FACES = {f"img_align_celeba/{number:06}.jpg": png(color) for number, color in enumerate(COLORS, 1)}


def official(folder: Path, partition: str | None = LIST) -> Path:
    """The official zip, with the partition file beside it."""
    if partition is not None:
        (folder / "list_eval_partition.txt").write_text(partition)
    return write_zip(folder / "img_align_celeba.zip", FACES)


def unpacked(folder: Path) -> Path:
    for name, content in FACES.items():
        write(folder, name, content=content)
    return folder


def test_the_official_zip_gives_its_training_part(tmp_path: Path) -> None:
    source = open_source(str(official(tmp_path)))
    assert labels(source) == ["img_align_celeba/000001.jpg", "img_align_celeba/000002.jpg"]
    assert colors(source) == [(255, 0, 0), (0, 0, 255)]
    assert source.spec == f"celeba:{tmp_path}/img_align_celeba.zip?split=train"
    assert (source.name, source.origin) == ("celeba-train", "celeba:img_align_celeba.zip?split=train")
    assert open_source(source.spec).fingerprint() == source.fingerprint()
    source.fetch()
    source.close()


@pytest.mark.parametrize(
    ("split", "numbers"), [("train", [1, 2]), ("valid", [3]), ("test", [4]), ("all", [1, 2, 3, 4])]
)
def test_a_split_can_be_named(tmp_path: Path, split: str, numbers: list[int]) -> None:
    source = open_source(f"celeba:{official(tmp_path)}?split={split}")
    assert labels(source) == [f"img_align_celeba/{number:06}.jpg" for number in numbers]


def test_splits_differ_in_their_fingerprints(tmp_path: Path) -> None:
    place = official(tmp_path)
    splits = ("train", "valid", "test", "all")
    assert len({open_source(f"celeba:{place}?split={split}").fingerprint() for split in splits}) == 4


def test_without_a_partition_file_all_faces_are_taken(tmp_path: Path) -> None:
    source = open_source(str(official(tmp_path, None)))
    assert (len(source), source.origin) == (4, "celeba:img_align_celeba.zip?split=all")


def test_folders_are_read_as_people_have_them(tmp_path: Path) -> None:
    unpacked(tmp_path / "celeba")
    (tmp_path / "celeba" / "list_eval_partition.csv").write_text(KAGGLE)
    for place in ("celeba", "celeba/img_align_celeba"):
        assert len(open_source(f"celeba:{tmp_path}/{place}")) == 2
    (tmp_path / "zipped").mkdir()
    official(tmp_path / "zipped")
    assert len(open_source(f"celeba:{tmp_path}/zipped")) == 2
    assert len(open_source(f"celeba:{tmp_path}/celeba?split=all")) == 4


def test_a_partition_file_in_the_zip_is_found(tmp_path: Path) -> None:
    write_zip(tmp_path / "archive.zip", {"list_eval_partition.csv": KAGGLE.encode(), **FACES})
    assert len(open_source(f"celeba:{tmp_path}/archive.zip")) == 2


def test_pictures_saved_as_png_are_found_in_the_partition(tmp_path: Path) -> None:
    (tmp_path / "list_eval_partition.txt").write_text(LIST)
    write(tmp_path, "img_align_celeba/000002.png", "img_align_celeba/000004.png")
    assert labels(open_source(f"celeba:{tmp_path}")) == ["000002.png"]


@pytest.mark.parametrize(
    ("split", "answer"),
    [
        (
            "?split=train",
            "has no list_eval_partition.txt, so its split 'train' is not known; put the file from CelebA's",
        ),
        ("?split=trian", "CelebA's split 'trian' is not known; did you mean 'train'?"),
        ("?part=train", "option 'part' of celeba: data is not known"),
        ("?split", "are not of the form ?key=value&key=value"),
    ],
)
def test_unusable_splits_are_refused(tmp_path: Path, split: str, answer: str) -> None:
    assert answer in refusal(f"celeba:{official(tmp_path, None)}{split}")


def test_a_partition_file_that_is_another_or_of_others_is_refused(tmp_path: Path) -> None:
    place = official(tmp_path, "<html>quota exceeded</html>")
    assert "is no partition list: wanted lines such as '000001.jpg 0'" in refusal(str(place))
    place = official(tmp_path, "900001.jpg 0\n")
    assert "none of the 4 pictures of zip:img_align_celeba.zip is in the split 'train'" in refusal(str(place))


def test_places_without_faces_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(f"celeba:{tmp_path}/none.zip")
    assert "holds no pictures but no files at all" in refusal(f"celeba:{tmp_path}")
    (tmp_path / "img_align_celeba.zip").write_bytes(b"<html>quota exceeded</html>")
    assert "is not a whole zip file" in refusal(f"{tmp_path}/img_align_celeba.zip")
