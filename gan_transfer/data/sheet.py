"""The contact sheet of a data source: pictures evenly spread, and the largest groups of duplicates. Free of torch."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from ..errors import DataError
from ..files import atomic
from .decode import decode, quiet_pillow
from .inspect import Findings, Group, evenly_spread
from .paths import printable, reason
from .source import Source

TILE = 96
"""Height and width of a picture on the sheet, pixels."""

COLUMNS, ROWS = 16, 8
"""Pictures in the grid."""

GROUPS = 10
"""Groups of duplicates shown, largest first; of each as many pictures as fit in a row."""

_GAP, _LABEL = 4, 18  # pixels between pictures; height of a line of text
_STEP = TILE + _GAP
_WIDTH = COLUMNS * _STEP + _GAP
_CHARACTERS = _WIDTH // 7  # of the default font in a line


def contact_sheet(source: Source, findings: Findings, path: Path) -> None:
    """Draw the sheet, 1604 pixels wide, and write it as a PNG. Broken pictures are crossed out.

    Args:
        source: the source that was inspected, still open.
        findings: what `inspect` found in it.
        path: the file to write.

    Raises:
        DataError: the file cannot be written, or the source itself cannot be read on.
    """
    shown = evenly_spread(len(source), COLUMNS * ROWS)
    groups = findings.groups[:GROUPS]
    grid_rows = -(-len(shown) // COLUMNS)
    sheet = Image.new("RGB", (_WIDTH, (grid_rows + len(groups)) * _STEP + (1 + len(groups)) * _LABEL + _GAP), "white")
    with quiet_pillow():
        _label(sheet, 0, f"{len(shown)} of {findings.count} pictures of {source.origin}, evenly spread")
        for place, row in enumerate(shown):
            sheet.paste(_tile(source, row), _corner(place % COLUMNS, _LABEL + place // COLUMNS * _STEP))
        for number, group in enumerate(groups):
            _draw_group(sheet, source, group, _LABEL + grid_rows * _STEP + number * (_STEP + _LABEL))
    _write(sheet, path)


def _draw_group(sheet: Image.Image, source: Source, group: Group, top: int) -> None:
    _label(sheet, top, f"{len(group.rows)} duplicates: {', '.join(group.labels[:COLUMNS])}")
    for place, row in enumerate(group.rows[:COLUMNS]):
        sheet.paste(_tile(source, row), _corner(place, top + _LABEL))


def _corner(column: int, top: int) -> tuple[int, int]:
    return _GAP + column * _STEP, top + _GAP


def _label(sheet: Image.Image, top: int, text: str) -> None:
    # Pillow's own font may know no letters beyond Latin ones.
    text = text.encode("ascii", "replace").decode("ascii")
    text = text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 3]}..."
    ImageDraw.Draw(sheet).text((_GAP, top + _GAP), text, fill="black")


def _tile(source: Source, row: int) -> Image.Image:
    try:
        return Image.fromarray(decode(source.load(row, TILE), TILE, 3))
    except DataError:
        raise  # the source is at fault, not the picture
    except Exception:  # damaged files make Pillow's readers raise nearly anything
        tile = Image.new("RGB", (TILE, TILE), "lightgrey")
        ImageDraw.Draw(tile).line([(0, 0), (TILE, TILE)], "red")
        ImageDraw.Draw(tile).line([(0, TILE), (TILE, 0)], "red")
        return tile


def _write(sheet: Image.Image, path: Path) -> None:
    try:
        with atomic(path) as temporary:
            sheet.save(temporary, format="PNG")
    except OSError as error:
        raise DataError(
            f"contact sheet '{printable(str(path))}' cannot be written: {reason(error)}; "
            "give a file in a folder that is there and can be written: --output sheet.png"
        ) from None
