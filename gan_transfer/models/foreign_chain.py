"""The state of a stranger's network -> the chain of convolutions that it is, or the layer that keeps it from being one.

Names do not matter, only the order of the modules and the shapes of their weights.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence

from torch import Tensor

from ..errors import WeightsError
from ..text import printable
from .foreign_file import State

PICTURE = (1, 3)
"""Channels of a picture."""
WANTED = "a DCGAN is one chain of convolutions with batch norm between them"

_SPECTRAL = (
    (".parametrizations.weight.original", ".weight"),
    (".parametrizations.weight.0._", ".weight_"),
    (".weight_orig", ".weight"),
)  # new and old names of spectral norm
_RESNET = re.compile(r"layer\d+\.\d+\.conv\d")
_CONV = {"weight", "bias", "weight_u", "weight_v"}
_NORM = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


@dataclasses.dataclass
class Link:
    """A convolution and the batch norm behind it.

    Attributes:
        name: of the convolution in the file, for messages.
        conv: `weight` [_, _, K, K], and where the file has them `bias`, `weight_u` and `weight_v` of spectral norm.
        norm: the tensors of `nn.BatchNorm2d`; empty without batch norm.
    """

    name: str
    conv: State
    norm: State = dataclasses.field(default_factory=dict)

    @property
    def weight(self) -> Tensor:
        """[C_in, C_out, K, K] in a generator, [C_out, C_in, K, K] in a discriminator."""
        return self.conv["weight"]

    @property
    def kernel(self) -> int:
        """Height and width of the window."""
        return self.weight.shape[-1]


@dataclasses.dataclass
class Chain:
    """A network.

    Attributes:
        letter: `G` or `D`.
        links: from latent to picture, or from picture to logit.
    """

    letter: str
    links: list[Link]

    @property
    def widths(self) -> list[int]:
        """Channels that each convolution puts out."""
        return [link.weight.shape[_out(self.letter)] for link in self.links]

    @property
    def entering(self) -> int:
        """What the first convolution takes: the latent's length, or the picture's channels."""
        return self.links[0].weight.shape[1 - _out(self.letter)]


def read_chain(shown: str, state: State) -> Chain:
    """Put a state's modules into a chain.

    Args:
        shown: how messages call the network.
        state: in the order of the modules.

    Raises:
        WeightsError: it is no DCGAN; names the first layer that does not fit, and why.
    """
    links: list[Link] = []
    for name, tensors in _modules(state).items():
        if fault := _add(links, name, tensors):
            raise WeightsError(f"{shown} is no DCGAN: {fault}; {WANTED}. {_advice(state)}")
    if len(links) < 2:
        raise WeightsError(f"{shown} is no DCGAN: it has fewer than two convolutions; {WANTED}. {_advice(state)}")
    chain = Chain(_letter(links), links)
    if fault := _misfit(chain):
        raise WeightsError(f"{shown} is no DCGAN: {fault}; {WANTED}. {_advice(state)}")
    return chain


def _modules(state: State) -> dict[str, State]:
    modules: dict[str, State] = {}
    for name, value in state.items():
        for theirs, ours in _SPECTRAL:
            name = f".{name}".replace(theirs, ours)[1:]
        module, _, leaf = name.rpartition(".")
        modules.setdefault(module, {})[leaf] = value
    return modules


def _add(links: list[Link], name: str, tensors: State) -> str | None:
    """Add a module to the chain, or say why it does not fit."""
    weight = tensors.get("weight")
    if weight is not None and weight.ndim == 4 and tensors.keys() <= _CONV and _is_square(weight):
        links.append(Link(name, tensors))
        return None
    if weight is not None and weight.ndim == 1 and tensors.keys() in (_NORM, _NORM - {"num_batches_tracked"}):
        if not links or links[-1].norm:
            return f"{_named(name, 'weight', weight)} is a batch norm without a convolution before it"
        links[-1].norm = tensors
        return None
    leaf, value = ("weight", weight) if weight is not None else next(iter(tensors.items()))
    kinds = {2: "a dense layer", 3: "a convolution in one dimension", 4: "not a plain convolution", 5: "one in three"}
    kind = "neither a convolution nor a batch norm with running statistics" if value.ndim < 2 else kinds.get(value.ndim)
    return f"{_named(name, leaf, value)} is {kind or 'no layer of a DCGAN'}"


def _is_square(weight: Tensor) -> bool:
    return weight.shape[2] == weight.shape[3] and weight.numel() > 0


def _letter(links: Sequence[Link]) -> str:
    """Whether the convolutions are transposed, by how they hang together."""
    first, last = links[0].weight, links[-1].weight
    as_d = first.shape[1] in PICTURE and last.shape[0] == 1
    return "D" if as_d and _broken(links, "D") is None else "G" if last.shape[1] in PICTURE else "D"


def _misfit(chain: Chain) -> str | None:
    links, last = chain.links, chain.links[-1]
    if (place := _broken(links, chain.letter)) is not None:
        one, two = (_named(link.name, "weight", link.weight) for link in links[place : place + 2])
        return f"{two} does not take what {one} puts out"
    if chain.letter == "D" and chain.entering not in PICTURE:
        first = _named(links[0].name, "weight", links[0].weight)
        return f"{first} takes {chain.entering} channels, not a picture's 1 or 3"
    if chain.letter == "D" and chain.widths[-1] != 1:
        return f"{_named(last.name, 'weight', last.weight)} puts out {chain.widths[-1]} values, not one logit"
    return _misplaced_norm(chain) or _wrong_tensor(chain)


def _broken(links: Sequence[Link], letter: str) -> int | None:
    """The place of the first convolution that the next one does not follow."""
    out = _out(letter)
    pairs = enumerate(itertools.pairwise(links))
    return next((n for n, (a, b) in pairs if a.weight.shape[out] != b.weight.shape[1 - out]), None)


def _misplaced_norm(chain: Chain) -> str | None:
    """A generator has batch norm behind all convolutions but the last; a discriminator, between the ends, behind all
    or none."""
    is_g = chain.letter == "G"
    inner = chain.links[:-1] if is_g else chain.links[1:-1]
    edges = chain.links[-1:] if is_g else [chain.links[0], chain.links[-1]]
    for link in edges:
        if link.norm:
            where = "the logit" if link is chain.links[-1] else "the picture"
            return f"{printable(link.name)} has batch norm, which is not wanted at {'the picture' if is_g else where}"
    wanted = is_g or any(link.norm for link in inner)
    bare = next((link for link in inner if not link.norm), None)
    return f"{printable(bare.name)} has no batch norm behind it" if wanted and bare else None


def _wrong_tensor(chain: Chain) -> str | None:
    """Sizes that no such layer has, values that are not finite, and spectral norm in places."""
    spectral = ["weight_u" in link.conv for link in chain.links]
    if any(spectral) and (chain.letter == "G" or not all(spectral) or any(link.norm for link in chain.links)):
        return (
            f"{printable(chain.links[spectral.index(True)].name)} has spectral norm, which is read in all of D's layers"
        )
    for link, width in zip(chain.links, chain.widths, strict=True):
        wanted = {key: [width] for key in ("bias", *_NORM)} | {"num_batches_tracked": [], "weight_u": [width]}
        wanted["weight_v"] = [link.weight.numel() // width]
        for key, value in (*link.norm.items(), *link.conv.items()):
            if not (key == "weight" and value.ndim == 4) and list(value.shape) != wanted[key]:
                return f"{_named(link.name, key, value)}, or of its batch norm, is not for {width} channels"
            counted = key == "num_batches_tracked" and not value.is_complex()
            if not counted and not (value.is_floating_point() and value.isfinite().all()):
                return f"{_named(link.name, key, value)}, or of its batch norm, holds values that are no finite numbers"
    return None


def _out(letter: str) -> int:
    """Where a weight's shape tells the channels that it puts out."""
    return 1 if letter == "G" else 0


def _named(module: str, leaf: str, value: Tensor) -> str:
    return f"{printable(f'{module}.{leaf}'.strip('.'))} {list(value.shape)}"


def _advice(state: State) -> str:
    looks = "It looks like a ResNet. " if any(_RESNET.search(name) for name in state) else ""
    return f"{looks}Give the file of a DCGAN's generator or discriminator: gan-transfer import FILE"
