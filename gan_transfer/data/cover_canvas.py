"""What a synthetic album cover is made with: harmonious palettes, a canvas in unit coordinates, and block lettering.

Coordinates run from (0, 0) at the top left to (1, 1) at the bottom right, so a design is the same at every size.
Free of torch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]
Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.intp]

HUES = (20, 35, 50, 70, 88, 145, 190, 225, 255, 275, 310, 350)  # degrees in OKLCH: red, orange ... violet, pink
HARMONIES = ((0, 30, -30), (0, 180, 25), (0, 150, 210), (0, 120, 240), (0, 60, 180), (0, 0, 15))

# Strokes of the capitals as points on a grid of 3 x 5, written xyxyxy, a space between two strokes.
GLYPHS = {
    "A": "0401102124 0222",
    "B": "040010211202 12231404",
    "C": "201001031424",
    "D": "00102123140400",
    "E": "20000424 0212",
    "F": "200004 0212",
    "G": "2010010314242212",
    "H": "0004 2024 0222",
    "I": "1014",
    "J": "20231403",
    "K": "0004 200224",
    "L": "000424",
    "M": "0400122024",
    "N": "04002420",
    "O": "10212314030110",
    "P": "040010211202",
    "Q": "10212314030110 1324",
    "R": "040010211202 1224",
    "S": "20100112231404",
    "T": "0020 1014",
    "U": "0003142320",
    "V": "001420",
    "W": "0004122420",
    "X": "0024 2004",
    "Y": "001220 1214",
    "Z": "00200424",
}


@dataclasses.dataclass(frozen=True)
class Palette:
    """The inks of one cover; `ink` contrasts with `ground`, and the three accents are in harmony."""

    ground: Color
    ink: Color
    accents: tuple[Color, Color, Color]

    @property
    def dark(self) -> Color:
        """The darker of ground and ink."""
        return min(self.ground, self.ink, key=sum)

    @property
    def light(self) -> Color:
        """The lighter of ground and ink."""
        return max(self.ground, self.ink, key=sum)

    @property
    def legible(self) -> list[Color]:
        """The accents, with the ink in place of those that would drown in the ground."""
        return [self.ink if abs(_luma(color) - _luma(self.ground)) < 60 else color for color in self.accents]


@dataclasses.dataclass(frozen=True)
class Canvas:
    """A square picture being drawn, with the randomness and the palette to draw it with."""

    image: Image.Image
    rng: np.random.Generator
    palette: Palette

    @classmethod
    def blank(cls, side: int, rng: np.random.Generator) -> Canvas:
        """A canvas of `side` x `side` pixels in the ground colour of a new palette."""
        palette = draw_palette(rng)
        return cls(Image.new("RGB", (side, side), palette.ground), rng, palette)

    @functools.cached_property
    def pen(self) -> ImageDraw.ImageDraw:
        """Pillow's drawing interface to the picture, in pixels."""
        return ImageDraw.Draw(self.image)

    @property
    def side(self) -> int:
        """Width and height in pixels."""
        return self.image.width

    def box(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        """Fill a rectangle, its right and bottom edges excluded."""
        x0, y0, x1, y1 = (round(value * self.side) for value in (left, top, right, bottom))
        if x1 > x0 and y1 > y0:
            self.pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=color)

    def disc(self, x: float, y: float, radius: float, color: Color, stretch: float = 1.0) -> None:
        """Fill a disc, or an ellipse `stretch` times as high as wide."""
        height = radius * stretch
        corners = (x - radius, y - height, x + radius, y + height)
        self.pen.ellipse([value * self.side for value in corners], fill=color)

    def pie(self, x: float, y: float, radius: float, angles: tuple[float, float], color: Color) -> None:
        """Fill a sector between two angles, degrees clockwise from the right."""
        corners = (x - radius, y - radius, x + radius, y + radius)
        self.pen.pieslice([value * self.side for value in corners], *angles, fill=color)

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        """Fill a polygon."""
        self.pen.polygon([(x * self.side, y * self.side) for x, y in points], fill=color)

    def line(self, points: Sequence[Point], width: float, color: Color) -> None:
        """Draw a polyline with round joints and ends."""
        pixels = [(x * self.side, y * self.side) for x, y in points]
        self.pen.line(pixels, fill=color, width=max(1, round(width * self.side)), joint="curve")
        for x, y in (points[0], points[-1]):
            self.disc(x, y, width / 2, color)

    def fill(self, colors: Sequence[Color], index: Integers) -> None:
        """Give each pixel one of the colours; `index` [side, side] wraps around."""
        table = np.array(colors, np.uint8)
        self.image.paste(Image.fromarray(table[index % len(colors)]))

    def ramp(self, colors: Sequence[Color], position: Floats) -> None:
        """Give each pixel a blend of neighbouring colours; `position` [side, side] runs from 0 to 1."""
        stops = np.linspace(0, 1, len(colors))
        steps = np.linspace(0, 1, 512)
        table = np.stack([np.interp(steps, stops, channel) for channel in np.array(colors).T], axis=1)
        index = (np.clip(position, 0, 1) * 511).astype(np.intp)
        self.image.paste(Image.fromarray((table + 0.5).astype(np.uint8)[index]))

    def write(self, word: str, area: tuple[float, float, float, float], weight: float, color: Color) -> None:
        """Write capitals stretched over (left, top, right, bottom); `weight` is the stroke over the letter's width."""
        left, top, right, bottom = area
        pitch = (right - left) / (len(word) - 0.18)  # the gap after the last letter is not needed
        stroke = min(weight * pitch, (bottom - top) / 4.2)
        for number, letter in enumerate(word):
            x, y = left + number * pitch + stroke / 2, top + stroke / 2
            width, height = 0.82 * pitch - stroke, bottom - top - stroke
            for points in GLYPHS[letter].split():
                grid = zip(points[::2], points[1::2], strict=True)
                self.line([(x + int(a) * width / 2, y + int(b) * height / 4) for a, b in grid], stroke, color)


