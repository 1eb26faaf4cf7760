"""What a run resumes from: everything that training changes, in one safetensors file per checkpoint.

A checkpoint is whole or absent (written aside, then renamed), carries a checksum of its tensors, and the last two
are kept, so that a damaged newest one costs only the time since the one before.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import RunError, TrainingError
from ..files import atomic
from .step import Players

KEPT = 2  # checkpoints


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: `state-latest` of the run, or another; made by the first `save`.
        kept: how many of the newest stay.
    """

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self.folder, self.kept = folder, kept

    def paths(self) -> list[Path]:
        """All checkpoint files, newest first."""
        return sorted(self.folder.glob("checkpoint-*.safetensors"), reverse=True)

    def save(self, players: Players, random: torch.Generator, clock: dict[str, Any]) -> Path:
        """Write a checkpoint.

        Args:
            players: networks and optimisers.
            random: the generator of latents and augmentation; torch's global one, for dropout, is saved too.
            clock: JSON values to resume with; must hold `images_seen`.

        Raises:
            TrainingError: a weight is not finite; nothing is written, the last good checkpoint stays.
            OSError: no space, no permission.
        """
        tensors = {k: v.detach().cpu().contiguous() for k, v in _tensors(players).items()}
        tensors |= {"random": random.get_state(), "random_global": torch.get_rng_state()}
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise TrainingError(f"{name} is not finite at {clock['images_seen'] / 1000:.2f} kimg")
        self.folder.mkdir(exist_ok=True)
        path = self.folder / _name(clock)
        metadata = {"format": "pt", "clock": json.dumps(clock), "sha256": _digest(tensors)}
        with atomic(path) as temporary:
            save_file(tensors, temporary, metadata)
        for old in self.paths()[self.kept :]:
            old.unlink()
        return path

    def rewind(self, players: Players, random: torch.Generator, clock: dict[str, Any]) -> Path:
        """Write a checkpoint of an earlier moment and forget those after it; arguments and errors as for `save`.

        It is written before the others go, so that a kill at any moment leaves one to go on from.
        """
        later = [path for path in self.paths() if path.name > _name(clock)]
        path = Checkpoints(self.folder, self.kept + len(later)).save(players, random, clock)
        for other in later:
            other.unlink()
        return path

    def restore(self, players: Players, random: torch.Generator) -> tuple[dict[str, Any] | None, list[str]]:
        """Load the newest checkpoint that is whole into the players and the random generator.

        Returns:
            Its clock, or None where there is none; and one line for each damaged file that was passed over.

        Raises:
            RunError: there are checkpoints and none is whole.
        """
        faults = []
        for path in self.paths():
            try:
                tensors, clock = _read(path)
            except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
                faults.append(f"{path.name} is damaged ({error})")
                path.rename(path.with_suffix(".damaged"))  # it must not count as one of those kept
                continue
            _put(players, tensors)
            random.set_state(tensors["random"])
            torch.set_rng_state(tensors["random_global"])
            return clock, faults
        if faults:
            raise RunError(f"no checkpoint in {self.folder} can be read: {'; '.join(faults)}. Begin anew with --new")
        return None, []


def _tensors(players: Players) -> dict[str, Tensor]:
    """Every tensor of the players under a flat name."""
    networks = {"generator": players.generator, "discriminator": players.discriminator, "ema": players.ema.network}
    tensors = {f"{part}.{k}": v for part, network in networks.items() for k, v in network.state_dict().items()}
    for part, adam in (("adam_g", players.adam_g), ("adam_d", players.adam_d)):
        for number, state in adam.state_dict()["state"].items():
            tensors |= {f"{part}.{number}.{key}": value for key, value in state.items()}
    return tensors | {f"memory.{name}": value for name, value in players.memory.items()}


def _put(players: Players, tensors: dict[str, Tensor]) -> None:
    networks = {"generator": players.generator, "discriminator": players.discriminator, "ema": players.ema.network}
    for part, network in networks.items():
        network.load_state_dict(_below(tensors, part))
    for part, adam in (("adam_g", players.adam_g), ("adam_d", players.adam_d)):
        parameters = [weight for group in adam.param_groups for weight in group["params"]]
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


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    if _digest(tensors) != metadata["sha256"]:
        raise ValueError("its checksum does not fit")
    if not {"random", "random_global"} <= tensors.keys():
        raise ValueError("it was written by another version")
    clock: dict[str, Any] = json.loads(metadata["clock"])
    if _name(clock) != path.name:
        raise ValueError("its clock does not fit its name")
    return tensors, clock


def _name(clock: dict[str, Any]) -> str:
    return f"checkpoint-{clock['images_seen']:012d}.safetensors"


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
