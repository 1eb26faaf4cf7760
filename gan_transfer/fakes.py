"""The pictures that are judged: made by a generator, read from a data source, or handed over as a tensor."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import shlex
from collections.abc import Callable, Collection, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from . import images, sampling
from .data.pack import Pack, PackSettings, cached_pack
from .data.pack_index import QUARANTINE
from .data.packed import ready
from .data.selection import Selection
from .data.source import Source
from .diagnostics.nulls import LEAST_REALS
from .errors import DataError, WeightsError
from .examine import pictures_of
from .models.dcgan import Generator
from .models.weights import public_state

LEAST = LEAST_REALS
"""Fakes below which nothing can be said."""

ADVICE = "Take an earlier snapshot, or train with lower learning rates"

FLAT = 0.01
"""Share of pictures of one flat colour that is told."""

BATCH = 64
"""Latents that batch norm shares statistics over where it uses those of each batch."""

_LOOKED_AT = 16
"""Pictures of a source whose size is looked up."""


@dataclasses.dataclass(frozen=True)
class Fakes:
    """Pictures to judge.

    Attributes:
        name: whose they are.
        pictures: uint8 [N, C, H, W], N >= `LEAST`, in random order.
        label: what to call the i-th one.
        on_batch_statistics: makes them again with the batch norm's statistics of each batch, uint8 [N, C, H, W]; None
            where no generator or no batch norm is at hand.
        look: the command that shows them; empty where there is none.
        notes: what was done to them that a reader should know.
    """

    name: str
    pictures: Tensor
    label: Callable[[int], str]
    on_batch_statistics: Callable[[], Tensor] | None = None
    look: str = ""
    notes: tuple[str, ...] = ()


class View(Protocol):
    """Whoever follows the work."""

    def say(self, text: str) -> None:
        """One line of talk."""

    def packing(self, done: int, total: int) -> None:
        """Pictures decoded so far."""


def of_generator(generator: Generator, where: str | None, n: int, seed: int, device: torch.device) -> Fakes:
    """Pictures of a generator in eval mode, made from the latents of the seeds seed * n, seed * n + 1, ...

    Args:
        generator: is copied, so that its mode and place do not change.
        where: it was loaded from; None for one that only Python knows.
        n: how many.
        seed: those of another one are all different.
        device: where they are made.

    Raises:
        WeightsError: a weight or a picture is not finite.
        DataError: n is below `LEAST`.
    """
    name = where or "the generator"
    _check_count(name, n)
    generator = copy.deepcopy(generator).eval().to(device)
    if broken := [key for key, value in public_state(generator).items() if not value.isfinite().all()]:
        raise WeightsError(f"{name} is damaged: {broken[0]} is not finite. {ADVICE}")
    seeds = range(seed * n, seed * n + n)
    with _finite(generator, name):
        pictures = sampling.sample(generator, seeds)

    def again() -> Tensor:
        with _finite(generator, name):
            return _on_batch_statistics(generator, seeds)

    normalised = any(isinstance(module, nn.BatchNorm2d) for module in generator.modules())
    shown = f"--seeds {seeds[0]}-{seeds[63]} --grid 8x8 --output out"
    look = f"gan-transfer sample --network {shlex.quote(where)} {shown}" if where else ""
    return Fakes(name, pictures, lambda number: f"seed {seeds[number]}", again if normalised else None, look)


def of_source(source: Source, cut: PackSettings, n: int, seed: int, view: View | None = None) -> Fakes:
    """Pictures of a data source, drawn at random, and cut and resized like real ones; square ones are taken whole.

    Args:
        source: fetched by this.
        cut: as the reals are.
        n: how many; all where the source has fewer.
        seed: of the draw.
        view: is told what happens.

    Raises:
        DataError: fewer than `LEAST`, or more than a tenth of them is broken.
    """
    source.fetch()
    _check_count(source.origin, len(source))
    sizes = _sizes(source)
    if all(width == height for width, height in sizes):
        cut = dataclasses.replace(cut, crop="center")  # the crop of the reals is for what is around the learnt part
    rows = _draw(len(source), n, seed)
    chosen = Selection(source, rows, f"{len(rows)} drawn")
    packed = pack_of(chosen, cut, view)
    _check_count(source.origin, packed.count)
    pictures = pictures_of(packed, source.origin).load(range(packed.count))
    notes = _notes(packed.count, n, packed.quarantined, sizes - {(cut.resolution, cut.resolution)})
    look = f"gan-transfer data inspect {shlex.quote(source.spec)} --output sheet.png"
    return Fakes(source.origin, pictures, labels(packed, chosen), None, look, notes)


def of_tensor(pictures: Tensor, n: int, seed: int) -> Fakes:
    """Pictures that are there already.

    Args:
        pictures: uint8 [N, C, H, W] with H = W and C of 1 or 3.
        n: how many to take, at random; all where there are fewer.
        seed: of the draw.

    Raises:
        DataError: of another type or shape, or fewer than `LEAST`.
    """
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[1] not in (1, 3):
        got = f"{str(pictures.dtype).removeprefix('torch.')} {list(pictures.shape)}"
        raise DataError(f"pictures to judge: wanted uint8 [N, 1 or 3, H, W], got {got}; see gan_transfer.images")
    if pictures.shape[2] != pictures.shape[3]:
        raise DataError(f"pictures to judge: wanted square ones, got {list(pictures.shape[2:])}; crop them first")
    _check_count("the tensor", len(pictures))
    rows = _draw(len(pictures), n, seed)
    return Fakes("tensor", pictures[rows].cpu(), lambda number: f"row {rows[number]}", notes=_notes(len(rows), n))


def pack_of(source: Source, cut: PackSettings, view: View | None = None) -> Pack:
    """The pictures of a source, decoded: its own pack, or one in the cache."""
    if (given := ready(source, cut)) is not None:
        return given
    progress, say = (view.packing, view.say) if view else (None, None)
    return cached_pack(source, cut, progress=progress, say=say)


def labels(packed: Pack, source: Source) -> Callable[[int], str]:
    """What to call the pictures of a pack: what the source does, broken ones being left out."""
    if len(source) == packed.count:
        return source.label
    broken = iter((packed.folder / QUARANTINE).read_text(encoding="utf-8").splitlines())
    line, good = next(broken, ""), []
    for row in range(len(source)):  # they are told in order
        if line.startswith(f"{source.label(row)}: "):
            line = next(broken, "")
        else:
            good.append(row)
    return lambda number: source.label(good[number])


def oddities(pictures: Tensor, what: str) -> list[str]:
    """Notes on pictures of one colour and on sets of one picture: uint8 [N, C, H, W]."""
    if bool((pictures == pictures[:1]).all()):
        return [f"all {len(pictures):,} {what} are the same picture"]
    flat = int((pictures.amax((2, 3)) == pictures.amin((2, 3))).all(1).sum())
    return [f"{flat:,} of {len(pictures):,} {what} are of one flat colour"] if flat > FLAT * len(pictures) else []


@torch.no_grad()
def _on_batch_statistics(generator: Generator, seeds: range) -> Tensor:
    """The pictures of the seeds with batch norm as in training; the generator is left as it was."""
    generator = copy.deepcopy(generator)
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    whole = range(seeds.start, seeds.start + -(-len(seeds) // BATCH) * BATCH)  # no smaller batch at the end
    z = sampling.latents(whole, generator.model.latent_dim).to(next(generator.parameters()).device)
    return torch.cat([images.to_uint8(generator(part)).cpu() for part in torch.split(z, BATCH)])[: len(seeds)]


@contextlib.contextmanager
def _finite(generator: Generator, name: str) -> Iterator[None]:
    """Refuse pictures that are not finite: as uint8 they would look like any other."""

    def check(_: nn.Module, __: object, pictures: Tensor) -> None:
        if not pictures.isfinite().all():
            raise WeightsError(f"{name} makes pictures that are not finite. {ADVICE}")

    with generator.register_forward_hook(check):
        yield


def _check_count(name: str, count: int) -> None:
    if count < LEAST:
        raise DataError(f"too few fakes: {name} has {count}, wanted at least {LEAST}; give more")


def _draw(count: int, n: int, seed: int) -> list[int]:
    """Some rows in random order: sources are often sorted by class."""
    rows: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:n].tolist()
    return rows


def _sizes(source: Source) -> set[tuple[int, int]]:
    """Widths and heights of some pictures, spread over the source; broken ones are told of elsewhere."""
    found = set()
    for row in range(0, len(source), max(len(source) // _LOOKED_AT, 1)):
        with contextlib.suppress(Exception):  # as broken as a picture can be, see `Source.load`
            found.add(source.load(row).size)
    return found


def _notes(count: int, n: int, broken: int = 0, sizes: Collection[tuple[int, int]] = ()) -> tuple[str, ...]:
    notes = []
    if count < n:
        notes.append(f"{n:,} fakes were asked for, {count:,} are there")
    if broken:
        notes.append(f"{broken:,} broken fakes are left out")
    if sizes:
        width, height = max(sizes)
        notes.append(f"the fakes are of another size ({width} x {height}); they were resized like the reals")
    return tuple(notes)
