"""Records to features: the names, values and views of a text, a list of names or named fields.

A function of the record and the options alone. A record is packed as the wire has it: text, an
array of names, or a map. The python kernel's extraction; kernel/csrc/text is the same in C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import msgpack

from onlinesvm.config import Limits
from onlinesvm.errors import LimitError, Path, SampleError, format_text
from onlinesvm.magnitudes import MAX_MAGNITUDE, MIN_MAGNITUDE
from onlinesvm.text.characters import boundary, characters, encoded
from onlinesvm.text.constants import (
    CATEGORY_BYTES,
    CROSS_CATEGORIES,
    FIELD_BYTES,
    OF_TEXT,
    TEXT_ALONE,
    TEXT_MARK,
    TEXT_OTHER,
    TOKEN_CHARACTERS,
    VIEW_CHARACTERS,
    VIEW_NGRAMS,
    VIEW_NUMBERS,
    VIEW_WORDS,
)
from onlinesvm.text.dates import date_parts
from onlinesvm.text.ngrams import character_grams, word_grams
from onlinesvm.text.numbers import prefix_names
from onlinesvm.text.options import TextOptions
from onlinesvm.text.style import style
from onlinesvm.text.words import tokens

if TYPE_CHECKING:
    from onlinesvm.text.word_vectors import Embedding

__all__ = [
    "MOST_BYTES", "Extracted", "Extraction", "Extractor", "extract_unpacked", "is_one_word",
    "raise_record_fault", "unpacked",
]  # fmt: skip

MOST_BYTES = 2**30  # of text: offsets have 32 bits, and lower case may take twice the bytes


@dataclass(slots=True)
class Extracted:
    """The features of one record, in order: names, values and views, one a feature.

    A name may come twice. views: one of constants.VIEW_…, plus OF_TEXT for what a text has. cut:
    texts that were longer than they may be. crosses: how many of the last features are crosses;
    whether their fields have few enough values is not decided here. marks: by the number of the
    feature, the field of a category that is crossed, and both fields of a cross.
    """

    names: list[bytes] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    views: list[int] = field(default_factory=list)
    cut: int = 0
    crosses: int = 0
    marks: dict[int, tuple[bytes, ...]] = field(default_factory=dict)

    def add(self, names: Iterable[bytes], view: int, value: float = 1.0) -> None:
        """Add features of one view and one value."""
        before = len(self.names)
        self.names += names
        added = len(self.names) - before
        self.values += [value] * added
        self.views += [view] * added


class Extractor:
    """Turns packed records into features, as `options` say.

    limits: those of names, and of the elements of one array or map, hold for what a record gives.
    most_bytes: of text that one record may have; the rest is cut off. Names that are made of a
    field's name and more need one of at most FIELD_BYTES, so that a record of n bytes of text takes
    memory in proportion to n.

    Raises ValueError for a `most_bytes` that is not from 1 to 2**30.
    """

    def __init__(self, options: TextOptions, limits: Limits, most_bytes: int) -> None:
        if not 1 <= most_bytes <= MOST_BYTES:
            raise ValueError(f"most_bytes: expected 1 to {MOST_BYTES}, got {most_bytes}")
        if options.vectors is not None:
            _embedding(options.vectors)  # or there is none
        self.options = options
        self._limits = limits
        self._most_bytes = most_bytes

    def extract(self, packed: bytes) -> Extracted:
        """The features of a packed record.

        Raises SampleError, or LimitError, for what is no record, with the path to it.
        """
        return extract_unpacked(self, unpacked(packed))

    def check(self, packed: bytes) -> tuple[int, float]:
        """How many texts of a packed record are longer than they may be, and the largest magnitude
        of its values, 1 at least. Raises as `extract` does.
        """
        found = self.extract(packed)
        return found.cut, max(map(abs, [1.0, *found.values]))

    @property
    def reads_text(self) -> bool:
        """True where a record may be a bare text."""
        return self.options.text != "off"

    @property
    def reads_maps(self) -> bool:
        """True where a map of numbers has further features, or declared fields."""
        options = self.options
        return bool(options.numbers == "prefixes" or options.fields or options.crosses)


def extract_unpacked(extractor: Extractor, record: Any) -> Extracted:
    """As `extract`, of a record with text as bytes and maps as tuples of pairs."""
    begun = Extraction(extractor.options, extractor._limits, extractor._most_bytes)
    return begun.extract(record)


def raise_record_fault(
    packed: bytes, options: TextOptions, limits: Limits, most_bytes: int
) -> NoReturn:
    """Raise what is wrong with a packed record; both kernels word it so."""
    Extractor(options, limits, most_bytes).extract(packed)
    raise AssertionError("a kernel refused a record in which no fault can be found")


def _embedding(digest: str) -> Embedding:
    """The word vectors of a model; few have any, and their module loads much."""
    from onlinesvm.text.word_vectors import embedding

    return embedding(digest)


class Extraction:
    """One record on its way. `_left`: bytes of text that it may still have."""

    def __init__(self, options: TextOptions, limits: Limits, most_bytes: int) -> None:
        self._options = options
        self._limits = limits
        self._left = most_bytes
        self._kinds = options.raw_fields()
        self._found = Extracted()
        self._embedding = None if options.vectors is None else _embedding(options.vectors)
        self._categories: list[tuple[bytes, bytes, int]] = []  # field, name, feature

    def extract(self, record: Any) -> Extracted:
        if isinstance(record, bytes):
            if self._options.text == "off":
                raise SampleError(
                    f"{_FEATURES}, got {_kind(record)} (the model reads no text: its option text"
                    " is off)"
                )
            self._add_text(b"", record)
        elif isinstance(record, list):
            self._check_count(record, ())
            names = (self._name(name, (i,)) for i, name in enumerate(record))
            self._found.add(names, VIEW_WORDS)
        elif isinstance(record, tuple):
            self._check_count(record, ())
            for key, value in record:
                name = self._name(key, ())
                self._add_value(name, value, self._kinds.get(name), (name,))
            self._add_crosses()
        else:
            expected = _FEATURES
            if self._options.text != "off":
                expected = "expected text, an array of names or a map from name to value"
            raise SampleError(f"{expected}, got {_kind(record)}")
        return self._found

    def _check_count(self, given: Sized, path: Path) -> None:
        most = self._limits.max_features_per_sample
        if len(given) > most:
            raise LimitError(f"expected at most {most} features a sample, got {len(given)}", path)

    def _name(self, given: Any, path: Path) -> bytes:
        if isinstance(given, int) and not isinstance(given, bool):
            given = b"%d" % given
        if not isinstance(given, bytes):
            raise SampleError(
                f"expected a feature name (text, bytes or an integer), got {_kind(given)}", path
            )
        most = self._limits.max_name_bytes
        if len(given) > most:
            raise LimitError(
                f"expected at most {most} bytes a feature name, got {len(given)}", path
            )
        return given

    def _add_value(self, name: bytes, value: Any, kind: str | None, path: Path) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if len(name) > FIELD_BYTES and (kind == "category" or not number):
            raise LimitError(f"expected at most {FIELD_BYTES} bytes a field, got {len(name)}", path)
        if isinstance(value, bytes):
            self._add_text_value(name, value, kind, path)
        elif value is None:
            if kind in (None, "category"):
                self._add_category(name, b"")
        elif kind in ("text", "date"):
            raise SampleError(f"expected {_KINDS[kind]}, got {_kind(value)}", path)
        elif isinstance(value, bool):
            self._add_category(name, b"true" if value else b"false")
        elif isinstance(value, int | float):
            self._add_number(name, value, kind, path)
        elif isinstance(value, list):
            self._check_count(value, path)
            for i, part in enumerate(value):
                of = self._name(part, (*path, i))
                self._found.add([_category(name, of)], VIEW_WORDS)
        else:
            raise SampleError(
                "expected a number, text, true, false, null or an array of names, got"
                f" {_kind(value)}",
                path,
            )

    def _add_text_value(self, name: bytes, raw: bytes, kind: str | None, path: Path) -> None:
        if kind == "date":
            if not raw:
                return
            parts = date_parts(raw)
            if parts is None:
                raise SampleError(f"expected {_KINDS[kind]}, got text {format_text(raw)}", path)
            for part, number in parts:
                self._add_category(b"%b.%b" % (name, part.encode()), b"%d" % number)
        elif kind == "category" or (kind is None and self._is_category(raw)):
            self._add_category(name, raw)
        else:
            self._add_text(name, raw)

    def _is_category(self, raw: bytes) -> bool:
        return not raw or self._options.text == "off" or is_one_word(raw)

    def _add_text(self, name: bytes, raw: bytes) -> None:
        """The features of a text in field `name`, empty for a bare text."""
        options, add, most = self._options, self._found.add, self._left
        given = characters(raw, most)
        self._left -= min(self._left, len(raw))
        self._found.cut += given.cut
        head = name + b"^"
        prefix = head if name else b""
        cut = tokens(given)
        if options.text == "words":
            words = (prefix + encoded(token.text) for token in cut if token.word)
            add(dict.fromkeys(words), VIEW_WORDS + OF_TEXT)
            self._add_vectors(prefix, raw, most)
            return
        add(dict.fromkeys(prefix + encoded(token.text) for token in cut), VIEW_WORDS + OF_TEXT)
        add((head + encoded(part) for part in style(given, cut)), VIEW_WORDS + OF_TEXT)
        grams = word_grams(cut, options.ngrams)
        add(dict.fromkeys(prefix + encoded(gram) for gram in grams), VIEW_NGRAMS + OF_TEXT)
        chars = character_grams(given, options.chars)
        add(dict.fromkeys(head + b"~" + encoded(gram) for gram in chars), VIEW_CHARACTERS + OF_TEXT)
        self._add_vectors(prefix, raw, most)

    def _add_vectors(self, prefix: bytes, raw: bytes, most: int) -> None:
        """``vec[0]``, ``vec[1]`` … of a text's word vectors."""
        if self._embedding is None:
            return
        for i, number in enumerate(self._embedding.of_text(raw, most).tolist()):
            if abs(number) >= MIN_MAGNITUDE:
                self._found.add([b"%bvec[%d]" % (prefix, i)], VIEW_NUMBERS, number)

    def _add_number(self, name: bytes, value: float, kind: str | None, path: Path) -> None:
        number = float(value)
        if not -MAX_MAGNITUDE <= number <= MAX_MAGNITUDE:  # nan too
            raise SampleError(
                f"expected a finite number of magnitude at most {MAX_MAGNITUDE:g}, got {value}",
                path,
            )
        if kind == "category":
            if number != int(number) or abs(number) >= 2**53:
                raise SampleError(
                    f"expected text or an integer below 2**53 as a category, got {value}", path
                )
            self._add_category(name, b"%d" % int(number))
            return
        if abs(number) < MIN_MAGNITUDE:
            number = 0.0
        if number:
            self._found.add([name], VIEW_WORDS, number)
        if self._options.numbers == "prefixes":
            names = (b"%b@%b" % (name, part.encode()) for part in prefix_names(number))
            self._found.add(names, VIEW_NUMBERS)

    def _add_category(self, name: bytes, value: bytes) -> None:
        category = _category(name, value)
        self._categories.append((name, category, len(self._found.names)))
        self._found.add([category], VIEW_WORDS)

    def _add_crosses(self) -> None:
        """``a=x&b=y`` for each pair of different fields, in the order of the fields' names."""
        found = self._found
        for a, b, name in self._crosses():
            found.marks[len(found.names)] = a, b
            found.add([name], VIEW_NGRAMS)
            found.crosses += 1

    def _crosses(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """The crosses of the record: both fields, and the name."""
        everything, pairs = self._options.crosses == "*", self._options.raw_crosses()
        if not everything and not pairs:
            return
        named = {name for pair in pairs for name in pair}
        chosen = sorted(c for c in self._categories if everything or c[0] in named)
        self._found.marks.update({feature: (field,) for field, _, feature in chosen})
        chosen = chosen[:CROSS_CATEGORIES]
        for i, (a, first, _) in enumerate(chosen):
            for b, second, _ in chosen[i + 1 :]:
                if a != b and (everything or (a, b) in pairs):
                    yield a, b, first + b"&" + second


def is_one_word(raw: bytes) -> bool:
    """True for one word of at most TOKEN_CHARACTERS characters, and nothing beside it."""
    given = characters(raw, CATEGORY_BYTES)
    classes = given.classes
    if not classes or len(classes) > TOKEN_CHARACTERS or given.cut:
        return False
    if classes[0] == TEXT_ALONE:
        return all(kind == TEXT_MARK for kind in classes[1:])
    return all(TEXT_OTHER <= kind != TEXT_ALONE for kind in classes)


def unpacked(packed: bytes) -> Any:
    """Text as bytes, maps as tuples of pairs."""
    try:
        return msgpack.unpackb(
            packed, raw=True, strict_map_key=False, object_pairs_hook=tuple, ext_hook=_Extension
        )
    except (msgpack.UnpackException, ValueError) as error:
        raise SampleError(
            f"expected a record of one msgpack object, got other bytes ({error})"
        ) from None


class _Extension:
    def __init__(self, code: int, data: bytes) -> None:
        pass


def _category(name: bytes, value: bytes) -> bytes:
    return name + b"=" + value[: boundary(value, CATEGORY_BYTES)]


_FEATURES = "expected features as an array of names or a map from name to value"
_KINDS = {
    "text": "text (the field is declared as text)",
    "date": "a date as 2026-11-28 or 2026-11-28T09:30:15+01:00 (the field is declared as a date)",
}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, bytes):
        return f"text {format_text(value)}"
    known = {list: "an array", tuple: "a map", type(None): "nil"}
    return known.get(type(value), "an extension")
