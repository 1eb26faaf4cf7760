"""Warm start: a pair from somewhere, put into networks of the wanted shape, with an account of every block."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import DamagedError, WeightsError
from ..models import remote
from ..models.dcgan import Block, Discriminator, Generator, Network, initialise
from ..models.embedded import embedded
from ..models.snapshot import CONFIG, DISCRIMINATOR, RECIPE
from ..models.weights import Pair, load_generator, load_pair, load_public_state, public_state
from ..recipe import Mismatch, Model
from ..text import reason
from .refit import recolour, restack, with_channel

SNAPSHOTS = "snapshots"  # in a run folder
DRAWN = "drawn"  # in the `config.json` of an imported pair: which network, G or D, is only drawn


@dataclasses.dataclass(frozen=True)
class BlockStart:
    """How one block of the new pair began.

    Attributes:
        network: `G` or `D`.
        block: its name, `g4` ... `d1`.
        parameters: how many numbers it learns.
        start: `kept`, `adapted` or `re-drawn`.
        detail: what was adapted or drawn; empty for a block that was kept.
    """

    network: str
    block: str
    parameters: int
    start: str
    detail: str


def find(where: str) -> tuple[Path, dict[str, str]]:
    """The snapshot folder that a text means, and the SHA-256 by file name that must hold there.

    Args:
        where: `builtin`, `builtin:NAME`, `hf:ORG/NAME[@REVISION]` (downloaded if it is not in the Hub's cache), a
            snapshot folder, or a run folder (its newest snapshot).

    Raises:
        WeightsError: there is no such thing; says what is near.
    """
    kind, _, name = where.partition(":")
    if kind == "builtin":  # ./builtin is a folder of that name
        return embedded(name)
    if where.startswith(remote.PREFIX):
        return remote.fetch(remote.parse(where)), {}
    return in_folder(where), {}


def in_folder(where: str) -> Path:
    """The snapshot that a snapshot folder or a run folder (its newest) means; raises like `find`."""
    if not where:
        raise WeightsError("no pair is named: the text is empty. Example: builtin")
    try:
        return _in_folder(where, Path(where).expanduser())
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"no pair at {where!r}: {reason(error)}. Example: builtin") from None


def _in_folder(where: str, folder: Path) -> Path:
    if (folder / CONFIG).is_file():
        return folder
    if (folder / RECIPE).is_file() and not (folder / DISCRIMINATOR).exists():  # else an unfinished snapshot
        if finished := sorted(p.parent for p in (folder / SNAPSHOTS).glob(f"*/{CONFIG}")):
            return finished[-1]
        raise WeightsError(f"the run {where} has no snapshot yet; wait for its first, or take builtin")
    wanted = "builtin, hf:ORG/NAME, a snapshot folder or a run folder. Example: builtin"
    if not folder.exists():
        raise WeightsError(f"no pair at {where!r}: no such folder; wanted {wanted}")
    held = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) if folder.is_dir() else "a file"
    raise WeightsError(f"no pair at {where!r} (it holds: {held or 'nothing'}); wanted {wanted}")


def open_pair(where: str | Path) -> Pair:
    """Load a pair strictly.

    Args:
        where: `builtin`, `builtin:NAME`, `hf:ORG/NAME[@REVISION]`, a snapshot folder, or a run folder (its newest
            snapshot).

    Raises:
        WeightsError: there is no such thing, or it is damaged.
    """
    folder, sums = find(str(where))
    with _told_how_to_get_it_again(str(where)):
        return dataclasses.replace(load_pair(folder, sums), origin=_origin(str(where), folder))


def open_generator(where: str | Path) -> Generator:
    """Load the generator of a pair, in eval mode; errors as in `open_pair`."""
    folder, sums = find(str(where))
    with _told_how_to_get_it_again(str(where)):
        return load_generator(folder, sums)


@contextlib.contextmanager
def _told_how_to_get_it_again(where: str) -> Iterator[None]:
    try:
        yield
    except DamagedError as error:
        if not where.startswith(remote.PREFIX):
            raise
        raise DamagedError(f"{error}: gan-transfer download {remote.parse(where).short}") from None


def _origin(where: str, folder: Path) -> str:
    """Where a pair was opened, fit to be published: without the path of a folder of this machine."""
    if where.startswith(remote.PREFIX):
        return str(remote.Address(remote.parse(where).repo, folder.name))
    if where.partition(":")[0] == "builtin":
        return f"builtin:{folder.name}"
    return Path(where).expanduser().absolute().name


def from_scratch(model: Model, random: torch.Generator) -> tuple[Generator, Discriminator, list[BlockStart]]:
    """A pair with all weights drawn."""
    generator, discriminator = Generator(model), Discriminator(model)
    rows = []
    for letter, network in (("G", generator), ("D", discriminator)):
        initialise(network, random)
        for _, vector in _power_iterations(network):
            vector.normal_(generator=random)
        _settle_spectral_norm(network)
        rows += [_row(letter, network, block, "re-drawn") for block in network.blocks]
    return generator, discriminator, rows


def warm_start(
    pair: Pair, model: Model, random: torch.Generator, on_mismatch: Mismatch = "adapt"
) -> tuple[Generator, Discriminator, list[BlockStart]]:
    """A pair of the wanted shape that begins with another pair's weights.

    Tensors of equal shape are kept. Others are adapted: the block next to the image from 3 to 1 channels or back, the
    discriminator's also to another stack, its last block to have or lack the channel of deviation, and the first
    generator block to another latent_dim. Everything else that does not fit is drawn anew.
    Between resolutions the blocks of the same name are kept; see `gan_transfer.models.dcgan`. A network that
    `gan-transfer import` drew as partner of an imported one has nothing to keep.

    Args:
        pair: the source.
        model: the wanted shape.
        random: for what has to be drawn.
        on_mismatch: `skip` adapts nothing and draws what would be adapted; `error` wants every block kept.

    Raises:
        WeightsError: `on_mismatch` is `error` and a block does not fit; lists all of them.
    """
    generator, discriminator, drawn = from_scratch(model, random)
    rows = []
    for letter, source, target in (("G", pair.generator, generator), ("D", pair.discriminator, discriminator)):
        if letter == pair.info.get(DRAWN):
            rows += [row for row in drawn if row.network == letter]
        else:
            rows += _transplant(letter, source, target, exact=on_mismatch == "skip")
    unfit = [row for row in rows if row.start != "kept"]
    if unfit and on_mismatch == "error":
        told = "; ".join(f"{row.network} {row.block} would be {row.start} {row.detail}".rstrip() for row in unfit)
        raise WeightsError(
            f"{len(unfit)} of {len(rows)} blocks do not fit: {told}. "
            "Give --on-mismatch adapt, or skip, or ask for the shape of the source pair"
        )
    return generator, discriminator, rows


def _transplant(letter: str, source: Network, target: Network, exact: bool) -> list[BlockStart]:
    """Move what fits from one network into the other, block by block; nothing is adapted where `exact` is wanted."""
    old, new = _state_for(target, source), public_state(target)
    rows = []
    for block in target.blocks:
        mine = [name for name in new if name.startswith(f"{block}.")]
        begun = {name: _convert(name, old.get(name), new[name], source, target) for name in mine}
        if begun[f"{block}.conv.weight"][0] is None:  # a bias or statistics of other weights are worth nothing
            rows.append(_row(letter, target, block, "re-drawn"))
            continue
        dropped = _parts(name for name in old if name.startswith(f"{block}.") and name not in new)
        drawn = _parts(name for name, (value, _) in begun.items() if value is None)
        details = [how for _, how in begun.values() if how]
        if f"{block}.conv.weight_u" in old and f"{block}.conv.weight_u" not in new:
            details.append("spectral norm folded in")
        if _loses_batch_norm(block, source, target):
            details.append("batch norm folded in")
        details += [f"{part} dropped" for part in dropped] + [f"{part} drawn" for part in drawn]
        if details and exact:
            rows.append(_row(letter, target, block, "re-drawn"))
            continue
        new |= {name: value for name, (value, _) in begun.items() if value is not None}
        rows.append(_row(letter, target, block, "adapted" if details else "kept", "; ".join(details)))
    load_public_state(target, new)
    _settle_spectral_norm(target)
    return rows


@torch.no_grad()
def _state_for(target: Network, source: Network) -> dict[str, Tensor]:
    """The source's state; where the target lacks its spectral or batch norm, the weights as the norm has scaled
    them, so that what the network says stays the same (with batch norm: on its running statistics)."""
    state = public_state(source)
    for name, block in source.blocks.items():
        if _loses_batch_norm(name, source, target):
            norm = block.norm
            assert isinstance(norm, nn.BatchNorm2d), "see _loses_batch_norm"
            mean, variance = state[f"{name}.norm.running_mean"], state[f"{name}.norm.running_var"]
            scale = norm.weight / (variance + norm.eps).sqrt()
            state[f"{name}.conv.weight"] = state[f"{name}.conv.weight"] * scale[:, None, None, None]
            state[f"{name}.conv.bias"] = norm.bias - mean * scale
            state = {key: value for key, value in state.items() if not key.startswith(f"{name}.norm.")}
    if not any(_power_iterations(target)):
        for name, _ in _power_iterations(source):
            conv = source.blocks[name].conv
            assert isinstance(conv.weight, Tensor), "every convolution has weights"
            state[f"{name}.conv.weight"] = conv.weight
    return state


def _loses_batch_norm(name: str, source: Network, target: Network) -> bool:
    """Whether a block has batch norm in the source and no norm of any kind in the target."""
    bare = isinstance(target, Discriminator) and target.model.norm_d == "none"
    return bare and name in target.blocks and name in source.blocks and _has_batch_norm(source.blocks[name])


def _has_batch_norm(block: Block) -> bool:
    return isinstance(block.norm, nn.BatchNorm2d)


def _parts(names: Iterable[str]) -> list[str]:
    """What the user is told of some tensors: `norm` for all of a norm's, nothing of the power iteration's vectors."""
    parts = [name.partition(".")[2] for name in names if not name.endswith(("weight_u", "weight_v"))]
    return list(dict.fromkeys("norm" if part.startswith("norm.") else part for part in parts))


def _convert(name: str, old: Tensor | None, new: Tensor, source: Network, target: Network) -> tuple[Tensor | None, str]:
    """The value that a tensor begins with (None: it stays drawn), and how it was adapted (empty: kept)."""
    if old is None:
        return None, ""
    block, first = name.split(".")[0], next(iter(target.blocks))
    at_image = block in (_image_block(source), _image_block(target))
    both_at_image = block == _image_block(source) == _image_block(target)
    if name.endswith("conv.weight"):
        value, how = _refitted(old, source, target, both_at_image, block == next(reversed(target.blocks)))
        if how:
            return (value, how) if value.shape == new.shape else (None, "")
    if old.shape == new.shape and not (at_image and not both_at_image and name.endswith("conv.weight")):
        return old, ""
    if both_at_image and isinstance(target, Generator) and name.endswith("conv.bias"):
        return recolour(old[None, :, None, None], len(new), into_image=True).flatten(), ""  # told with its weights
    if isinstance(target, Generator) and name == f"{first}.conv.weight" and old.shape[1:] == new.shape[1:]:
        rows = min(len(old), len(new))
        drawn = f", {len(new) - rows} rows drawn" if rows < len(new) else ""
        return torch.cat([old[:rows], new[rows:]]), f"latent_dim {len(old)} -> {len(new)}, {rows} rows kept{drawn}"
    return None, ""


def _refitted(old: Tensor, source: Network, target: Network, at_image: bool, last: bool) -> tuple[Tensor, str]:
    """Weights next to the picture for another number of its channels or of pictures in a stack, and those next to the
    logit with or without the channel of deviation; with how that was done (empty: nothing was)."""
    has, wants = source.model, target.model
    if isinstance(target, Generator):
        if not at_image or has.channels == wants.channels:
            return old, ""
        return recolour(old, int(wants.channels), into_image=True), f"{has.channels} -> {wants.channels} channels"
    if at_image and (has.channels, has.stack) != (wants.channels, wants.stack):
        turned = [f"{has.channels} -> {wants.channels} channels"] * (has.channels != wants.channels)
        turned += [f"{has.stack} -> {wants.stack} pictures in a stack"] * (has.stack != wants.stack)
        return restack(old, (has.stack, wants.stack), int(wants.channels)), "; ".join(turned)
    if last and has.minibatch_std != wants.minibatch_std:
        how = "channel of deviation with zeros" if wants.minibatch_std else "channel of deviation dropped"
        return with_channel(old, wants.minibatch_std), how
    return old, ""


def _image_block(network: Network) -> str:
    """The block next to the image."""
    names = list(network.blocks)
    return names[-1] if isinstance(network, Generator) else names[0]


def _row(letter: str, network: Network, block: str, start: str, detail: str = "") -> BlockStart:
    parameters = sum(p.numel() for p in network.blocks[block].parameters())
    return BlockStart(letter, block, parameters, start, detail)


def _power_iterations(network: Network) -> Iterator[tuple[str, Tensor]]:
    """The blocks with spectral norm, each with the vector that its power iteration goes on from."""
    for name, block in network.blocks.items():
        yield from ((name, vector) for key, vector in block.named_buffers() if key.endswith("._v"))


@torch.no_grad()
def _settle_spectral_norm(network: Network) -> None:
    """Bring the power iteration of spectral norm up to the new weights; each reading in train mode is one iteration."""
    for name, _ in _power_iterations(network):
        conv = network.blocks[name].conv.train()
        for _ in range(20):
            _ = conv.weight
