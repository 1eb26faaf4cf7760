"""What a card says in sentences and tables: training, findings, terms, limits."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

from ..errors import WeightsError
from ..models.embedded import index
from ..models.lineage import ancestors, data_set
from ..models.metrics import Metrics
from ..models.remote import PREFIX, parse
from ..recipe import Model, Recipe
from ..text import printable


def training(info: Mapping[str, Any], recipe: Recipe | None) -> str:
    """Pictures, length, beginning and the settings that matter, as a table."""
    data = _data(info)
    rows = [("pictures", pictures(info) + (f", {data['pictures']:,} of them" if "pictures" in data else ""))]
    if (kimg := info.get("kimg")) is not None:
        epochs = f" ({kimg * 1000 / data['pictures']:.1f} epochs)" if data.get("pictures") else ""
        rows.append(("length", f"{kimg:g} kimg: thousands of real pictures shown to the discriminator{epochs}"))
    began = [f"{pair(parent)} of {parent.get('kimg')} kimg" for parent in ancestors(info)]
    rows.append(("began with", ", which began with ".join(began) or "random weights"))
    if recipe is not None:
        rows.append(("recipe", f"{_code(recipe.name)}: {_settings(recipe)}"))
    return "\n".join(["## Training", "", "| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)])


def findings(metrics: Metrics | None) -> str:
    """The verdict and the scores with their errors, or that nobody has looked."""
    if metrics is None:
        return "## Findings\n\n**Not diagnosed**: whether this generator has collapsed was not looked at."
    rows = [
        f"| {_code(name)} | {score.value:.4g}" + ("" if score.error is None else f" ± {score.error:.2g}") + " |"
        for name, score in metrics.scores.items()
    ]
    return "\n".join([
        "## Findings", "",
        f"Collapse verdict at {metrics.kimg:g} kimg: **{printable(metrics.verdict)}**. {metrics.n:,} samples, features "
        f"of the extractor {_code(metrics.extractor)}; the error is one standard error.", "",
        "| score | value |", "|---|---|", *rows, "",
        "Scores of different extractors, or of different numbers of samples, cannot be compared; only those of the "
        "extractor `inception` are what papers call FID and KID.",
    ])  # fmt: skip


def terms(info: Mapping[str, Any], license: str) -> str:
    """Whose pictures these were, and what follows for the weights."""
    if license:
        chosen = f"The publisher gives these weights under {_code(license)}."
    else:
        chosen = "The publisher has named no licence for these weights."
    lines = [f"* {chosen} None of the training pictures are in this repository."]
    lines.append(f"* Training pictures: {pictures(info)}. {_rights(info)}")
    began = ((pair(parent), _embedded_terms(parent)) for parent in ancestors(info))
    lines += [f"* It began with {name}, whose terms come along{told}." for name, told in began]
    return "\n".join(["## Training data and terms", "", *lines])


def limits(model: Model) -> str:
    """What it cannot do."""
    return "\n".join([
        "## Limits", "",
        f"* {model.resolution}x{model.resolution} pixels, and unconditional: no class and no text can be asked for.",
        "* One run with one seed; another seed gives another pair.",
        "* A DCGAN knows the kinds of pictures that it was trained on, with their biases, and no others. What it was "
        "fine-tuned on may shine through: look for copies before you publish samples.",
    ])  # fmt: skip


def source(info: Mapping[str, Any]) -> str:
    """The training pictures by name: of the data set on the Hub, or as the publisher called them."""
    data = _data(info)
    return data_set(info) or printable(str(data.get("origin") or data.get("source") or "not told"))


def pictures(info: Mapping[str, Any]) -> str:
    """The training pictures in a few words, with a link where they are on the Hub."""
    if (name := data_set(info)) is None:
        return _code(source(info))
    return f"[{name}](https://huggingface.co/datasets/{name}) ({_code(str(_data(info)['origin']))})"


def pair(parent: Mapping[str, Any]) -> str:
    """An ancestor in a few words, with a link where it is on the Hub."""
    name = str(parent.get("pair"))
    if not name.startswith(PREFIX):
        return _code(name)
    address = parse(name)
    return f"[{address.repo}](https://huggingface.co/{address.repo}) at `{(address.revision or 'main')[:12]}`"


def _rights(info: Mapping[str, Any]) -> str:
    if str(_data(info).get("origin", "")).startswith("builtin:"):
        return "They are drawn by gan-transfer itself and show nobody's work."
    if data_set(info) is not None:
        return "What may be done with them, and with weights trained on them, its card says."
    return "They are the publisher's to answer for: ask before you use samples beyond research."


def _embedded_terms(parent: Mapping[str, Any]) -> str:
    """Those of a pair that ships with this package, whose card a reader on the Hub does not have."""
    kind, _, name = str(parent.get("pair")).partition(":")
    told = ""
    with contextlib.suppress(WeightsError):  # an installation without them
        told = index()["pairs"].get(name, {}).get("terms", "") if kind == "builtin" else ""
    return f": {told}" if told else ""


def _settings(recipe: Recipe) -> str:
    optim, transfer = recipe.optim, dataclasses.asdict(recipe.transfer)
    told = [
        f"{recipe.objective.loss} loss",
        f"Adam {optim.glr:g} (G) and {optim.dlr:g} (D)",
        f"batch {recipe.train.batch}",
        f"augmentation {', '.join(recipe.augment.operations) or 'none'}",
        "flips" if recipe.data.mirror else "no flips",
        f"seed {recipe.train.seed}",
    ]
    frozen = [key for key in transfer if key.startswith("freeze") and transfer[key]]
    return ", ".join([*told, *(f"{key.replace('_', ' ')} {transfer[key]}" for key in frozen)])


def _data(info: Mapping[str, Any]) -> dict[str, Any]:
    data = info.get("data")
    return data if isinstance(data, dict) else {}


def _code(text: str) -> str:
    """As code in a line of Markdown, also inside a table."""
    return f"`{printable(text).replace('`', chr(39)).replace('|', '/')}`"
