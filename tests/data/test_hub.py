"""Data sets on the Hub, read by the unmodified client from a real HTTP server: what is chosen, fetched and refused."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import HubServer, Repo
from huggingface_hub import constants, snapshot_download
from places import colors, labels, png, refusal, write_tar

from gan_transfer import hub_errors
from gan_transfer.data import hub as hub_module
from gan_transfer.data.hub import HubSource
from gan_transfer.data.hub_files import choose, is_complete, promised
from gan_transfer.data.pack import PackSettings, cached_pack, find_pack
from gan_transfer.errors import DataError

GIVEN = os.environ.get("GAN_TRANSFER_DATA")
DATA = Path(GIVEN) if GIVEN else Path(__file__).resolve().parents[2].parent / "shared" / "data"
CARD = """---
dataset_info:
  splits:
  - name: train
    num_examples: 4
  - name: test
    num_examples: 2
---
# Greys
"""
WAYS = (
    "give the same command again; or take a copy of your own with --data folder:PATH, zip:FILE, tar:SHARDS or "
    "parquet:PATH, or the built-in pictures with --data builtin:covers"
)


def grey(value: int) -> bytes:
    return png(f"rgb({value}, {value}, {value})")


def parquet(*values: int, column: str = "image") -> bytes:
    """A parquet file of grey pictures."""
    buffer = io.BytesIO()
    rows = [{"bytes": grey(value), "path": None} for value in values]
    pq.write_table(pa.table({column: pa.array(rows), "label": [0] * len(rows)}), buffer)
    return buffer.getvalue()


def zipped(*values: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for value in values:
            archive.writestr(f"{value:03d}.png", grey(value))
    return buffer.getvalue()


def add(hub: HubServer, files: dict[str, bytes], repo: str = "some/greys") -> Repo:
    return hub.add_repo(repo, files, kind="datasets")


def add_greys(hub: HubServer, card: str = CARD) -> Repo:
    """Two shards with the pictures 0 to 3 to train on, one with 8 and 9 to test on."""
    return add(
        hub,
        {
            "README.md": card.encode(),
            "data/train-00000-of-00002.parquet": parquet(0, 1),
            "data/train-00001-of-00002.parquet": parquet(2, 3),
            "data/test-00000-of-00001.parquet": parquet(8, 9),
        },
    )


def greys(where: str) -> list[int]:
    source = HubSource(where)
    source.fetch()
    return [color[0] for color in colors(source)]


def got(hub: HubServer, ending: str = ".parquet") -> list[str]:
    """Names of the files that were sent, in the order of the requests."""
    return re.findall(rf"GET \S+/([^/ ]+{re.escape(ending)}) -> 200", "\n".join(hub.requests))


def test_a_split_is_read_from_its_shards_in_order(hub: HubServer) -> None:
    add_greys(hub)
    source = HubSource("some/greys")
    source.fetch()
    assert [color[0] for color in colors(source)] == [0, 1, 2, 3]
    assert labels(source)[1:3] == ["train-00000-of-00002.parquet[1]", "train-00001-of-00002.parquet[0]"]
    assert sorted(got(hub)) == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    source.close()


def test_splits_and_all_can_be_asked_for(hub: HubServer) -> None:
    add_greys(hub)
    assert greys("some/greys:test") == [8, 9]
    assert sorted(greys("some/greys:all")) == [0, 1, 2, 3, 8, 9]
    assert greys("some/greys@main:train") == [0, 1, 2, 3]


def test_the_card_tells_the_count_and_no_picture_is_fetched_for_it(hub: HubServer) -> None:
    add_greys(hub)
    assert (len(HubSource("some/greys")), len(HubSource("some/greys:test"))) == (4, 2)
    assert len(HubSource("some/greys:all")) == 6
    assert got(hub) == []


@pytest.mark.parametrize(
    "card", ["# no metadata", "---\n- [\n---\n", "---\ndataset_info: 3\n---\n", "---\na: b\n---\n"]
)
def test_without_a_count_on_the_card_the_pictures_are_fetched_to_be_counted(hub: HubServer, card: str) -> None:
    add_greys(hub, card)
    source = HubSource("some/greys")
    assert got(hub) == []
    assert len(source) == 4
    assert len(got(hub)) == 2


def test_after_the_fetch_the_true_count_replaces_the_cards(hub: HubServer) -> None:
    add_greys(hub, CARD.replace("4", "5"))
    source = HubSource("some/greys")
    assert len(source) == 5
    source.fetch()
    assert len(source) == 4


def test_the_commit_is_pinned_in_spec_and_origin_and_opens_the_same_pictures_again(hub: HubServer) -> None:
    repo = add_greys(hub)
    repo.tags["v1"] = first = repo.branches["main"]
    source = HubSource("some/greys@v1")
    assert source.spec == source.origin == f"hf:some/greys@{first}:train"
    assert source.name == "greys"
    add(hub, {"train.parquet": parquet(7)})
    hub.repos["datasets", "some/greys"].commits[first] = repo.commits[first]
    assert greys(source.spec.removeprefix("hf:")) == [0, 1, 2, 3]
    assert HubSource("some/greys").fingerprint() != source.fingerprint()


def test_a_pack_is_made_from_the_hub_and_found_again_without_it(hub: HubServer) -> None:
    add_greys(hub)
    source, settings = HubSource("some/greys"), PackSettings(8, 1, "center")
    assert find_pack(source, settings) is None
    assert got(hub) == []
    made = cached_pack(source, settings)
    assert (made.images[:, 0, 0, 0].tolist(), made.source) == ([0, 1, 2, 3], source.origin)
    source.close()
    shutil.rmtree(constants.HF_HUB_CACHE)
    found = find_pack(HubSource("some/greys"), settings)
    hub.close()
    assert found == find_pack(HubSource("some/greys"), settings)
    assert found is not None
    assert found.folder == made.folder
    assert len(got(hub)) == 2


def test_fingerprints_are_known_before_the_fetch_and_stay(hub: HubServer) -> None:
    add_greys(hub)
    source = HubSource("some/greys")
    before = source.fingerprint()
    source.fetch()
    assert len(before) == 64
    assert source.fingerprint() == before == HubSource("some/greys@main").fingerprint()
    assert HubSource("some/greys:test").fingerprint() != before


def test_a_column_named_img_is_found(hub: HubServer) -> None:
    add(hub, {"plain_text/train-00000-of-00001.parquet": parquet(5, 6, column="img")})
    assert greys("some/greys") == [5, 6]


def test_tar_shards_are_read(hub: HubServer, tmp_path: Path) -> None:
    shards = {
        f"{split}-{number:04d}.tar": write_tar(
            tmp_path / "x.tar", {f"{value}.png": grey(value), f"{value}.cls": b"0"}
        ).read_bytes()
        for split, number, value in (("train", 0, 4), ("train", 1, 5), ("validation", 0, 6))
    }
    add(hub, {f"greys-{name}": content for name, content in shards.items()})
    assert greys("some/greys") == [4, 5]
    assert greys("some/greys:val") == [6]
    assert sorted(got(hub, ".tar")) == ["greys-train-0000.tar", "greys-train-0001.tar", "greys-validation-0000.tar"]


def test_a_zip_file_and_loose_pictures_are_read(hub: HubServer) -> None:
    add(hub, {"covers.zip": zipped(1, 2), "preview.png": grey(9)}, "some/zipped")
    assert greys("some/zipped") == [1, 2]
    loose = {f"train/{value}/[a].png": grey(value) for value in (1, 2)}
    add(hub, {**loose, "train/3.png": grey(3), "test/4.png": grey(4), "README.md": b""}, "some/loose")
    assert greys("some/loose") == [1, 2, 3]
    assert sorted(got(hub, ".png")) == ["%5Ba%5D.png", "%5Ba%5D.png", "3.png"]
    add(hub, {"a.png": grey(1), "b.jpg": grey(2)}, "some/flat")
    assert greys("some/flat") == [1, 2]


def test_a_fetched_set_is_not_fetched_again_whatever_the_revision_is_called(hub: HubServer) -> None:
    repo = add_greys(hub)
    HubSource("some/greys").fetch()
    repo.tags["v1"] = repo.branches["main"]
    before = len(got(hub))
    assert greys("some/greys@v1") == [0, 1, 2, 3]
    assert len(got(hub)) == before


def test_a_download_that_breaks_off_is_taken_up_without_what_came_whole(hub: HubServer) -> None:
    add_greys(hub)
    hub.fail_next("GET .*train-00001", 503)
    source = HubSource("some/greys")
    with pytest.raises(DataError) as caught:
        source.fetch()
    assert str(caught.value) == (
        f"the download of hf:some/greys from {hub.url} broke off: 503 Service Unavailable; the files that came whole "
        f"are kept: connect, or set HF_ENDPOINT to a mirror, and give the same command again for the rest; "
        f"{WAYS.partition('; ')[2]}"
    )
    assert got(hub) == ["train-00000-of-00002.parquet"]
    source.fetch()
    assert got(hub) == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert [color[0] for color in colors(source)] == [0, 1, 2, 3]


def test_a_connection_that_is_cut_is_taken_up_in_the_same_download(hub: HubServer) -> None:
    add_greys(hub)
    hub.cut_next("GET .*train-00001")
    assert greys("some/greys") == [0, 1, 2, 3]


FETCH = """
import sys
from gan_transfer.data.sources import open_source
source = open_source(sys.argv[1])
source.fetch()
print([source.load(index).getpixel((0, 0))[0] for index in range(len(source))])
"""


def test_a_killed_download_is_finished_by_the_next_process(hub: HubServer, tmp_path: Path) -> None:
    add_greys(hub)
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", FETCH, "hf:some/greys"]
    hub.hold_next("GET .*train-00001")
    with subprocess.Popen(command, env=os.environ | settings | quiet, stdout=subprocess.DEVNULL) as process:
        assert hub.holding.wait(60)
        first = "hub/datasets--some--greys/snapshots/*/data/train-00000-of-00002.parquet"
        deadline = time.monotonic() + 60
        while not list((tmp_path / "home").glob(first)) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    hub.released.set()
    done = subprocess.run(command, env=os.environ | settings | quiet, capture_output=True, text=True, check=True)
    assert done.stdout == "[0, 1, 2, 3]\n"
    names = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert sorted(got(hub)) == names


@pytest.mark.parametrize("offline", [True, False])
def test_without_the_hub_a_fetched_set_is_read_from_its_cache(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    add_greys(hub)
    HubSource("some/greys").fetch()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    if not offline:
        hub.close()
    assert greys("some/greys") == [0, 1, 2, 3]


def test_without_the_hub_what_another_program_downloaded_is_read(hub: HubServer) -> None:
    add_greys(hub)
    snapshot_download("some/greys", repo_type="dataset")
    hub.close()
    source = HubSource("some/greys")
    assert len(source) == 4
    assert greys("some/greys") == [0, 1, 2, 3]


def test_without_the_hub_shards_that_are_missing_are_not_passed_over(hub: HubServer) -> None:
    add_greys(hub)
    snapshot_download("some/greys", repo_type="dataset", allow_patterns=["*-00000-*"])
    hub.close()
    assert greys("some/greys:test") == [8, 9]
    assert "cannot be reached" in refusal("hf:some/greys")


def test_without_the_hub_and_without_its_cache_the_set_is_still_known(hub: HubServer) -> None:
    add_greys(hub)
    online = HubSource("some/greys")
    hub.close()
    for where in ("some/greys", online.spec.removeprefix("hf:")):
        source = HubSource(where)
        assert (len(source), source.fingerprint(), source.spec) == (4, online.fingerprint(), online.spec)
        with pytest.raises(DataError, match=r"the download of hf:some/greys from .* broke off"):
            source.fetch()


def test_a_commit_that_was_found_before_is_not_asked_for_again(hub: HubServer) -> None:
    add_greys(hub)
    spec = HubSource("some/greys").spec
    before = len(hub.requests)
    assert len(HubSource(spec.removeprefix("hf:"))) == 4
    assert len(hub.requests) == before


def test_a_damaged_memory_is_forgotten(hub: HubServer, cache: Path) -> None:
    add_greys(hub)
    HubSource("some/greys")
    for path in (cache / "hub").iterdir():
        path.write_text('{"commit": 3}')
    assert greys("some/greys") == [0, 1, 2, 3]
    hub.close()


def test_an_unreachable_hub_is_answered_at_once_with_three_ways_on(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fail_next("GET /api/datasets", 503)
    text = f"hf:some/greys cannot be reached at {hub.url}: {{}}; connect, or set HF_ENDPOINT to a mirror, and {WAYS}"
    assert refusal("hf:some/greys") == text.format("503 Service Unavailable")
    hub.close()
    start = time.monotonic()
    assert re.fullmatch(re.escape(text).replace(r"\{\}", ".*Connection refused"), refusal("hf:some/greys"))
    assert time.monotonic() - start < 5
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert re.fullmatch(re.escape(text).replace(r"\{\}", ".*HF_HUB_OFFLINE.*"), refusal("hf:some/greys"))


def test_a_hub_that_never_answers_counts_as_unreachable(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "cannot be reached" in refusal("hf:some/greys")
        assert "timed out" in refusal("hf:some/greys")


def test_a_gated_set_says_where_access_is_asked_for(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = add_greys(hub)
    repo.gated, repo.granted = True, False
    page = f"{hub.url}/datasets/some/greys"
    with pytest.raises(DataError) as caught:
        HubSource("some/greys").fetch()
    without = f"hf:some/greys is gated: ask for access at {page}, log in with `hf auth login` or set HF_TOKEN, and "
    assert str(caught.value) == without + WAYS
    monkeypatch.setenv("HF_TOKEN", hub.token)
    with pytest.raises(DataError) as caught:
        HubSource("some/greys").fetch()
    assert f"the account of your token has no access yet: ask for it at {page} and give" in str(caught.value)
    repo.granted = True
    assert greys("some/greys") == [0, 1, 2, 3]


def test_a_missing_and_a_private_set_look_alike(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    add_greys(hub).private = True
    page = f"{hub.url}/datasets/some"
    for name in ("greys", "none"):
        assert refusal(f"hf:some/{name}") == (
            f"hf:some/{name} is not at {hub.url}, or is private; check the name at {page}/{name}; "
            "if it is private, log in with `hf auth login` or set HF_TOKEN"
        )
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert greys("some/greys") == [0, 1, 2, 3]
    assert "if it is private, your token may not read it" in refusal("hf:some/none")


def test_a_refused_token_is_told_from_a_missing_set(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    add_greys(hub)
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    assert refusal("hf:some/greys") == (
        f"hf:some/greys is refused at {hub.url}: 401 Unauthorized; the token is wrong, has run out or may not read "
        "it: log in anew with `hf auth login`, or set HF_TOKEN to another or unset it"
    )


def test_a_missing_revision_is_told_and_an_old_memory_does_not_hide_it(hub: HubServer) -> None:
    repo = add_greys(hub)
    repo.tags["v1"] = repo.branches["main"]
    HubSource("some/greys@v1")
    del repo.tags["v1"]
    assert refusal("hf:some/greys@v1") == (
        "hf:some/greys has no revision 'v1'; its branches, tags and commits are listed at "
        f"{hub.url}/datasets/some/greys/tree/main"
    )


@pytest.mark.parametrize(
    "where", ["", "greys", "a/b/c", "a--b/c", "//datasets/a/b", "https://hub/datasets/a/b", "a/b@"]
)
def test_what_names_no_data_set_is_refused_before_anything_is_asked(hub: HubServer, where: str) -> None:
    assert "does not name a data set on the Hub; wanted hf:ORG/NAME[@REVISION][:SPLIT]" in refusal(f"hf:{where}")
    assert hub.requests == []


def test_a_disk_that_is_too_small_is_seen_before_the_download(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_greys(hub)
    monkeypatch.setattr(hub_errors, "SPARE_BYTES", 10**18)
    with pytest.raises(DataError) as caught:
        HubSource("some/greys").fetch()
    assert re.fullmatch(
        rf"hf:some/greys needs 1000000000\.00 GB, [\d.]+ GB free at the Hub's cache '{tmp_path}/hub'; "
        "set HF_HOME to a folder on another disk",
        str(caught.value),
    )
    assert got(hub) == []


def test_a_cache_of_the_hub_that_cannot_be_written_is_told(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_greys(hub)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(DataError, match=r"the Hub's cache '.*' cannot be written: .*; set HF_HOME to a folder"):
        HubSource("some/greys").fetch()


def test_sets_without_pictures_and_splits_that_are_not_there_list_what_is(hub: HubServer) -> None:
    add(hub, {"a.csv": b"1", "b.csv": b"2"}, "some/table")
    assert "hf:some/table holds no pictures but 2 files (.csv 2); wanted" in refusal("hf:some/table")
    add_greys(hub)
    assert refusal("hf:some/greys:validation") == (
        "hf:some/greys has no split 'validation' but test, train, all; name one of them: --data hf:some/greys:SPLIT"
    )


@pytest.mark.parametrize(
    ("names", "wanted", "kind", "split", "expected"),
    [
        ("data/train-00000-of-00002.parquet data/validation-00000-of-00001.parquet", "", "parquet", "train", "0"),
        ("train/0000.parquet test/0000.parquet", "test", "parquet", "test", "1"),
        ("default/train/0000.parquet default/test/0.parquet", "", "parquet", "train", "0"),
        ("img_align+identity+attr/train-00000-of-00019.parquet", "", "parquet", "train", "0"),
        ("train-00000-of-00001-f3d3c2c8b5b1a2c5.parquet", "", "parquet", "train", "0"),
        ("a.parquet b/c.parquet .hidden/d.parquet x.tar", "", "parquet", "train", "01"),
        ("faces-00000-of-00002.parquet faces-00001-of-00002.parquet", "", "parquet", "faces", "01"),
        ("data/unsupervised-00000-of-00001.parquet", "unsupervised", "parquet", "unsupervised", "0"),
        ("validation.parquet", "", "parquet", "validation", "0"),
        ("dev.parquet training.parquet", "", "parquet", "train", "1"),
        ("dev.parquet training.parquet", "all", "parquet", "all", "01"),
        ("imagenet1k-train-0000.tar imagenet1k-validation-00.tar readme.png", "", "tar", "train", "0"),
        ("data/train_images_0.tar.gz data/val_images.tar.gz", "", "tar", "train", "0"),
        ("images.zip a.png", "", "zip", "train", "0"),
        ("images/constraint.png images/test_1.png", "", "folder", "train", "01"),
        ("train/a.png test/b.png", "", "folder", "train", "0"),
        ("small/train.parquet large/train.parquet", "large/train", "parquet", "large/train", "1"),
        ("small/train.parquet default/train.parquet", "", "parquet", "default/train", "1"),
    ],
)
def test_files_are_chosen_by_their_names(names: str, wanted: str, kind: str, split: str, expected: str) -> None:
    listed = names.split()
    card = {"configs": [{"config_name": "small"}, {"config_name": "large"}, {"config_name": "default"}]}
    shuffled = random.Random(0).sample(listed, len(listed))
    chosen = choose("a/b", shuffled, wanted, card)
    assert chosen == (kind, split, sorted(listed[int(number)] for number in expected))
    assert choose("a/b", shuffled, chosen.split, card) == chosen


@pytest.mark.parametrize(
    ("names", "wanted", "answer"),
    [
        (
            "small/train.parquet large/train.parquet",
            "",
            "has the configurations large, small; name one of them: --data",
        ),
        ("small/train.parquet", "tiny/train", "has no configuration 'tiny'; its folders: small"),
        ("validation.parquet test.parquet", "", "has no split 'train' but test, validation, all"),
        ("a.parquet", "test", "has no split 'test' but all"),
        ("a.zip b.zip", "", "has its pictures in 2 zip files (a.zip, b.zip, ...), and only one can be read"),
    ],
)
def test_a_choice_that_is_not_clear_is_refused(names: str, wanted: str, answer: str) -> None:
    card = {"dataset_info": [{"config_name": "small"}, {"config_name": "large"}]}
    with pytest.raises(DataError) as caught:
        choose("a/b", names.split(), wanted, card)
    assert answer in str(caught.value)


def test_a_card_of_several_configurations_promises_for_each() -> None:
    def info(name: str, count: object) -> dict[str, object]:
        return {"config_name": name, "splits": [{"name": "train", "num_examples": count}]}

    card = {"dataset_info": [info("small", 3), info("large", 7), info("odd", "x")]}
    assert [promised(card, split) for split in ("large/train", "train", "odd/train", "none/train")] == [7] + [None] * 3
    assert promised({"dataset_info": info("small", 3)}, "train") == 3
    odd: list[object] = [None, [], 3, {"splits": [3]}]
    assert [promised({"dataset_info": value}, "all") for value in odd] == [None] * 4


def test_a_series_of_shards_is_complete_when_none_is_missing() -> None:
    assert is_complete(["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "x.parquet"])
    assert not is_complete(["train-00000-of-00002.parquet", "test-00001-of-00002.parquet"])


def test_real_covers_come_through_the_hub_as_they_were(hub: HubServer) -> None:
    path = DATA / "album_covers_500_96px.zip"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    with zipfile.ZipFile(path) as archive:
        pictures = [archive.read(entry) for entry in archive.infolist() if not entry.is_dir()][:40]
    buffer = io.BytesIO()
    pq.write_table(pa.table({"image": pa.array([{"bytes": data} for data in pictures])}), buffer, row_group_size=16)
    add(hub, {"data/train-00000-of-00001.parquet": buffer.getvalue()}, "some/covers")
    source = HubSource("some/covers")
    assert len(source) == 40
    assert {source.load(index).size for index in range(40)} == {(96, 96)}
