"""A stranger's DCGAN -> our networks: the same pictures from the same latents, the same logits for the same pictures.

A state holds no strides and no paddings. They follow from the kernels and from a resolution that makes sense, by a
layout; where two make sense, `auto` takes the tutorials' and says which other there is. Biases before a batch norm
are drawn into its running mean, which changes nothing in either mode.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar

import torch

from ..config import from_dict, to_dict
from ..errors import RecipeError, WeightsError, did_you_mean
from ..geometry import Layer, discriminator_layers, faults, generator_layers, level, sizes_down, sizes_up
from ..recipe import Model
from ..text import printable
from .dcgan import Discriminator, Generator
from .foreign_chain import Chain, Link
from .weights import load_public_state, public_state

AUTO = "auto"
ASSUMED = (
    "what a file does not say is taken as in the tutorials: ReLU and tanh in G, LeakyReLU 0.2 in D, pictures in [-1, 1]"
)

N = TypeVar("N", Generator, Discriminator)
Step = tuple[int, int, int]  # stride, padding, output padding


class Layout(NamedTuple):
    """Strides and paddings that kernels go with, for pictures of some resolutions."""

    resolutions: tuple[int, ...]
    firsts: tuple[int, ...]
    """Kernels of a generator's first layer, which fills a map of that size."""
    up: dict[int, tuple[Step, ...]]
    """Of a generator's other layers, by kernel."""
    down: dict[int, Step]
    """Of a discriminator's layers but the last, which sees all that is left."""


_HALVES = {4: (2, 1, 0), 3: (2, 1, 0), 2: (2, 0, 0), 5: (2, 2, 0)}
_DOUBLES: dict[int, tuple[Step, ...]] = {4: ((2, 1, 0),), 2: ((2, 0, 0),), 5: ((2, 2, 1),), 6: ((2, 2, 0),)}

LAYOUTS = {
    "dcgan": Layout((16, 32, 64, 128, 256), (2, 4, 8), _DOUBLES | {3: ((2, 1, 1),)}, _HALVES),
    "mnist": Layout((28,), (2, 4, 7), _DOUBLES | {3: ((2, 1, 0),), 1: ((1, 2, 0),)}, _HALVES),
    "unpadded": Layout((28,), (3,), {3: ((2, 0, 0),), 4: ((1, 0, 0), (2, 0, 0))}, {4: (2, 0, 0)}),
}
"""The tutorials', at 64 pixels and elsewhere; theirs for MNIST, where 4 becomes 7 or 32 is cut to 28; and that of MNIST
courses, which pads nothing."""
RARE = 16
"""A resolution that is taken only if no other fits."""

_UNTRAINED = 1 / 3  # of the others' size: what a weight that never saw a picture is at most, beside trained ones


@dataclasses.dataclass(frozen=True)
class Reading:
    """A way to understand a chain.

    Attributes:
        layout: a name in `LAYOUTS`.
        resolution: of the pictures, pixels.
        layers: of the network.
    """

    layout: str
    resolution: int
    layers: tuple[Layer, ...]


@dataclasses.dataclass(frozen=True)
class Foreign:
    """What was found: one network or both, in our shape.

    Attributes:
        model: of both networks, also of one that the file does not have.
        generator: in eval mode; None where there is none.
        discriminator: likewise.
        layout: by which they were read.
        notes: lines that a user should know.
    """

    model: Model
    generator: Generator | None
    discriminator: Discriminator | None
    layout: str
    notes: list[str]


def convert(shown: str, chains: Sequence[Chain], layout: str = AUTO) -> Foreign:
    """Turn a generator, a discriminator or both into our networks.

    Args:
        shown: how messages call them.
        chains: one or two, of different letters.
        layout: `auto` or a name in `LAYOUTS`.

    Raises:
        WeightsError: the layout is not known, or the shapes are no DCGAN of it, or the two are no pair.
    """
    if layout not in (AUTO, *LAYOUTS):
        raise WeightsError(f"--layout {layout!r} is not known; {did_you_mean(layout, [AUTO, *LAYOUTS])}")
    by_letter = {chain.letter: chain for chain in chains}
    readings = {letter: _readings(shown, chain, layout) for letter, chain in by_letter.items()}
    chosen, notes = _choose(shown, by_letter, readings)
    model = _model(shown, by_letter, chosen)
    _check(shown, model)
    g, d = by_letter.get("G"), by_letter.get("D")
    generator = _filled(Generator(model), g) if g else None
    discriminator = _filled(Discriminator(model), d) if d else None
    return Foreign(model, generator, discriminator, next(iter(chosen.values())).layout, notes)


