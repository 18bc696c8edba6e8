"""The parts of a margin by field, and by token of a text: what a page or a terminal shades.

A feature's contribution goes to the field that it is of. Within a text it is spread evenly over the
places where the feature occurs, and there over the tokens: a word, its shape too, belongs to its
token; a word n-gram is shared evenly by its words, a character n-gram by its characters. Length,
the shares of capitals, digits and symbols and word vectors belong to the text as a whole. A cross
is halved between its two fields. So the fields add up to the margin without its bias.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from onlinesvm.config import Limits
from onlinesvm.errors import Path
from onlinesvm.text.characters import boundary, characters, encoded, kept_places
from onlinesvm.text.ngrams import character_grams, chunks, word_grams
from onlinesvm.text.options import TextOptions
from onlinesvm.text.records import Extracted, Extraction, unpacked
from onlinesvm.text.style import levels, shape
from onlinesvm.text.words import tokens

__all__ = ["FieldPart", "TextPart", "attributed"]


class TextPart(NamedTuple):
    """A token of a text as it was written, or what lies between two, whose part is 0."""

    text: str
    contribution: float


class FieldPart(NamedTuple):
    """A field's part in a margin.

    field: empty for a bare text and for an array of names. whole: the part of the `contribution`
    that belongs to no token. text: of a text, its parts in order, which make it up as far as it is
    read; empty for any other value.
    """

    field: str
    contribution: float
    whole: float
    text: list[TextPart]


def attributed(
    packed: bytes,
    contributions: Mapping[bytes, float],
    options: TextOptions,
    limits: Limits,
    most_bytes: int,
) -> list[FieldPart]:
    """The parts of a packed record's fields, in order; `contributions` by feature.

    Raises as `Extractor.extract` does.
    """
    extraction = _Located(options, limits, most_bytes)
    found = extraction.extract(unpacked(packed))
    totals: dict[bytes, float] = {}
    for name, value in zip(found.names, found.values, strict=True):
        totals[name] = totals.get(name, 0.0) + value
    for place in extraction.places:
        for name in place.text.names() if place.text else ():
            totals[name] = totals.get(name, 0.0) + 1.0
    rates = {  # of each feature, the contribution for a value of 1
        name: contributions.get(name, 0.0) / total if total else 0.0
        for name, total in totals.items()
    }
    crossed: dict[bytes, list[float]] = {}  # by field
    for a, b, name in extraction.crossed:
        for field in (a, b):
            crossed.setdefault(field, []).append(rates[name] / 2.0)
    parts = []
    for field, first, last, text in extraction.places:
        # A field that stands in the record twice: its first place has the crosses.
        own = crossed.pop(field, [])
        pairs = zip(found.names[first:last], found.values[first:last], strict=True)
        own += [rates[name] * value for name, value in pairs]
        whole, shared = math.fsum(own), []
        if text is not None:
            own += [rates[name] for name in text.names()]
            shared = text.parts(rates)
            whole = math.fsum([*own, *(-part.contribution for part in shared)])
        shown_as = field.decode("utf-8", "surrogateescape")
        parts.append(FieldPart(shown_as, math.fsum(own), whole, shared))
    return parts


class _Kind(NamedTuple):
    """One kind of a text's features: `all`, without the field, in the order of their places.

    names: of the distinct ones. times: how often each occurs.
    """

    all: Sequence[str]
    names: dict[str, bytes]
    times: Mapping[str, int]

    @classmethod
    def of(cls, prefix: bytes, texts: Sequence[str]) -> _Kind:
        times = Counter(texts)
        return cls(texts, {text: prefix + encoded(text) for text in times}, times)

    def shares(self, rates: Mapping[bytes, float]) -> Iterator[float]:
        """The state of the feature at each place."""
        share = {text: rates[name] / self.times[text] for text, name in self.names.items()}
        return map(share.__getitem__, self.all)


class _Text:
    """The features of a text in `field`, as `Extraction` makes them, with their places."""

    def __init__(self, field: bytes, raw: bytes, most: int, options: TextOptions) -> None:
        self._raw = raw[: boundary(raw, most)]
        self._given = given = characters(raw, most)
        self._options = options
        head = field + b"^"
        prefix = head if field else b""
        everything = options.text == "default"
        cut = tokens(given)
        self._tokens = cut if everything else [token for token in cut if token.word]
        self._words = _Kind.of(prefix, [token.text for token in self._tokens])
        self._kinds = [self._words]
        if everything:
            words = [token for token in cut if token.word]
            shapes = {token.classes: f"shape={shape(token.classes)}" for token in words}
            self._shapes = _Kind.of(head, [shapes[token.classes] for token in words])
            self._levels = _Kind.of(head, levels(given, cut))
            self._grams = _Kind.of(prefix, [*word_grams(cut, options.ngrams)])
            self._characters = _Kind.of(head + b"~", [*character_grams(given, options.chars)])
            self._kinds += [self._shapes, self._levels, self._grams, self._characters]

    def names(self) -> Iterator[bytes]:
        """The features' names."""
        return chain.from_iterable(kind.names.values() for kind in self._kinds)

    def parts(self, rates: Mapping[bytes, float]) -> list[TextPart]:
        """The text, cut at its tokens, each with its share of the features that cover it."""
        found = [[share] for share in self._words.shares(rates)]
        if self._options.text == "default":
            shapes = self._shapes.shares(rates)
            for token, own in zip(self._tokens, found, strict=True):
                if token.word:
                    own.append(next(shapes))
            covered = _covered(len(found), self._options.ngrams)
            for share, places in zip(self._grams.shares(rates), covered, strict=True):
                for i in places:
                    found[i].append(share / len(places))
            by_character = self._by_character(rates)
            for token, own in zip(self._tokens, found, strict=True):
                own += by_character[token.start : token.end]
        return self._cut([math.fsum(own) for own in found])

    def _by_character(self, rates: Mapping[bytes, float]) -> list[float]:
        """The share of each character in the character n-grams that cover it."""
        found = [0.0] * len(self._given.classes)
        shares = self._characters.shares(rates)
        for size in self._options.chars:
            for start, end in chunks(self._given.classes):
                for at in range(start - 1, max(start, end + 2 - size)):  # a blank stands before
                    share = next(shares)
                    if share:
                        first, last = max(start, at), min(end, at + size)
                        for i in range(first, last):
                            found[i] += share / (last - first)
        return found

    def _cut(self, contributions: Sequence[float]) -> list[TextPart]:
        text = self._raw.decode("utf-8", "surrogateescape")
        kept: Sequence[int] = range(len(text))
        if len(self._given.classes) < len(text):  # some characters are ignored
            kept = kept_places(text)
        parts: list[TextPart] = []
        at = 0
        for token, contribution in zip(self._tokens, contributions, strict=True):
            start, end = kept[token.start], kept[token.end - 1] + 1
            if at < start:
                parts.append(TextPart(text[at:start], 0.0))
            parts.append(TextPart(text[start:end], contribution))
            at = end
        if at < len(text):
            parts.append(TextPart(text[at:], 0.0))
        return parts


