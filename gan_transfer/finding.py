"""What the doctor says of one thing: how bad it is, what was found, what to do about it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence


class Level(enum.StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"

    @property
    def exit_code(self) -> int:
        """Of the command: 0, 10 or 20."""
        return 10 * list(Level).index(self)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes:
        level: how bad.
        what: was looked at.
        told: what was found.
        todo: what to do about it, a command wherever one does; empty for nothing.
    """

    level: Level
    what: str
    told: str
    todo: str = ""


def worst(findings: Sequence[Finding]) -> Finding | None:
    """The first of the gravest; None without any."""
    order = list(Level)
    return max(findings, key=lambda found: order.index(found.level), default=None)
