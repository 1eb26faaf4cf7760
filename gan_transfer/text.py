"""Words for people, and for file systems: any text on one line, names that every system takes. Free of torch."""

from __future__ import annotations

import re
import unicodedata

MOST_BYTES = 200
"""In a name: with a number before it and a data set behind it, it stays below the 255 that file systems take."""

_REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)", re.IGNORECASE)


def printable(text: str) -> str:
    """`text` on one line: line breaks, control characters and bytes that are no UTF-8 become escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def reason(error: BaseException) -> str:
    """What went wrong, on one line and without the path that an OSError repeats."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(" ".join(text.split())) or type(error).__name__


def composed(text: str) -> str:
    """`text` with its accents in the composed spelling; some file systems of macOS give names back in the other."""
    return unicodedata.normalize("NFC", text)


def portable(text: str) -> str:
    """`text` as a file's or folder's name that Linux, macOS and Windows take: itself where that is one already.

    Windows refuses some characters, dots and spaces at the end, and the names of its devices, whatever their ending;
    a dot in front hides a file. The spelling of accents is `composed`.
    """
    whole = text.encode("utf-8", "replace").decode()  # a lone surrogate, from an odd file name, becomes ?
    name = _REFUSED.sub("_", composed(whole)).lstrip(". ")
    name = name.encode()[:MOST_BYTES].decode("utf-8", "ignore").rstrip(". ")
    return _RESERVED.sub(r"\1_", name, count=1) if _RESERVED.match(name) else name or "unnamed"
