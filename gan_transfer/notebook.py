"""Whole jobs in one call, as a notebook wants them: with the checks, the talk and the folders of the commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from . import distributed, planning, runs
from .auto_batch import settle_batch
from .config import Override
from .explain import toml
from .hub.publish import Destination, Published, prepare, publish_run, upload
from .recipe import load_recipe_with_origin
from .report import live
from .trackers import Tracker


def finetune(
    target: str = "coverart",
    data: str | None = None,
    source: str | None = None,
    outdir: str | Path = "runs",
    push_to: str = "",
    settings: Mapping[str, str | int | float | bool | list[str]] | None = None,
) -> Path:
    """Adapt a pretrained pair to your own pictures. The same call again resumes what was interrupted.

    Args:
        target: what to adapt to: a recipe's name or a `.toml` file.
        data: `kind:where` or a plain path; None takes the recipe's own.
        source: the pair to start from: `builtin`, `none`, `hf:org/name@revision`, a snapshot or a run folder; None
            takes the recipe's own, the embedded pair.
        outdir: parent of the run folders.
        push_to: `org/name` on the Hub to publish to at the end; the token and the permission are checked first.
        settings: any setting of the recipe, such as `{"train.kimg": 20}`.

    Returns:
        The run folder, which `load_pair` opens.

    Raises:
        GanTransferError: what was given is not usable, told before training begins, all faults together; the training
            failed; or the pair could not be published.
    """
    named = {"data.source": ("data", data), "transfer.source": ("source", source)}
    changes = [Override(f"{key}={toml(value)}", f"settings[{key!r}]") for key, value in (settings or {}).items()]
    changes += [Override(f"{key}={toml(text)}", f"{name}={text!r}") for key, (name, text) in named.items() if text]
    recipe, origin = load_recipe_with_origin("finetune", target, changes)
    with distributed.together():
        with distributed.one_first():
            plan = planning.plan(recipe, origin, Path(outdir), push_to)
        plan = settle_batch(plan, Path(outdir))
        return carry_out(plan, Path(outdir), push_to)


def publish(
    pair: str | Path, repo: str, private: bool = False, tag: str = "", license: str = "", samples: bool = True
) -> Published:
    """Publish a pair in one commit: weights, recipe, findings, samples and card. The same call again changes nothing.

    Args:
        pair: a run folder (its newest snapshot), or a snapshot folder.
        repo: `org/name` on the Hub, made if it is not there.
        private: make a new repository private.
        tag: for the commit, such as `v1`.
        license: of the weights, an identifier of the Hub such as `cc-by-4.0`; empty leaves the choice open.
        samples: with a grid of samples.

    Raises:
        WeightsError: no pair, or it is damaged.
        PublishError: the Hub does not take it, or the upload did not get through.
    """
    return upload(prepare(str(pair), repo, samples, license), Destination(repo, private, tag))


def carry_out(
    plan: planning.Plan, outdir: Path, push_to: str = "", new: bool = False, trackers: Sequence[Tracker] = ()
) -> Path:
    """Train by a plan, told by rank 0 on stderr, and publish the newest snapshot; see `runs.run`."""
    view = live.TerminalView(None if distributed.rank() == 0 else Console(quiet=True))
    if plan.source.spec.startswith("builtin:covers"):
        view.say("Training on built-in synthetic covers. Real ones: --data folder:PATH or --data zip:FILE")
    try:
        folder = runs.run(plan, outdir, view, new, trackers)
        if push_to and distributed.rank() == 0:
            view.say(f"published: {publish_run(folder, push_to).url}")
    finally:
        view.close()
    return folder
