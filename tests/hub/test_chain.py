"""Pairs that are passed on: what a run records of the pair it began with, and what is published of that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, Cli, Outcome, sets, tree
from hub_server import HubServer
from huggingface_hub import ModelCard, constants
from published import commits, config_of, snapshot
from reading import Witness, config, events, newest_snapshot, weights

import gan_transfer
from gan_transfer import planning, runs
from gan_transfer.errors import GanTransferError, Interrupted, PublishError
from gan_transfer.recipe import load_recipe_with_origin

BASE, TARGET = "tester/photos", "tester/covers"
SHORT = sets(TINY | {"train.kimg": "0.032", "train.snapshot_kimg": "0.032"})
BOTH = pytest.mark.parametrize("hub", [True, False], indirect=True, ids=["lfs", "regular"])
pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def token(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Be logged in, with a token that no file holds by chance."""
    hub.token = "hf_nowhereelse4711"
    monkeypatch.setenv("HF_TOKEN", hub.token)
    yield hub.token


def trained(done: Outcome) -> Path:
    assert done.code == 0, done.err
    return Path(done.out.strip())


def card(hub: HubServer, repo: str) -> ModelCard:
    return ModelCard(hub.repos["models", repo].read()["README.md"].decode())


@BOTH
def test_a_pair_is_pretrained_published_fine_tuned_from_there_and_published(
    hub: HubServer, token: str, cli: Cli, home: Path, cache: Path
) -> None:
    told = []

    def run(*words: object) -> Path:
        done = cli(*words)
        told.append(done.out + done.err)
        return trained(done)

    first = run("pretrain", "imagenet", *SHORT)
    told.append(cli("publish", first, "--repo", BASE, "--tag", "v1").err)
    base = hub.repos["models", BASE]
    commit = base.branches["main"]
    second = run("finetune", "--target", "coverart", *SHORT, "--from", f"hf:{BASE}@v1", "--push-to", TARGET)
    target = hub.repos["models", TARGET]
    assert (commits(base), commits(target)) == (1, 1)

    source, made = config(newest_snapshot(first)), config_of(target)
    assert made == config(newest_snapshot(second))
    assert made["from"] == {"pair": f"hf:{BASE}@{commit}", "kimg": 0.032, "sha256": source["sha256"]}
    assert json.loads(target.read()["recipe.json"])["transfer"]["source"] == f"hf:{BASE}@{commit}"
    assert card(hub, TARGET).data.base_model == BASE
    assert f"[{BASE}](https://huggingface.co/{BASE}) at `{commit[:12]}` of 0.032 kimg" in card(hub, TARGET).text

    third = run("finetune", "--target", "coverart", *SHORT, "--from", f"hf:{TARGET}", "--outdir", "third")
    family = config(newest_snapshot(third))["from"]
    assert family["pair"] == f"hf:{TARGET}@{target.branches['main']}"
    assert family["from"] == made["from"]

    published = [content for repo in (base, target) for content in repo.read().values()]
    written = [content for content in tree(home, cache).values() if content is not None]
    assert len(written) > 50
    assert [content for content in written + published if token.encode() in content] == []
    assert [text for text in told if token in text] == []


def test_the_commit_is_in_the_books_of_the_run(hub: HubServer, token: str, cli: Cli, tmp_path: Path) -> None:
    repo = hub.add_repo(BASE, files_of(snapshot(tmp_path / "base")))
    run = trained(cli("finetune", "--target", "coverart", *SHORT, "--from", f"hf:{BASE}"))
    (started, *_) = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert started["from"]["pair"] == f"hf:{BASE}@{repo.branches['main']}"
    assert json.loads((run / "recipe.json").read_text())["transfer"]["source"] == f"hf:{BASE}"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_resumed_run_keeps_the_commit_that_it_began_with(hub: HubServer, tmp_path: Path) -> None:
    first = hub.add_repo(BASE, files_of(snapshot(tmp_path / "base"))).branches["main"]
    changes = [f"{key}={value}" for key, value in (TINY | {"transfer.source": f"hf:{BASE}"}).items()]

    def train(witness: Witness) -> Path:
        plan = planning.plan(*load_recipe_with_origin("finetune", "coverart", changes), Path("runs"))
        return runs.run(plan, Path("runs"), witness)

    with pytest.raises(Interrupted):
        train(Witness(3, 15))
    hub.add_repo(BASE, files_of(snapshot(tmp_path / "new", seed=8)))
    run = train(Witness())
    assert events(run)[:3] == ["started", "interrupted", "resumed"]
    assert [config(path)["from"]["pair"] for path in sorted((run / "snapshots").iterdir())] == [
        f"hf:{BASE}@{first}"
    ] * 2
    assert hub.repos["models", BASE].branches["main"] != first


