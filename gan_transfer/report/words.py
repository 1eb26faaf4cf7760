"""A run in words: how it stands, what to do next, and the commands that make it again or go on."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from ..diagnostics.verdict_words import State
from ..explain import toml
from .books import Books, number, section
from .svg import short

ENDS = {
    "finished": "finished",
    "interrupted": "interrupted; the same command resumes it",
    "collapsed": "stopped after a collapse",
    "not finite": "stopped, since a loss or a weight was not finite",
}
MEANING = {
    State.HEALTHY: "No loss of diversity that chance does not explain.",
    State.WARNING: "A small part of the diversity is missing.",
    State.PARTIAL: "A good part of the diversity is missing.",
    State.COLLAPSED: "Most of the diversity is missing: the pictures are much alike.",
    State.MEMORISED: "Too many pictures are copies of training pictures.",
    State.UNTRAINED: "Hardly a picture is like a real one yet.",
}
ADVICE = {
    State.HEALTHY: "Look at samples; if you like them, publish the pair.",
    State.WARNING: "Look at samples; if the variety is enough, publish the pair.",
    State.PARTIAL: "Take the best snapshot, or train anew with a lower --dlr or with --augment.",
    State.COLLAPSED: "Take the best snapshot, or train anew with a lower --dlr or with --augment.",
    State.MEMORISED: "Train on more pictures, with --augment, or for fewer --kimg.",
    State.UNTRAINED: "Train longer, and see that --data and --crop are those you meant.",
}


@dataclasses.dataclass(frozen=True)
class Headline:
    """The run in a few words.

    Attributes:
        state: the newest verdict, or `no verdict`.
        tone: `good`, `fair`, `bad` or `none`, for its colour.
        reason: the verdict in a sentence.
        standing: how far the run is.
        best: which snapshot is the best.
        advice: what to do next.
    """

    state: str
    tone: str
    reason: str
    standing: str
    best: str
    advice: str


@dataclasses.dataclass(frozen=True)
class Command:
    """Something to type.

    Attributes:
        purpose: what it does.
        line: the words.
    """

    purpose: str
    line: str


def headline(books: Books) -> Headline:
    """How a run stands."""
    last = books.looks[-1] if books.looks else {}
    word = str(last.get("verdict", "no verdict"))
    state = State(word) if word in set(State) else None
    tones = {None: "none", State.HEALTHY: "good", State.WARNING: "fair", State.PARTIAL: "fair"}
    meaning = MEANING.get(state, "") if state else "Nobody has looked at the generator."
    reason = " ".join(filter(None, [meaning, _sentence(str(last.get("reason", "")))]))
    advice = ADVICE.get(state, "Let the run go on.") if state else "Judge it: see the commands below."
    return Headline(word, tones.get(state, "bad"), reason, standing(books), _best(books), advice)


def standing(books: Books) -> str:
    """How far a run is, and how it ended."""
    total = books.total_kimg
    of = f" of {short(total)}" if total else ""
    ends = books.events_named(*ENDS, "resumed", "started", "rolled back")
    word = ENDS.get(str(ends[-1].get("event"))) if ends else None
    return f"{short(books.kimg)}{of} kimg, {word or 'not finished when this was written'}"


def commands(books: Books) -> list[Command]:
    """How to make the run again, go on with it, and use it."""
    where = shlex.quote(str(books.folder))
    network = shlex.quote(str(books.folder / "best")) if books.best else where
    again, grown = reproduce(books), short(2 * books.total_kimg) if books.total_kimg else "100"
    parent = f" --outdir {shlex.quote(str(books.folder.parent))}"
    data = str(section(books.recipe, "data").get("source", "")) or "builtin:covers"
    kind = _kind(books)[0]
    target = f"--target {shlex.quote(_target(books))}" if kind == "finetune" else shlex.quote(_target(books))
    onward = f"gan-transfer {kind} {target} --data {shlex.quote(data)} --from {network} --kimg {grown}"
    finished = bool(books.events_named("finished"))
    return [
        Command("Make it again from the beginning", f"{again}{parent} --new"),
        Command("Go on from its best snapshot" if finished else "Resume it", onward if finished else again + parent),
        Command("Draw samples", f"gan-transfer sample --network {network} --seeds 0-63 --grid 8x8 --output out"),
        Command("Judge its newest snapshot", f"gan-transfer diagnose {where}"),
        Command("Publish it", f"gan-transfer publish {where} --repo ORG/NAME"),
    ]


def reproduce(books: Books) -> str:
    """The command that a run was begun with, as far as its books tell: with every setting that was typed."""
    kind, target = _kind(books)[0], shlex.quote(_target(books))
    words = [f"--target {target}" if kind == "finetune" else target]
    values = _flat(books.recipe)
    for key, origin in books.origin.items():
        text = str(origin)
        if text.startswith("--"):
            flag, _, value = text.partition(" ")
            words.append(f"{flag} {shlex.quote(value)}" if value else flag)
        elif text != "default" and not text.startswith("the pair ") and not text.endswith(".toml") and key in values:
            words.append(f"--set {shlex.quote(f'{key}={toml(values[key])}')}")
    return " ".join(["gan-transfer", kind, *dict.fromkeys(words)])


def origin_in_words(origin: str) -> str:
    """Where a value came from, without the folders of a recipe's file."""
    return f"recipe {Path(origin).name}" if origin.endswith(".toml") else origin


def _flat(recipe: dict[str, Any]) -> dict[str, Any]:
    tables = {key: value for key, value in recipe.items() if isinstance(value, dict)}
    return {f"{name}.{key}": value for name, table in tables.items() for key, value in table.items()} | recipe


def _files(books: Books) -> list[Path]:
    return [Path(text) for text in dict.fromkeys(map(str, books.origin.values())) if text.endswith(".toml")]


def _kind(books: Books) -> tuple[str, bool]:
    """`pretrain` or `finetune`, and whether the recipe's files say so."""
    kinds = [path.parent.name for path in _files(books) if path.parent.name in ("pretrain", "finetune")]
    return (kinds[0], True) if kinds else ("finetune", False)


def _target(books: Books) -> str:
    """The recipe's name, or its file where it is none of those that are shipped."""
    name = str(books.recipe.get("name", "coverart"))
    own = next((path for path in _files(books) if path.stem == name), None)
    shipped = own is None or own.parent.name in ("pretrain", "finetune")
    return name if shipped else str(own)


def _best(books: Books) -> str:
    kimg = number(books.best.get("kimg"))
    if kimg is None:
        return "none yet"
    look = next((line for line in books.looks if line["kimg"] == kimg), {})
    kid = number(look.get("kid_x1000"))
    return f"at {short(kimg)} kimg" + (f", KID x 1000 {short(kid)}" if kid is not None else "")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""
