"""What a run resumes from: everything that training changes, in one file per checkpoint.

A checkpoint is whole or absent (written aside, then renamed), carries a checksum of all that it holds, and the last two
are kept, so that a damaged newest one costs only the time since the one before.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import TrainingError
from .checkpoint_file import Damaged, name_of, read, write
from .step import Players

KEPT = 2  # checkpoints

SHARE = 0.02
"""Of the training time for which checkpoints may hold the loop up: where they would take more, there are fewer."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: `state-latest` of the run, or another; made by the first `save`.
        kept: how many of the newest stay.

    Attributes:
        seconds: for which `save` has held its callers up.
    """

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self.folder, self.kept, self.seconds = folder, kept, 0.0
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._rest_until = 0.0

    def paths(self) -> list[Path]:
        """All checkpoint files, newest first; waits for one that is being written, and raises its errors."""
        self._settle()
        return self._files()

    @contextlib.contextmanager
    def in_background(self) -> Iterator[None]:
        """Inside the block `save` only copies what it saves, and a thread writes it.

        One is written at a time, in order. What goes wrong is raised by the next call, at the latest by the end of the
        block, which waits until all is written.
        """
        with ThreadPoolExecutor(1, "checkpoint") as self._thread:
            try:
                yield
            finally:
                self._thread = None
                self._settle()

    def cheap(self) -> bool:
        """Whether checkpoints hold the loop up for no more than `SHARE` of the time if one is written now, judged by
        how long the last one did; without a thread, always.

        Raises:
            OSError: the one before could not be written.
        """
        if self._writing and self._writing.done():
            self._settle()
        return self._thread is None or time.perf_counter() >= self._rest_until

    def faults(self) -> list[str]:
        """What is wrong with files that cannot be resumed from, a line each; nothing is changed."""
        found = []
        for path in self.paths():
            try:
                read(path)
            except Damaged as error:
                found.append(f"{path.name} is damaged ({error})")
        return found

    def save(self, players: Players, random: torch.Generator, clock: dict[str, Any]) -> Path:
        """Write a checkpoint, first of all copying what it holds.

        Args:
            players: networks and optimisers.
            random: the generator of latents and augmentation; torch's global ones, for dropout, are saved too.
            clock: JSON values to resume with; must hold `images_seen`.

        Raises:
            TrainingError: a weight is not finite; nothing is written, the last good checkpoint stays.
            OSError: no space, no permission; also of the one before.
        """
        begin = time.perf_counter()
        self._settle()
        tensors = tensors_of(players)
        if broken := _not_finite(tensors):
            raise TrainingError(f"{broken} is not finite at {clock['images_seen'] / 1000:.2f} kimg")
        tensors = {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
        tensors |= _random_states(random, _device(players))
        path = self.folder / name_of(clock)
        if self._thread:
            self._writing = self._thread.submit(self._write, path, tensors, dict(clock))
        else:
            self._write(path, tensors, clock)
        held = time.perf_counter() - begin
        self.seconds += held
        self._rest_until = begin + held / SHARE
        return path

    def rewind(self, players: Players, random: torch.Generator, clock: dict[str, Any]) -> Path:
        """Write a checkpoint of an earlier moment and forget those after it; arguments and errors as for `save`.

        It is written before the others go, so that a kill at any moment leaves one to go on from.
        """
        later = [path for path in self.paths() if path.name > name_of(clock)]
        path = Checkpoints(self.folder, self.kept + len(later)).save(players, random, clock)
        for other in later:
            other.unlink()
        return path

    def restore(self, players: Players, random: torch.Generator) -> tuple[dict[str, Any] | None, list[str]]:
        """Load the newest checkpoint that is whole into the players and the random generators.

        Damaged ones before it are renamed, so that they do not count as kept. Where all are damaged, nothing is.

        Returns:
            Its clock, or None where there is none; and one line for each damaged file that was passed over.

        Raises:
            Damaged: there are checkpoints and none is whole.
            RunError: one was written by a newer version.
        """
        damaged = dict[Path, str]()
        for path in self.paths():
            try:
                tensors, clock = read(path)
            except Damaged as error:
                damaged[path] = f"{path.name} is damaged ({error})"
                continue
            for other in damaged:
                other.rename(other.with_suffix(".damaged"))
            put(players, tensors)
            _put_random_states(tensors, random, _device(players))
            return clock, list(damaged.values())
        if damaged:
            faults = "; ".join(damaged.values())
            raise Damaged(f"no checkpoint in {self.folder} can be read: {faults}. Begin anew with --new")
        return None, []

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoint-*.safetensors"), reverse=True)

    def _write(self, path: Path, tensors: dict[str, Tensor], clock: dict[str, Any]) -> None:
        self.folder.mkdir(exist_ok=True)
        write(path, tensors, clock)
        for old in self._files()[self.kept :]:
            old.unlink()

    def _settle(self) -> None:
        """Wait for the thread, and raise what went wrong in it, once."""
        writing, self._writing = self._writing, None
        if writing:
            writing.result()


def tensors_of(players: Players) -> dict[str, Tensor]:
    """Every tensor of the players under a flat name."""
    networks = {"generator": players.generator, "discriminator": players.discriminator, "ema": players.ema.network}
    tensors = {f"{part}.{k}": v for part, network in networks.items() for k, v in network.state_dict().items()}
    for part, adam in (("adam_g", players.adam_g), ("adam_d", players.adam_d)):
        for number, state in adam.state_dict()["state"].items():
            tensors |= {f"{part}.{number}.{key}": value for key, value in state.items()}
    return tensors | {f"memory.{name}": value for name, value in players.memory.items()}


def put(players: Players, tensors: dict[str, Tensor]) -> None:
    """Give the players the tensors that `tensors_of` took from others of the same shape."""
    networks = {"generator": players.generator, "discriminator": players.discriminator, "ema": players.ema.network}
    for part, network in networks.items():
        network.load_state_dict(_below(tensors, part))
    for part, adam in (("adam_g", players.adam_g), ("adam_d", players.adam_d)):
        parameters = [weight for group in adam.param_groups for weight in group["params"]]
        adam.state.clear()  # before the first step there is none
        for name, value in _below(tensors, part).items():
            number, _, key = name.partition(".")
            weight = parameters[int(number)]
            # The moments must lie in memory as their weights do (channels-last): fused Adam walks both in step,
            # and counts its steps on their device.
            count = value.to(weight.device) if adam.defaults["fused"] else value
            adam.state[weight][key] = torch.empty_like(weight).copy_(value) if value.dim() else count
    for name, value in _below(tensors, "memory").items():
        players.memory[name] = value.to(players.memory[name].device)


def _below(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}


def _device(players: Players) -> torch.device:
    return next(players.generator.parameters()).device


def _not_finite(tensors: dict[str, Tensor]) -> str | None:
    """The first name whose values are not all finite; the device is waited for once."""
    floats = {name: value for name, value in tensors.items() if value.is_floating_point()}
    device = next(iter(floats.values())).device
    finite = torch.stack([value.detach().isfinite().all().to(device) for value in floats.values()]).tolist()
    return next((name for name, good in zip(floats, finite, strict=True) if not good), None)


def _random_states(random: torch.Generator, device: torch.device) -> dict[str, Tensor]:
    """The states of all generators that training draws from: ours, torch's own, and that of the device."""
    states = {"random": random.get_state(), "random_global": torch.get_rng_state()}
    if device.type == "cuda":
        states["random_cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["random_mps"] = torch.mps.get_rng_state()
    return states


def _put_random_states(tensors: dict[str, Tensor], random: torch.Generator, device: torch.device) -> None:
    """Take them again, as far as they are there: the run may have been on another device."""
    random.set_state(tensors["random"])
    torch.set_rng_state(tensors["random_global"])
    if device.type == "cuda" and "random_cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random_cuda"], device)
    if device.type == "mps" and "random_mps" in tensors:
        torch.mps.set_rng_state(tensors["random_mps"])
