"""What a verdict consists of: the seven words with their exit codes, the grades of a loss, and the evidence."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

from .diversity import Repeats
from .memorisation import Copy, Copying


class State(enum.StrEnum):
    """What a verdict says, from good to bad."""

    HEALTHY = "healthy"
    WARNING = "warning"
    PARTIAL = "partial collapse"
    COLLAPSED = "collapsed"
    MEMORISED = "memorised"
    UNTRAINED = "untrained"
    BATCH_NORM = "batch-norm mismatch"

    @property
    def exit_code(self) -> int:
        """Of the command: 0, 10, 20 ... 60."""
        return 10 * list(State).index(self)


class Grade(enum.IntEnum):
    """How much was lost on an axis; only what is significant has a grade above `NONE`."""

    NONE = 0
    MILD = 1
    PARTIAL = 2
    SEVERE = 3


LIMITS = {"occupancy": (0.0, 0.10, 0.35), "spread": (0.10, 0.20, 0.50), "duplicates": (0.02, 0.05, 0.30)}
"""Loss from which it is told at all, is partial, and is severe: share of the modes lost, of the Vendi score lost, and
of the pictures that repeat another one. Blur, noise or a paler contrast cost up to 0.06 of the Vendi score."""

SHARES = {"occupancy": 0.9, "spread": 0.05, "duplicates": 0.05}
"""How the chance of a false alarm is shared out: losses that are told of on the two others lie far beyond chance."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """One kind of lost diversity.

    Attributes:
        name: `occupancy`, `spread` or `duplicates`.
        statistic: as compared; larger is worse.
        expected: mean of the statistic where nothing is wrong.
        sd: its standard deviation there.
        p_value: chance of as large a statistic where nothing is wrong.
        loss: in plain measure, 0 to 1; see `LIMITS`.
        seen_from: the smallest loss that would have been noticed.
        grade: of the loss.
    """

    name: str
    statistic: float
    expected: float
    sd: float
    p_value: float
    loss: float
    seen_from: float
    grade: Grade


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found, with the evidence.

    Attributes:
        state: the verdict in one word.
        reason: the verdict in a sentence.
        axes: the three kinds of lost diversity.
        copying: share of copies of training pictures, and which; None without training pictures.
        repeats: which fakes repeat another one.
        kid: unbiased squared MMD times 1000, with KID's kernel.
        kid_floor: that of reals against reals would be below this in 95 of 100 cases.
        precision: share of fakes within the balls of the reals, but for the largest tenth of these.
        fakes: how many were compared.
        reals: how many they were compared with.
        alpha: chance of a false alarm over all looks.
        looks: how many verdicts this is one of.
        notes: what limits the verdict, such as low power.
    """

    state: State
    reason: str
    axes: tuple[Axis, ...]
    copying: Copying | None
    repeats: Repeats
    kid: float
    kid_floor: float
    precision: float
    fakes: int
    reals: int
    alpha: float
    looks: int
    notes: tuple[str, ...]

    def axis(self, name: str) -> Axis:
        """The axis of this name."""
        return next(axis for axis in self.axes if axis.name == name)

    @property
    def vendi_ratio(self) -> float:
        """Vendi score of the fakes divided by that of as many reals."""
        return 1 - self.axis("spread").loss

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without the lists of pictures."""
        plain = ("kid", "kid_floor", "precision", "fakes", "reals", "alpha", "looks")
        copying = {"copy_rate": self.copying.rate, "copy_p_value": self.copying.p_value} if self.copying else {}
        return {
            "verdict": str(self.state),
            "reason": self.reason,
            "axes": {axis.name: dataclasses.asdict(axis) | {"grade": axis.grade.name.lower()} for axis in self.axes},
            "vendi_ratio": self.vendi_ratio,
            **copying,
            **{name: getattr(self, name) for name in plain},
            "notes": list(self.notes),
        }

    @property
    def copies(self) -> tuple[Copy, ...]:
        """Fakes that seem to be copies of training pictures, the surest first."""
        return tuple(self.copying.suspects) if self.copying else ()
