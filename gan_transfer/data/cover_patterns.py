"""Cover designs computed for each pixel: stripes, rings, dots, waves and blends. Free of torch.

Each takes its choices from the canvas's generator, the same number of them at every size of picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .cover_canvas import Canvas, Floats, coordinates, smooth_noise


def gradient(canvas: Canvas) -> None:
    """A smooth blend from dark to light through two colours, with an orb in which it runs backwards."""
    rng = canvas.rng
    x, y = coordinates(canvas.side)
    angle = rng.choice([0, 45, 90, 135]) + rng.uniform(-15, 15)
    position = 0.5 + 0.75 * (_along(canvas, angle) + 0.2 * (smooth_noise(rng, canvas.side, 4) - 0.5))
    center = rng.uniform(0.4, 0.6, 2)
    orb = (x - center[0]) ** 2 + (y - center[1]) ** 2 < rng.uniform(0.2, 0.33) ** 2
    position = np.where(orb, 1 - position, position)
    first, second, _ = canvas.palette.accents
    canvas.ramp([canvas.palette.dark, first, second, canvas.palette.light][:: rng.choice([-1, 1])], position)


def stripes(canvas: Canvas) -> None:
    """Bold straight stripes over the whole cover, or a bundle of them crossing a plain ground."""
    rng, palette = canvas.rng, canvas.palette
    position = _along(canvas, rng.choice([0, 45, 90, 135]))
    if rng.random() < 0.5:
        colors = [palette.legible[0], palette.ground, *palette.accents[1:], palette.ink][: rng.integers(2, 6)]
        canvas.fill(colors, np.floor((position + 0.75) * rng.uniform(5, 9)).astype(np.intp))
        return
    bands = np.floor((position - rng.uniform(-0.15, 0.15)) * rng.uniform(8, 13)).astype(np.intp) + 2
    colors = [*palette.accents, palette.ink, palette.ground]
    canvas.fill(colors, np.where((bands < 0) | (bands > 3), 4, bands))


def rays(canvas: Canvas) -> None:
    """A sunburst: rays in two colours and a disc where they meet."""
    rng, palette = canvas.rng, canvas.palette
    x, y = coordinates(canvas.side)
    center_x, center_y = 0.5, float(rng.choice([0.5, 0.65, 0.9]))
    angle = np.arctan2(y - center_y, x - center_x) / (2 * math.pi)
    count = 2 * rng.integers(5, 11)
    canvas.fill([palette.accents[0], palette.ground], np.floor(angle * count + 0.5).astype(np.intp))
    radius = rng.uniform(0.17, 0.28)
    canvas.disc(center_x, center_y, radius + 0.035, palette.ground)
    canvas.disc(center_x, center_y, radius, palette.accents[1])


def rings(canvas: Canvas) -> None:
    """Concentric circles, sometimes cut in half with the halves out of step."""
    rng, palette = canvas.rng, canvas.palette
    x, y = coordinates(canvas.side)
    center_x, center_y = rng.choice([0.5, 0.5, 0.0, 1.0]), rng.choice([0.5, 0.5, 1.0])
    radius = np.hypot(x - center_x, y - center_y)
    bands = np.floor(radius * rng.uniform(7, 11)).astype(np.intp)
    if rng.random() < 0.35:
        bands = bands + (x > 0.5)
    colors = [palette.legible[0], palette.ground, palette.accents[1], palette.ink, palette.accents[2]]
    canvas.fill(colors[: rng.integers(2, 6)], bands)


def halftone(canvas: Canvas) -> None:
    """Printer's dots that grow along a slope or towards a bright centre."""
    rng, palette = canvas.rng, canvas.palette
    x, y = coordinates(canvas.side)
    count = rng.integers(8, 12)
    turn = math.radians(rng.choice([0, 45]))
    u = (x * math.cos(turn) + y * math.sin(turn)) * count
    v = (y * math.cos(turn) - x * math.sin(turn)) * count
    distance = np.hypot(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5)
    slope = 0.5 + _along(canvas, rng.uniform(0, 360))
    center_x, center_y = rng.uniform(0.3, 0.7, 2)
    glow = 1.25 - rng.uniform(1.7, 2.4) * np.hypot(x - center_x, y - center_y)
    size = 0.62 * np.clip(slope if rng.random() < 0.5 else glow, 0.0, 1.0)
    canvas.fill([palette.ground, palette.legible[rng.integers(3)]], (distance < size).astype(np.intp))


def marble(canvas: Canvas) -> None:
    """Veined paper: soft noise folded into itself, in flat inks or in a smooth blend."""
    rng, palette = canvas.rng, canvas.palette
    noise = smooth_noise(rng, canvas.side, 4) + 0.35 * smooth_noise(rng, canvas.side, 7)
    position = 0.5 + 0.5 * np.sin(noise * rng.uniform(7, 12))
    colors = [palette.dark, *palette.accents, palette.light]
    if rng.random() < 0.5:
        canvas.ramp(colors, position)
    else:
        canvas.fill(colors, np.floor(position * 4.99).astype(np.intp))


def waves(canvas: Canvas) -> None:
    """Ribbons of colour flowing across the ground."""
    rng, palette = canvas.rng, canvas.palette
    x, y = coordinates(canvas.side)
    if rng.random() < 0.3:
        x, y = y, x
    bend = rng.uniform(0.1, 0.2) * np.sin(x * rng.uniform(5, 9) + rng.uniform(0, 6))
    bands = np.floor((y + bend - rng.uniform(0.2, 0.4)) * rng.uniform(9, 12)).astype(np.intp)
    colors = [*palette.accents, palette.ink, palette.ground]
    canvas.fill(colors, np.where((bands < 0) | (bands > 3), 4, bands))


def planet(canvas: Canvas) -> None:
    """A duotone of a lit sphere among clouds, shaded like a photograph."""
    rng, palette = canvas.rng, canvas.palette
    x, y = coordinates(canvas.side)
    center_x, center_y = rng.uniform(0.35, 0.65, 2)
    radius = rng.uniform(0.24, 0.38)
    u, v = (x - center_x) / radius, (y - center_y) / radius
    depth = np.sqrt(np.clip(1 - u**2 - v**2, 0, None))
    angle = rng.uniform(0, 2 * math.pi)
    cloud = smooth_noise(rng, canvas.side, 5)
    light = 0.6 * (math.cos(angle) * u + math.sin(angle) * v) + 0.55 * depth + 0.25 * (cloud - 0.5) + 0.15
    shade = np.where(depth > 0, light, 0.05 + 0.35 * cloud * y)
    canvas.ramp([palette.dark, palette.accents[0], palette.light], shade)


PATTERNS: dict[str, Callable[[Canvas], None]] = {
    "gradient": gradient,
    "stripes": stripes,
    "rays": rays,
    "rings": rings,
    "halftone": halftone,
    "marble": marble,
    "waves": waves,
    "planet": planet,
}


def _along(canvas: Canvas, degrees: float) -> Floats:
    # Position along a direction, 0 at the centre of the cover.
    x, y = coordinates(canvas.side)
    angle = math.radians(degrees)
    return (x - 0.5) * np.float32(math.cos(angle)) + (y - 0.5) * np.float32(math.sin(angle))
