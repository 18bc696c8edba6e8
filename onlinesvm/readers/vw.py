"""VW text: ``label [importance] ['tag]|namespace[:weight] name[:value] ... |...``.

The spaces around ``|`` matter, as VW's wiki says. A word that touches the first bar from the left
is a tag, and so is a last word that begins with ``'`` (which is not part of the tag). A word that
touches a bar from the right is a namespace; a bar without one opens the unnamed namespace. Names
are bare there, else ``namespace^name``. A namespace's weight multiplies its values. Not read: a
base, features without a name, text as value.

Where the model reads text, a named namespace that has bare words alone, one at least, is a field of
that name, and its words are the field's text.
"""

from __future__ import annotations

import re
from typing import Any

from onlinesvm.config import MIN_MAGNITUDE, Limits
from onlinesvm.data.label import AnyLabel
from onlinesvm.errors import SampleError, format_text
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.parsing import LineParser, Row, pack_fields
from onlinesvm.readers.tokens import (
    LineError,
    Values,
    check_name,
    drop_zeros,
    read_importance,
    read_number,
    read_value,
    too_many_features,
)

__all__ = ["VWParser", "fits"]

_iter_words = re.compile(rb"\S+").finditer
_iter_sections = re.compile(rb"\|([^|]*)").finditer


def _split_head(head: bytes) -> tuple[list[bytes], bytes]:
    """The words before the first bar, without the tag, and the tag; empty where there is none."""
    words = head.split()
    if words and (not head[-1:].isspace() or words[-1].startswith(b"'")):
        return words[:-1], words[-1].removeprefix(b"'")
    return words, b""


def fits(line: bytes) -> bool:
    """True for a line with a bar, and before it at most a label, numbers and a tag."""
    head, bar, _ = line.partition(b"|")
    words, _ = _split_head(head)
    return bool(bar) and len(words) <= 3 and all(read_number(w) is not None for w in words[1:])


class VWParser(LineParser):
    """VW text; the grammar is that of this module's docstring. An id is the line's tag."""

    def __init__(self, labels: Labels, limits: Limits, **how: Any) -> None:
        super().__init__(labels, limits, **how)
        self._values = Values()  # a value is bounded after the namespace's weight

    def parse(self, line: bytes) -> Row:
        """See LineParser."""
        bar = line.find(b"|")
        if bar < 0:
            raise LineError(f'expected "|" before the features, got {format_text(line)}')
        label, importance, tag = self._head(line[:bar])
        if self.only_labels:
            return Row(label, importance, id=tag)
        names: list[bytes] = []
        values: list[Any] = []  # of a field: its text
        has_fields = False
        for section in _iter_sections(line, bar):
            if self.reads_text and (field := _field(section[1])) is not None:
                name, text = field
                names.append(name)
                values.append(text)
                has_fields = True
            else:
                self._read_section(section[1], names, values)
            if len(names) > self.limits.max_features_per_sample:
                raise too_many_features(_count_features(line, bar), self.limits)
        if has_fields:
            record = pack_fields(zip(names, values, strict=True))
            return Row(label, importance, id=tag, record=record)
        return Row(label, importance, *drop_zeros(names, values), tag)

    def fault(self, error: SampleError) -> LineError:
        """See LineParser."""
        (field,) = error.path[:1] or (b"",)
        return LineError(f"{error.message} in the namespace {format_text(bytes(field))}")

    def _head(self, head: bytes) -> tuple[AnyLabel | None, float, bytes]:
        """Label, importance and tag from the text before the first bar."""
        words, tag = _split_head(head)
        if not words:
            got = "none"
            if head.strip():
                got = f"only the tag {format_text(head.strip())} (a word touching the bar)"
            label = self.labels.missing(f'expected a label before "|", got {got}')
        else:
            label = self.labels.read(words[0])
        importance = read_importance(words[1], self.bounds) if len(words) > 1 else 1.0
        if len(words) > 2:
            raise LineError(
                'expected at most a label, an importance and a tag before "|" (a base is not'
                f" supported), got {format_text(words[2])}"
            )
        return label, importance, tag

    def _read_section(self, section: bytes, names: list[bytes], values: list[float]) -> None:
        """Append the features between two bars, at most one more than a sample may have."""
        room = self.limits.max_features_per_sample - len(names)
        # The namespace, the features, and the excess in one piece.
        words = section.split(None, room + 1)
        prefix, weight = b"", 1.0
        if words and not section[:1].isspace():
            prefix, weight = self._namespace(words.pop(0))
        limit = self.limits.max_name_bytes - len(prefix)
        excess = len(words) > room
        del words[room:]
        if b":" not in section and weight == 1.0 and max(map(len, words), default=0) <= limit:
            names += [prefix + word for word in words] if prefix else words
            values += [1.0] * len(words)
        else:
            for word in words:
                name, colon, text = word.partition(b":")
                if not name or (colon and not text):
                    raise LineError(f"expected name or name:value, got {format_text(word)}")
                names.append(prefix + name)
                check_name(names[-1], self.limits)
                value = read_value(self._values, text, word) if colon else 1.0
                values.append(self._product(weight, value, word))
        if excess:
            names.append(b"")  # one too many: the caller counts and refuses

    def _namespace(self, word: bytes) -> tuple[bytes, float]:
        """``namespace^`` and the namespace's weight."""
        name, colon, text = word.partition(b":")
        if not name or (colon and not text):
            raise LineError(
                f'expected namespace or namespace:weight after "|", got {format_text(word)}'
            )
        return name + b"^", read_value(self._values, text, word) if colon else 1.0

    def _product(self, weight: float, value: float, word: bytes) -> float:
        product = self.bounds.fit_value(weight * value)
        if product is None:
            weighted = " after the namespace's weight" if weight != 1.0 else ""
            raise LineError(
                f"expected {self.bounds.expected_value}{weighted}, got {weight * value!r} in"
                f" {format_text(word)}"
            )
        return product if not -MIN_MAGNITUDE < product < MIN_MAGNITUDE else 0.0


def _field(section: bytes) -> tuple[bytes, bytes] | None:
    """The name of a namespace and its text of bare words; None where it is not such."""
    if not section or section[:1].isspace() or b":" in section:
        return None
    name, *text = section.split(None, 1)
    return (name, text[0].rstrip()) if text else None


def _count_features(line: bytes, bar: int) -> int:
    """The number of features of a VW line, in constant memory."""
    count = 0
    for section in _iter_sections(line, bar):
        named = section[1] and not section[1][:1].isspace()
        count += sum(1 for _ in _iter_words(section[1])) - bool(named)
    return count
