"""Publishes a pair: everything made and checked first, then one commit, or none where nothing has changed."""

from __future__ import annotations

import dataclasses
import io
import json
import shlex
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_session
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from .. import __version__, config, images
from ..errors import PublishError, RecipeError
from ..hub_errors import FAILURES
from ..models.metrics import read_metrics
from ..models.remote import PREFIX
from ..models.snapshot import CARD, METRICS, PAIR, RECIPE, SAMPLES
from ..models.weights import Pair, load_pair
from ..recipe import Recipe
from ..sampling import sample
from ..text import printable, reason
from ..transfer.start import in_folder
from . import access, card

SEEDS = range(64)
"""Of the sample grid: the same for every pair, so that nothing is chosen."""

_BAD_REQUEST = 400


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where a pair goes.

    Attributes:
        repo: `org/name`.
        private: make the repository private, if it has to be made.
        tag: to put on the commit; empty for none.
        revision: branch to commit to, made if absent; empty is the default branch.
        offered: as a pull request.
    """

    repo: str
    private: bool = False
    tag: str = ""
    revision: str = ""
    offered: bool = False


@dataclasses.dataclass(frozen=True)
class Bundle:
    """What is uploaded.

    Attributes:
        files: by name in the repository; a path, or the content.
        kimg: the pair's clock, for the commit's title.
    """

    files: dict[str, bytes | Path]
    kimg: float | None

    @property
    def card(self) -> str:
        """The text of `README.md`."""
        content = self.files[CARD]
        assert isinstance(content, bytes), "made here"
        return content.decode()

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes by name."""
        return {
            name: len(content) if isinstance(content, bytes) else content.stat().st_size
            for name, content in self.files.items()
        }


@dataclasses.dataclass(frozen=True)
class Published:
    """What came of it.

    Attributes:
        repo: `org/name`.
        commit: the commit with these files.
        url: of the commit, or of the pull request.
        changed: whether there was anything to commit.
    """

    repo: str
    commit: str
    url: str
    changed: bool


def prepare(where: str, repo: str, samples: bool = True, license: str = "") -> Bundle:
    """Load a pair strictly and make its card and its grid; nothing is written, nobody is asked.

    Args:
        where: a snapshot folder, or a run folder (its newest snapshot).
        repo: `org/name`, which the card tells how to load.
        samples: with `samples.png`.
        license: an identifier of the Hub for the card; empty leaves the choice open, in words.

    Raises:
        WeightsError: no pair, or it is damaged.
        PublishError: its card would not be valid.
    """
    if where.startswith(PREFIX) or where.partition(":")[0] == "builtin":
        raise PublishError(f"{where} is published already; wanted a run folder, or one of the snapshots in it")
    folder = in_folder(where)
    pair = load_pair(folder)
    files: dict[str, bytes | Path] = {name: folder / name for name in PAIR}
    files |= {name: folder / name for name in (RECIPE, METRICS) if (folder / name).is_file()}
    if samples:
        files[SAMPLES] = _grid(pair)
    facts = card.Facts(
        repo, pair.model, _parameters(pair), pair.info, _recipe(folder), read_metrics(folder), tuple(files), license
    )
    text = card.render(facts)
    card.check(text)
    return Bundle(files | {CARD: text.encode()}, pair.info.get("kimg"))


def check(bundle: Bundle, to: Destination) -> None:
    """Ask the Hub whether it would take a bundle; nothing is uploaded.

    Raises:
        PublishError: see `access.check`; or the Hub refuses the card, or the tag is taken.
    """
    if to.tag and to.offered:
        raise PublishError("--tag names a commit, and a pull request is none yet; give --tag or --pr")
    access.check(to.repo, to.private, to.offered)
    try:
        _validate(bundle.card)
        if to.tag:
            _check_tag(to)
    except FAILURES as error:
        raise access.refusal(error, to.repo) from None


