"""Words for people: any text on one line, and what an error says without what is said already. Free of torch."""

from __future__ import annotations


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
