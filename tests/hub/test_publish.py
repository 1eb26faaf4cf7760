"""Publishing to a real HTTP server through the unmodified client: what is sent, what is not, and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import Cli, tree
from hub_server import HubServer
from huggingface_hub import ModelCard, constants
from huggingface_hub.utils import _http
from PIL import Image
from published import METRICS, commits, snapshot, uploads

from gan_transfer.errors import PublishError
from gan_transfer.files import sha256
from gan_transfer.hub.publish import Destination, prepare, upload
from gan_transfer.models.metrics import write_metrics
from gan_transfer.models.snapshot import PAIR
from gan_transfer.sampling import sample
from gan_transfer.transfer.start import open_pair

BOTH = pytest.mark.parametrize("hub", [True, False], indirect=True, ids=["lfs", "regular"])
ALL = {*PAIR, "recipe.json", "metrics.json", "samples.png", "README.md"}
REPO = "tester/covers"


@pytest.fixture
def token(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Be logged in."""
    monkeypatch.setenv("HF_TOKEN", hub.token)
    return hub.token


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A snapshot with findings."""
    write_metrics(snapshot(tmp_path / "made"), METRICS)
    return tmp_path / "made"


def refused(where: Path, repo: str = REPO, **to: object) -> str:
    """The message with which publishing is refused; always one line."""
    with pytest.raises(PublishError) as caught:
        upload(prepare(str(where), repo), Destination(repo, **to))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@BOTH
def test_a_published_pair_comes_back_and_draws_the_same_pictures(
    hub: HubServer, token: str, made: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = cli("publish", made, "--repo", REPO)
    repo = hub.repos["models", REPO]
    assert (done.code, done.out) == (0, f"{hub.url}/{REPO}/commit/{repo.branches['main']}\n")
    assert done.err == f"next: gan-transfer sample --network hf:{REPO} --seeds 0-63 --output out\n"
    assert commits(repo) == 1
    assert set(repo.read()) - {".gitattributes"} == ALL
    assert [name for name in ALL if (made / name).exists() and repo.read()[name] != (made / name).read_bytes()] == []
    monkeypatch.delenv("HF_TOKEN")
    back, own = open_pair(f"hf:{REPO}"), open_pair(made)
    assert torch.equal(sample(back.generator, range(20)), sample(own.generator, range(20)))
    pictures = sample(own.generator, range(4)) / 127.5 - 1
    assert torch.equal(back.discriminator(pictures), own.discriminator(pictures))


@BOTH
def test_publishing_the_same_again_makes_no_commit(hub: HubServer, token: str, made: Path, cli: Cli) -> None:
    first = cli("publish", made, "--repo", REPO, "--tag", "v1")
    again = cli("publish", made, "--repo", REPO, "--tag", "v1")
    assert (again.code, again.out) == (0, first.out)
    assert again.err.splitlines()[0] == f"{REPO} holds exactly this already; no commit was made"
    repo = hub.repos["models", REPO]
    assert (commits(repo), repo.tags) == (1, {"v1": repo.branches["main"]})


def test_another_pair_is_another_commit_and_nothing_of_the_old_one_stays(
    hub: HubServer, token: str, made: Path, tmp_path: Path
) -> None:
    upload(prepare(str(made), REPO), Destination(REPO, tag="v1"))
    other = snapshot(tmp_path / "other", seed=8)
    (other / "recipe.json").unlink()
    done = upload(prepare(str(other), REPO, samples=False), Destination(REPO, tag="v2"))
    repo = hub.repos["models", REPO]
    assert set(repo.read()) - {".gitattributes"} == {*PAIR, "README.md"}
    assert set(repo.read("v1")) - {".gitattributes"} == ALL
    assert (commits(repo), repo.tags["v2"], done.changed) == (2, done.commit, True)


def test_files_of_others_in_the_repository_stay(hub: HubServer, token: str, made: Path) -> None:
    hub.add_repo(REPO, {"notes.md": b"mine", "extra/metrics.json": b"{}"})
    upload(prepare(str(made), REPO), Destination(REPO))
    assert set(hub.repos["models", REPO].read()) == {".gitattributes", "notes.md", "extra/metrics.json", *ALL}


def test_nothing_else_of_a_folder_is_sent(hub: HubServer, token: str, made: Path) -> None:
    (made / "secret.txt").write_text("mine")
    (made / "README.md").write_text("notes of mine")
    upload(prepare(str(made), REPO), Destination(REPO))
    assert set(hub.repos["models", REPO].read()) - {".gitattributes"} == ALL
    assert b"notes of mine" not in hub.repos["models", REPO].read()["README.md"]


def test_a_run_folder_means_its_newest_snapshot(hub: HubServer, token: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for label, seed in (("000010", 1), ("000020", 2)):
        snapshot(run / "snapshots" / label, seed)
    (run / "recipe.json").write_text("{}")
    upload(prepare(str(run), REPO), Destination(REPO))
    assert hub.repos["models", REPO].read()["config.json"] == (run / "snapshots/000020/config.json").read_bytes()


def test_the_weights_name_format_clock_recipe_and_partner_where_they_are_published(
    hub: HubServer, token: str, made: Path
) -> None:
    upload(prepare(str(made), REPO), Destination(REPO))
    content = hub.repos["models", REPO].read()["model.safetensors"]
    (length,) = struct.unpack("<Q", content[:8])
    assert json.loads(content[8 : 8 + length])["__metadata__"] == {
        "format": "pt",
        "library": "gan-transfer",
        "kimg": "12.5",
        "recipe_sha256": sha256(made / "recipe.json"),
        "partner_sha256": sha256(made / "discriminator.safetensors"),
    }


def test_the_samples_are_the_grid_of_seeds_0_to_63(made: Path) -> None:
    bundle = prepare(str(made), REPO)
    picture = bundle.files["samples.png"]
    assert isinstance(picture, bytes)
    (made.parent / "samples.png").write_bytes(picture)
    with Image.open(made.parent / "samples.png") as sheet:
        assert sheet.size == (8 * 18 - 2, 8 * 18 - 2)
    assert bundle.files == prepare(str(made), REPO).files


def test_private_revision_and_pull_request_are_heeded(hub: HubServer, token: str, made: Path, cli: Cli) -> None:
    assert cli("publish", made, "--repo", REPO, "--private", "--revision", "young").code == 0
    repo = hub.repos["models", REPO]
    assert repo.private
    assert "config.json" in repo.read("young")
    assert "config.json" not in repo.read("main")
    hub.add_repo("acme/covers")
    done = cli("publish", made, "--repo", "acme/covers", "--pr")
    assert done.code == 2  # the server wants permission for a pull request too; the real Hub does not
    hub.namespaces.add("acme")
    done = cli("publish", made, "--repo", "acme/covers", "--pr")
    assert (done.code, done.out) == (0, f"{hub.url}/acme/covers/discussions/1\n")
    assert "config.json" not in hub.repos["models", "acme/covers"].read()


def test_a_dry_run_shows_the_card_and_uploads_and_writes_nothing(
    hub: HubServer, token: str, made: Path, cli: Cli, home: Path, cache: Path
) -> None:
    before = tree(home, cache)
    done = cli("publish", made, "--repo", REPO, "--dry-run", "--no-samples")
    assert (done.code, done.err.splitlines()[-1]) == (0, "dry run: nothing was uploaded")
    assert done.out.startswith("---\n")
    assert f'load_pair("hf:{REPO}")' in done.out
    assert {line.split()[-1] for line in done.err.splitlines()[:-1]} == ALL - {"samples.png"}
    assert hub.repos == {}
    assert tree(home, cache) == before
    assert cli("publish", made, "--repo", "acme/covers", "--dry-run").code == 2


# What is refused


def test_no_token(hub: HubServer, made: Path) -> None:
    assert refused(made) == (
        f"publishing to {REPO} needs a token that may write: log in with `hf auth login` or set HF_TOKEN"
    )
    assert hub.requests == []


def test_a_wrong_token(hub: HubServer, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert refused(made) == (
        f"publishing to {REPO}: {hub.url} refuses the token; "
        "log in anew with `hf auth login`, or set HF_TOKEN to another or unset it"
    )


def test_no_permission(hub: HubServer, token: str, made: Path) -> None:
    assert refused(made, "acme/covers") == (
        "no permission to publish to acme/covers: tester is no member of acme; give a --repo of yours (tester/covers)"
    )
    hub.namespaces.add("acme")
    hub.role = "read"
    assert refused(made, "acme/covers") == (
        "no permission to publish to acme/covers: the token may only read; "
        f"make a token that may write there at {hub.url}/settings/tokens and log in with it"
    )
    hub.role = "write"
    hub.fail_next("POST /api/repos/create", 403)
    assert "no permission to publish to acme/covers: the token may not write there; make a token" in refused(
        made, "acme/covers"
    )
    assert hub.repos == {}


def test_a_name_taken_by_a_data_set(hub: HubServer, token: str, made: Path) -> None:
    hub.add_repo(REPO, kind="datasets")
    assert refused(made) == (
        f"{REPO} is the name of a data set, {hub.url}/datasets/{REPO}; two things of one name are mixed up: "
        f"give the pair another, such as --repo {REPO}-dcgan"
    )


@pytest.mark.parametrize("name", ["covers", "a/b/c", "me/a b", "me/", "/me", "me/a--b", "me/\n"])
def test_a_name_that_is_none(hub: HubServer, token: str, made: Path, name: str) -> None:
    with pytest.raises(PublishError, match="is no name for a repository; wanted ORG/NAME, for instance me/"):
        upload(prepare(str(made), name), Destination(name))
    assert hub.requests == []


def test_a_public_repository_for_a_private_pair(hub: HubServer, token: str, made: Path) -> None:
    hub.add_repo(REPO)
    assert refused(made, private=True) == (
        f"{REPO} is there already and public; make it private at {hub.url}/{REPO}/settings, or give another --repo"
    )


def test_a_tag_on_another_commit(hub: HubServer, token: str, made: Path) -> None:
    repo = hub.add_repo(REPO)
    repo.tags["v1"] = first = repo.branches["main"]
    repo.commit("main", repo.commits[first], "a change")
    assert refused(made, tag="v1") == (
        f"{REPO} has the tag v1 on another commit, {first[:12]}; give another --tag, or take it away with "
        f"`hf repos tag delete {REPO} v1`"
    )
    assert commits(repo) == 1


def test_a_pull_request_to_nowhere_or_with_a_tag(hub: HubServer, token: str, made: Path) -> None:
    assert refused(made, offered=True) == (
        f"there is no {REPO} to offer a pull request to; give the command without --pr"
    )
    assert "give --tag or --pr" in refused(made, offered=True, tag="v1")


@pytest.mark.parametrize("where", ["builtin", "builtin:x", "hf:some/pair"])
def test_what_is_published_already(where: str) -> None:
    with pytest.raises(PublishError, match="is published already; wanted a run folder, or one of the snapshots in it"):
        prepare(where, REPO)


def test_a_card_that_is_not_valid_is_refused_before_anything_is_asked(hub: HubServer, token: str, made: Path) -> None:
    with pytest.raises(PublishError) as caught:
        prepare(str(made), REPO, license="My Own")
    assert str(caught.value) == (
        "nothing was uploaded, because the card is not valid: license 'My Own' is none that the Hub knows; "
        "give one of https://huggingface.co/docs/hub/repositories-licenses with --license"
    )
    assert hub.requests == []


def test_a_card_that_the_hub_does_not_take_is_told_before_the_repository_is_made(
    hub: HubServer, token: str, made: Path
) -> None:
    hub.complaints = ['"license" must be one of [mit, other]']
    assert refused(made) == (
        f'{hub.url} does not take the card: "license" must be one of [mit, other]. Nothing was uploaded; '
        "if it is the licence, give another with --license"
    )
    assert hub.repos == {}


def test_a_mirror_that_judges_no_cards_is_no_obstacle_to_the_check(hub: HubServer, token: str, made: Path) -> None:
    hub.fail_next("POST /api/validate-yaml", 404)
    assert upload(prepare(str(made), REPO), Destination(REPO)).changed


def test_without_the_hub(hub: HubServer, token: str, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.close()
    told = refused(made)
    assert told.startswith(f"{REPO} cannot be published: {hub.url} cannot be reached: ")
    assert told.endswith("; connect, or set HF_ENDPOINT to a mirror, and give the same command again")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused(made)


# Uploads that break off


def test_an_upload_that_dies_before_its_commit_is_taken_up_without_what_arrived(
    hub: HubServer, token: str, made: Path
) -> None:
    hub.fail_next("POST .*/commit/", 503)
    assert refused(made) == (
        f"the upload of {REPO} to {hub.url} did not get through: 503 Service Unavailable; it is there whole or not at "
        "all, and what arrived is kept: connect, or set HF_ENDPOINT to a mirror, and give the same command again for "
        "the rest"
    )
    repo = hub.repos["models", REPO]
    assert (commits(repo), uploads(hub)) == (0, 3)
    with pytest.raises(Exception, match="is not a pair of gan-transfer"):
        open_pair(f"hf:{REPO}")
    upload(prepare(str(made), REPO), Destination(REPO))
    assert (commits(repo), uploads(hub)) == (1, 3)
    assert set(repo.read()) - {".gitattributes"} == ALL


def test_a_server_that_dies_among_the_weights_leaves_nothing_to_be_seen(
    hub: HubServer, token: str, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)  # the client tries six times, 23 seconds long
    hub.fail_next("PUT /_lfs/", 503, times=18)
    told = refused(made)
    assert "did not get through: 503 Service Unavailable; it is there whole or not at all" in told
    hub.failures.clear()
    repo = hub.repos["models", REPO]
    assert commits(repo) == 0
    upload(prepare(str(made), REPO), Destination(REPO))
    assert commits(repo) == 1
    assert open_pair(f"hf:{REPO}").model.resolution == 16


@BOTH
def test_an_upload_whose_answer_was_lost_is_not_made_twice(hub: HubServer, token: str, made: Path) -> None:
    hub.cut_next("POST .*/commit/")
    assert "did not get through" in refused(made, tag="v1")
    repo = hub.repos["models", REPO]
    assert (commits(repo), repo.tags) == (1, {})
    upload(prepare(str(made), REPO), Destination(REPO, tag="v1"))
    assert (commits(repo), repo.tags) == (1, {"v1": repo.branches["main"]})


PUBLISH = ["-m", "gan_transfer", "publish", "--repo", REPO]


def test_a_publishing_process_that_is_killed_leaves_nothing_half(hub: HubServer, token: str, made: Path) -> None:
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(made.parent / "home"), "HF_HUB_DISABLE_XET": "1"}
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    hub.hold_next("POST .*/info/lfs/objects/batch")
    command = [sys.executable, *PUBLISH, str(made)]
    with subprocess.Popen(command, env=os.environ | settings | quiet, stdout=subprocess.DEVNULL) as process:
        assert hub.holding.wait(60)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    hub.released.set()
    repo = hub.repos["models", REPO]
    assert commits(repo) == 0
    upload(prepare(str(made), REPO), Destination(REPO))
    assert commits(repo) == 1


def test_damaged_weights_are_not_published(hub: HubServer, token: str, made: Path, cli: Cli) -> None:
    path = made / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = cli("publish", made, "--repo", REPO)
    assert done.code == 2
    assert re.search("model.safetensors is damaged: its SHA-256 is", done.err)
    assert hub.requests == []


def test_a_card_on_the_hub_is_what_the_dry_run_showed(hub: HubServer, token: str, made: Path, cli: Cli) -> None:
    shown = cli("publish", made, "--repo", REPO, "--dry-run").out
    cli("publish", made, "--repo", REPO)
    held = hub.repos["models", REPO].read()["README.md"].decode()
    assert shown == held + "\n"
    assert str(ModelCard(held)) == held
