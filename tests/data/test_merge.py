"""Merging: the parts give the very pack that one machine would have made, or the fault and the way on are told."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from drawn import SETTINGS, WHOLE_PACK, Drawn, Stop, content, damage, inside, stop_at

from gan_transfer.data import cache as cache_module
from gan_transfer.data.merge import merge
from gan_transfer.data.pack import PackSettings, Part, pack
from gan_transfer.errors import DataError

COUNT = 5 * 1024 + 7
BROKEN = (3, 1024, 2047, 2048, COUNT - 1)


def parts(folder: Path, of: int = 3, count: int = COUNT, broken: tuple[int, ...] = BROKEN) -> list[Path]:
    """All parts of a pack, in folders of their own."""
    source = Drawn(count, broken)
    return [pack(source, SETTINGS, folder / f"{i}of{of}", part=Part(i, of)).folder for i in range(1, of + 1)]


def refusal(folders: list[Path], output: Path) -> str:
    """The one line with which a merge is refused; nothing was written."""
    with pytest.raises(DataError) as caught:
        merge(folders, output)
    assert "\n" not in str(caught.value)
    assert not output.exists()
    return str(caught.value)


@pytest.mark.parametrize("of", [2, 3, 6])
@pytest.mark.parametrize("broken", [(), BROKEN])
def test_merged_parts_are_the_unsharded_pack_byte_for_byte(tmp_path: Path, of: int, broken: tuple[int, ...]) -> None:
    whole = pack(Drawn(COUNT, broken), SETTINGS, tmp_path / "whole")
    folders = parts(tmp_path, of, broken=broken)
    seen: list[tuple[int, int]] = []
    made = merge(folders[::-1], tmp_path / "merged", progress=lambda done, total: seen.append((done, total)))
    assert content(made) == content(whole)
    assert (made.count, made.quarantined, made.blocks) == (whole.count, whole.quarantined, whole.blocks)
    assert inside(made.folder) == sorted([*WHOLE_PACK, *(["quarantine.txt"] if broken else [])])
    assert seen[-1] == (COUNT, COUNT)


def test_a_block_without_a_good_picture_is_merged(tmp_path: Path) -> None:
    broken = tuple(range(11 * 1024, 12 * 1024))
    source, settings = Drawn(24 * 1024, broken), PackSettings(1, 1, "center")
    whole = pack(source, settings, tmp_path / "whole")
    folders = [pack(source, settings, tmp_path / f"{i}", part=Part(i, 2)).folder for i in (1, 2)]
    assert content(merge(folders, tmp_path / "merged")) == content(whole)


def test_a_part_may_hold_the_broken_pictures_of_all(tmp_path: Path) -> None:
    broken = tuple(range(1024))
    source, settings = Drawn(12 * 1024, broken), PackSettings(1, 1, "center")
    made = [pack(source, settings, tmp_path / f"{i}", part=Part(i, 12)) for i in range(1, 13)]
    assert (made[0].count, made[0].images.shape) == (0, (0, 1, 1, 1))
    assert content(merge([part.folder for part in made], tmp_path / "merged")) == content(
        pack(source, settings, tmp_path / "whole")
    )


def test_more_than_a_tenth_broken_in_all_parts_together_is_refused(tmp_path: Path) -> None:
    broken = (*range(150), *range(1024, 1174))
    with pytest.raises(DataError, match=r"drawn:: 214 of the first 1088 of 2048 pictures are broken"):
        pack(Drawn(2048, broken), SETTINGS, tmp_path / "whole")
    folders = parts(tmp_path, 2, 2048, broken)
    with pytest.raises(DataError, match=r"drawn:: 300 of 2048 pictures are broken, at most 10% may be"):
        merge(folders, tmp_path / "merged")
    with pytest.raises(DataError, match=r"drawn:, part 1/2: 214 of the first 256 of 2048 pictures are broken"):
        parts(tmp_path / "bad", 2, 2048, tuple(range(214)))


def test_a_merge_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    whole, folders = pack(Drawn(COUNT, BROKEN), SETTINGS, tmp_path / "whole"), parts(tmp_path)
    with pytest.raises(Stop):
        merge(folders, tmp_path / "merged", progress=stop_at(3000))
    assert "index.json" not in inside(tmp_path / "merged")
    assert content(merge(folders, tmp_path / "merged")) == content(whole)


def test_the_same_merge_again_finds_and_mends_it(tmp_path: Path) -> None:
    folders, said = parts(tmp_path), list[str]()
    made = merge(folders, tmp_path / "merged")
    before = content(made)
    damage(made, 3000)
    assert merge(folders, tmp_path / "merged", say=said.append) == made
    assert said == ["block 2 (pictures 2,048 to 3,071) of pack 'merged' has a wrong checksum; made anew from drawn:"]
    assert content(made) == before


def test_missing_parts_are_named(tmp_path: Path) -> None:
    folders = parts(tmp_path, 6)
    description = "drawn: at 16 x 16 x 3, crop center (fingerprint drawn 51)"
    assert refusal(folders[:4] + folders[5:], tmp_path / "merged") == (
        f"{description} lacks part 5/6; make it on any machine: gan-transfer data pack SOURCE --shard 5/6 --output DIR"
    )
    assert f"{description} lacks part 1/6, 3/6, 4/6 and 2 more; make" in refusal(folders[1:2], tmp_path / "merged")


def test_a_part_given_twice_is_named(tmp_path: Path) -> None:
    folders = parts(tmp_path, 2)
    shutil.copytree(folders[0], tmp_path / "copy")
    assert refusal([*folders, tmp_path / "copy"], tmp_path / "merged") == (
        f"part 1/2 was given twice: '{folders[0]}' and '{tmp_path}/copy'"
    )
    assert "part 1/2 was given twice" in refusal([folders[0], folders[0]], tmp_path / "merged")


def test_parts_of_other_packs_are_refused(tmp_path: Path) -> None:
    first, _, third = parts(tmp_path)
    others = {
        "pictures": pack(Drawn(COUNT), SETTINGS, tmp_path / "pictures", part=Part(2, 3)),
        "settings": pack(Drawn(COUNT, BROKEN), PackSettings(8, 3, "center"), tmp_path / "settings", part=Part(2, 3)),
        "split": pack(Drawn(COUNT, BROKEN), SETTINGS, tmp_path / "split", part=Part(2, 4)),
    }
    for name, other in others.items():
        answer = refusal([first, other.folder, third], tmp_path / "merged")
        assert answer.startswith(f"'{tmp_path}/{name}' is no part of the same pack: it holds drawn: at "), name


def test_what_is_no_part_is_refused(tmp_path: Path) -> None:
    folders = parts(tmp_path, 2)
    whole = pack(Drawn(COUNT, BROKEN), SETTINGS, tmp_path / "whole").folder
    assert refusal([whole], tmp_path / "merged").startswith(f"'{whole}' is a whole pack, not a part; use it as it is")
    assert "is a whole pack, not a part" in refusal([*folders, whole], tmp_path / "merged")
    assert "none' is no pack, it has no index.json" in refusal([*folders, tmp_path / "none"], tmp_path / "merged")
    assert "no parts to merge" in refusal([], tmp_path / "merged")
    with pytest.raises(Stop):
        pack(Drawn(COUNT), SETTINGS, tmp_path / "begun", part=Part(1, 2), progress=stop_at(1100))
    assert "begun' is unfinished; give the same data pack" in refusal([tmp_path / "begun"], tmp_path / "merged")


def _flip(folder: Path) -> None:
    with open(folder / "images.npy", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(bytes([255 - (folder / "images.npy").read_bytes()[-1]]))


def _cut(folder: Path) -> None:
    os.truncate(folder / "images.npy", 5000)


def _fewer(folder: Path) -> None:
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(index | {"quarantined": 2}))


def _shorter_list(folder: Path) -> None:
    (folder / "quarantine.txt").write_text("")


def _no_list(folder: Path) -> None:
    (folder / "quarantine.txt").unlink()


@pytest.mark.parametrize(
    ("harm", "answer"),
    [
        (_flip, "is damaged: block 1 has a wrong checksum; give its data pack command again"),
        (_cut, "does not have the 2,047 pictures of its index; give the data pack command"),
        (_fewer, "is damaged: index and quarantine.txt do not fit each other"),
        (_shorter_list, "is damaged: index and quarantine.txt do not fit each other"),
        (_no_list, "quarantine.txt' cannot be read: No such file or directory"),
    ],
)
def test_a_damaged_part_is_named_and_can_be_mended(tmp_path: Path, harm: Callable[[Path], None], answer: str) -> None:
    whole, folders = pack(Drawn(COUNT, BROKEN), SETTINGS, tmp_path / "whole"), parts(tmp_path)
    spare = shutil.copytree(folders[1], tmp_path / "spare")
    harm(folders[1])
    with pytest.raises(DataError) as caught:
        merge(folders, tmp_path / "merged")
    assert answer in str(caught.value)
    assert str(folders[1]) in str(caught.value)
    assert not (tmp_path / "merged" / "index.json").exists()
    folders[1] = Path(spare)
    assert content(merge(folders, tmp_path / "merged")) == content(whole)


def test_an_output_that_holds_anything_else_is_refused(tmp_path: Path) -> None:
    folders = parts(tmp_path, 2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(DataError, match=r"is not empty, it holds notes.txt; give another one: --output DIR"):
        merge(folders, tmp_path / "mine")
    with pytest.raises(DataError, match=r"1of2' holds another pack: .*, part 1/2 \("):
        merge(folders, folders[0])


def test_room_is_checked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = parts(tmp_path, 2)
    monkeypatch.setattr(cache_module, "SPARE_BYTES", 10**18)
    assert "the pack of drawn: needs 1000000000.00 GB, " in refusal(folders, tmp_path / "merged")
