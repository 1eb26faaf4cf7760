"""Snapshots: a folder of `config.json`, `model.safetensors` and `discriminator.safetensors` <-> a pair.

Nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import DamagedError
from ..files import sha256, write_json
from ..recipe import Model
from ..tensor_files import save_tensors
from .dcgan import Discriminator, Generator, Network
from .snapshot import (
    AGAIN,
    CONFIG,
    DISCRIMINATOR,
    FORMAT,
    GENERATOR,
    METRICS,
    PARTNER,
    RECIPE,
    read_config,
    read_header,
)

_KEYS = ((".parametrizations.weight.original", ".weight"), (".parametrizations.weight.0._", ".weight_"))
"""Spectral norm's names for its weight and vectors, and ours, so that convolutions are called alike in every form."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """A generator and a discriminator that were trained together.

    Attributes:
        generator: the averaged generator, float32, in eval mode.
        discriminator: float32, in eval mode.
        info: the rest of `config.json`: kimg, recipe, data, lineage.
        origin: where it was opened: `hf:org/name@COMMIT`, `builtin:NAME`, or the name of a folder, without the path to
            it; empty for a pair that was made here.
    """

    generator: Generator
    discriminator: Discriminator
    info: dict[str, Any]
    origin: str = ""

    @property
    def model(self) -> Model:
        """The shape of both networks."""
        return self.generator.model


def save_pair(
    folder: Path, pair: Pair, dtype: torch.dtype = torch.float32, recipe: dict[str, Any] | None = None
) -> None:
    """Write a snapshot; `config.json` comes last, so that a folder without it is unfinished.

    The header of each weight file tells the kimg and the SHA-256 of `recipe.json`; see `snapshot` for the partner's.

    Args:
        folder: made if absent.
        pair: its generator should be the average, with recalibrated statistics.
        dtype: of the weights on disk; batch-norm statistics stay float32.
        recipe: what the pair was trained with, for others to read: no path of this machine in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, RECIPE, METRICS):  # written anew, the snapshot is unfinished again and has not been judged
        (folder / name).unlink(missing_ok=True)
    header = {"format": "pt", "library": "gan-transfer"}
    if "kimg" in pair.info:
        header["kimg"] = str(pair.info["kimg"])
    if recipe is not None:
        write_json(folder / RECIPE, recipe)
        header["recipe_sha256"] = sha256(folder / RECIPE)
    _save(folder / DISCRIMINATOR, pair.discriminator, dtype, header)
    _save(folder / GENERATOR, pair.generator, dtype, header | {PARTNER: sha256(folder / DISCRIMINATOR)})
    sums = {name: sha256(folder / name) for name in (GENERATOR, DISCRIMINATOR)}
    head = {"format": FORMAT, "library": "gan-transfer", "model": dataclasses.asdict(pair.model)}
    write_json(folder / CONFIG, head | pair.info | {"sha256": sums})


def load_pair(folder: Path, sums: dict[str, str] | None = None) -> Pair:
    """Read a snapshot, strictly.

    Args:
        folder: with the three files.
        sums: SHA-256 by file name that must hold besides the ones in `config.json` (the embedded pair's index).

    Raises:
        WeightsError: missing, damaged, not partners, or weights that do not fit the configuration; says which file
            and why.
    """
    model, info = read_config(folder)
    expected = dict(info.get("sha256", {})) | (sums or {})
    generator, discriminator = Generator(model), Discriminator(model)
    for name, network in ((GENERATOR, generator), (DISCRIMINATOR, discriminator)):
        _load(folder / name, network, expected.get(name))
        network.eval()
    _check_partners(folder)
    return Pair(generator, discriminator, info)


def load_generator(folder: Path, sums: dict[str, str] | None = None) -> Generator:
    """Read only the generator of a snapshot, in eval mode; raises like `load_pair`."""
    model, info = read_config(folder)
    generator = Generator(model)
    _load(folder / GENERATOR, generator, (dict(info.get("sha256", {})) | (sums or {})).get(GENERATOR))
    return generator.eval()


def public_state(network: Network) -> dict[str, Tensor]:
    """A network's state under the names that are stored: `g4.conv.weight`, `d16.norm.bias` ..."""
    return {_public(name): value for name, value in network.state_dict().items()}


def load_public_state(network: Network, tensors: dict[str, Tensor]) -> None:
    """Put a state with stored names into a network; all names and shapes must fit."""
    network.load_state_dict({name: tensors[_public(name)] for name in network.state_dict()})


def _public(name: str) -> str:
    for ours, stored in _KEYS:
        name = name.replace(ours, stored)
    return name


def _stored(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    keep = not value.is_floating_point() or "running" in name  # a variance in bfloat16 costs more than it saves
    return value.detach().cpu().to(value.dtype if keep else dtype).contiguous().clone()


def _save(path: Path, network: Network, dtype: torch.dtype, header: dict[str, str]) -> None:
    tensors = {name: _stored(name, value, dtype) for name, value in public_state(network).items()}
    save_tensors(path, tensors, header)


def _check_partners(folder: Path) -> None:
    """See that the discriminator is the one that the generator was trained with, where the generator names it."""
    wanted, found = read_header(folder / GENERATOR).get(PARTNER), sha256(folder / DISCRIMINATOR)
    if wanted not in (None, found):
        raise DamagedError(
            f"{folder / GENERATOR} and {DISCRIMINATOR} were not trained together: the generator names a partner of "
            f"SHA-256 {wanted[:12]}..., this one has {found[:12]}... {AGAIN}"
        )


def _load(path: Path, network: Network, expected: str | None) -> None:
    """Check a file from the outside in - there, its kind, its checksum, its shapes - and load it."""
    if not path.is_file():
        raise DamagedError(f"{path} is missing; a pair is {CONFIG}, {GENERATOR} and {DISCRIMINATOR}. Get it again")
    tensors = _read(path)  # first, because it says best what stands in the place of weights
    if expected is not None and (found := sha256(path)) != expected:
        raise DamagedError(f"{path} is damaged: its SHA-256 is {found[:12]}..., wanted {expected[:12]}... Get it again")
    wanted = {name: tuple(value.shape) for name, value in public_state(network).items()}
    found_shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    if faults := _differences(wanted, found_shapes):
        told = "; ".join(faults[:4]) + " ..." * (len(faults) > 4)
        raise DamagedError(f"{path} does not fit its {CONFIG}: {told}. {AGAIN}")
    load_public_state(network, tensors)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise DamagedError(f"{path} is not a safetensors file: {_what_it_is(path) or error}. Get it again") from None


def _what_it_is(path: Path) -> str:
    """A name for the files that often stand in the place of weights."""
    with open(path, "rb") as file:
        head = file.read(200)
    cut_off = f"it is cut off or damaged ({path.stat().st_size:,} bytes)" if head else "it is empty"
    if head[8:9] == b"{":  # safetensors: a length, which can look like anything, then JSON
        return cut_off
    head = head.lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the weights (git lfs pull)"
    if head.startswith((b"<!doctype", b"<html")):
        return "it is a web page, not the weights"
    if head.startswith((b"pk\x03\x04", b"\x80")):
        return "it is a pickled checkpoint, which is not read"
    return cut_off


def _differences(wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> list[str]:
    missing = [f"{name} is missing" for name in wanted if name not in found]
    surplus = [f"{name} is not wanted" for name in found if name not in wanted]
    reshaped = [
        f"{name} is {list(found[name])}, wanted {list(shape)}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    return missing + surplus + reshaped
