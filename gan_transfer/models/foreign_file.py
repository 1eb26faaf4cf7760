"""Checkpoints of other projects: a file of `torch.save` or safetensors -> the states in it. No code in it is executed.

A state is what `module.state_dict()` gives: tensors by name. A file may hold several, wrapped in dictionaries or told
apart by a prefix; `module.` (DataParallel) and `_orig_mod.` (torch.compile) are taken off all names.
"""

from __future__ import annotations

import contextlib
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import WeightsError
from ..text import printable, reason

State = dict[str, Tensor]

WRAPPERS = {"module", "_orig_mod"}
"""Parts of names that DataParallel and torch.compile add."""
SAVE_STATE = "in the program that wrote it, save weights alone: torch.save(model.state_dict(), 'weights.pth')"
GET_AGAIN = "get the file again"

_PICKLE, _ZIP = b"\x80", b"PK\x03\x04"
_BLOCKED = re.compile(r"GLOBAL ([\w.]+)")
_HARMLESS = {"collections", "torch", "torch._utils"}  # what a file of weights calls
_DEPTH = 5  # of dictionaries in dictionaries
CONVOLUTIONS = 2
"""That make a part of a state a network of its own."""


def read_states(path: Path) -> dict[str, State]:
    """The states in a file, by where they were found: `` for a bare one, `netG`, `checkpoint.generator` ...

    Args:
        path: a file of `torch.save` (of any age) or safetensors.

    Raises:
        WeightsError: it cannot be read, is damaged or something else, holds code, or holds no weights; says which.
    """
    content = _load(path)
    found = {name: part for where, state in _states(content) for name, part in _networks(where, state)}
    if not found:
        raise WeightsError(f"{_shown(path)} holds no weights but {_described(content)}; {SAVE_STATE}")
    return found


def _load(path: Path) -> Any:
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except IsADirectoryError:
        raise WeightsError(_folder(path)) from None
    except FileNotFoundError:
        raise WeightsError(f"{_shown(path)} does not exist; give a .pth, .pt or .safetensors file") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{_shown(path)} cannot be read: {reason(error)}; check its permissions") from None
    if wrong := _what_else(head):
        raise WeightsError(f"{_shown(path)} {wrong}")
    if head[8:9] == b"{":  # a length, then JSON
        return _load_safetensors(path)
    _check_archive(path, head)
    return _load_pickled(path)


def _folder(path: Path) -> str:
    if (path / "config.json").is_file():
        return f"{_shown(path)} is a snapshot already: gan-transfer finetune --target NAME --from {_shown(path)}"
    return f"{_shown(path)} is a folder; give a .pth, .pt or .safetensors file in it"


def _what_else(head: bytes) -> str | None:
    """What often lies in the place of a checkpoint, by a file's first bytes."""
    text = head.lstrip().lower()
    if not head:
        return f"is empty; {GET_AGAIN}"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights; in its repository run: git lfs pull"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not the weights; get the file itself (on GitHub its `raw` address, on the Hub `resolve`)"
    if head.startswith(b"\x89HDF"):
        return "is an HDF5 file (Keras); only PyTorch's are read: .pth, .pt or .safetensors"
    if not head.startswith((_PICKLE, _ZIP)) and head[8:9] != b"{":
        return f"is no checkpoint: it begins with {head[:8]!r}; give a .pth, .pt or .safetensors file"
    return None


def _load_safetensors(path: Path) -> State:
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{_shown(path)} is cut off or damaged ({reason(error)}); {GET_AGAIN}") from None
    return dict(sorted(state.items(), key=lambda item: _by_number(item[0])))  # the file has lost the modules' order


def _by_number(name: str) -> tuple[list[int], bool, str]:
    """Sorts `conv2`, `norm2`, `conv10`; as in Sequential, what normalises comes after what is normalised."""
    return [int(number) for number in re.findall(r"\d+", name)], bool(re.search("bn|norm", name.lower())), name


