"""Strict TOML -> frozen dataclasses: `extends`, overrides, where each value came from, all faults at once. No torch.

    own file, over the files it extends -> overrides in order -> validation -> dataclass + origin of every key

Every dataclass carries `__pydantic_config__ = {"extra": "forbid"}`; ranges are `annotated_types`, choices `Literal`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from .errors import RecipeError
from .explain import annotation_of, fault_line, fields_of, near_and_all, overlap, toml

T = TypeVar("T")
Table = dict[str, Any]
Layer = tuple[str, Table]  # where the values came from, and the values

SEE = "See: gan-transfer recipes ls"
UNUSABLE: list[Any] = [[[]]]  # in place of a value that no setting accepts (a date, nan): its key is then reported
ABSENT = Path("(absent)")  # equal to no value of a setting


@dataclasses.dataclass(frozen=True)
class Override:
    """One setting from the command line: `section.key=value`, and the words that the user typed for it."""

    text: str
    shown: str


def load(
    cls: type[T],
    path: Path,
    overrides: Sequence[str | Override] = (),
    search: Sequence[Path] = (),
    defaults: Mapping[str, Any] | None = None,
) -> T:
    """Read a recipe file into `cls`; the same as `load_with_origin` without the origins."""
    return load_with_origin(cls, path, overrides, search, defaults)[0]


def load_with_origin(
    cls: type[T],
    path: Path,
    overrides: Sequence[str | Override] = (),
    search: Sequence[Path] = (),
    defaults: Mapping[str, Any] | None = None,
) -> tuple[T, dict[str, str]]:
    """Read a recipe file into `cls`, and say where each value came from.

    `overrides` are `section.key=value` with a TOML value (a bare word is text); later ones win. `extends` is looked
    up beside the file, then in `search`. `defaults` hold where the file itself is silent,
    even if one that it extends speaks.

    Returns:
        The dataclass, and for each `section.key` one of `default`, the file's path, or the override as typed.

    Raises:
        RecipeError: a file cannot be read, or settings are not usable: one line for each fault.
    """
    *parents, own = _chain(path, search)
    layers: list[Layer] = [*parents, ("default", dict(defaults or {})), own]
    faults: list[str] = []
    for override in overrides:
        try:
            layers.append(_override_layer(cls, override))
        except RecipeError as error:
            faults.append(str(error))
    value, given = _build(cls, layers, str(path), faults)
    return value, {key: given.get(key, "default") for key in flatten(to_dict(value))}


def resolve(kind: str | None, name: str, folder: Path) -> Path:
    """The file of a recipe: `coverart`, `finetune/coverart` (in `folder`), or a path that ends in `.toml`.

    Args:
        kind: `pretrain` or `finetune`, the subfolders of `folder`; None looks in all of them.

    Raises:
        RecipeError: no such recipe; names the nearest.
    """
    if name.endswith(".toml"):
        if not _is_file(Path(name)):
            raise RecipeError(f"{name}: no such recipe file. {SEE}")
        return Path(name)
    files = {f"{path.parent.name}/{path.stem}": path for path in sorted(folder.glob("*/*.toml"))}
    found = [path for full, path in files.items() if name in (full, path.stem)]
    fitting = [path for path in found if kind in (None, path.parent.name)]
    if fitting:
        return fitting[0]
    if found:
        raise RecipeError(f"recipe {name!r} is for {found[0].parent.name}, not for {kind}. {SEE}")
    known = [path.stem for path in files.values() if kind in (None, path.parent.name)]
    raise RecipeError(f"{kind or 'shipped'} recipe {name!r} is not known; {near_and_all(name, known)}. {SEE}")


def to_dict(recipe: Any) -> dict[str, Any]:
    """A recipe's sections as nested dictionaries of JSON values."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe)))
    return plain


def from_dict(cls: type[T], data: Mapping[str, Any], where: str = "recipe.json") -> T:
    """The inverse of `to_dict`, as strict as `load`; `where` names the origin in messages.

    Raises:
        RecipeError: settings are not usable: one line for each fault.
    """
    return _build(cls, [(where, dict(data))], where, [])[0]


