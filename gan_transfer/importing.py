"""`gan-transfer import`: other people's DCGANs, from files or the Hub, become a snapshot that everything here reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from .errors import RunError, WeightsError
from .files import sha256
from .hub_errors import FAILURES, TIMEOUT_SECONDS, Kind, broken_off, is_unreachable, refusal
from .models.foreign import ASSUMED, AUTO, Foreign, convert
from .models.foreign_chain import Chain, read_chain
from .models.foreign_file import read_states
from .models.remote import FOREIGN
from .models.weights import Pair, save_pair
from .text import portable, printable, reason
from .transfer.start import DRAWN, from_scratch

IMPORTED = Path("imported")
"""Where pairs go without `--output`."""
SEED = 0
"""Of a partner that is drawn."""
MODELS = Kind("", WeightsError, "or get the file in another way and give it: gan-transfer import FILE")
"""What is asked of the Hub here."""

_HUB = "hf:"
_WHERE = re.compile(r"(?P<repo>[^/@:]+/[^/@:]+)(@(?P<revision>[^:]+))?(:(?P<file>.+))?")
_LETTERS = {"G": "generator", "D": "discriminator"}


class Given(NamedTuple):
    """A file to import."""

    path: Path
    origin: str
    """Where it is from, fit to be published: its name, or its address on the Hub."""


class Imported(NamedTuple):
    """What became of it."""

    folder: Path
    """The snapshot."""
    said: list[str]
    """Lines for the user."""


def import_pair(files: Sequence[str], output: Path | None = None, layout: str = AUTO) -> Imported:
    """Turn one or two files into a snapshot.

    Args:
        files: of a pair, of a generator and of a discriminator, or of one of them, whose partner is then drawn; paths
            or `hf:org/name[@revision]:file`.
        output: a new folder; by default `imported/` and the name of the first file.
        layout: see `gan_transfer.models.foreign.convert`.

    Raises:
        WeightsError: a file is not there or no DCGAN; says what it is instead, or which layer does not fit.
        RunError: the folder is there already, or cannot be written.
    """
    given = [_get(where) for where in files]
    chains, origins = _chains(given)
    output = output or IMPORTED / portable(given[0].path.stem)
    if output.exists():
        raise RunError(f"--output {output} exists already and stays. Give another --output")
    foreign = convert(" and ".join(_shown(file) for file in given), list(chains.values()), layout)
    pair, said = _pair(foreign, given, origins)
    try:
        save_pair(output, pair)
    except OSError as error:
        raise RunError(f"--output {output}: cannot be written ({reason(error)}). Give another --output") from None
    return Imported(output, said)


def _get(where: str) -> Given:
    if where.startswith(_HUB):
        return _from_hub(where)
    path = Path(where).expanduser()
    return Given(path, printable(path.name))


def _from_hub(where: str) -> Given:
    """Download a file into the Hub's cache; without the Hub, take it from there."""
    parts = _WHERE.fullmatch(where.removeprefix(_HUB))
    if parts is None:
        raise _nameless(where)
    repo, revision, name = parts["repo"], parts["revision"], parts["file"] or ""
    try:
        info = HfApi().model_info(repo, revision=revision, timeout=TIMEOUT_SECONDS)
    except HFValidationError:
        raise _nameless(where) from None
    except FAILURES as error:
        cached = try_to_load_from_cache(repo, name, revision=revision) if name and is_unreachable(error) else None
        if isinstance(cached, str):
            return _cached(repo, name, Path(cached))
        raise refusal(error, MODELS, repo, revision) from None
    _check_name(repo, name, [file.rfilename for file in info.siblings or ()])
    try:
        path = Path(hf_hub_download(repo, name, revision=revision, etag_timeout=TIMEOUT_SECONDS))
    except FAILURES as error:
        raise broken_off(error, MODELS, repo, revision) from None
    return _cached(repo, name, path)


def _cached(repo: str, name: str, path: Path) -> Given:
    """A file in the Hub's cache, whose folder is called after the commit."""
    commit = path.parents[name.count("/")].name
    return Given(path, f"{_HUB}{repo}@{commit}:{name}")


def _nameless(where: str) -> WeightsError:
    return WeightsError(
        f"{printable(where)!r} names no file on the Hub; wanted hf:ORG/NAME[@REVISION]:FILE, "
        "for instance gan-transfer import hf:someone/dcgan:netG.pth"
    )


