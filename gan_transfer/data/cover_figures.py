"""Cover designs put together from figures: scenes, heads, letters, tiles and frames. Free of torch.

Each takes its choices from the canvas's generator, the same number of them at every size of picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .cover_canvas import Canvas, Color, Point, coordinates

WORDS = (
    *("BLUE", "NOVA", "ECHO", "SOUL", "JAZZ", "LOVE", "MOON", "WAVE", "GOLD", "RIOT", "DUSK", "HALO", "NOIR", "OPAL"),
    *("FUNK", "BEAT", "LUNA", "MONO", "FIRE", "SALT", "DISCO", "ORBIT", "TEMPO", "SOLAR", "RIVER", "DREAM", "VELVET"),
    *("GARDEN", "SILVER", "PLANET", "SUMMER", "YELLOW", "MIRAGE"),
)


def landscape(canvas: Canvas) -> None:
    """A sun in a glowing sky over three ranges of hills or mountains."""
    rng, palette = canvas.rng, canvas.palette
    _, y = coordinates(canvas.side)
    sky = [palette.accents[0], palette.accents[1], palette.light]
    canvas.ramp(sky, np.broadcast_to(y * 1.5, (canvas.side, canvas.side)))
    sun_x, sun_y, radius = rng.uniform(0.25, 0.75), rng.uniform(0.3, 0.5), rng.uniform(0.12, 0.22)
    canvas.disc(sun_x, sun_y, radius, palette.light if rng.random() < 0.6 else palette.accents[2])
    sharp = rng.random() < 0.4
    for depth in range(3):
        color = _mix(palette.accents[2], palette.dark, (0.25, 0.6, 1.0)[depth])
        canvas.polygon([*_skyline(rng, 0.55 + 0.15 * depth, sharp), (1, 1), (0, 1)], color)


def portrait(canvas: Canvas) -> None:
    """The silhouette of a head and shoulders before a halo."""
    rng, palette = canvas.rng, canvas.palette
    back, halo, shirt = palette.accents
    canvas.image.paste(back, (0, 0, canvas.side, canvas.side))
    x, y, size = rng.uniform(0.42, 0.58), rng.uniform(0.4, 0.46), rng.uniform(0.15, 0.19)
    if rng.random() < 0.7:
        canvas.disc(x, y, rng.uniform(0.34, 0.42), halo)
    hair, skin = palette.dark, _mix(palette.light, halo, 0.25) if rng.random() < 0.6 else palette.dark
    _hair(canvas, (x, y), size, hair)
    canvas.disc(x, 1.02, size * 2.3, hair if skin == hair else shirt, 0.85)
    canvas.box(x - size * 0.45, y + size, x + size * 0.45, y + size * 1.95, skin)
    canvas.disc(x, y + size * 0.1, size * 0.92, skin, 1.25)
    canvas.pie(x, y - size * 0.2, size * 1.08, (180, 360), hair)
    if rng.random() < 0.6:
        lens = halo if skin == hair else hair
        canvas.box(x - size * 0.4, y + size * 0.1, x + size * 0.4, y + size * 0.2, lens)
        for side in (-0.43, 0.43):
            canvas.disc(x + size * side, y + size * 0.22, size * 0.34, lens, 0.9)


def shapes(canvas: Canvas) -> None:
    """A few large figures from the Bauhaus box: disc, bar, triangle, half disc."""
    rng, palette = canvas.rng, canvas.palette
    first, second, third = palette.accents
    turn = rng.choice([0, 90, 180, 270])
    canvas.disc(*_spot(rng, 0.35, 0.65), rng.uniform(0.3, 0.42), first)
    corner = rng.permutation([0.0, 1.0])
    canvas.polygon([(corner[0], 1), (corner[1], 1), (corner[0], rng.uniform(0.15, 0.5))], second)
    canvas.pie(*_spot(rng, 0.25, 0.75), rng.uniform(0.2, 0.3), (turn, turn + 180), third)
    start, end = rng.uniform(0.05, 0.95, 2)
    canvas.line([(start, -0.1), (end, 1.1)], rng.uniform(0.03, 0.09), palette.ink)
    canvas.disc(*_spot(rng, 0.15, 0.85), rng.uniform(0.06, 0.1), palette.ink)


def tiles(canvas: Canvas) -> None:
    """A checkerboard of quarter discs or triangles, each tile turned at random."""
    rng, palette = canvas.rng, canvas.palette
    count, round_tiles = rng.integers(2, 5), rng.random() < 0.6
    colors = [palette.ground, *palette.accents, palette.ink]
    for row, column in np.ndindex(count, count):
        back, front = rng.permutation(5)[:2]
        left, top, size = column / count, row / count, 1 / count
        canvas.box(left, top, left + size, top + size, colors[back])
        corner = rng.integers(4)
        x, y = left + size * (corner in (1, 2)), top + size * (corner >= 2)
        if round_tiles:
            canvas.pie(x, y, size, ((0, 90), (90, 180), (180, 270), (270, 360))[corner], colors[front])
        else:
            canvas.polygon([(x, y), (2 * left + size - x, y), (x, 2 * top + size - y)], colors[front])


def lettering(canvas: Canvas) -> None:
    """One word in letters as large as the cover: in a row, in two rows, or again and again."""
    rng, palette = canvas.rng, canvas.palette
    word = WORDS[rng.integers(len(WORDS))]
    step = 3 if len(word) == 5 else 2
    rows = [word[start : start + step] for start in range(0, len(word), step)]
    lines = (rows, rows, [word] * 3, [word[0]])[rng.integers(4)]
    colors = [palette.ink, *palette.legible][rng.integers(2) :]
    height = 0.9 / len(lines)
    for number, line in enumerate(lines):
        top = 0.07 + number * height
        canvas.write(line, (0.07, top, 0.93, top + height - 0.04), 0.26, colors[number % len(colors)])


def frame(canvas: Canvas) -> None:
    """A border, a rule, and one emblem in the window."""
    rng, palette = canvas.rng, canvas.palette
    first, second, _ = palette.accents
    inner = rng.uniform(0.03, 0.12)
    for color, width in ((first, rng.uniform(0.03, 0.06)), (palette.light, 0.03), (palette.dark, 0.0)):
        canvas.box(inner, inner, 1 - inner, 1 - inner, color)
        inner += width
    if rng.random() < 0.5:
        canvas.box(inner, rng.choice([0.5, 0.65]), 1 - inner, 1 - inner, _mix(second, palette.dark, 0.6))
    _emblem(canvas, (0.5 - inner) * rng.uniform(0.55, 0.68))


def blocks(canvas: Canvas) -> None:
    """A rectangle cut again and again, coloured like a window of stained glass or a collage of paper."""
    rng, palette = canvas.rng, canvas.palette
    gap = rng.choice([0.0, 0.02, 0.03])
    pieces = [(0.0, 0.0, 1.0, 1.0)]
    for _ in range(rng.integers(4, 8)):
        pieces.sort(key=lambda piece: (piece[2] - piece[0]) * (piece[3] - piece[1]))
        left, top, right, bottom = pieces.pop()
        cut = rng.choice([0.33, 0.5, 0.67])
        if right - left > bottom - top:
            middle = left + cut * (right - left)
            pieces += [(left, top, middle, bottom), (middle, top, right, bottom)]
        else:
            middle = top + cut * (bottom - top)
            pieces += [(left, top, right, middle), (left, middle, right, bottom)]
    colors = [*palette.accents, palette.light, palette.dark]
    canvas.image.paste(palette.ink, (0, 0, canvas.side, canvas.side))
    for number, (left, top, right, bottom) in enumerate(pieces):
        canvas.box(left + gap, top + gap, right - gap, bottom - gap, colors[(number + rng.integers(2)) % 5])
    if rng.random() < 0.5:
        canvas.disc(*_spot(rng, 0.3, 0.7), rng.uniform(0.14, 0.24), colors[rng.integers(3)])


def ridges(canvas: Canvas) -> None:
    """Rows of a signal, each hiding what lies behind it."""
    rng, palette = canvas.rng, canvas.palette
    count = rng.integers(7, 11)
    across = np.linspace(0.08, 0.92, 40)
    center = rng.uniform(0.35, 0.65)
    bump = np.exp(-(((across - center) / rng.uniform(0.12, 0.25)) ** 2))
    line = [*palette.legible, palette.ink][rng.integers(4)]
    for row in range(count):
        base = 0.24 + 0.66 * row / (count - 1)
        signal = np.interp(across, np.linspace(0, 1, 14), rng.random(14))
        heights = base - bump * (0.04 + 0.2 * signal) - 0.012 * signal
        points = list(zip(across.tolist(), heights.tolist(), strict=True))
        canvas.polygon([*points, (0.92, base + 0.03), (0.08, base + 0.03)], palette.ground)
        canvas.line(points, 0.026, line)


FIGURES: dict[str, Callable[[Canvas], None]] = {
    "landscape": landscape,
    "portrait": portrait,
    "shapes": shapes,
    "tiles": tiles,
    "lettering": lettering,
    "frame": frame,
    "blocks": blocks,
    "ridges": ridges,
}


def title_band(canvas: Canvas) -> None:
    """A strip of paper at the top or the bottom with a word on it."""
    rng, palette = canvas.rng, canvas.palette
    word = WORDS[rng.integers(len(WORDS))]
    top = float(rng.choice([0.0, 0.84]))
    canvas.box(0, top, 1, top + 0.16, palette.ground)
    canvas.write(word, (0.05, top + 0.03, 0.05 + 0.095 * len(word), top + 0.13), 0.2, palette.ink)


def _mix(first: Color, second: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _spot(rng: np.random.Generator, low: float, high: float) -> Point:
    return rng.uniform(low, high), rng.uniform(low, high)


def _skyline(rng: np.random.Generator, height: float, sharp: bool) -> Sequence[Point]:
    x = np.linspace(0, 1, 33)
    if sharp:
        knots = rng.uniform(-0.12, 0.06, 7)
        y = height + np.interp(x, np.linspace(0, 1, 7), knots)
    else:
        first, second = rng.uniform(0, 6, 2)
        y = height + 0.06 * np.sin(x * rng.uniform(4, 7) + first) + 0.02 * np.sin(11 * x + second)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _hair(canvas: Canvas, center: Point, size: float, color: Color) -> None:
    x, y = center
    style = canvas.rng.integers(4)
    if style == 0:  # a great round head of curls
        canvas.disc(x, y - size * 0.25, size * 1.6, color)
    elif style == 1:  # long
        canvas.disc(x, y, size * 1.25, color)
        canvas.box(x - size * 1.25, y, x + size * 1.25, y + size * 2.4, color)
    elif style == 2:  # a hat
        canvas.box(x - size * 1.8, y - size * 0.75, x + size * 1.8, y - size * 0.4, color)
        canvas.box(x - size * 1.0, y - size * 1.7, x + size * 1.0, y - size * 0.4, color)
    else:  # a bob
        canvas.disc(x, y + size * 0.1, size * 1.3, color, 1.1)


def _emblem(canvas: Canvas, size: float) -> None:
    palette, kind = canvas.palette, canvas.rng.integers(4)
    color, core = palette.accents[1], palette.accents[2]
    if kind == 0:  # a record
        for scale, ink in ((1.2, color), (0.75, palette.dark), (0.65, core), (0.15, palette.dark)):
            canvas.disc(0.5, 0.5, size * scale, ink)
    elif kind == 1:  # a diamond
        for scale, ink in ((1.35, color), (0.9, palette.light), (0.6, core)):
            canvas.polygon(_star(size * scale, 4, 0.71), ink)
    elif kind == 2:  # a star
        canvas.polygon(_star(size * 1.45, 5, 0.45), color)
    else:  # a flower
        for x, y in _star(size * 0.8, 4, 1.0):
            canvas.disc(x, y, size * 0.42, color)
        canvas.disc(0.5, 0.5, size * 0.5, core)


def _star(reach: float, tips: int, waist: float) -> list[Point]:
    # The tips and, `waist` times as far from the middle of the cover, the corners between them.
    angles = [math.pi * (number / tips - 0.5) for number in range(2 * tips)]
    radii = [reach, reach * waist] * tips
    return [(0.5 + r * math.cos(a), 0.5 + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]
