"""`metrics.json` of a snapshot: what was found when it was looked at. Only this file knows its form. Free of torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..errors import WeightsError
from ..files import write_json
from ..text import reason
from .snapshot import METRICS

_FINITE = {"allow_inf_nan": False}  # pydantic: a score is a number


@dataclasses.dataclass(frozen=True)
class Score:
    """A number and its standard error; None where that is not known."""

    __pydantic_config__ = _FINITE
    value: float
    error: float | None = None


@dataclasses.dataclass(frozen=True)
class Metrics:
    """One look at a generator.

    Attributes:
        kimg: the clock of the snapshot.
        extractor: whose features the scores were made with.
        n: fakes that were looked at.
        verdict: in words, such as `healthy` or `collapsed`.
        scores: by name, such as `kid_x1000`.
    """

    __pydantic_config__ = _FINITE
    kimg: float
    extractor: str
    n: int
    verdict: str
    scores: dict[str, Score]


def write_metrics(folder: Path, metrics: Metrics) -> None:
    """Put the findings into a snapshot folder."""
    write_json(folder / METRICS, dataclasses.asdict(metrics))


def read_metrics(folder: Path) -> Metrics | None:
    """The findings in a snapshot folder; None for a snapshot that nobody has looked at.

    Raises:
        WeightsError: the file is there and cannot be understood.
    """
    from pydantic import TypeAdapter, ValidationError  # here, because it takes a tenth of a second

    path = folder / METRICS
    if not path.is_file():
        return None
    try:
        return TypeAdapter(Metrics).validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        wrong = f"{where}: {fault['msg']}" if where else fault["msg"]
    except OSError as error:
        wrong = reason(error)
    raise WeightsError(f"{path} does not hold the findings of a look ({wrong}). Remove it, or diagnose the pair again")
