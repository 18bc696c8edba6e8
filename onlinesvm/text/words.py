"""Tokens: words, and runs of one symbol."""

from __future__ import annotations

from typing import NamedTuple

from onlinesvm.text.characters import Characters
from onlinesvm.text.constants import (
    TEXT_ALONE,
    TEXT_MARK,
    TEXT_OTHER,
    TEXT_SPACE,
    TOKEN_CHARACTERS,
)

__all__ = ["Token", "tokens"]


class Token(NamedTuple):
    """text: in lower case, at most TOKEN_CHARACTERS characters; classes: of these. word: False for
    a run of symbols. start, end: its characters, all of them, in the text.
    """

    text: str
    classes: bytes
    word: bool
    start: int
    end: int


def tokens(given: Characters) -> list[Token]:
    """The tokens of a text, in order.

    A word is a run of letters, marks, numerals and underscores. A letter of a script without spaces
    (Han, kana, Thai, Lao, Khmer, Burmese) is a word by itself, with the marks after it. Any other
    character but white space is a symbol; a run of one and the same symbol is one token.
    """
    classes, lower = given.classes, given.lower
    found = []
    at, n = 0, len(lower)
    while at < n:
        start, first = at, classes[at]
        at += 1
        if first == TEXT_SPACE:
            continue
        if first == TEXT_ALONE:
            while at < n and classes[at] == TEXT_MARK:
                at += 1
        elif first >= TEXT_OTHER:
            while at < n and TEXT_OTHER <= classes[at] != TEXT_ALONE:
                at += 1
        else:
            while at < n and lower[at] == lower[start] and classes[at] == first:
                at += 1
        end = min(at, start + TOKEN_CHARACTERS)
        found.append(Token(lower[start:end], classes[start:end], first >= TEXT_OTHER, start, at))
    return found