def upload(bundle: Bundle, to: Destination) -> Published:
    """Check, then put a bundle on the Hub in one commit; the same again goes on where it broke off.

    Raises:
        PublishError: it is refused, or did not get through; nothing half-written is to be seen then.
    """
    check(bundle, to)
    api = HfApi(library_name=card.LIBRARY, library_version=__version__)
    try:
        if not to.offered:
            api.create_repo(to.repo, private=to.private or None, exist_ok=True)
            if to.revision:
                api.create_branch(to.repo, branch=to.revision, exist_ok=True)
        done = _commit(api, bundle, to)
        if to.tag and _tags(api, to.repo).get(to.tag) != done.commit:
            api.create_tag(to.repo, tag=to.tag, revision=done.commit)
    except FAILURES as error:
        raise access.refusal(error, to.repo) from None
    return done


def publish_run(folder: Path, repo: str) -> Published:
    """Publish the newest snapshot of a run that has ended.

    Raises:
        PublishError: as `upload`; says how to publish it later, since the command that trained would train again.
    """
    try:
        return upload(prepare(str(folder), repo), Destination(repo))
    except PublishError as error:
        again = f"gan-transfer publish {shlex.quote(str(folder))} --repo {repo}"
        raise PublishError(f"{error}. The run itself is finished and whole, so that command is: {again}") from None


def _commit(api: HfApi, bundle: Bundle, to: Destination) -> Published:
    # `create_commit` rather than `upload_folder`: it is one commit whatever the size, and needs no copy of the weights.
    before = api.model_info(to.repo, revision=to.revision or None)
    stale = {RECIPE, METRICS, SAMPLES} - bundle.files.keys()  # of an earlier pair, about which they tell no more
    held = {file.rfilename for file in before.siblings or ()}
    changes = [CommitOperationAdd(name, content) for name, content in bundle.files.items()]
    gone = [CommitOperationDelete(name) for name in sorted(stale & held)]
    clock = "" if bundle.kimg is None else f" of {bundle.kimg:g} kimg"
    info = api.create_commit(
        to.repo,
        [*changes, *gone],
        commit_message=f"A pair{clock} (gan-transfer {__version__})",
        revision=to.revision or None,
        create_pr=to.offered,
    )
    return Published(to.repo, info.oid, info.pr_url or info.commit_url, info.oid != before.sha)


def _validate(text: str) -> None:
    """By the Hub's own rules, where it tells them; a mirror may not."""
    # Not `ModelCard.validate`, which before 2.0 asks huggingface.co whatever HF_ENDPOINT says.
    rules = f"{constants.ENDPOINT}/api/validate-yaml"
    answer = get_session().post(rules, json={"content": text, "repoType": "model"})
    if answer.status_code == _BAD_REQUEST:
        told = "; ".join(printable(str(entry["message"])) for entry in answer.json()["errors"])
        raise PublishError(
            f"{constants.ENDPOINT} does not take the card: {told}. Nothing was uploaded; "
            "if it is the licence, give another with --license"
        )


def _check_tag(to: Destination) -> None:
    api = HfApi()
    try:
        held = _tags(api, to.repo).get(to.tag)
        head = api.model_info(to.repo, revision=to.revision or None).sha
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return  # all is new
    if held not in (None, head):
        raise PublishError(
            f"{to.repo} has the tag {to.tag} on another commit, {held[:12]}; give another --tag, or take it away with "
            f"`hf repos tag delete {to.repo} {to.tag}`"
        )


def _tags(api: HfApi, repo: str) -> dict[str, str]:
    return {tag.name: tag.target_commit for tag in api.list_repo_refs(repo).tags}


def _recipe(folder: Path) -> Recipe | None:
    """The settings in `recipe.json`, which tells the pack and the precision besides."""
    path = folder / RECIPE
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        sections = {field.name for field in dataclasses.fields(Recipe)} & told.keys()  # an older run may lack some
        return config.from_dict(Recipe, {"train": told["train"]} | {name: told[name] for name in sections}, RECIPE)
    except (ValueError, KeyError, TypeError, AttributeError, RecipeError) as error:
        raise PublishError(
            f"{path} is not the recipe of a run ({reason(error)}). Remove it, or get the snapshot again"
        ) from None


def _grid(pair: Pair) -> bytes:
    buffer = io.BytesIO()
    images.to_pillow(images.grid(sample(pair.generator, SEEDS))).save(buffer, format="PNG")
    return buffer.getvalue()


def _parameters(pair: Pair) -> tuple[int, int]:
    g, d = (sum(p.numel() for p in network.parameters()) for network in (pair.generator, pair.discriminator))
    return g, d
