"""Style: the shapes of words, and how long, how loud and how full of signs a text is."""

from __future__ import annotations

from collections.abc import Sequence

from onlinesvm.text.characters import Characters
from onlinesvm.text.constants import (
    SHAPE_CHARACTERS,
    TEXT_ALONE,
    TEXT_DIGIT,
    TEXT_LETTER,
    TEXT_LOWER,
    TEXT_OTHER,
    TEXT_SYMBOL,
    TEXT_UNDERSCORE,
    TEXT_UPPER,
)
from onlinesvm.text.words import Token

__all__ = ["levels", "shape", "style"]

# A mark has no place in a shape: é is x, however it is written.
_SHAPES = {
    TEXT_UPPER: "X", TEXT_LOWER: "x", TEXT_DIGIT: "d", TEXT_UNDERSCORE: "_", TEXT_LETTER: "o",
    TEXT_ALONE: "o", TEXT_OTHER: "o",
}  # fmt: skip


def shape(classes: bytes) -> str:
    """The shape of a word: X upper, x lower case, d digits, _ underscores, o all else; + where one
    repeats. At most SHAPE_CHARACTERS.

    >>> shape(bytes([TEXT_UPPER, TEXT_LOWER, TEXT_LOWER, TEXT_DIGIT]))
    'Xx+d'
    """
    found: list[str] = []
    last = ""
    for kind in classes:
        letter = _SHAPES.get(kind, "")
        if not letter:
            continue
        if letter != last:
            found.append(letter)
        elif found[-1] != "+":
            found.append("+")
        last = letter
    return "".join(found[:SHAPE_CHARACTERS])


def style(given: Characters, tokens: Sequence[Token]) -> list[str]:
    """The names of a text's style, without the field."""
    shapes = dict.fromkeys(f"shape={shape(token.classes)}" for token in tokens if token.word)
    return [*shapes, *levels(given, tokens)]


def levels(given: Characters, tokens: Sequence[Token]) -> list[str]:
    """The names of the style of a text as a whole, without the field."""
    classes = given.classes
    count = [classes.count(kind) for kind in range(TEXT_ALONE + 1)]
    letters, length = sum(count[TEXT_LETTER:]), max(1, len(classes))
    return [
        f"chars={_level(len(classes))}",
        f"words={_level(len(tokens))}",
        f"upper={10 * count[TEXT_UPPER] // max(1, letters)}",
        f"digits={10 * count[TEXT_DIGIT] // length}",
        f"symbols={10 * count[TEXT_SYMBOL] // length}",
    ]


def _level(n: int) -> int:
    """⌊2·log2(1 + n)⌋."""
    return ((1 + n) ** 2).bit_length() - 1