def _check_archive(path: Path, head: bytes) -> None:
    """See that a zip file is whole and one of `torch.save`."""
    if not head.startswith(_ZIP):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):
        raise WeightsError(f"{_shown(path)} is a zip file of torch.save that is cut off; {GET_AGAIN}") from None
    if "constants.pkl" in names:
        raise WeightsError(f"{_shown(path)} is a TorchScript program, which is never run; {SAVE_STATE}")
    if "data.pkl" not in names:
        held = ", ".join(map(printable, names[:4]))
        raise WeightsError(
            f"{_shown(path)} is a zip file, but not of torch.save (it holds: {held}); give the .pth in it"
        )


def _load_pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the age of the file
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the bytes are a stranger's, and so is what PyTorch stumbles on
        if code := _blocked(path, error):
            raise WeightsError(
                f"{_shown(path)} holds pickled code ({code}), which is never executed; {SAVE_STATE}"
            ) from None
        if "protocol" in str(error) or "Weights only" in str(error):
            raise WeightsError(f"{_shown(path)} is a pickle, but not of torch.save; {SAVE_STATE}") from None
        what = reason(error).partition(". ")[0]
        raise WeightsError(f"{_shown(path)} is cut off or damaged ({what}); {GET_AGAIN}") from None


def _blocked(path: Path, error: Exception) -> str | None:
    """What a pickle would have called, as PyTorch says it or as its opcodes do, which are only read here."""
    if told := _BLOCKED.search(str(error)):
        return told[1]
    words: list[str] = []
    with open(path, "rb") as file, contextlib.suppress(ValueError, IndexError):
        for operation, argument, _ in pickletools.genops(file):
            if isinstance(argument, str):
                words += argument.split() if operation.name == "GLOBAL" else [argument]
            if operation.name in ("GLOBAL", "STACK_GLOBAL") and words[-2:][0] not in _HARMLESS:
                return printable(".".join(words[-2:]))
    return None


def _states(content: Any, where: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """All dictionaries in a file that hold tensors, but for the states of optimisers."""
    if not isinstance(content, Mapping) or _is_optimiser(content) or depth > _DEPTH:
        return
    state = {str(key): value.detach() for key, value in content.items() if isinstance(value, Tensor)}
    if state:
        yield where, state
    for key, value in content.items():
        yield from _states(value, f"{where}.{key}" if where else str(key), depth + 1)


def _is_optimiser(content: Mapping[Any, Any]) -> bool:
    return "param_groups" in content


def _networks(where: str, state: State) -> Iterator[tuple[str, State]]:
    """A state, or the states of several networks in one: `generator.main.0.weight`, `discriminator.main.0.weight`."""
    clean = {".".join(part for part in name.split(".") if part not in WRAPPERS): value for name, value in state.items()}
    split = _split(clean)
    for name, part in split.items() if len(split) > 1 else [("", clean)]:
        yield ".".join(filter(None, (where, name))), part


def _split(state: State) -> dict[str, State]:
    """The parts of a state, if all that have convolutions have enough of them to be networks."""
    parts: dict[str, State] = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        parts.setdefault(first, {})[rest] = value
    if len(parts) == 1 and all("." in name for name in state):  # a prefix of all names
        ((first, inner),) = parts.items()
        return {f"{first}.{name}": part for name, part in _split(inner).items()}
    counts = {first: sum(value.ndim == 4 for value in part.values()) for first, part in parts.items()}
    networks = {first: part for first, part in parts.items() if counts[first]}
    return networks if all(counts[first] >= CONVOLUTIONS for first in networks) else {}


def _described(content: Any) -> str:
    """What a file holds in the place of weights."""
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    if _is_optimiser(content):
        return "the state of an optimiser (param_groups, state)"
    return printable(", ".join(map(str, list(content)[:6]))) or "nothing"


def _shown(path: Path) -> str:
    return printable(str(path))
