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
    "scratch": Method(  # noise in the average would last for some half-lives, which a warm start does not know
        ('transfer.source="none"', "ema.rampup=0.05", *THAWED),
        "all weights drawn: no transfer",
        "Radford et al. 2016, arXiv:1511.06434",
    ),
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
    "bn-affine": Method(
        ('transfer.train_only="bn-affine"',),
        "of G only batch norm's gains and offsets learn, and the block at the image",
        "after Noguchi & Harada 2019, BSA, arXiv:1904.01774",
    ),
    "l2-sp": Method(
        ("anchor.l2_sp=10",),
        "all weights are pulled back to the source's, by their relative change",
        "Li et al. 2018, L2-SP, arXiv:1802.01483",
    ),
    "ewc": Method(
        ("anchor.ewc=10",),
        "G's weights are pulled back, each by its Fisher information",
        "Li et al. 2020, EWC, arXiv:2012.02780",
    ),
    "cdc": Method(
        ("anchor.cdc=333",),
        "G keeps which latents are alike: cross-domain distance consistency",
        "Ojha et al. 2021, CDC, arXiv:2104.06820, that term alone",
    ),
    "gradual": Method(
        ("optim.thaw_kimg=4",),
        "one block more learns every 4 kimg, the furthest from the image first",
        "Howard & Ruder 2018, arXiv:1801.06146",
    ),
    "discriminative": Method(
        ("optim.block_decay=2.6",),
        "each block nearer to the image learns 2.6 times slower",
        "Howard & Ruder 2018, arXiv:1801.06146",
    ),
    "lecam": Method(
        ("objective.lecam=0.01",),
        "D's logits are kept near their moving averages",
        "Tseng et al. 2021, LeCam, arXiv:2104.03310",
    ),
    "ada": Method(
        ("augment.ada_target=0.6", "augment.ada_kimg=10", "augment.p=0.8"),
        "the recipe's augmentation by a probability that follows D's overfitting",
        "Karras et al. 2020, ADA, arXiv:2006.06676",
    ),
    "mode-seeking": Method(
        ("objective.mode_seeking=1",),
        "pictures of different latents are driven apart, no further than reals are",
        "Mao et al. 2019, MSGAN, arXiv:1903.05628",
    ),
    "moments": Method(
        ("objective.moments=10",),
        "brightness and contrast of the fakes are held to the reals', which batch norm hides from D",
        "Salimans et al. 2016, feature matching, arXiv:1606.03498, of pixels",
    ),
    "pacgan": Method(("model.stack=2",), "D judges two pictures together", "Lin et al. 2018, PacGAN, arXiv:1712.04086"),
    "mbstd": Method(
        ("model.minibatch_std=true",),
        "D is shown how much the pictures of a group differ",
        "Karras et al. 2018, minibatch standard deviation, arXiv:1710.10196",
    ),
}
"""Each sets only what makes it that method, so that a recipe's budget, data and losses stay the same under all.

Two weights are not their authors'. LeCam's 0.3 is for the logits of a BigGAN; the non-saturating loss has larger ones
here, and with 0.3 D held most fakes for real after 2 kimg. ADA's 500 kimg, 100 when resuming, are for runs of 25,000.
"""


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


EXCLUDES: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    (("gradual",), ("freeze-", "zhao", "bn-affine"), "lets every block learn in the end, {} keeps some for good"),
)
"""Names, what others begin with, and why they exclude each other; beside settings that clash."""


def _contradiction(one: str, other: str) -> str:
    """Why two methods cannot be had together; empty where they can."""
    if "scratch" in (one, other) and (keeper := one if other == "scratch" else other) and _needs_source(keeper):
        return f"scratch begins from no pair, and {keeper} keeps something of one"
    for name, excluded, why in EXCLUDES:
        for a, b in ((one, other), (other, one)):
            if a in name and b.startswith(excluded):
                return f"{a} {why.format(b)}"
    first, second = _settings(one), _settings(other)
    for key in first:
        if key in second and first[key] != second[key]:
            return f"{one} sets {key} to {first[key]}, {other} to {second[key]}"
    return ""


def _needs_source(name: str) -> bool:
    return any(override.startswith(("transfer.", "anchor.", "optim.thaw")) for override in METHODS[name].overrides)


def _settings(name: str) -> dict[str, str]:
    pairs = (override.partition("=") for override in METHODS[name].overrides)
    return {key: value for key, _, value in pairs}
