"""The command that a run was started with, read back from its books; it resumes the run, or begins a changed one."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .config import flatten
from .explain import toml
from .resources import resource_dir

FREE = ("--on-collapse", "--patience", "--device", "--data")
"""Flags that may change when a run is resumed; a change of any other needs `--new`."""

_FLAG = re.compile(r"--[a-z][a-z-]*")
_ALIASES = {"--freeze": "--freeze-d-image"}


@dataclasses.dataclass(frozen=True)
class Rerun:
    """A training command in parts.

    Attributes:
        opening: `gan-transfer finetune --target NAME`, unquoted words.
        flags: value by flag; one that can be repeated has its key in its name, `--set optim.beta1` or `--lr-mult d32`,
            and a switch has no value.
    """

    opening: tuple[str, ...]
    flags: Mapping[str, str]

    def __str__(self) -> str:
        """The command as it is typed: it resumes the run."""
        return self._typed(self.flags)

    def but(self, changes: Mapping[str, str]) -> str:
        """The command with other flags; `--new` is added where the run cannot be resumed with them."""
        new = {} if changes.keys() <= set(FREE) else {"--new": ""}
        return self._typed({**self.flags, **changes, **new})

    def onward(self, network: Path, kimg: float) -> str:
        """The command that begins another run with the same settings, so long, from a pair of this one."""
        replaced = ("--method", "--from", "--kimg", "--set transfer.source", "--set train.kimg")
        flags = {flag: value for flag, value in self.flags.items() if flag not in replaced}
        if method := "+".join(part for part in self.flags.get("--method", "").split("+") if part != "scratch"):
            flags["--method"] = method
        return self._typed({**flags, "--from": str(network), "--kimg": f"{kimg:g}", "--new": ""})

    def _typed(self, flags: Mapping[str, str]) -> str:
        words = list(self.opening)
        for flag, value in flags.items():
            name, _, key = flag.partition(" ")
            words += [name, f"{key}={value}" if key else value] if value else [name]
        return shlex.join(words)


def read_rerun(recipe: Mapping[str, Any], origin: Mapping[str, str], outdir: Path) -> Rerun:
    """Put the command together again.

    Args:
        recipe: `recipe.json`.
        origin: `origin.json`, where each value came from.
        outdir: the folder that holds the run folder.
    """
    values, flags = flatten(recipe), {}
    for key, source in origin.items():
        if key in values and (flag := _flag(key, source)):
            flags[flag] = _value(flag, source, values[key])
    if str(outdir) not in ("runs", "."):
        flags["--outdir"] = str(outdir)
    return Rerun(_opening(str(recipe.get("name", "")), origin), flags)


def _flag(key: str, source: str) -> str:
    """The flag that gave a value; empty where the recipe, its file or the pair gave it."""
    if found := _FLAG.match(source):
        flag = _ALIASES.get(found[0], found[0])
        if flag == "--lr-mult":
            return f"{flag} {key.rpartition('.')[2]}"
        return f"--set {key}" if flag == "--set" else flag
    by_name = source.startswith("settings[") or re.match(r"\w+=", source)  # in a call of `gan_transfer.finetune`
    return f"--set {key}" if by_name else ""


def _value(flag: str, source: str, value: Any) -> str:
    if flag in ("--mirror", "--no-mirror"):
        return ""
    if flag.startswith("--set"):
        return toml(value)
    if flag == "--method":  # one word gave several settings
        return source.removeprefix("--method ")
    if flag == "--augment":
        return ",".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _opening(name: str, origin: Mapping[str, str]) -> tuple[str, ...]:
    """The subcommand and its recipe: a shipped one by its name, another by its file."""
    files = [Path(source) for source in origin.values() if source.endswith(".toml")]
    shipped = {path.stem: path.parent.name for path in sorted(resource_dir("recipes").glob("*/*.toml"))}
    own = next((path for path in files if path.stem == name), None)
    if own is not None and own.parent.name not in ("pretrain", "finetune"):
        kind, told = "finetune", str(own)
    else:
        kind, told = own.parent.name if own else shipped.get(name, "finetune"), name
    return ("gan-transfer", "pretrain", told) if kind == "pretrain" else ("gan-transfer", kind, "--target", told)
