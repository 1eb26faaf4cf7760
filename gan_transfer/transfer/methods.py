"""The known transfer methods by name: what each sets in a recipe, what it means, and where it comes from. No torch.

`freeze-d2+lecam` composes two. What a method needs is a recipe's settings, so that all of it can be set without one.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from ..config import Override
from ..errors import RecipeError
from ..explain import near_and_all

SEE = "See: gan-transfer recipes methods"
FREEZES = ("transfer.freeze_d_image", "transfer.freeze_g_image", "transfer.freeze_g_latent")
THAWED = tuple(f"{key}=0" for key in FREEZES)


class Method(NamedTuple):
    """One method.

    Attributes:
        overrides: `section.key=value`, over whatever the recipe says.
        meaning: in a line.
        source: the paper.
    """

    overrides: tuple[str, ...]
    meaning: str
    source: str


FREEZE_D = "Mo et al. 2020, FreezeD, arXiv:2002.10964"
FREEZE_G = "Zhao et al. 2020, arXiv:2002.11810"

METHODS: dict[str, Method] = {
    "scratch": Method(('transfer.source="none"', *THAWED), "all weights drawn: no transfer", "Radford et al. 2016"),
    "finetune": Method(
        THAWED, "both networks begin with the source's weights, and all learn", "Wang et al. 2018, arXiv:1805.01677"
    ),
    "freeze-d1": Method(("transfer.freeze_d_image=1",), "D's block nearest the image stays as it was", FREEZE_D),
    "freeze-d2": Method(("transfer.freeze_d_image=2",), "D's two blocks nearest the image stay", FREEZE_D),
    "freeze-d3": Method(("transfer.freeze_d_image=3",), "D's three blocks nearest the image stay", FREEZE_D),
    "freeze-g1": Method(("transfer.freeze_g_image=1",), "G's block nearest the image stays as it was", FREEZE_G),
    "freeze-g2": Method(("transfer.freeze_g_image=2",), "G's two blocks nearest the image stay", FREEZE_G),
    "zhao": Method(
        ("transfer.freeze_d_image=2", "transfer.freeze_g_image=2"),
        "the two blocks nearest the image stay in G and in D",
        f"{FREEZE_G}, without its AdaFM",
    ),
}
"""Each sets only what makes it that method, so that a recipe's budget, data and losses stay the same under all."""


def resolve(text: str) -> list[Override]:
    """The overrides of a method or of several joined by `+`.

    Raises:
        RecipeError: a method is not known, or two exclude each other: says which and why.
    """
    names = [name.strip() for name in text.split("+")]
    for name in names:
        if name not in METHODS:
            raise RecipeError(f"method {name!r} is not known; {near_and_all(name, list(METHODS))}. {SEE}")
    for one, other in itertools.combinations(dict.fromkeys(names), 2):
        if why := _contradiction(one, other):
            raise RecipeError(f"methods {one} and {other} exclude each other: {why}. {SEE}")
    overrides = [override for name in dict.fromkeys(names) for override in METHODS[name].overrides]
    return [Override(override, f"--method {text}") for override in dict.fromkeys(overrides)]


def _contradiction(one: str, other: str) -> str:
    """Why two methods cannot be had together; empty where they can."""
    if "scratch" in (one, other) and (keeper := one if other == "scratch" else other) and _needs_source(keeper):
        return f"scratch begins from no pair, and {keeper} keeps something of one"
    first, second = _settings(one), _settings(other)
    for key in first:
        if key in second and first[key] != second[key]:
            return f"{one} sets {key} to {first[key]}, {other} to {second[key]}"
    return ""


def _needs_source(name: str) -> bool:
    return any(override.startswith("transfer.") for override in METHODS[name].overrides)


def _settings(name: str) -> dict[str, str]:
    pairs = (override.partition("=") for override in METHODS[name].overrides)
    return {key: value for key, _, value in pairs}
