"""DiffAugment: differentiable augmentation of what the discriminator sees (Zhao et al. 2020, arXiv:2006.10738).

Every operation takes float [N, C, H, W] in [-1, 1] and a random generator, and returns the same shape.
Pictures are not clamped afterwards, and each draws its own values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..devices import send
from ..distributed import WHOLE, Share
from ..recipe import Augment

ADA_STEPS = 4
"""Between two moves of ADA's probability, as the authors have it."""


def augment(
    images: Tensor, operations: Sequence[str], p: float | Tensor, generator: torch.Generator, share: Share = WHOLE
) -> Tensor:
    """Apply the named operations in their order, each to every picture with probability `p`.

    Args:
        images: float [N, C, H, W] in [-1, 1]; gradients flow through.
        operations: names out of `OPERATIONS`.
        p: probability in [0, 1]; 0 returns the pictures untouched. A tensor on their device (ADA's) is not waited for.
        generator: source of all randomness, on the CPU.
        share: which rows of their batch the pictures are; numbers are drawn for the whole batch.
    """
    moving = isinstance(p, Tensor)
    for name in operations if moving or p > 0 else ():
        changed = OPERATIONS[name](images, generator, share)
        sure = not moving and p >= 1
        images = changed if sure else torch.where(_draw(images, generator, share) < p, changed, images)
    return images


@torch.no_grad()
def moved_p(state: Tensor, r_t: Tensor, move: float, settings: Augment) -> Tensor:
    """ADA's state after a step (Karras et al. 2020, arXiv:2006.06676): [p, sum of r_t since p moved, steps since].

    Every `ADA_STEPS` steps p moves by `move` towards more where the mean r_t is above the target, else towards less,
    and stays between 0 and the recipe's `augment.p`.

    Args:
        state: float32 [3].
        r_t: E sign D(x) in this step, on augmented pictures and in train mode.
        move: images in those steps, divided by `ada_kimg` thousand.
        settings: of the recipe.
    """
    p, total, steps = state[0], state[1] + r_t, state[2] + 1
    due = steps >= ADA_STEPS
    moved = (p + (total / steps - settings.ada_target).sign() * move).clamp(0.0, settings.p)
    zero = torch.zeros_like(p)
    return torch.stack([torch.where(due, moved, p), torch.where(due, zero, total), torch.where(due, zero, steps)])


def color(images: Tensor, generator: torch.Generator, share: Share = WHOLE) -> Tensor:
    """Brightness + U(-0.5, 0.5), then saturation x U(0, 2) about the channel mean, then contrast x U(0.5, 1.5)."""
    images = images + (_draw(images, generator, share) - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = torch.lerp(grey, images, 2.0 * _draw(images, generator, share))
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(middle, images, 0.5 + _draw(images, generator, share))


def translation(images: Tensor, generator: torch.Generator, share: Share = WHOLE, ratio: float = 0.125) -> Tensor:
    """Move by up to an eighth of the side in each direction; zeros come in."""
    count, _, height, width = images.shape
    down, right = int(height * ratio + 0.5), int(width * ratio + 0.5)
    padded = pad(images, (right, right, down, down))
    drawn = (count * share.step,)
    top = share.rows(torch.randint(0, 2 * down + 1, drawn, generator=generator))
    left = share.rows(torch.randint(0, 2 * right + 1, drawn, generator=generator))
    return (_cut if images.device.type == "cpu" else _gather)(padded, top, left, height, width)


def cutout(images: Tensor, generator: torch.Generator, share: Share = WHOLE, ratio: float = 0.5) -> Tensor:
    """Set a square of half the side, its centre anywhere in the picture, to zero (grey)."""
    count, _, height, width = images.shape
    drawn = count * share.step
    rows = send(share.rows(_inside(drawn, height, ratio, generator)), images.device)
    columns = send(share.rows(_inside(drawn, width, ratio, generator)), images.device)
    return images.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0.0)


OPERATIONS: dict[str, Callable[[Tensor, torch.Generator, Share], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}


def _cut(pictures: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """A window of each picture, its corner given as int64 [N]: [N, C, H, W] -> [N, C, height, width]; on a CPU."""
    corners = enumerate(zip(top.tolist(), left.tolist(), strict=True))
    return torch.stack([pictures[n, :, t : t + height, x : x + width] for n, (t, x) in corners])


def _gather(pictures: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """The same in two launches for the whole batch rather than one for each picture; the corners are on the host."""
    count, channels, _, across = pictures.shape
    rows = send(top[:, None] + torch.arange(height), pictures.device)[:, None, :, None]
    columns = send(left[:, None] + torch.arange(width), pictures.device)[:, None, None, :]
    strips = pictures.gather(2, rows.expand(count, channels, height, across))
    return strips.gather(3, columns.expand(count, channels, height, width))


def _draw(images: Tensor, generator: torch.Generator, share: Share) -> Tensor:
    """One U(0, 1) value per picture, [N, 1, 1, 1]."""
    drawn = torch.rand(len(images) * share.step, 1, 1, 1, generator=generator)
    return send(share.rows(drawn).to(images.dtype), images.device)


def _inside(count: int, side: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Per picture, which of `side` positions lie in a window of ratio * side about a random centre: bool [N, side]."""
    size = int(side * ratio + 0.5)
    start = torch.randint(0, side + (1 - size % 2), (count, 1), generator=generator) - size // 2
    position = torch.arange(side)[None]
    return (position >= start) & (position < start + size)
