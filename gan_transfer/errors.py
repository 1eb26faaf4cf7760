"""Every error that a user can meet. Each message names the thing, what was wanted, what came, and the next command.

GanTransferError            exit code 2: something that the user gave or has is not usable
├── RecipeError             a recipe, an override or a flag
├── DataError               a data source, a picture, a pack
├── WeightsError            a snapshot: missing, or of another shape
│   └── DamagedError        a file of it is missing or damaged, which getting it again would mend
├── PublishError            the Hub does not take a pair: token, permission, name, card
├── RunError                a run folder: not writable, disk too small, resumed with another recipe
├── TrainingError           exit code 1: the training itself failed (a loss that is not finite)
├── PeerLost                exit code 1: another process of the same run has gone
├── Collapsed               exit code 20, 30, 40 or 50: stopped by its own diagnosis, everything saved
└── Interrupted             exit code 128 + signal: stopped from outside, everything saved
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable


class GanTransferError(Exception):
    """Base of all errors of this package; its text is complete and meant for the user."""

    exit_code = 2


class RecipeError(GanTransferError):
    """A recipe, an override or a flag is not usable."""


class DataError(GanTransferError):
    """A data source, a picture or a pack is not usable."""


class WeightsError(GanTransferError):
    """A snapshot is missing, damaged, or does not fit."""


class DamagedError(WeightsError):
    """A file of a snapshot is missing or damaged; the text ends in the advice to get it, or the snapshot, again."""


class PublishError(GanTransferError):
    """A pair cannot be published: the token, the permission, the name, the card, or the way to the Hub."""


class RunError(GanTransferError):
    """A run folder cannot be made, written or resumed."""


class TrainingError(GanTransferError):
    """The training failed, for instance with a loss that is not finite."""

    exit_code = 1


class PeerLost(GanTransferError):
    """Another process of the same run has gone, so that this one cannot go on."""

    exit_code = 1


class Collapsed(GanTransferError):
    """The run was stopped because its generator had collapsed; a checkpoint has been written."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(GanTransferError):
    """The run was stopped by a signal after everything had been saved."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum
        self.signal_name = signal.Signals(signum).name


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` did you mean 'x'?` for the nearest known name, else the list of the known ones."""
    known = list(known)
    near = difflib.get_close_matches(name, known, 1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
