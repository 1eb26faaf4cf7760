"""DiffAugment: differentiable augmentation of what the discriminator sees (Zhao et al. 2020, arXiv:2006.10738).

Every operation takes float [N, C, H, W] in [-1, 1] and a random generator, and returns the same shape.
Pictures are not clamped afterwards, and each draws its own values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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
    brightness, saturation = _draw(images, generator, share) - 0.5, 2.0 * _draw(images, generator, share)
    contrast = 0.5 + _draw(images, generator, share)
    grey = images.mean(dim=1, keepdim=True)
    middle = grey.mean(dim=(2, 3), keepdim=True)
    # All three at once: neither saturation nor contrast moves the mean that the next one is about.
    further = contrast * (1 - saturation) * grey + (1 - contrast) * middle + brightness
    return torch.addcmul(further, images, contrast * saturation)


def translation(images: Tensor, generator: torch.Generator, share: Share = WHOLE, ratio: float = 0.125) -> Tensor:
    """Move by up to an eighth of the side in each direction; zeros come in."""
    count, _, height, width = images.shape
    down, right = int(height * ratio + 0.5), int(width * ratio + 0.5)
    drawn = (count * share.step,)
    top = share.rows(torch.randint(-down, down + 1, drawn, generator=generator))
    left = share.rows(torch.randint(-right, right + 1, drawn, generator=generator))
    if images.device.type != "cpu":
        return _gather(images, top, left)
    cut: Tensor = _Cut.apply(images, top.tolist(), left.tolist())
    return cut


def cutout(images: Tensor, generator: torch.Generator, share: Share = WHOLE, ratio: float = 0.5) -> Tensor:
    """Set a square of half the side, its centre anywhere in the picture, to zero (grey)."""
    count, _, height, width = images.shape
    drawn = count * share.step
    rows = send(share.rows(_inside(drawn, height, ratio, generator)), images.device)
    columns = send(share.rows(_inside(drawn, width, ratio, generator)), images.device)
    kept = ~(rows[:, None, :, None] & columns[:, None, None, :])
    return images * kept.to(images.dtype)  # `masked_fill` would lose the order in memory


OPERATIONS: dict[str, Callable[[Tensor, torch.Generator, Share], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}


class _Cut(torch.autograd.Function):
    """A window of each picture [N, C, H, W], as large as the picture and with its corner `top` below and `left` beside
    the picture's own (int, N of each); zeros come in. One copy a picture, on a CPU.

    The gradient of autograd's own slices would be as large as the batch for every picture of it. That of a window is a
    window the other way, which can be differentiated again, for penalties.
    """

    @staticmethod
    def forward(ctx: Any, pictures: Tensor, top: list[int], left: list[int]) -> Tensor:
        ctx.corners = top, left
        cut = torch.zeros_like(pictures)
        for into, picture, down, right in zip(cut, pictures, top, left, strict=True):
            _shared(into, -down, -right).copy_(_shared(picture, down, right))
        return cut

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        back: list[list[int]] = [[-offset for offset in offsets] for offsets in ctx.corners]
        return _Cut.apply(gradient, *back), None, None


def _shared(picture: Tensor, down: int, right: int) -> Tensor:
    """What of a picture [C, H, W] is seen through a window moved by so much."""
    height, width = picture.shape[1:]
    rows = slice(max(down, 0), height + min(down, 0))
    return picture[:, rows, max(right, 0) : width + min(right, 0)]


def _gather(pictures: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """What `_Cut` does, in two launches for the whole batch rather than one for each picture; the corners, int64 [N],
    are on the host."""
    count, channels, height, width = pictures.shape
    down, right = int(top.abs().max()), int(left.abs().max())
    padded = pad(pictures, (right, right, down, down))
    rows = send(down + top[:, None] + torch.arange(height), pictures.device)[:, None, :, None]
    columns = send(right + left[:, None] + torch.arange(width), pictures.device)[:, None, None, :]
    strips = padded.gather(2, rows.expand(count, channels, height, width + 2 * right))
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