@functools.lru_cache(maxsize=8)
def coordinates(side: int) -> tuple[Floats, Floats]:
    """x as [1, side] and y as [side, 1], from 0 to 1 at the centres of the pixels."""
    line = ((np.arange(side) + 0.5) / side).astype(np.float32)
    line.flags.writeable = False  # shared by all who ask
    return line[None, :], line[:, None]


def smooth_noise(rng: np.random.Generator, side: int, cells: int) -> Floats:
    """Soft random hills from 0 to 1, float32 [side, side], with `cells` control points along each axis."""
    knots = Image.fromarray(rng.random((cells, cells), np.float32))
    return np.asarray(knots.resize((side, side), Image.Resampling.BICUBIC))


def draw_palette(rng: np.random.Generator) -> Palette:
    """A palette by one of the classical harmonies, on light paper, on dark, or on a saturated ground."""
    base = HUES[rng.integers(len(HUES))] + rng.uniform(-8, 8)
    offsets = HARMONIES[rng.integers(len(HARMONIES))]
    shifts = rng.permutation([-0.15, 0.0, 0.13])
    vividness = rng.uniform(0.11, 0.21)
    first, second, third = (
        oklch(_natural_lightness(base + offset, shift), vividness, base + offset)
        for offset, shift in zip(offsets, shifts, strict=True)
    )
    paper = oklch(rng.uniform(0.9, 0.95), rng.uniform(0.01, 0.05), 85 + rng.uniform(-25, 25))
    night = oklch(rng.uniform(0.18, 0.3), rng.uniform(0.02, 0.07), base + offsets[1])
    ground = rng.choice(3, p=[0.45, 0.35, 0.2])
    if ground == 2:
        hue = (base + 180) % 360
        full = oklch(0.47, vividness, 28 if 40 < hue < 140 else hue)  # a full yellow of that depth is mud
        return Palette(full, paper, (first, second, third))
    return Palette(*((paper, night), (night, paper))[ground], (first, second, third))


def _natural_lightness(hue: float, shift: float) -> float:
    # A saturated yellow is light and a saturated blue dark; elsewhere the eye sees mud or pastel.
    yellow = math.cos(math.radians(hue - 90))
    return 0.65 + 0.11 * yellow + shift * (1 - 0.7 * max(yellow, 0) if shift < 0 else 1)


def _luma(color: Color) -> float:
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue


def oklch(lightness: float, chroma: float, hue: float) -> Color:
    """sRGB of an OKLCH colour (Ottosson 2020), its chroma lowered until the screen can show it.

    Args:
        lightness: 0 (black) to 1 (white).
        chroma: 0 (grey) to about 0.3.
        hue: degrees.
    """
    while True:
        linear = _linear_rgb(lightness, chroma, math.radians(hue))
        if chroma < 0.005 or all(-0.001 <= value <= 1.001 for value in linear):
            red, green, blue = (_gamma(min(max(value, 0.0), 1.0)) for value in linear)
            return red, green, blue
        chroma *= 0.9


def _linear_rgb(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _gamma(linear: float) -> int:
    value = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
    return round(255 * value)
