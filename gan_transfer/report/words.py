"""A run in words: how it stands, what to do next, and the commands that make it again or go on."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from ..diagnostics.verdict_words import State
from ..rerun import read_rerun
from .books import Books, number
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
    State.PARTIAL: "Take the best snapshot; where that is the newest and the KID still falls, train longer.",
    State.COLLAPSED: "Take the best snapshot, or train anew from a pretrained pair or with a lower --dlr.",
    State.MEMORISED: "Train on more pictures, with --augment color,translation,cutout, or for fewer --kimg.",
    State.UNTRAINED: "Train longer, and see that --data and its crop (--set data.crop=NAME) are those you meant.",
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
    kept = books.folder / "best" if books.best else books.folder
    network = shlex.quote(str(kept))
    rerun = read_rerun({"name": "coverart"} | books.recipe, _texts(books.origin), books.folder.parent)
    onward = rerun.onward(kept, 2 * (books.total_kimg or books.kimg or 50))
    finished = bool(books.events_named("finished"))
    return [
        Command("Make it again from the beginning", f"{rerun} --new"),
        Command("Go on from its best snapshot" if finished else "Resume it", onward if finished else str(rerun)),
        Command("Draw samples", f"gan-transfer sample --network {network} --seeds 0-63 --grid 8x8 --output out"),
        Command("Judge its newest snapshot", f"gan-transfer diagnose {where}"),
        Command("Publish it", f"gan-transfer publish {network} --repo ORG/NAME"),
    ]


def origin_in_words(origin: str) -> str:
    """Where a value came from, without the folders of a recipe's file."""
    return f"recipe {Path(origin).name}" if origin.endswith(".toml") else origin


def _texts(table: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in table.items()}


def _best(books: Books) -> str:
    kimg = number(books.best.get("kimg"))
    if kimg is None:
        return "none yet"
    look = next((line for line in books.looks if line["kimg"] == kimg), {})
    kid = number(look.get("kid_x1000"))
    return f"at {short(kimg)} kimg" + (f", KID x 1000 {short(kid)}" if kid is not None else "")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""