def _readings(shown: str, chain: Chain, layout: str) -> list[Reading]:
    """All ways to understand a chain, the likeliest first."""
    read = _up if chain.letter == "G" else _down
    made = [
        Reading(name, resolution, layers)
        for name, known in LAYOUTS.items()
        if layout in (AUTO, name)
        for resolution in known.resolutions
        if (layers := read(chain, known, resolution))
    ]
    if not made:
        raise WeightsError(f"{shown}: {_unreadable(chain, layout)}. Give another --layout, or a network of a tutorial")
    told = bool(_mark_of_mnist(chain))
    return sorted(made, key=lambda reading: (told and reading.layout != "mnist", reading.resolution == RARE))


def _unreadable(chain: Chain, layout: str) -> str:
    """Why no strides and paddings turn a chain into a network for pictures."""
    what = "generator" if chain.letter == "G" else "discriminator"
    kernels = ", ".join(f"{link.kernel}x{link.kernel}" for link in chain.links)
    known = [found for name, found in LAYOUTS.items() if layout in (AUTO, name)]
    inner = chain.links[1:] if chain.letter == "G" else chain.links[:-1]
    usable = set[int]().union(*(found.up if chain.letter == "G" else found.down for found in known))
    odd = next((link for link in inner if link.kernel not in usable), None)
    if odd:
        wanted = ", ".join(f"{size}x{size}" for size in sorted(usable))
        return f"the {what}'s {printable(odd.name)}.weight has a kernel of {odd.kernel}x{odd.kernel}; wanted {wanted}"
    sizes = ", ".join(map(str, sorted({size for found in known for size in found.resolutions})))
    return f"the {what}'s kernels {kernels} are for no pictures of {sizes} pixels"


def _up(chain: Chain, layout: Layout, resolution: int) -> tuple[Layer, ...]:
    """A generator's layers, or none if they do not give pictures of this resolution."""
    first, *rest = chain.links
    if first.kernel in layout.firsts:
        for steps in itertools.product(*(layout.up.get(link.kernel, ()) for link in rest)):
            shapes = zip(chain.widths, chain.links, [(1, 0, 0), *steps], strict=True)
            made = tuple(Layer(width, link.kernel, *step) for width, link, step in shapes)
            if not faults(resolution, made, ()):
                return made
    return ()


def _down(chain: Chain, layout: Layout, resolution: int) -> tuple[Layer, ...]:
    """A discriminator's layers, or none if they do not end with one logit for pictures of this resolution."""
    *rest, head = chain.links
    if any(link.kernel not in layout.down for link in rest):
        return ()
    made = [Layer(w, k.kernel, *layout.down[k.kernel]) for w, k in zip(chain.widths, rest, strict=False)]
    size = sizes_down(made, resolution)[-1]
    if size == head.kernel or _is_cut(size, head):
        made.append(Layer(1, size, 1, 0))
    elif layout.down.get(head.kernel) == (2, 0, 0):  # unpadded: it may leave the last row and column unseen
        made.append(Layer(1, head.kernel, 2, 0))
    fits = len(made) > len(rest) and size > 1 and not faults(resolution, (), made)
    return tuple(made) if fits else ()


def _is_cut(size: int, head: Link) -> bool:
    """Whether the last layer is 4x4 with stride 2 and padding 1 on 3x3 pixels: its first row and column see padding."""
    return size == 3 and head.kernel == 4


def _mark_of_mnist(chain: Chain) -> str:
    """What gives a network for 28 pixels away, though its shapes would do for 32; empty where nothing does."""
    threes = [link for link in chain.links if link.kernel == 3]
    if len(threes) == 1 and all(link.kernel == 4 for link in chain.links if link is not threes[0]):
        return f"{printable(threes[0].name)} alone is 3x3, as between 4 and 7 pixels"
    if chain.letter == "D" and _border_is_untrained(chain.links[-1]):
        return (
            f"the first row and column of {printable(chain.links[-1].name)} were never trained: there they see padding"
        )
    return ""


def _border_is_untrained(head: Link) -> bool:
    """Whether the first row and column of a 4x4 never saw a picture: they are much smaller than the rest."""
    weight = head.weight.float()
    edge = torch.cat([weight[:, :, 0].flatten(), weight[:, :, 1:, 0].flatten()])
    rest = weight[:, :, 1:, 1:]
    return head.kernel == 4 and bool(edge.square().mean().sqrt() < _UNTRAINED * rest.square().mean().sqrt())


