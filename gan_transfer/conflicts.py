"""Settings that are fine by themselves and wrong together: plain values in, a line for each fault out. No torch.

Every line opens with the key of the setting at fault; `gan_transfer.recipe` puts before it where that came from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from .explain import near_and_all, toml

GROUP_SIZES = (4, 3, 2)
"""Of the groups over which minibatch deviation is taken: the first that divides the discriminator's batch."""
MOST_ADA = 0.82
"""Translation and brightness draw from uniform distributions, whose characteristic function sin(t) / t falls to -0.217.
Applied with probability p they leave 1 - p + p sin(t) / t of every frequency: below p = 1 / 1.217 none is lost, so that
no distribution of fakes can pass for the reals' by looking as if it were augmented (Karras et al. 2020, appendix C)."""


def group_faults(batch: int, stack: int, minibatch_std: bool) -> list[str]:
    """Batches that cannot be split into stacks, or whose stacks cannot be split into groups."""
    if batch % stack or batch // stack < 2:
        multiple = max(2, -(-batch // stack)) * stack
        return [f"model.stack: {stack} pictures at a time do not split train.batch = {batch}; wanted e.g. {multiple}"]
    looks = batch // stack
    if minibatch_std and all(looks % size for size in GROUP_SIZES):
        wanted = f"wanted false, or a train.batch such as {stack * (looks + 4 - looks % 4)}"
        return [f"model.minibatch_std: {looks} looks of the discriminator split into no groups of 2 to 4; {wanted}"]
    return []


def thaw_faults(thaw_kimg: float, keeps: Sequence[str]) -> list[str]:
    """Gradual unfreezing of what something else keeps for good; `keeps` are settings of the section transfer."""
    if not thaw_kimg or not keeps:
        return []
    other = f"transfer.{keeps[0]} keeps blocks for good"
    return [f"optim.thaw_kimg: {thaw_kimg:g} lets one block after the other learn, and {other}; wanted one of them"]


def lecam_faults(lecam: float, loss: str) -> list[str]:
    """LeCam on logits that have no level."""
    if not lecam or loss != "relativistic":
        return []
    why = 'only differences of logits count for objective.loss = "relativistic", so their level drifts'
    return [f"objective.lecam: {lecam:g} holds logits to their averages, but {why}; wanted 0, or another loss"]


def compile_faults(compiled: bool, r1_gamma: float, r2_gamma: float) -> list[str]:
    """Compiled networks and penalties of gradients, whose own gradient would pass through the compiled ones twice."""
    if not compiled or not (r1_gamma or r2_gamma):
        return []
    name = "r1_gamma" if r1_gamma else "r2_gamma"
    return [f"train.compile: compiled networks have no second gradient, which objective.{name} takes; wanted false"]


def ada_faults(target: float, p: float, operations: Collection[str]) -> list[str]:
    """ADA without operations, or with a probability at which they leak into the fakes."""
    if not target:
        return []
    if not operations:
        return [
            'augment.ada_target: nothing to apply with augment.operations = []; wanted some, such as ["translation"]'
        ]
    if p > MOST_ADA:
        return [f"augment.p: {p:g} is the most that ADA may take, and above {MOST_ADA} operations leak; wanted 0.8"]
    return []


def rate_faults(lr_mult: Mapping[str, float], blocks: Sequence[str], frozen: Collection[str]) -> list[str]:
    """Learning rates of blocks that are not there or never learn."""
    lines = []
    for name, factor in lr_mult.items():
        key = f"optim.lr_mult.{name}: {toml(factor)} for"
        if name not in blocks:
            lines.append(f"{key} a block that is not there; {near_and_all(name, blocks)}")
        elif name in frozen:
            lines.append(f"{key} a block that is frozen; wanted no rate for it, or fewer frozen blocks")
    return lines
