"""The options that say which features a record has; part of a model's configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from onlinesvm.errors import ConfigError

__all__ = ["FIELD_KINDS", "TextOptions"]

TEXTS = ("default", "words", "off")
NUMBERS = ("raw", "prefixes")
FIELD_KINDS = ("text", "category", "date")
_MOST_GRAM = 8  # characters
_MOST_SIZES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class TextOptions:
    """Which features a record has.

    text: `default` is words, symbols, style, word n-grams and character n-grams; `words` is words
    alone; `off` refuses a bare text and takes every text in a field for a category.
    ngrams: words of the longest word n-gram, 1 to 3. chars: the sizes of character n-grams.
    numbers: `prefixes` adds 5 names to each number.
    fields: what a field holds, by its name; one that is not named holds a category where its text
    is one word, else text.
    crosses: pairs of fields whose categories are crossed, or `*` for all pairs.
    vectors: the digest of the fastText file whose vectors texts have, see `word_vectors`.

    Raises ConfigError for anything else.
    """

    text: str = "default"
    ngrams: int = 2
    chars: tuple[int, ...] = (4,)
    numbers: str = "raw"
    fields: Mapping[str, str] = field(default_factory=dict)
    crosses: str | tuple[tuple[str, str], ...] = ()
    vectors: str | None = None

    def __post_init__(self) -> None:
        _check_choice("text", self.text, TEXTS)
        _check_choice("numbers", self.numbers, NUMBERS)
        _check_integer("ngrams", self.ngrams, 1, 3)
        if not isinstance(self.chars, tuple) or len(self.chars) > _MOST_SIZES:
            raise ConfigError(f"chars: expected up to {_MOST_SIZES} sizes, got {self.chars!r}")
        for size in self.chars:
            _check_integer("chars", size, 1, _MOST_GRAM)
        if len(set(self.chars)) != len(self.chars):
            raise ConfigError(f"chars: expected different sizes, got {self.chars!r}")
        for name, kind in self.fields.items():
            allowed = FIELD_KINDS if self.text != "off" else FIELD_KINDS[1:]
            _check_choice(f"fields: {name}", kind, allowed)
        if self.vectors is not None:
            if re.fullmatch("[0-9a-f]{64}", str(self.vectors)) is None:
                raise ConfigError(
                    f"vectors: expected a file's SHA-256 as 64 hex digits, got {self.vectors!r}"
                )
            if self.text == "off":
                raise ConfigError("vectors: expected none, as the model reads no text, got a file")
        if self.crosses == "*":
            return
        if not isinstance(self.crosses, tuple):
            raise ConfigError(f"crosses: expected * or pairs of fields, got {self.crosses!r}")
        for pair in self.crosses:
            if not isinstance(pair, tuple) or len(pair) != 2 or pair[0] == pair[1]:
                raise ConfigError(f"crosses: expected pairs of two fields, got {pair!r}")

    def raw_fields(self) -> dict[bytes, str]:
        """`fields` by the bytes of their names."""
        return {_raw(name): kind for name, kind in self.fields.items()}

    def raw_crosses(self) -> set[tuple[bytes, bytes]]:
        """The pairs of `crosses`, the lesser name first; none for `*`."""
        if isinstance(self.crosses, str):
            return set()
        return {(min(pair), max(pair)) for pair in (tuple(map(_raw, p)) for p in self.crosses)}


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")


def _check_integer(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"{name}: expected an integer from {low} to {high}, got {value!r}")