def test_a_run_goes_on_without_the_hub(
    hub: HubServer, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.add_repo(BASE, files_of(snapshot(tmp_path / "base"))).branches["main"]
    cli("download", BASE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    run = trained(cli("finetune", "--target", "coverart", *SHORT, "--from", f"hf:{BASE}"))
    assert config(newest_snapshot(run))["from"]["pair"] == f"hf:{BASE}@{commit}"


def test_no_path_of_this_machine_is_published(hub: HubServer, token: str, cli: Cli, tmp_path: Path, pair: Path) -> None:
    from PIL import Image

    (tmp_path / "private place").mkdir()
    for number in range(16):
        Image.new("RGB", (16, 16), (number * 15, 0, 0)).save(tmp_path / "private place" / f"{number}.png")
    data = ["--set", "data.source=", "--data", f"folder:{tmp_path / 'private place'}", "--from", pair]
    run = trained(cli("finetune", "--target", "coverart", *SHORT, *data, "--push-to", TARGET))
    assert str(tmp_path) in (run / "recipe.json").read_text()
    held = hub.repos["models", TARGET].read()
    assert [name for name, content in held.items() if str(tmp_path).encode() in content] == []
    assert json.loads(held["recipe.json"])["data"]["source"] == "folder:private place"
    assert json.loads(held["recipe.json"])["transfer"]["source"] == "pair"
    assert "`folder:private place`, 16 of them" in card(hub, TARGET).text


# --push-to


def test_a_push_is_checked_before_training_with_all_other_faults(
    hub: HubServer, cli: Cli, home: Path, cache: Path
) -> None:
    before = tree(home, cache)
    done = cli("finetune", "--target", "coverart", *SHORT, "--from", "nowhere", "--push-to", TARGET)
    assert done.code == 2
    assert [line[:40] for line in done.faults] == [
        "no pair at 'nowhere': no such folder; wa",
        "publishing to tester/covers needs a toke",
    ]
    done = cli("pretrain", "imagenet", *SHORT, "--push-to", "covers")
    assert done.faults == ["'covers' is no name for a repository; wanted ORG/NAME, for instance me/dcgan-covers"]
    assert tree(home, cache) == before


def test_a_push_that_fails_after_training_tells_the_command_for_later(hub: HubServer, token: str, cli: Cli) -> None:
    hub.fail_next("POST .*/commit/", 503)
    done = cli("pretrain", "imagenet", *SHORT, "--push-to", BASE)
    run = Path("runs/00000-imagenet-builtin-covers")
    assert (done.code, events(run)[-1]) == (2, "finished")
    words = ["publish", str(run), "--repo", BASE]
    assert done.err.splitlines()[-1].endswith(
        f"The run itself is finished and whole, so that command is: gan-transfer {' '.join(words)}"
    )
    assert cli(*words).code == 0
    assert commits(hub.repos["models", BASE]) == 1


def test_a_dry_run_asks_the_hub_and_publishes_nothing(hub: HubServer, token: str, cli: Cli) -> None:
    assert cli("pretrain", "imagenet", *SHORT, "--push-to", BASE, "--dry-run").code == 0
    assert cli("pretrain", "imagenet", *SHORT, "--push-to", "acme/photos", "--dry-run").code == 2
    assert hub.repos == {}


# From Python


def test_a_notebook_fine_tunes_publishes_and_loads(hub: HubServer, token: str, pair: Path) -> None:
    settings: dict[str, Any] = {key: value for key, value in TINY.items() if key != "data.source"}
    settings |= {
        key: float(value) if "." in value else int(value) for key, value in settings.items() if value[0].isdigit()
    }
    run = gan_transfer.finetune("coverart", "builtin:covers?count=64", str(pair), settings=settings)
    assert run == Path("runs/00000-coverart-builtin-covers")
    origin = json.loads((run / "origin.json").read_text())
    assert (origin["data.source"], origin["train.batch"]) == (
        "data='builtin:covers?count=64'",
        "settings['train.batch']",
    )
    done = gan_transfer.publish(run, TARGET, tag="v1")
    assert gan_transfer.publish(run, TARGET, tag="v1") == gan_transfer.publish(run, TARGET)
    assert done.changed
    back = gan_transfer.load_pair(f"hf:{TARGET}@v1")
    own = gan_transfer.load_pair(run)
    assert torch.equal(gan_transfer.sample(back.generator, range(4)), gan_transfer.sample(own.generator, range(4)))
    assert weights(newest_snapshot(run)).keys() == weights(Path(constants.HF_HUB_CACHE, *cached(done.commit))).keys()


def cached(commit: str) -> tuple[str, ...]:
    return f"models--{TARGET.replace('/', '--')}", "snapshots", commit


def test_the_notebook_of_the_readme_runs(hub: HubServer, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_readme import README, fenced

    hub.namespaces.add("me")
    (block,) = [block for block in fenced(README, "python") if "finetune" in block]
    block = block.replace('"folder:my-covers"', "None").replace('{"train.kimg": 20}', "TINY")
    names: dict[str, Any] = {"gan_transfer": gan_transfer, "TINY": TINY | {"train.kimg": "0.032"}}
    names["TINY"] = {key: json.loads(text) if text[0].isdigit() else text for key, text in names["TINY"].items()}
    exec(block, names)
    assert names["published"].changed
    assert names["pair"].origin == f"hf:me/dcgan-covers@{names['published'].commit}"
    assert len(names["pictures"]) == 16


def test_a_notebook_is_told_what_is_wrong(hub: HubServer, pair: Path) -> None:
    with pytest.raises(GanTransferError, match=r"settings\['train.batsh'\]: train.batsh: unknown key; did you mean"):
        gan_transfer.finetune(settings={"train.batsh": 8})
    with pytest.raises(GanTransferError, match="no pair at 'nowhere'"):
        gan_transfer.finetune(source="nowhere")
    with pytest.raises(PublishError, match="needs a token that may write"):
        gan_transfer.publish(pair, TARGET)
    assert not Path("runs").exists()
