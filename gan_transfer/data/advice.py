"""Advice: the flags to train with on the pictures that were inspected, each with its reason. Free of torch."""

from __future__ import annotations

import dataclasses
import shlex

from .inspect import Findings
from .pack_writer import MAX_BROKEN

FEW = 250
"""Fewer pictures are a matter for the recipe `tiny`."""

SMALL = 46
"""Pixels; pictures with a shorter side below are nearer to 32 than to 64."""

VARIED = 0.75
"""Relative diversity from which many pictures are varied like photographs. Measured: Tiny-ImageNet .92 to 1.03,
CIFAR-10 .80, CelebA .52."""

ALIKE = 0.05
"""Relative diversity below which pictures are nearly one. Measured: MNIST .13, one picture with noise .03."""

LETTERED = 0.2
"""Share of lettered pictures from which flips are advised against. Measured: album covers .50, song jackets .32,
built-in covers .29; Tiny-ImageNet .08 to .09, CelebA .02."""

HANDED = 0.6
"""Share told from their mirror images from which flips are advised against. Measured: MNIST .96, built-in covers .64;
CelebA .55, Tiny-ImageNet .50."""

REPEATED = 0.01
"""Share of near-duplicates from which they should be left out."""

MANY = 60_000
"""Between the 50,000 pictures (CIFAR-10) that DiffAugment still helped and the 70,000 (FFHQ) that it harmed."""


@dataclasses.dataclass(frozen=True)
class Advice:
    """One thing to do, and why."""

    flag: str
    """The command and its recipe, a flag of it, or for what flags cannot mend a few words."""
    reason: str
    """One line with the number that was measured."""


def advice(findings: Findings) -> list[Advice]:
    """What to train with; the command comes first. Nothing is advised that no measurement or publication supports.

    Sources: Zhao et al. 2020 (DiffAugment) for the augmentation by number of pictures; this project's own trials for
    the length and the crossing from one recipe to the next. Mirroring is judged from 50 pictures on.
    """
    if not findings.seen:
        return _repair(findings)
    recipe = _recipe(findings)
    lines = [
        [recipe],
        _augment(findings, recipe),
        _mirror(findings),
        _length(findings, recipe),
        _batch(findings),
        _shape(findings),
        _dedupe(findings),
        _repair(findings),
        _more(findings),
    ]
    return [line for some in lines for line in some]


def command(findings: Findings, advised: list[Advice]) -> str:
    """The advised command line, ready to be run."""
    flags = [line.flag for line in advised[1:] if line.flag.startswith("--")]
    return " ".join(["gan-transfer", advised[0].flag, "--data", shlex.quote(findings.source), *flags])


def _recipe(findings: Findings) -> Advice:
    count = findings.distinct
    if count < FEW:
        return Advice("finetune --target tiny", f"{count:,} pictures; its settings are for about a hundred")
    if _side(findings) < SMALL:
        return _small(findings)
    if findings.share(findings.lettered) >= LETTERED:
        return Advice("finetune --target coverart", f"lettering on about {findings.share(findings.lettered):.0%}")
    relative = findings.diversity.relative if findings.diversity else 0.0
    told = f"{count:,} pictures with {relative:.2f} of the variety of photographs"
    if count >= 10_000 and relative >= VARIED:
        return Advice("pretrain imagenet", f"{told}: enough for a pair of your own")
    if count >= 1000 and relative < VARIED:
        return Advice("finetune --target celeba", f"{told}: many of one kind, as faces are")
    return Advice("finetune --target coverart", f"{told}: its settings are for hundreds to thousands of any kind")


def _small(findings: Findings) -> Advice:
    if _is_grey(findings):
        return Advice("finetune --target mnist", f"grey pictures of {_side(findings)} pixels, as digits are")
    return Advice("finetune --target cifar10", f"colour pictures of {_side(findings)} pixels, as CIFAR-10's are")


