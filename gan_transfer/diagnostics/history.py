"""The looks at one run, one after another: which was the best, is it better now than it was, and has it collapsed?

KID is compared with the best of the run, since by itself it says nothing: it hangs on the pictures and the extractor.
A young generator is `untrained`, then `collapsed` for long, and its KID jumps about; all that is no alarm. Something
that was there must have been lost.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from .verdict import State

BAD = (State.COLLAPSED, State.MEMORISED, State.UNTRAINED)
"""States in which nobody wants a generator; the others are fit."""

WELL = (State.HEALTHY, State.WARNING)
"""States that give no alarm unless the pictures are `NARROWED`."""

MUCH_WORSE = 1.5
"""Times the best KID that gives the alarm when two looks in a row are beyond it, and at once when something fit became
bad. From one look to the next the KID of healthy runs rose by a third at most, that of young ones by a half."""

WORSE = 1.2
"""The same for two looks in a row that are bad, where the best one was fit. A fit look that is not beyond it is one to
come back to."""

CERTAIN = 3.0
"""Standard errors of the KID that it must be worse by, so that a good generator's small KID may fluctuate."""

NARROWED = 0.85
"""Share of the best look's Vendi score below which the generator has lost variety, whatever the verdict: that compares
with the reals, and where these are few it overlooks much."""

NARROWED_WORSE = 1.3
"""Times the best KID from which narrowed pictures give the alarm: fewer kinds of better pictures are a choice."""

CREDIBLE = 0.5
"""Improved precision from which copies are believed in: a copy lies where real pictures lie. Some generators that know
nothing yet draw what is nearest to one real picture."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One look.

    Attributes:
        kimg: when.
        state: the verdict.
        kid: in any unit, the same for all looks.
        error: its standard error, for the same reals.
        precision: improved precision.
        vendi: Vendi score of all fakes; NaN where it is not known.
    """

    kimg: float
    state: State
    kid: float
    error: float
    precision: float
    vendi: float = math.nan

    @property
    def fit(self) -> bool:
        """Whether the generator is one that somebody may want."""
        return self.state not in BAD


@dataclasses.dataclass(frozen=True)
class Alarm:
    """A generator that got worse and is of no use any more.

    Attributes:
        now: the newest look.
        best: what it is compared with; None where all looks were bad for a reason besides the KID.
    """

    now: Entry
    best: Entry | None

    @property
    def state(self) -> State:
        """What has become of the generator; a loss of variety that its verdict overlooked is a partial collapse."""
        return State.PARTIAL if self.now.state in WELL else self.now.state

    def __str__(self) -> str:
        """In words: `collapsed; KID is 1.8 times that at 20 kimg`."""
        if self.best is None:
            return f"{self.now.state}, for the second time"
        word = f"{self.now.state} again" if self.now.state is State.UNTRAINED else str(self.state)
        loss = f", Vendi score {self.now.vendi / self.best.vendi:.2f} times" if self.now.state in WELL else ""
        if self.best.kid <= 0:  # an unbiased estimate may be, where fakes are as good as reals
            was = f"that at {self.best.kimg:g} kimg was {self.best.kid:.3g}"
            return f"{word}; KID x 1000 is {self.now.kid:.3g}{loss}, {was}"
        return f"{word}; KID is {self.now.kid / self.best.kid:.1f} times{loss} that at {self.best.kimg:g} kimg"


def best(looks: Sequence[Entry]) -> Entry | None:
    """The fit look with the lowest KID, of equal ones the first; while there is none, such an untrained one; else None.

    A collapsed or memorised generator is never the best, however low its KID.
    """
    kept = [look for look in looks if look.fit] or [look for look in looks if look.state is State.UNTRAINED]
    return min(kept, key=lambda look: look.kid, default=None)


def alarm(looks: Sequence[Entry]) -> Alarm | None:
    """Whether the newest look shows that what was there has been lost.

    Its KID is compared with the lowest of those that had learnt something, but not by heart; see `MUCH_WORSE`, `WORSE`
    and `NARROWED`. Besides, two memorised looks in a row give the alarm, if they are credible and nearer to the reals
    than the first look was: then the KID may be excellent.

    Args:
        looks: of one run by one extractor, in order.
    """
    if not looks:
        return None
    *earlier, now = looks
    if top := _narrowed(earlier, now):
        return Alarm(now, top)
    if now.state in WELL:
        return None
    trained = [look for look in earlier if look.state not in (State.UNTRAINED, State.MEMORISED)]
    top = min(trained, key=lambda look: look.kid, default=None)
    if top is not None:
        before = earlier[-1]
        at_once = top.fit and not now.fit and _worse(now, top, MUCH_WORSE)
        lasting = WORSE if top.fit and not now.fit and not before.fit else MUCH_WORSE
        twice = _worse(before, top, lasting) and _worse(now, top, lasting)
        if at_once or twice:
            return Alarm(now, top)
    again = len(earlier) > 1 and earlier[-1].state is now.state is State.MEMORISED
    learnt = now.kid < looks[0].kid and now.precision >= CREDIBLE
    return Alarm(now, None) if again and learnt else None


def sound(looks: Sequence[Entry]) -> bool:
    """Whether the newest look is fit and about as good as the best one: a moment to come back to."""
    top = best(looks)
    return top is not None and looks[-1].fit and not _worse(looks[-1], top, WORSE)


def stalled(looks: Sequence[Entry], patience: int) -> bool:
    """Whether the best look since training began lies `patience` looks or more behind the newest one; never while no
    look is fit."""
    looks = [look for look in looks if look.kimg > 0]
    top = best(looks)
    return top is not None and top.fit and len(looks) - 1 - list(looks).index(top) >= patience


def _narrowed(earlier: Sequence[Entry], now: Entry) -> Entry | None:
    """The best look since training began, if the newest one is worse and shows less variety than that."""
    top = best([look for look in earlier if look.kimg > 0])
    lost = top is not None and top.fit and now.vendi < NARROWED * top.vendi and _worse(now, top, NARROWED_WORSE)
    return top if lost else None


def _worse(look: Entry, top: Entry, times: float) -> bool:
    """Whether a look's KID is at least so many times the best one's, beyond chance."""
    return look.kid >= times * top.kid and look.kid - top.kid > CERTAIN * (look.error**2 + top.error**2) ** 0.5
