"""`gan-transfer recipes ls | show | copy | check | methods`: the settings that runs start from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import config
from ..errors import RecipeError
from ..explain import toml
from ..files import write_text
from ..recipe import load_recipe, load_recipe_with_origin
from ..resources import resource_dir
from ..transfer.methods import METHODS
from . import completion, options
from .for_scripts import AsJson, print_json

app = typer.Typer(help="List, show, copy and check recipes.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(
        help="coverart, finetune/coverart, or a path to a .toml file.",
        autocompletion=completion.complete_recipe,
    ),
]


@app.command()
def ls(as_json: AsJson = False) -> None:
    """List the recipes that come with gan-transfer."""
    from rich.console import Console
    from rich.table import Table

    paths = sorted(resource_dir("recipes").glob("*/*.toml"))
    recipes = [(path, load_recipe(path.parent.name, path.stem)) for path in paths]
    if as_json:
        keys = ("name", "kind", "data", "kimg", "purpose")
        rows = [(p.stem, p.parent.name, r.data.source or None, r.train.kimg, purpose(p)) for p, r in recipes]
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    table = Table("name", "kind", "data", "kimg", "purpose", box=None)
    for path, recipe in recipes:
        source = recipe.data.source or "--data"
        table.add_row(path.stem, path.parent.name, source, f"{recipe.train.kimg:g}", purpose(path))
    Console().print(table)
    _hint("Run: gan-transfer recipes show NAME")


@app.command()
def show(
    name: Name,
    changes: options.Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, as in a run's recipe.json.")] = False,
) -> None:
    """Print every setting of a recipe, defaults included, and where its value came from."""
    recipe, origin = load_recipe_with_origin(None, name, changes or ())
    settings = config.to_dict(recipe)
    typer.echo(json.dumps(settings, indent=2) if as_json else _annotated(settings, origin), nl=as_json)


@app.command()
def copy(
    name: Name,
    dest: Annotated[Path, typer.Argument(help="A new .toml file, or a folder to put NAME.toml in.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Copy a recipe's file, to be edited."""
    source = _find(name)
    target = dest / source.name if dest.is_dir() else dest
    if target.suffix != ".toml":
        raise RecipeError(
            f"{target}: wanted a file that ends in .toml. Run: gan-transfer recipes copy {name} {target}.toml"
        )
    if target.exists():
        raise RecipeError(f"{target}: exists already and stays. Run: gan-transfer recipes copy {name} ANOTHER.toml")
    try:
        write_text(target, source.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{target}: cannot be written: {error.strerror}") from None
    print_json({"written": target}) if as_json else typer.echo(target)
    _hint(f"Edit it, then run: gan-transfer recipes check {target}")


@app.command()
def check(name: Name, changes: options.Set = None, as_json: AsJson = False) -> None:
    """Check a recipe; all faults are told at once."""
    load_recipe(None, name, changes or ())
    shown = _short(str(_find(name)))
    print_json({"recipe": shown, "ok": True}) if as_json else typer.echo(f"{shown}: ok")


@app.command()
def methods(as_json: AsJson = False) -> None:
    """List the known transfer methods, for `finetune --method NAME`; `+` joins several."""
    from rich.console import Console
    from rich.table import Table

    if as_json:
        print_json([{"method": name, **method._asdict()} for name, method in METHODS.items()])
        return
    table = Table("method", "meaning", "source", box=None)
    table.columns[0].no_wrap = True  # to be copied
    for name, method in METHODS.items():
        table.add_row(name, method.meaning, method.source)
    Console(highlight=False).print(table)
    _hint("Run: gan-transfer finetune --target coverart --method freeze-d2")


def purpose(path: Path) -> str:
    """The first sentence of a recipe's opening comment, after the command lines; empty where there is none."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ")
        if text and not text.startswith("gan-transfer "):
            return text.partition(". ")[0].rstrip(".")
    return ""


def _find(name: str) -> Path:
    return config.resolve(None, name, resource_dir("recipes"))


def _annotated(settings: dict[str, Any], origin: Mapping[str, str]) -> str:
    """The settings as TOML; each line ends in a comment that says where the value came from."""
    sections: dict[str, list[str]] = {"": []}
    tables: list[tuple[str, Any]] = [
        (f"{section}.{key}", {}) for section, keys in settings.items() for key in _empty_tables(keys)
    ]
    for key, value in [*config.flatten(settings).items(), *tables]:
        section, _, leaf = key.rpartition(".")
        line = f"{leaf} = {toml(value)}"
        comment = " ".join(_short(origin.get(key, "default")).split())
        sections.setdefault(section, [f"[{section}]"]).append(f"{line:<32} # {comment}")
    return "\n\n".join("\n".join(lines) for lines in sections.values()) + "\n"


def _empty_tables(section: Any) -> list[str]:
    """The keys of a section that hold a table with nothing in it."""
    return [key for key, value in section.items() if value == {}] if isinstance(section, dict) else []


def _short(origin: str) -> str:
    """A shipped recipe's path without the folder of all recipes; everything else as it is."""
    return origin.removeprefix(f"{resource_dir('recipes')}/")


def _hint(text: str) -> None:
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)