def _augment(findings: Findings, recipe: Advice) -> list[Advice]:
    count = findings.distinct
    if count < 1000:
        reason = f"{count:,} pictures: with hundreds all three pay (FID 80 to 47 on 100, Zhao et al. 2020)"
        return [Advice("--augment color,translation,cutout", reason)]
    if count < 3000:
        reason = f"{count:,} pictures: with thousands a subset; colours are content to learn (Zhao et al. 2020)"
        return [Advice("--augment translation,cutout", reason)]
    if count < MANY:
        reason = f"{count:,} pictures: translation alone served 4,000 jackets, 5,000 faces and 45,000 photographs"
        return [Advice("--augment translation", reason)]
    if recipe.flag.startswith("pretrain"):
        return []  # how augmentation serves a DCGAN on so many varied pictures has not been measured
    reason = f"{count:,} pictures: with 70,000 it cost quality (FID 3.8 to 4.2, Zhao et al. 2020)"
    return [Advice("--augment none", reason)]


def _mirror(findings: Findings) -> list[Advice]:
    found, lettered = findings.handedness, findings.share(findings.lettered)
    if found is None:
        return []
    told = f"{found.share:.0%} can be told from their mirror images (50% is guessing)"
    if lettered >= LETTERED:
        return [Advice("--no-mirror", f"lettering on about {lettered:.0%}; on varied photographs it is about 9%")]
    if found.share >= HANDED and found.share - 0.5 >= 3 * found.error:
        return [Advice("--no-mirror", told)]
    return [Advice("--mirror", f"{told}, lettering on {lettered:.0%}")]


def _length(findings: Findings, recipe: Advice) -> list[Advice]:
    if recipe.flag.startswith("pretrain"):
        return []  # the recipe's own length is for this
    if findings.distinct < FEW:
        return [Advice("--kimg 40", f"{findings.distinct:,} pictures: 20 to 100 is usual for a hundred; then look")]
    return [Advice("--kimg 100", f"{findings.distinct:,} pictures: 350 covers and 5,000 faces still gained at 100")]


def _batch(findings: Findings) -> list[Advice]:
    count = findings.distinct
    usual, reason = 64, "as in the trials with 350 to 45,000"
    if count < FEW:
        usual, reason = 32, "16 to 32 serve about a hundred, and batch norm needs 16"
    elif count >= MANY:
        usual, reason = 128, "128 is usual from some ten thousands on"
    if count < usual:
        usual, reason = 1 << (count.bit_length() - 1), "a batch cannot hold more than there are"
    return [Advice(f"--batch {usual}", f"{count:,} pictures: {reason}")] if usual > 1 else []


def _shape(findings: Findings) -> list[Advice]:
    lines, side = [], _side(findings)
    if side < SMALL:
        wanted = 32 if side >= SMALL // 2 else 16
        reason = f"the shorter side is {side} pixels; enlarged to 64 they cost more and show no more"
        lines.append(Advice(f"--set model.resolution={wanted}", reason))
    if _is_grey(findings):
        lines.append(Advice("--set model.channels=1", f"all {findings.seen:,} pictures are grey"))
    return lines


def _dedupe(findings: Findings) -> list[Advice]:
    share = findings.share(findings.near_duplicates)
    if share < REPEATED:
        return []
    reason = f"{findings.near_duplicates:,} ({share:.1%}) repeat others, and would hide a generator that repeats itself"
    return [Advice("gan-transfer data pack SOURCE --dedupe", reason)]


def _repair(findings: Findings) -> list[Advice]:
    broken, looked = len(findings.broken), len(findings.broken) + findings.seen
    if broken <= MAX_BROKEN * looked:
        return []
    return [Advice("repair or remove broken pictures", f"{broken:,} of {looked:,}; at most {MAX_BROKEN:.0%} may be")]


def _more(findings: Findings) -> list[Advice]:
    if findings.distinct < 100:
        return [Advice("more pictures", f"{findings.distinct:,} different ones; published results begin at 100")]
    if findings.diversity and findings.diversity.relative < ALIKE:
        return [Advice("more pictures", f"{findings.diversity.relative:.2f} of the variety of photographs: nearly one")]
    return []


def _side(findings: Findings) -> int:
    return findings.sides.median if findings.sides else 0


def _is_grey(findings: Findings) -> bool:
    return findings.grey == findings.seen
