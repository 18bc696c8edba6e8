"""Characters: their classes and their lower case, from a table that does not change with Python."""

from __future__ import annotations

from functools import cache
from itertools import compress, pairwise
from typing import NamedTuple

from onlinesvm.text.constants import TEXT_CODE_POINTS, TEXT_IGNORED
from onlinesvm.text.unicode_table import KINDS, RUNS

__all__ = ["Characters", "boundary", "characters", "encoded", "kept_places"]


@cache  # when the first text is read: the native kernel has a table of its own
def _table() -> tuple[bytes, dict[int, int]]:
    """The class of each code point, and the lower case of those that have another."""
    starts, kinds = [*RUNS[::2], TEXT_CODE_POINTS], RUNS[1::2]
    classes = bytearray(TEXT_CODE_POINTS)
    lower: dict[int, int] = {}
    for (start, end), kind in zip(pairwise(starts), kinds, strict=True):
        classes[start:end] = bytes([KINDS[2 * kind]]) * (end - start)
        if shift := KINDS[2 * kind + 1]:
            lower.update((code, code + shift) for code in range(start, end))
    return bytes(classes), lower


class Characters(NamedTuple):
    """A text without its ignored characters.

    classes: one of constants.TEXT_… a character. lower: the characters in lower case. cut: True if
    the text was longer.
    """

    classes: bytes
    lower: str
    cut: bool


def boundary(raw: bytes, most: int) -> int:
    """Bytes of the longest prefix of whole characters that has at most `most` bytes."""
    if len(raw) <= most:
        return len(raw)
    for start in range(max(0, most - 3), most):
        for end in range(most + 1, min(start + 4, len(raw)) + 1):
            try:
                if len(raw[start:end].decode("utf-8")) == 1:
                    return start
            except UnicodeDecodeError:
                continue
    return most


def characters(raw: bytes, most: int) -> Characters:
    """The characters of UTF-8 text, cut at `most` bytes; a byte that is not UTF-8 is a symbol."""
    class_of, lower_of = _table()
    end = boundary(raw, most)
    text = raw[:end].decode("utf-8", "surrogateescape")
    classes = bytes(class_of[ord(character)] for character in text)
    if TEXT_IGNORED in classes:
        kept = [kind != TEXT_IGNORED for kind in classes]
        text = "".join(compress(text, kept))
        classes = bytes(compress(classes, kept))
    return Characters(classes, text.translate(lower_of), end < len(raw))


def kept_places(text: str) -> list[int]:
    """The places of the characters of `text` that are not ignored."""
    class_of, _ = _table()
    return [i for i, character in enumerate(text) if class_of[ord(character)] != TEXT_IGNORED]


def encoded(text: str) -> bytes:
    """The bytes of a part of `Characters.lower`."""
    return text.encode("utf-8", "surrogateescape")
