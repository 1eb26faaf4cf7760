"""The card of a published pair: its metadata for the Hub's search and family tree, and its text for people."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, not exported

from ..errors import PublishError
from ..models.lineage import ancestors, data_set, nearest_on_hub
from ..models.metrics import Metrics
from ..models.snapshot import CONFIG, DISCRIMINATOR, GENERATOR, METRICS, RECIPE, SAMPLES
from ..recipe import Model, Recipe
from ..text import reason
from . import words

TASK = "unconditional-image-generation"
LIBRARY = "gan-transfer"
UNCHOSEN = {"license": "other", "license_name": "terms-of-the-training-pictures"}
"""Metadata where the publisher names no licence."""

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a card is made of.

    Attributes:
        repo: `org/name`.
        model: the shape of both networks.
        parameters: of the generator and of the discriminator.
        info: the rest of `config.json`.
        recipe: what it was trained with; None where that is not told.
        metrics: findings; None if nobody has looked.
        files: names in the repository.
        license: an identifier of the Hub; empty leaves the choice open.
    """

    repo: str
    model: Model
    parameters: tuple[int, int]
    info: dict[str, Any]
    recipe: Recipe | None
    metrics: Metrics | None
    files: tuple[str, ...]
    license: str


def render(facts: Facts) -> str:
    """The whole `README.md`; the same facts give the same bytes."""
    sections = [_opening(facts), _files(facts), words.training(facts.info, facts.recipe)]
    sections += [words.findings(facts.metrics), words.terms(facts.info, facts.license), words.limits(facts.model)]
    return str(ModelCard(f"---\n{_metadata(facts).to_yaml()}\n---\n" + "\n\n".join(sections) + "\n"))


def check(text: str) -> None:
    """Check a card as far as that can be done without the Hub.

    Raises:
        PublishError: the metadata cannot be read, or the Hub would not understand it: all faults in one line.
    """
    try:
        data = ModelCard(text).data.to_dict()  # type: ignore[no-untyped-call]
    except Exception as error:  # YAML's own errors, and the client's
        raise _invalid([f"its metadata cannot be read ({reason(error)})"]) from None
    faults = []
    if not _LICENSE.fullmatch(str(data.get("license"))):
        known = "https://huggingface.co/docs/hub/repositories-licenses"
        faults.append(f"license {data.get('license')!r} is none that the Hub knows; give one of {known} with --license")
    bases = [] if data.get("base_model") is None else [("from", "base_model", data["base_model"])]
    for entry, key, value in [*bases, *(("data", "datasets", name) for name in data.get("datasets") or ())]:
        if not _is_name(value):
            faults.append(f"{key} {value!r} is no ORG/NAME; mend {entry!r} in {CONFIG}")
    if faults:
        raise _invalid(faults)


def _invalid(faults: list[str]) -> PublishError:
    return PublishError(f"nothing was uploaded, because the card is not valid: {'; '.join(faults)}")


def _is_name(value: Any) -> bool:
    try:
        validate_repo_id(value)
    except HFValidationError:
        return False
    return "/" in value


def _metadata(facts: Facts) -> ModelCardData:
    base, trained_on = nearest_on_hub(facts.info), data_set(facts.info)
    chosen: dict[str, Any] = {"license": facts.license} if facts.license else dict(UNCHOSEN)
    if base is not None:
        chosen |= {"base_model": base.repo, "base_model_relation": "finetune"}
    if trained_on is not None:
        chosen |= {"datasets": [trained_on]}
    return ModelCardData(
        library_name=LIBRARY,
        pipeline_tag=TASK,
        tags=["dcgan", "gan", "transfer-learning"],
        model_name=facts.repo.rpartition("/")[2],
        eval_results=_results(facts) or None,
        **chosen,
    )


def _results(facts: Facts) -> list[EvalResult]:
    found = facts.metrics
    if found is None:
        return []
    about = {"extractor": found.extractor, "n": found.n, "kimg": found.kimg}
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=data_set(facts.info) or "pictures",
            dataset_name=words.source(facts.info),
            metric_type=metric,
            metric_name=f"{metric} (extractor {found.extractor}, {found.n} samples)",
            metric_value=score.value,
            metric_args=about | ({} if score.error is None else {"standard_error": score.error}),
        )
        for metric, score in found.scores.items()
    ]


def _opening(facts: Facts) -> str:
    model, color = facts.model, "grey" if facts.model.channels == 1 else "colour"
    begun = next((f", fine-tuned from {words.pair(parent)}" for parent in ancestors(facts.info)), "")
    shown = f"![Samples]({SAMPLES})\n\n*The samples of seeds 0 to 63, none of them chosen.*\n\n"
    return (
        f"# {facts.repo.rpartition('/')[2]}\n\n"
        f"A DCGAN pair, generator *and* discriminator, for {model.resolution}x{model.resolution} {color} pictures"
        f"{begun}: to sample, and to start others from.\n\n"
        f"{shown if SAMPLES in facts.files else ''}"
        "```python\n"
        "import gan_transfer\n"
        f'pair = gan_transfer.load_pair("hf:{facts.repo}")\n'
        f"pictures = gan_transfer.sample(pair.generator, seeds=range(16))  # uint8 "
        f"[16, {model.channels}, {model.resolution}, {model.resolution}]\n"
        "```\n\n"
        f"`gan-transfer finetune --target coverart --data folder:my-covers --from hf:{facts.repo}` adapts it to other "
        "pictures."
    )


def _files(facts: Facts) -> str:
    g, d = (f"{count:,} parameters" for count in facts.parameters)
    told = {
        CONFIG: "shape, clock, lineage, SHA-256 of the weights",
        GENERATOR: f"the averaged generator, {g}; its header holds the SHA-256 of the discriminator's file",
        DISCRIMINATOR: f"its discriminator, {d}",
        RECIPE: "every setting that it was trained with",
        METRICS: "the figures below",
        SAMPLES: "the picture above",
    }
    rows = [f"| `{name}` | {told[name]} |" for name in told if name in facts.files]
    return "\n".join(["| file | what |", "|---|---|", *rows])
