"""What a diagnosis found: the verdict, the scores beside it, the pictures that it rests on; as JSON values too."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from torch import Tensor

from .scores import Measure
from .verdict import State, Verdict


@dataclasses.dataclass(frozen=True)
class Alike:
    """A fake that shows what another picture shows.

    Attributes:
        fake: its seed or label.
        other: label of the training picture, or of the other fake.
        mirrored: whether the other one's mirror image is meant.
    """

    fake: str
    other: str
    mirrored: bool = False


@dataclasses.dataclass(frozen=True)
class Classes:
    """What a classifier sees.

    Attributes:
        classifier: its name.
        fakes: share of the fakes in each class, float32 [classes].
        reals: the same of as many reals, or of all where there are fewer.
    """

    classifier: str
    fakes: Tensor
    reals: Tensor


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        verdict: the evidence, and its word.
        subject: whose pictures were judged.
        data: what they were compared with.
        extractor: whose features it was done with.
        n: fakes.
        resolution: of all pictures, pixels.
        crop: of the reals.
        seed: of all draws.
        measures: the metrics that were asked for.
        classes: the shares of the classes, if they were asked for.
        copies: fakes that seem to be copies of training pictures, the surest first.
        repeats: fakes that repeat another one, the surest first.
        notes: what limits the verdict, and what was done to the pictures.
        advice: what to do next.
        seconds: what it took.
    """

    verdict: Verdict
    subject: str
    data: str
    extractor: str
    n: int
    resolution: int
    crop: str
    seed: int
    measures: tuple[Measure, ...]
    classes: Classes | None
    copies: tuple[Alike, ...]
    repeats: tuple[Alike, ...]
    notes: tuple[str, ...]
    advice: str
    seconds: float

    @property
    def state(self) -> State:
        """The verdict in one word."""
        return self.verdict.state

    def to_dict(self) -> dict[str, Any]:
        """JSON values, nan being null; `fakes` and `reals` are how many were compared, of `n` fakes."""
        told = self.verdict.to_dict()
        plain = ("subject", "data", "extractor", "n", "resolution", "crop", "seed", "notes", "advice")
        told |= {key: getattr(self, key) for key in plain} | {"scores": [_score(row) for row in self.measures]}
        told |= {key: [dataclasses.asdict(row) for row in getattr(self, key)] for key in ("copies", "repeats")}
        if self.classes:
            shares = {"fakes": self.classes.fakes.tolist(), "reals": self.classes.reals.tolist()}
            told["classes"] = {"classifier": self.classes.classifier} | shares
        made: dict[str, Any] = _json(told | {"seconds": round(self.seconds, 2), "exit_code": self.state.exit_code})
        return made


def _score(measure: Measure) -> dict[str, Any]:
    score, reals = measure
    beside = {"reals": reals.value, "reals_n": reals.n} if reals else {"reals": None, "reals_n": None}
    plain = {key: getattr(score, key) for key in ("metric", "value", "n", "extractor", "interval")}
    return plain | beside


def _json(value: Any) -> Any:
    """Tuples as lists; nan and infinity, which JSON lacks, as None."""
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