def _covered(count: int, most: int) -> Iterator[range]:
    """The tokens of each of the `word_grams` of `count` tokens, without the marks at both ends."""
    for n in range(2, most + 1 if count else 0):
        for i in range(count + 3 - n):
            yield range(max(0, i - 1), min(count, i - 1 + n))


class _Place(NamedTuple):
    """A field, its features from `first` to `last`, and its text, whose features are not there."""

    field: bytes
    first: int
    last: int
    text: _Text | None


class _Located(Extraction):
    """An extraction that notes which field each feature is of, and leaves texts as they are."""

    def __init__(self, options: TextOptions, limits: Limits, most_bytes: int) -> None:
        super().__init__(options, limits, most_bytes)
        self.places: list[_Place] = []
        self.crossed: list[tuple[bytes, bytes, bytes]] = []  # the fields, and the name
        self._text: _Text | None = None
        self._field = b""
        self._fields: dict[bytes, bytes] = {}  # of categories, as t of t.hour

    def extract(self, record: Any) -> Extracted:
        found = super().extract(record)
        if not isinstance(record, tuple):
            self.places.append(_Place(b"", 0, len(found.names), self._text))
        return found

    def _add_value(self, name: bytes, value: Any, kind: str | None, path: Path) -> None:
        first, self._text, self._field = len(self._found.names), None, name
        super()._add_value(name, value, kind, path)
        self.places.append(_Place(name, first, len(self._found.names), self._text))

    def _add_text(self, name: bytes, raw: bytes) -> None:
        self._text = _Text(name, raw, self._left, self._options)
        self._add_vectors(name + b"^" if name else b"", raw, self._left)
        self._left -= min(self._left, len(raw))

    def _add_category(self, name: bytes, value: bytes) -> None:
        self._fields.setdefault(name, self._field)
        super()._add_category(name, value)

    def _crosses(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        for a, b, name in super()._crosses():
            self.crossed.append((self._fields[a], self._fields[b], name))
            yield a, b, name
