"""Pairs on the Hub, opened by the unmodified client from a real HTTP server: what is fetched, kept and refused.

The same tests with the oldest client that is supported, as .ci/run makes them at its end: in a virtual environment of
the project, `pip install 'huggingface_hub==1.31.*' && pytest tests/hub tests/data/test_hub.py`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import Cli, tree
from hub_server import HubServer, Repo
from huggingface_hub import constants

from gan_transfer import hub_errors
from gan_transfer.errors import WeightsError
from gan_transfer.files import sha256
from gan_transfer.hub.download import download
from gan_transfer.hub_errors import broken_off
from gan_transfer.models import remote
from gan_transfer.models.snapshot import EXTRAS, PAIR
from gan_transfer.models.weights import load_pair, public_state
from gan_transfer.transfer.start import find, open_generator, open_pair

BOTH = pytest.mark.parametrize("hub", [True, False], indirect=True, ids=["lfs", "regular"])
WAYS = "or take builtin, a snapshot folder or a run folder"


def add(hub: HubServer, pair: Path, repo: str = "some/pair", **more: bytes) -> Repo:
    """Publish a snapshot folder without the toolkit."""
    files = {path.name: path.read_bytes() for path in pair.iterdir()}
    return hub.add_repo(repo, files | {name.replace("__", "."): content for name, content in more.items()})


def change(repo: Repo, hub: HubServer, **files: bytes | None) -> None:
    """Commit changes; None removes a file, and `__` in a name stands for its dot."""
    kept = {name: content for name, content in repo.read().items() if name.replace(".", "__") not in files}
    new = {name.replace("__", "."): content for name, content in files.items() if content is not None}
    hub.repos["models", repo.repo_id] = fresh = hub.add_repo(repo.repo_id, kept | new)
    fresh.commits |= repo.commits
    fresh.tags |= repo.tags


def refusal(where: str = "hf:some/pair") -> str:
    with pytest.raises(WeightsError) as caught:
        open_pair(where)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def got(hub: HubServer) -> list[str]:
    """Names of the files whose content was sent, sorted."""
    return sorted(re.findall(r"GET /\S+/resolve/\S+/([^/ ]+) -> 200", "\n".join(hub.requests)))


@BOTH
def test_a_pair_comes_from_the_hub_bit_for_bit_and_knows_its_commit(hub: HubServer, pair: Path) -> None:
    repo = add(hub, pair)
    found, wanted = open_pair("hf:some/pair"), load_pair(pair)
    for network, other in ((found.generator, wanted.generator), (found.discriminator, wanted.discriminator)):
        states = public_state(network), public_state(other)
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    assert found.origin == f"hf:some/pair@{repo.branches['main']}"


def test_a_branch_a_tag_and_a_commit_can_be_asked_for(hub: HubServer, pair: Path) -> None:
    repo = add(hub, pair)
    first = repo.tags["v1"] = repo.branches["main"]
    repo.branches["refs/pr/1"] = repo.commit("refs/pr/1", repo.commits[first], "a change")
    for revision in ("v1", "main", first):
        assert find(f"hf:some/pair@{revision}")[0].name == first
    assert find("hf:some/pair@refs/pr/1")[0].name == repo.branches["refs/pr/1"] != first


def test_only_files_of_known_names_are_fetched_and_no_pickle_and_no_code(hub: HubServer, pair: Path) -> None:
    add(hub, pair, pytorch_model__bin=b"\x80\x04pickle", modeling__py=b"raise SystemExit", README__md=b"---\n---\n")
    folder = find("hf:some/pair")[0]
    assert {path.name for path in folder.iterdir()} == {*PAIR, "README.md"} <= {*PAIR, *EXTRAS}
    assert got(hub) == sorted({*PAIR, "README.md"})


def test_what_is_in_the_cache_is_not_fetched_again(hub: HubServer, pair: Path) -> None:
    repo = add(hub, pair)
    find("hf:some/pair")
    repo.tags["v1"] = commit = repo.branches["main"]
    find("hf:some/pair@v1")
    assert len(got(hub)) == 3
    before = len(hub.requests)
    find(f"hf:some/pair@{commit}")
    assert len(hub.requests) == before


def test_a_new_commit_is_fetched_and_the_old_one_stays(hub: HubServer, pair: Path) -> None:
    repo = add(hub, pair)
    first = find("hf:some/pair")[0]
    change(repo, hub, README__md=b"---\n---\nnew\n")
    second = find("hf:some/pair")[0]
    assert second != first
    assert find(f"hf:some/pair@{first.name}")[0] == first
    assert got(hub) == sorted([*PAIR, "README.md"])  # the weights have not changed


@pytest.mark.parametrize("offline", [True, False])
def test_without_the_hub_a_pair_is_read_from_the_cache(
    hub: HubServer, pair: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    repo = add(hub, pair)
    repo.tags["v1"] = repo.branches["main"]
    find("hf:some/pair"), find("hf:some/pair@v1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    if not offline:
        hub.close()
    for where in ("hf:some/pair", "hf:some/pair@v1", f"hf:some/pair@{repo.tags['v1']}"):
        assert open_generator(where).model.resolution == 16


def test_offline_and_not_cached_is_told_at_once(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"hf:some/pair cannot be reached at {hub.url}: {{}}; connect, or set HF_ENDPOINT to a mirror, and give the "
    text += f"same command again; {WAYS}"
    hub.close()
    start = time.monotonic()
    assert re.fullmatch(re.escape(text).replace(r"\{\}", ".*Connection refused"), refusal())
    assert time.monotonic() - start < 5
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert re.fullmatch(re.escape(text).replace(r"\{\}", ".*HF_HUB_OFFLINE.*"), refusal())


def test_a_missing_and_a_private_pair_look_alike_without_a_token(
    hub: HubServer, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, pair).private = True
    for name in ("pair", "none"):
        assert refusal(f"hf:some/{name}") == (
            f"hf:some/{name} is not at {hub.url}, or is private; check the name at {hub.url}/some/{name}; "
            "if it is private, log in with `hf auth login` or set HF_TOKEN"
        )
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert open_pair("hf:some/pair").model.resolution == 16
    assert refusal("hf:some/none").endswith("if it is private, your token may not read it")


def test_a_gated_pair_says_where_access_is_asked_for(
    hub: HubServer, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = add(hub, pair)
    repo.gated, repo.granted = True, False
    page = f"{hub.url}/some/pair"
    assert refusal() == (
        f"hf:some/pair is gated: ask for access at {page}, log in with `hf auth login` or set HF_TOKEN, "
        f"and give the same command again; {WAYS}"
    )
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert f"the account of your token has no access yet: ask for it at {page} and give" in refusal()
    repo.granted = True
    assert open_pair("hf:some/pair").model.resolution == 16


def test_a_refused_token_is_told_from_a_missing_pair(
    hub: HubServer, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, pair)
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    assert refusal() == (
        f"hf:some/pair is refused at {hub.url}: 401 Unauthorized; the token is wrong, has run out or may not read "
        "it: log in anew with `hf auth login`, or set HF_TOKEN to another or unset it"
    )


def test_a_missing_revision_is_told_with_the_page_that_lists_them(hub: HubServer, pair: Path) -> None:
    add(hub, pair)
    assert refusal("hf:some/pair@v2") == (
        f"hf:some/pair has no revision 'v2'; its branches, tags and commits are listed at {hub.url}/some/pair/tree/main"
    )


def test_what_is_no_pair_is_told_with_what_it_holds(hub: HubServer, pair: Path) -> None:
    hub.add_repo("some/text", dict.fromkeys(("config.json", "modeling.py", "tokens.txt"), b""))
    listed = f"Pairs are listed at {hub.url}/models?library=gan-transfer"
    assert refusal("hf:some/text") == (
        "hf:some/text is not a pair of gan-transfer: it has no model.safetensors and no discriminator.safetensors "
        f"(it holds: config.json, modeling.py, tokens.txt). {listed}"
    )
    hub.add_repo("some/empty")
    assert "(it holds: nothing)" in refusal("hf:some/empty")
    hub.add_repo("some/tutorial", {"README.md": b"", "netG.pth": b""})
    assert refusal("hf:some/tutorial").endswith(
        "(it holds: README.md, netG.pth). Other projects' DCGANs are read by: "
        "gan-transfer import hf:some/tutorial:netG.pth"
    )
    hub.add_repo("some/many", {f"{number}.bin": b"" for number in range(20)})
    assert "0.bin, 1.bin, 10.bin, 11.bin, 12.bin, 13.bin, 14.bin, 15.bin ...)" in refusal("hf:some/many")
    assert got(hub) == []


def test_a_data_set_is_not_taken_for_a_pair(hub: HubServer) -> None:
    hub.add_repo("some/faces", {"a.jpg": b""}, kind="datasets")
    assert refusal("hf:some/faces") == (
        "hf:some/faces is a data set, not a pair; train on it with --data hf:some/faces"
    )


@pytest.mark.parametrize("where", ["hf:", "hf:pair", "hf:a/b/c", "hf:a--b/c", "hf:https://hub/a/b", "hf:a/b@"])
def test_what_names_no_pair_is_refused_before_anything_is_asked(hub: HubServer, where: str) -> None:
    assert refusal(where) == (
        f"{where!r} does not name a pair on the Hub; wanted hf:ORG/NAME[@REVISION]. "
        "See what is here: gan-transfer models ls"
    )
    assert hub.requests == []


def test_a_config_of_a_newer_format_asks_for_an_upgrade(hub: HubServer, pair: Path) -> None:
    repo = add(hub, pair)
    settings = json.loads((pair / "config.json").read_text()) | {"format": 2}
    change(repo, hub, config__json=json.dumps(settings).encode())
    assert refusal().endswith(
        "is of format 2; this version reads 1. Upgrade gan-transfer: pip install --upgrade gan-transfer"
    )


def test_a_disk_that_is_too_small_is_seen_before_the_download(
    hub: HubServer, pair: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add(hub, pair)
    monkeypatch.setattr(hub_errors, "SPARE_BYTES", 10**18)
    assert re.fullmatch(
        rf"hf:some/pair needs 1000000000\.00 GB, [\d.]+ GB free at the Hub's cache '{tmp_path}/hub'; "
        "set HF_HOME to a folder on another disk",
        refusal(),
    )
    assert got(hub) == []


def test_a_cache_that_cannot_be_written_is_told(
    hub: HubServer, pair: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add(hub, pair)
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    assert refusal() == (
        f"the Hub's cache '{tmp_path}/file/hub' cannot be written: Not a directory; "
        "set HF_HOME to a folder on another disk or with permission to write"
    )


# Downloads that break off, and damage


def test_a_download_that_breaks_off_is_taken_up_without_what_came_whole(hub: HubServer, pair: Path) -> None:
    add(hub, pair)
    hub.fail_next("GET .*/resolve/.*/discriminator", 503)
    assert refusal() == (
        f"the download of hf:some/pair from {hub.url} broke off: 503 Service Unavailable; the files that came whole "
        "are kept: connect, or set HF_ENDPOINT to a mirror, and give the same command again for the rest; " + WAYS
    )
    assert got(hub) == ["config.json", "model.safetensors"]
    assert open_pair("hf:some/pair").model.resolution == 16
    assert got(hub) == sorted(PAIR)


def test_a_connection_that_is_cut_is_taken_up_in_the_same_download(hub: HubServer, pair: Path) -> None:
    add(hub, pair)
    hub.cut_next("GET .*/resolve/.*/model")
    assert open_pair("hf:some/pair").model.resolution == 16


def test_a_pair_of_which_only_a_part_came_is_not_opened_without_the_hub(hub: HubServer, pair: Path) -> None:
    add(hub, pair)
    hub.fail_next("GET .*/resolve/.*/model", 503)
    refusal()
    hub.close()
    assert "cannot be reached" in refusal()


def test_a_killed_download_is_finished_by_the_next_process(
    hub: HubServer, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, pair)
    settings = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": constants.HF_HUB_CACHE, "HF_HUB_DISABLE_XET": "1"}
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "gan_transfer", "download", "some/pair"]
    hub.hold_next("GET .*/resolve/.*/model")
    with subprocess.Popen(command, env=os.environ | settings | quiet, stdout=subprocess.DEVNULL) as process:
        assert hub.holding.wait(60)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    hub.released.set()
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        assert "cannot be reached" in refusal()
    assert open_pair("hf:some/pair").model.resolution == 16


def test_a_disk_that_fills_up_meanwhile_is_told() -> None:
    error = broken_off(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), remote.MODELS, "some/pair", None)
    assert str(error) == (
        f"the Hub's cache '{constants.HF_HUB_CACHE}' cannot be written: No space left on device; "
        "set HF_HOME to a folder on another disk or with permission to write"
    )


def damaged_file(folder: Path, name: str = "model.safetensors") -> Path:
    """Turn the last bit of a file in the cache."""
    path = (folder / name).resolve()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return path


def test_a_file_damaged_in_the_cache_is_told_with_the_command_that_mends_it(
    hub: HubServer, pair: Path, cli: Cli
) -> None:
    add(hub, pair)
    folder = find("hf:some/pair")[0]
    wanted = sha256(folder / "model.safetensors")
    found = sha256(damaged_file(folder))
    assert refusal("hf:some/pair@main") == (
        f"{folder}/model.safetensors is damaged: its SHA-256 is {found[:12]}..., wanted {wanted[:12]}... "
        "Get it again: gan-transfer download some/pair@main"
    )
    with pytest.raises(WeightsError, match=r"Get it again: gan-transfer download some/pair$"):
        open_generator("hf:some/pair")
    done = cli("download", "some/pair@main")
    assert (done.code, done.out) == (0, f"{folder}\n")
    assert open_pair("hf:some/pair").model.resolution == 16


def test_a_pair_damaged_where_it_was_published_is_told_so(hub: HubServer, pair: Path) -> None:
    damaged_file(pair)
    add(hub, pair)
    with pytest.raises(WeightsError) as caught:
        download("some/pair")
    page = f"{hub.url}/some/pair/discussions"
    assert re.fullmatch(
        r"hf:some/pair is damaged where it was published: \S+/model.safetensors is damaged: its SHA-256 is .*\.\.\. "
        f"Take another revision, some/pair@REVISION, or tell its owner at {re.escape(page)}",
        str(caught.value),
    )


# The commands


def test_download_prints_the_folder_and_the_next_command(hub: HubServer, pair: Path, cli: Cli) -> None:
    repo = add(hub, pair)
    for words in ("some/pair", "hf:some/pair@main"):
        done = cli("download", words)
        assert done.code == 0
        assert Path(done.out.strip()).name == repo.branches["main"]
        address = words if words.startswith("hf:") else f"hf:{words}"
        assert done.err == f"next: gan-transfer finetune --target coverart --from {address}\n"


def test_sample_takes_a_pair_from_the_hub_and_writes_nothing_else(
    hub: HubServer, pair: Path, cli: Cli, home: Path
) -> None:
    add(hub, pair)
    cli("download", "some/pair")
    before = set(tree(home))
    one = cli("sample", "--network", "hf:some/pair", "--seeds", "0-3", "--output", "hub-out")
    two = cli("sample", "--network", pair, "--seeds", "0-3", "--output", "out")
    assert (one.code, two.code) == (0, 0)
    assert {path.relative_to(home).parts[0] for path in set(tree(home)) - before} == {"hub-out", "out"}
    for path in (home / "out").iterdir():
        assert path.read_bytes() == (home / "hub-out" / path.name).read_bytes()


def test_models_ls_lists_the_embedded_pairs_and_the_cache(hub: HubServer, pair: Path, cli: Cli) -> None:
    repo = add(hub, pair)
    repo.tags["v1"] = repo.branches["main"]
    add(hub, pair, "some/other")
    hub.add_repo("some/text", {"config.json": b"{}"})
    assert [row["where"].partition(":")[0] for row in json.loads(cli("models", "ls", "--json").out)] == ["builtin"]
    for where in (f"hf:some/pair@{repo.branches['main']}", "hf:some/other"):
        find(where)
    done = cli("models", "ls")
    assert done.err == "Look at one: gan-transfer models show builtin\n"
    rows = json.loads(cli("models", "ls", "--json").out)
    assert [row["where"] for row in rows[1:]] == ["hf:some/other", f"hf:some/pair@{repo.branches['main']}"]
    assert [row["where"] for row in rows if row["where"] not in done.out] == []
    assert rows[2].items() >= {"commit": repo.branches["main"], "resolution": 16, "kimg": 0.0}.items()


def test_models_show_tells_what_a_pair_says_of_itself(hub: HubServer, pair: Path, cli: Cli) -> None:
    add(hub, pair)
    found = json.loads(cli("models", "show", "hf:some/pair", "--json").out)
    assert set(found["files"]) == set(PAIR)
    assert (found["model"]["resolution"], found["metrics"], found["from"]) == (16, None, [])
    shown = cli("models", "show", pair).out
    assert "metrics    not diagnosed\n" in shown
    assert f"folder     {pair}\n" in shown


def test_an_address_is_read_and_written_alike() -> None:
    for text in ("org/name", "org/name@v1", "org/name@refs/pr/1"):
        assert remote.parse(text) == remote.parse(f"hf:{text}")
        assert (remote.parse(text).short, str(remote.parse(text))) == (text, f"hf:{text}")
