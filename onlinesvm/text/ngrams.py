"""N-grams of neighbouring tokens, and of the characters between white space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onlinesvm.text.characters import Characters
from onlinesvm.text.constants import TEXT_SPACE
from onlinesvm.text.words import Token

__all__ = ["character_grams", "chunks", "word_grams"]


def word_grams(tokens: Sequence[Token], most: int) -> Iterator[str]:
    """2 to `most` neighbours, joined by a blank; the empty token stands at both ends."""
    if not tokens:
        return
    texts = ["", *(token.text for token in tokens), ""]
    for n in range(2, most + 1):
        for i in range(len(texts) - n + 1):
            yield " ".join(texts[i : i + n])


def character_grams(given: Characters, sizes: Sequence[int]) -> Iterator[str]:
    """The n-grams of each run of characters between white space, with a blank before and after it;
    all of it where it is shorter. Size by size.
    """
    for size in sizes:
        for start, end in chunks(given.classes):
            spaced = f" {given.lower[start:end]} "
            for i in range(max(1, len(spaced) - size + 1)):
                yield spaced[i : i + size]


def chunks(classes: bytes) -> Iterator[tuple[int, int]]:
    """The runs of characters between white space: from and to."""
    start = 0
    for at in range(len(classes) + 1):
        if at == len(classes) or classes[at] == TEXT_SPACE:
            if start < at:
                yield start, at
            start = at + 1
