"""`report.html` of a run: one file that needs no network, made from the run folder alone.

Everything that comes from data is escaped, and the page's policy lets no script run but its own. Pages of other things
extend `templates/base.html`, take what they like from `templates/blocks.html`, and are made by `render`.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .. import __version__
from ..config import flatten
from ..errors import RunError
from ..explain import toml
from ..files import write_text
from . import svg, words
from .books import NEAREST, Books, Frame, Line, frames, number, read_books, section
from .curves import Z95, charts
from .live import clock_text
from .pictures import embed, embedded

REPORT = "report.html"
MOST_FRAMES = 24
MOST_LOOKS = 60
MOST_FACTS = 40
FIGURES = {"loss_d": "loss D", "loss_g": "loss G", "d_real": "D(x)", "d_fake": "D(G(z))"}
TEMPLATES = Path(__file__).parent / "templates"
LOOK = {
    "kimg": "kimg", "verdict": "verdict", "kid_x1000": "KID", "occupancy_loss": "missing", "vendi_ratio": "Vendi",
    "duplicates": "repeats", "copy_rate": "copies", "precision": "precision", "recall": "recall",
    "coverage": "coverage",
}  # fmt: skip
"""Columns of the table of looks."""
MOVED = {
    "generator": "weights of G, relative change", "discriminator": "weights of D, relative change",
    "pixels": "pictures of the same latents, mean difference (black to white is 1)",
    "pixels_apart": "for comparison, of two latents of the source",
    "features": "features of the same latents, cosine distance", "extractor": "features by",
}  # fmt: skip
"""Figures of how far a pair has moved."""
MOST_EVENTS = 100
LONG_SEC, SILENT_TICKS = 300.0, 20
"""A run that has told nothing for so long, and as long as so many ticks take, is taken to be trained no more."""


def write_report(folder: Path, reals: bool = True) -> Path:
    """Write `report.html` into a run folder, and give back its path.

    Args:
        folder: of the run, as far as it is written.
        reals: show real pictures; without them the page can be handed on where these cannot.

    Raises:
        RunError: it is no run folder, or it cannot be written.
    """
    page = render("run.html", _values(read_books(folder), reals))
    try:
        write_text(folder / REPORT, page)
    except OSError as error:
        raise RunError(f"{folder / REPORT} cannot be written ({error.strerror or error}). Free space") from None
    return folder / REPORT


def render(template: str, values: Mapping[str, Any], policy: str = "img-src data:") -> str:
    """A page from a template that extends `base.html`.

    Args:
        template: in the folder of templates.
        values: what it shows; all text is escaped.
        policy: what it may load besides its own style and script.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # here: a tenth of a second

    loader = FileSystemLoader(TEMPLATES)
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    style, script = (
        (TEMPLATES / name).read_text(encoding="utf-8").replace("\r\n", "\n") for name in ("page.css", "page.js")
    )
    whole = (
        f"default-src 'none'; {policy}; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    own = {"style": Markup(style), "script": Markup(script), "policy": whole, "version": __version__}
    return pages.get_template(template).render(own | dict(values))


def live_values(folder: Path) -> dict[str, Any]:
    """What the page of a running run shows: verdict, speed, time left, curves, and the name of the newest grid."""
    books = read_books(folder)
    last = books.ticks[-1] if books.ticks else {}
    speed, left = number(last.get("img_per_sec")), number(last.get("eta_sec"))
    ended, told, age = bool(books.events_named("finished")), words.headline(books), _age(books)
    silent = not ended and age is not None and age > _patience(books)
    if silent and age is not None:
        told = dataclasses.replace(told, standing=f"{told.standing}; nothing new for {clock_text(age)}")
    return {
        "name": books.folder.resolve().name,
        "told": told,
        "tiles": [
            ("img/s", svg.short(speed) if speed is not None else "–"),
            ("ETA", clock_text(left) if left is not None and not (ended or silent) else "–"),
            *((label, _cell(last.get(key))) for key, label in FIGURES.items()),
        ],
        "drawn": [(chart, svg.draw(chart)) for chart in charts(books)],
        "newest": books.frames[-1] if books.frames else None,
    }


def _age(books: Books) -> float | None:
    """Seconds since the run has last told anything."""
    times = [number(line.get("time")) for line in (*books.ticks[-1:], *books.looks[-1:], *books.events[-1:])]
    known = [when for when in times if when is not None]
    return max(time.time() - max(known), 0.0) if known else None


def _patience(books: Books) -> float:
    """Seconds without news after which a run is taken to have been killed: a look or a pack can take minutes."""
    times = [when for line in books.ticks[-2:] if (when := number(line.get("time"))) is not None]
    return max(LONG_SEC, SILENT_TICKS * (times[-1] - times[0]) if times else 0.0)


def _hash(text: str) -> str:
    """The source of a content-security policy that allows just this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _values(books: Books, reals: bool) -> dict[str, Any]:
    return {
        "name": books.folder.resolve().name,
        "told": words.headline(books),
        "frames": _frames(books.frames),
        "reals": embed(books.folder / "reals.png") if reals else "",
        "strip": embed(books.folder / "source_target.png"),
        "moved": _moved(books.moved),
        "drawn": [(chart, svg.draw(chart)) for chart in charts(books)],
        "events": [_event(event) for event in books.events if event.get("event") != "started"][-MOST_EVENTS:],
        "occupied": _occupied(books.looks),
        "look_columns": list(LOOK.values()),
        "looks": [[_cell(look.get(key)) for key in LOOK] for look in books.looks[-MOST_LOOKS:]],
        "nearest": _nearest(books, reals),
        "layers": [_layer(row) for row in books.blocks],
        "commands": words.commands(books),
        "recipe": _recipe(books),
        "facts": _environment(books),
        "made": time.strftime("%Y-%m-%d %H:%M"),
    }


def _frames(grids: Sequence[Frame]) -> list[dict[str, str]]:
    """The grids that are shown: evenly chosen, the first and the last among them."""
    count = min(len(grids), MOST_FRAMES)
    chosen = [grids[place * (len(grids) - 1) // max(count - 1, 1)] for place in range(count)]
    pairs = zip(chosen, embedded([frame.path for frame in chosen]), strict=True)
    return [{"label": svg.short(frame.kimg), "uri": uri} for frame, uri in pairs if uri]


def _occupied(looks: Sequence[Line]) -> dict[str, Any] | None:
    """The fakes in the modes of the reals, at the newest look that counted them."""
    for look in reversed(looks):
        modes = section(look, "modes")
        fakes, reals = (_counts(modes.get(name)) for name in ("fakes", "reals"))
        if fakes and len(fakes) == len(reals) and sum(reals):
            break
    else:
        return None
    n, m = sum(fakes), sum(reals)
    order = sorted(range(len(reals)), key=lambda mode: -reals[mode])
    shares = [reals[mode] / m for mode in order]
    chance = [Z95 * math.sqrt(n * share * (1 - share) * (1 + n / m)) for share in shares]
    counts, expected = [fakes[mode] for mode in order], [n * share for share in shares]
    few = sum(count < mean - more for count, mean, more in zip(counts, expected, chance, strict=True))
    told = f"At {svg.short(look['kimg'])} kimg {few} of {len(counts)} modes hold fewer fakes than chance explains. "
    legend = "Grey: where 95 of 100 sets of as many real pictures would be. The verdict looks at many more modes."
    return {"svg": svg.bars(counts, expected, chance), "words": told + legend}


def _counts(value: Any) -> list[int]:
    usable = isinstance(value, list) and all(type(count) is int and count >= 0 for count in value)
    return value if usable else []


def _nearest(books: Books, reals: bool) -> dict[str, Any] | None:
    """The fakes nearest to training pictures, at the newest look that has written them."""
    pictures = {frame.kimg: frame.path for frame in frames(books.folder, NEAREST)}
    for look in reversed(books.looks):
        rows = look.get("nearest")
        path = next((path for kimg, path in pictures.items() if int(kimg) == int(look["kimg"])), None)
        if isinstance(rows, list) and rows and path and (uri := embed(path, height=1.0 if reals else 0.5)):
            break
    else:
        return None
    copies = sum(bool(row.get("copy")) for row in rows if isinstance(row, dict))
    seen = f"At {svg.short(look['kimg'])} kimg {copies} of these {len(rows)} fakes are called copies{_by_chance(look)}."
    shown = "Below each fake: the training picture that it comes nearest to." if reals else "Real pictures left out."
    cells = [[_cell(row.get(key)) for key in ("fake", "row", "ratio", "copy")] for row in rows if isinstance(row, dict)]
    alt = "Fakes above the training pictures nearest to them" if reals else "Fakes that come nearest to real pictures"
    return {"words": f"{seen} {shown}", "uri": uri, "rows": cells, "alt": alt}


def _by_chance(look: Line) -> str:
    """Set beside the copies: how often real pictures would be called so."""
    rate, expected = number(look.get("copy_rate")), number(look.get("copy_expected"))
    if rate is None or expected is None:
        return ""
    return f" ({rate:.1%} of all; of real pictures that nobody copied it would be {expected:.1%})"


def _moved(line: Line) -> list[list[str]]:
    """How far the pair is from its source, the whole first and then block by block."""
    whole = [[label, _cell(line[key])] for key, label in MOVED.items() if key in line]
    return whole + [[f"weights of {name}, relative change", _cell(to)] for name, to in section(line, "blocks").items()]


def _event(event: Line) -> list[str]:
    """What happened, when, and what is known of it."""
    told = {key: value for key, value in event.items() if key not in ("event", "time", "kimg")}
    known = "; ".join(f"{key} {value}" for key, value in _facts(told))
    return [_cell(event.get("kimg")), _date(number(event.get("time"))), str(event.get("event", "–")), known or "–"]


def _layer(row: Line) -> list[str]:
    begin = section(row, "start")
    how = ": ".join(filter(None, (str(begin.get(key, "")) for key in ("start", "detail"))))
    rate = "frozen" if row.get("frozen") else _cell(row.get("learning_rate"))
    name = f"{begin.get('network', '')} {begin.get('block', '')}"
    return [name, _cell(begin.get("parameters")), how, rate, _cell(row.get("batch_norm"))]


def _recipe(books: Books) -> list[list[str]]:
    values = flatten(books.recipe)
    return [[key, toml(value), words.origin_in_words(str(books.origin.get(key, "")))] for key, value in values.items()]


def _environment(books: Books) -> list[list[str]]:
    started = next(iter(books.events_named("started")), {})
    told = {key: value for key, value in started.items() if key not in ("event", "time")}
    began = [["begun", _date(number(started.get("time")))]] if "time" in started else []
    resumed = len(books.events_named("resumed"))
    return [*began, *_facts(told), *([["resumed", f"{resumed} times"]] if resumed else [])]


def _facts(table: Line) -> list[list[str]]:
    """A nested table as rows of text."""
    return [[key, _cell(value)] for key, value in flatten(table).items()][:MOST_FACTS]


def _date(when: float | None) -> str:
    with contextlib.suppress(ValueError, OverflowError, OSError):  # no time that a calendar knows
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when)) if when is not None else "–"
    return "–"


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return svg.short(value) if number(value) is not None else str(value)
