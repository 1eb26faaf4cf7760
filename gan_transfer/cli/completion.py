"""What the shell completes: recipes, methods, blocks, and the words that a setting may have."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterable
from pathlib import Path

import typer

from ..recipe import Augmentation, Diagnose, Model, Train, Transfer
from ..resources import resource_dir
from ..transfer.methods import METHODS

Complete = Callable[[str], list[str]]


def complete_recipe(context: typer.Context, incomplete: str) -> list[str]:
    """Recipes for the shell's completion: the shipped ones that fit the command, and `.toml` files here."""
    kind = {"pretrain": "pretrain", "finetune": "finetune", "compare": "finetune"}.get(context.info_name or "", "*")
    shipped = sorted({path.stem for path in resource_dir("recipes").glob(f"{kind}/*.toml")})
    files = sorted(path.name for path in Path().glob("*.toml"))
    return [name for name in (*shipped, *files) if name.startswith(incomplete)]


def one_of(words: Iterable[str]) -> Complete:
    """Completes one word."""
    known = tuple(words)
    return lambda incomplete: [word for word in known if word.startswith(incomplete)]


def some_of(words: Iterable[str], joint: str) -> Complete:
    """Completes the last of several words, with any of the characters of `joint` between them."""
    known = tuple(words)

    def complete(incomplete: str) -> list[str]:
        last = re.split(f"[{joint}]", incomplete)[-1]
        before = incomplete.removesuffix(last)
        named = re.split(f"[{joint}]", before)
        return [before + word for word in known if word.startswith(last) and word not in named]

    return complete


def _allowed(section: type, name: str) -> tuple[str, ...]:
    """The words of a setting that is a `Literal`."""
    return typing.get_args(typing.get_type_hints(section)[name])


def complete_factor(incomplete: str) -> list[str]:
    """Blocks of the pair at the usual resolution, each with the sign that its factor follows."""
    model = Model()
    return [
        f"{name}=" for name in (*model.generator_blocks, *model.discriminator_blocks) if name.startswith(incomplete)
    ]


complete_method = some_of(METHODS, "+")
complete_methods = some_of(METHODS, "+,")
complete_augment = some_of((*typing.get_args(Augmentation), "none"), ",")
complete_precision = one_of(_allowed(Train, "precision"))
complete_device = one_of(("auto", "cpu", "cuda", "mps"))
complete_on_collapse = one_of(_allowed(Diagnose, "on_collapse"))
complete_train_only = one_of(_allowed(Transfer, "train_only"))
complete_on_mismatch = one_of(_allowed(Transfer, "on_mismatch"))