def completed(table: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A result of `to_dict`, perhaps of an earlier version, with the defaults of the settings that it lacks."""
    return _merge(dict(defaults), dict(table))


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed between two results of `to_dict`: lines such as `optim.glr: 0.0002 -> 0.0001`."""
    before, after = flatten(old), flatten(new)
    changed = [key for key in after | before if before.get(key, ABSENT) != after.get(key, ABSENT)]
    return [f"{key}: {toml(before.get(key, ABSENT))} -> {toml(after.get(key, ABSENT))}" for key in changed]


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"optim": {"glr": 1}}` as `{"optim.glr": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


# Files


def _chain(path: Path, search: Sequence[Path]) -> list[Layer]:
    """The values of `path` and of all that it extends, the furthest first."""
    layers: list[Layer] = []
    seen: list[Path] = []
    while True:
        looped = path.resolve() in [earlier.resolve() for earlier in seen]
        seen.append(path)
        if looped:
            raise RecipeError(f"{seen[0]}: extends runs in a loop: {' -> '.join(map(str, seen))}")
        data = _read(path)
        base = data.pop("extends", None)
        layers.insert(0, (str(path), data))
        if base is None:
            return layers
        path = _base(path, base, search)


def _base(path: Path, name: Any, search: Sequence[Path]) -> Path:
    """The file that `path` extends."""
    if not isinstance(name, str):
        raise RecipeError(f"{path}: extends: wanted a recipe's name or path; got {toml(name)}")
    file = name if name.endswith(".toml") else f"{name}.toml"
    for folder in (path.parent, *search):
        if _is_file(folder / file):
            return folder / file
    known = sorted({near.stem for folder in (path.parent, *search) for near in folder.glob("*.toml")} - {path.stem})
    raise RecipeError(f"{path}: extends: no recipe {name!r}; {near_and_all(name, known)}. {SEE}")


def _read(path: Path) -> Table:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # -sig: Windows editors put a mark first
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise RecipeError(
            f"{path}: wanted UTF-8 text; got byte {error.object[error.start]:#x} in line {line}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: not TOML: {error}") from None
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe file. {SEE}") from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: wanted a recipe file; got a folder. {SEE}") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a folder that we may not enter; a NUL in the name
        return False


# Overrides and validation


def _override_layer(cls: type[Any], override: str | Override) -> Layer:
    item = override if isinstance(override, Override) else Override(override, f"--set {override}")
    key, equals, text = item.text.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not equals or not all(names):
        raise RecipeError(f"{item.shown}: wanted section.key=value; got {item.text!r}")
    value = _override_value(text.strip(), annotation_of(cls, names))
    for name in reversed(names):
        value = {name: value}
    return item.shown, value


def _override_value(text: str, annotation: Any) -> Any:
    """The TOML value, or the text itself: for a bare word, and for `7` where the setting is text."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    whole = parsed.keys() == {"value"} and (annotation is not str or isinstance(parsed["value"], str))
    return parsed["value"] if whole else text


def _build(cls: type[T], layers: Sequence[Layer], where: str, faults: list[str]) -> tuple[T, dict[str, str]]:
    """Merge the layers, later ones over earlier ones, and validate; add to `faults`, and raise if there are any."""
    from pydantic import TypeAdapter, ValidationError  # here, because it takes a tenth of a second

    data: Table = {}
    origin: dict[str, str] = {}
    for source, table in layers:
        data = _merge(data, table)
        given = dict.fromkeys(flatten(table), source)
        origin = {key: old for key, old in origin.items() if not any(overlap(key, new) for new in given)} | given
    try:
        # Strict JSON takes 20 for 20.0 and a list for a tuple, but neither "20" nor true for a number.
        value = TypeAdapter(cls).validate_json(json.dumps(_plain(data, cls)), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
        faults = [*faults, *(fault_line(cls, fault["type"], fault["loc"], data, origin, where) for fault in details)]
    if faults:
        raise RecipeError("\n".join(dict.fromkeys(faults)))
    return value, origin


def _merge(base: Table, over: Table) -> Table:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _plain(value: Any, annotation: Any) -> Any:
    """`value` as JSON, with what no setting of this annotation can be replaced by `UNUSABLE`."""
    if isinstance(value, dict):
        fields = fields_of(annotation)
        return {key: _plain(item, fields.get(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, None) for item in value]
    return value if _is_usable(value, annotation) else UNUSABLE


def _is_usable(value: Any, annotation: Any) -> bool:
    if isinstance(value, bool):  # Python holds that true is 1, and so would Literal[1, 3]
        return get_origin(annotation) is not Literal or any(value is choice for choice in get_args(annotation))
    if isinstance(value, int):
        return -(2**63) <= value < 2**63  # TOML's integers; larger ones would become infinite floats
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):  # control characters and lone surrogates cannot be written to every file and terminal
        return not any(unicodedata.category(character) in ("Cc", "Cs") for character in value)
    return value is None  # from JSON; TOML has no such value