def _check_name(repo: str, name: str, names: Sequence[str]) -> None:
    if name in names:
        return
    files = [printable(file) for file in names if file.endswith(FOREIGN)]
    fault = f"has no file {printable(name)!r}" if name else "is a repository; wanted a file in it"
    if not files:
        raise WeightsError(f"hf:{repo} {fault}, and holds no weights. Look there: {MODELS.page(repo)}/tree/main")
    told = ", ".join(files[:6]) + " ..." * (len(files) > 6)
    raise WeightsError(f"hf:{repo} {fault}; it holds {told}. Run: gan-transfer import hf:{repo}:{files[0]}")


def _chains(given: Sequence[Given]) -> tuple[dict[str, Chain], dict[str, str]]:
    """The networks in all files, and where each is from, both by letter."""
    chains: dict[str, Chain] = {}
    origins: dict[str, str] = {}
    for file in given:
        for letter, (where, chain) in _networks(file).items():
            if letter in chains:
                raise WeightsError(
                    f"{origins[letter]} and {file.origin} both hold a {_LETTERS[letter]}; give the {_LETTERS[letter]} "
                    "of one of them: gan-transfer import FILE"
                )
            chains[letter] = chain
            origins[letter] = f"{file.origin} ({where})" if where else file.origin
    return chains, origins


def _networks(file: Given) -> dict[str, tuple[str, Chain]]:
    """The generator and the discriminator in a file; what lies beside them is passed over."""
    found: dict[str, dict[str, Chain]] = {}
    faults: list[WeightsError] = []
    for where, state in read_states(file.path).items():
        try:
            chain = read_chain(f"{_shown(file)} ({printable(where)})" if where else _shown(file), state)
        except WeightsError as fault:
            faults.append(fault)
        else:
            found.setdefault(chain.letter, {})[printable(where)] = chain
    if not found:
        raise faults[0]
    return {letter: _only(file, letter, chains) for letter, chains in found.items()}


def _only(file: Given, letter: str, chains: dict[str, Chain]) -> tuple[str, Chain]:
    """The network of this letter: the moving average if there is one."""
    averaged = {where: chain for where, chain in chains.items() if "ema" in where.lower()}
    chosen = averaged if len(averaged) == 1 else chains
    if len(chosen) > 1:
        raise WeightsError(
            f"{_shown(file)} holds {len(chosen)} networks of one kind, each a {_LETTERS[letter]}: {', '.join(chosen)}; "
            "save the one you want alone: torch.save(state, 'weights.pth')"
        )
    return next(iter(chosen.items()))


def _pair(foreign: Foreign, given: Sequence[Given], origins: dict[str, str]) -> tuple[Pair, list[str]]:
    """The pair, with what its `config.json` records, and what to say of it."""
    drawn_g, drawn_d, _ = from_scratch(foreign.model, torch.Generator().manual_seed(SEED))
    generator, discriminator = foreign.generator or drawn_g.eval(), foreign.discriminator or drawn_d.eval()
    record = {
        "files": {file.origin: sha256(file.path) for file in given},
        "layout": foreign.layout,
        **{word: origins.get(letter, f"drawn anew, seed {SEED}") for letter, word in _LETTERS.items()},
    }
    info: dict[str, Any] = {"imported": record}
    said = [f"{word}: {_described(foreign, letter)}, from {origins[letter]}"
            for letter, word in _LETTERS.items() if letter in origins]  # fmt: skip
    for letter in _LETTERS.keys() - origins.keys():
        info[DRAWN] = letter
        said.append(
            f"{_LETTERS[letter]}: none was given; it is drawn anew, and a run from this pair begins with it untrained"
        )
    return Pair(generator, discriminator, info), [*said, *foreign.notes, ASSUMED]


def _described(foreign: Foreign, letter: str) -> str:
    model = foreign.model
    layers = model.generator_layers[:-1] if letter == "G" else model.discriminator_layers[:-1]
    colour = "grey" if model.channels == 1 else "colour"
    widths = ", ".join(str(layer.channels) for layer in layers)
    latent = f", latents of {model.latent_dim}" if letter == "G" else ""
    return f"{model.resolution}x{model.resolution} {colour}, {widths} channels{latent}"


def _shown(file: Given) -> str:
    return printable(str(file.path)) if file.path.name == file.origin else printable(file.origin)
