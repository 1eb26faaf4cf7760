"""Settings in words: a value as TOML, what a dataclass's field accepts, and the line that tells a fault. No torch."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from .errors import did_you_mean

SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def toml(value: Any) -> str:
    """A value as TOML writes it: text in double quotes, `true`, `[1, 2]`, `{ key = 1 }`."""
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode()  # lone surrogates, from file names, cannot be written
        return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(item)}' for key, item in value.items())} }}"
    return str(value)


def fault_line(
    cls: type[Any], kind: str, loc: Sequence[int | str], data: Mapping[str, Any], origin: Mapping[str, str], where: str
) -> str:
    """One line: where the value came from, its key, what was wanted, what came.

    Args:
        cls: the dataclass of all settings.
        kind: pydantic's name for the fault.
        loc: pydantic's path to the value: sections, key, and numbers inside a list.
        data: the values given, by section.
        origin: where each came from, by flat key.
        where: named in place of an origin for what was not given.
    """
    below = itertools.takewhile(lambda part: isinstance(part, str), loc)  # a list is reported whole, not by its items
    names = [str(part) for part in below]
    key = ".".join(names)
    source = next((origin[other] for other in origin if overlap(key, other)), where)
    value: Any = data
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    if len(names) < len(loc):
        kind = "item"
    if kind == "unexpected_keyword_argument":
        return f"{source}: {key}: unknown {'section' if isinstance(value, dict) else 'key'}; {_nearest(cls, names)}"
    wanted = _describe(annotation_of(cls, names))
    return f"{source}: {key}: wanted {wanted}; got {'nothing' if kind == 'missing' else toml(value)}"


def near_and_all(name: str, known: Sequence[str]) -> str:
    """The nearest known name and the list of all, or the list alone."""
    near, everything = did_you_mean(name.lower(), known), f"known: {', '.join(known)}"
    return near if near == everything else f"{near} ({everything})"


def annotation_of(cls: Any, names: Sequence[str]) -> Any:
    """The type that a dataclass wants below some names, with its range; None where there is no such field."""
    for name in names:
        cls = get_args(cls)[1] if get_origin(cls) is dict else fields_of(cls).get(name)
    return cls


def fields_of(cls: Any) -> dict[str, Any]:
    """The fields of a dataclass with their types and ranges; of anything else none."""
    return get_type_hints(cls, include_extras=True) if dataclasses.is_dataclass(cls) else {}


def overlap(key: str, other: str) -> bool:
    """Whether one key is the other or a section that holds it."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _nearest(cls: type[Any], names: Sequence[str]) -> str:
    """`did you mean ...?`: the same key in another section, else the nearest in this one."""
    *sections, leaf = names
    elsewhere = [f"{section}.{leaf}" for section, hint in fields_of(cls).items() if leaf in fields_of(hint)]
    if elsewhere:
        return f"did you mean {elsewhere[0]!r}?"
    return did_you_mean(leaf, fields_of(annotation_of(cls, sections)))


def _describe(annotation: Any) -> str:
    """What a setting accepts, in words: `a number > 0 and <= 1`, `one of "batch", "none"`."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        bounds = [f"{sign} {getattr(a, n)}" for a in arguments[1:] for n, sign in SIGNS.items() if hasattr(a, n)]
        return f"{_describe(arguments[0])} {' and '.join(bounds)}".rstrip()
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(toml, arguments))}"
    if get_origin(annotation) in (list, tuple):
        fields = ", ".join(fields_of(arguments[0]))
        return f"a list, each {f'a table of {fields}' if fields else _describe(arguments[0])}"
    if get_origin(annotation) is dict:
        return f"a table, each {_describe(arguments[1])}"
    if dataclasses.is_dataclass(annotation):
        return "a section"
    words = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
    return words.get(annotation, str(annotation))