def _choose(
    shown: str, chains: dict[str, Chain], readings: dict[str, list[Reading]]
) -> tuple[dict[str, Reading], list[str]]:
    """The readings that are for pictures of one resolution, and what to say of them."""
    if len(readings) == 1:
        ((letter, made),) = readings.items()
        return {letter: made[0]}, [_alternative(chains[letter], made)] if len({r.resolution for r in made}) > 1 else []
    for g, d in itertools.product(readings["G"], readings["D"]):
        if g.resolution == d.resolution:
            return {"G": g, "D": d}, []
    raise WeightsError(
        f"{shown}: the generator draws {_pixels(readings['G'])} and the discriminator judges {_pixels(readings['D'])}: "
        "they are no pair. Import one of them alone: gan-transfer import FILE"
    )


def _alternative(chain: Chain, made: list[Reading]) -> str:
    taken, other = made[0], next(r for r in made if r.resolution != made[0].resolution)
    mark = _mark_of_mnist(chain)
    why = f", because {mark}" if mark else ""
    return f"read as {_pixels([taken])}{why}; {_pixels([other])} would fit as well: --layout {other.layout}"


def _pixels(made: Sequence[Reading]) -> str:
    return " or ".join(dict.fromkeys(f"{reading.resolution}x{reading.resolution}" for reading in made))


def _model(shown: str, chains: dict[str, Chain], chosen: dict[str, Reading]) -> Model:
    """The shape of both networks; layers only where the rule would build others."""
    resolution = next(iter(chosen.values())).resolution
    colors = {letter: chain.widths[-1] if letter == "G" else chain.entering for letter, chain in chains.items()}
    if len(set(colors.values())) > 1:
        raise WeightsError(
            f"{shown}: the generator draws {colors['G']} channels and the discriminator takes {colors['D']}: they are "
            "no pair. Import one of them alone: gan-transfer import FILE"
        )
    channels = next(iter(colors.values()))
    g, d = (chosen[letter].layers if letter in chosen else () for letter in "GD")
    base = _base(g, sizes_up(g)[-2]) if g else _base(d[:1], sizes_down(d, resolution)[0])
    judge = chains.get("D")
    return Model(
        resolution=resolution,  # type: ignore[arg-type]  # one in LAYOUTS
        channels=channels,  # type: ignore[arg-type]  # one in PICTURE
        latent_dim=chains["G"].entering if "G" in chains else Model.latent_dim,
        base_channels=base,
        norm_d=_norm(judge) if judge else "batch",
        bias=any("bias" in link.conv for chain in chains.values() for link in _bare(chain)),
        layers_g=() if g == generator_layers(resolution, base, channels) else g,
        layers_d=() if d == discriminator_layers(resolution, base) else d,
    )


def _check(shown: str, model: Model) -> None:
    """See that the shape is one that a snapshot can have."""
    try:
        from_dict(Model, to_dict(model), "import")
    except RecipeError as error:
        raise WeightsError(f"{shown}: too large to be read: {'; '.join(str(error).splitlines())}") from None


def _base(layers: Sequence[Layer], size: int) -> int:
    """The base_channels with which the rule gives the feature map of this size its channels, as near as it can."""
    channels = layers[-2].channels if len(layers) > 1 else layers[0].channels
    return min(1024, max(4, channels * level(size) // 32))


def _norm(judge: Chain) -> Literal["batch", "spectral", "none"]:
    if any(link.norm for link in judge.links):
        return "batch"
    return "spectral" if "weight_u" in judge.links[0].conv else "none"


def _bare(chain: Chain) -> list[Link]:
    """The convolutions that our networks have no batch norm behind, and that can have a bias."""
    return [link for link in chain.links if not link.norm]


def _filled(network: N, chain: Chain) -> N:
    """A network with a chain's tensors in it, in eval mode."""
    tensors = public_state(network)
    for name, link in zip(network.blocks, chain.links, strict=True):
        found = {f"{name}.conv.{key}": value for key, value in link.conv.items()}
        found |= {f"{name}.norm.{key}": value for key, value in link.norm.items()}
        if link.norm and (bias := found.pop(f"{name}.conv.bias", None)) is not None:
            found[f"{name}.norm.running_mean"] = link.norm["running_mean"] - bias
        elif f"{name}.conv.bias" in tensors:
            found.setdefault(f"{name}.conv.bias", torch.zeros_like(tensors[f"{name}.conv.bias"]))
        wanted = tensors[f"{name}.conv.weight"]
        cut = link.kernel - wanted.shape[-1]  # of a last layer whose first row and column see padding
        found[f"{name}.conv.weight"] = link.weight[:, :, cut:, cut:]
        tensors |= {key: value.to(tensors[key].dtype) for key, value in found.items()}
    load_public_state(network, tensors)
    return network.eval()
