r"""One line of a text file → one sample: svmlight, VW text, label-tab-text.

    svmlight   label id:value id:value ...  # comment      (qid:N is ignored)
    vw         label [importance] ['tag]|namespace[:weight] name[:value] ... |...
    text       label \t text

Words end at ASCII whitespace. Faults are found in reading order; the quick path only notices that
there is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn, Protocol

from onlinesvm.config import MAX_MAGNITUDE, MIN_MAGNITUDE, Limits
from onlinesvm.errors import format_text
from onlinesvm.readers.labels import (
    Labels,
    LineError,
    Values,
    check_name,
    drop_zeros,
    read_importance,
    too_many_features,
)
from onlinesvm.text.tokenize import tokens

__all__ = ["LineParser", "Row", "SvmlightParser", "TextParser", "VWParser"]

# label, importance, names, values; zeros dropped, duplicates kept.
Row = tuple[float, float, Sequence[bytes], Sequence[float]]

_iter_words = re.compile(rb"\S+").finditer
_drop_qid = re.compile(rb"(?<!\S)qid:\S*").sub
_iter_sections = re.compile(rb"\|([^|]*)").finditer


class LineParser(Protocol):
    """Reads the lines of one format, by these labels and limits."""

    labels: Labels
    limits: Limits

    def parse(self, line: bytes) -> Row | None:
        r"""The sample in `line`, a line that is not blank, without its ``\n`` or ``\r\n``.

        None for a line that holds no sample (a comment). Raises LineError.
        """
        ...


class SvmlightParser:
    """svmlight: ``label id:value ...``. The bytes of an id are the feature's name."""

    def __init__(self, labels: Labels, limits: Limits) -> None:
        self.labels = labels
        self.limits = limits
        self._values = Values()

    def parse(self, line: bytes) -> Row | None:
        """See LineParser."""
        if b"#" in line:
            line = line[: line.index(b"#")]
        if b"qid:" in line:
            line = _drop_qid(b"", line)
        # The label, the features, and whatever is too much in one piece.
        words = line.split(None, self.limits.max_features_per_sample + 1)
        if not words:
            return None
        if b":" in words[0]:
            label = self.labels.missing(
                f"expected a label before the features, got {format_text(words[0])}"
            )
        else:
            label = self.labels.read(words.pop(0))
        pairs = [word.partition(b":") for word in words]
        names = [pair[0] for pair in pairs]
        texts = [pair[2] for pair in pairs]
        try:
            if texts.count(b"1") == len(texts):
                values = [1.0] * len(texts)
            else:
                values = list(map(self._values.__getitem__, texts))
        except LineError:
            self._raise_first_fault(words, line)
        if (
            not all(names)
            or len(names) > self.limits.max_features_per_sample
            or max(map(len, names), default=0) > self.limits.max_name_bytes
        ):
            self._raise_first_fault(words, line)
        return (label, 1.0, *drop_zeros(names, values))

    def _raise_first_fault(self, words: list[bytes], line: bytes) -> NoReturn:
        for i, word in enumerate(words):
            if i == self.limits.max_features_per_sample:
                labelled = b":" not in line.split(None, 1)[0]
                count = sum(1 for _ in _iter_words(line)) - labelled
                raise too_many_features(count, self.limits)
            name, _, text = word.partition(b":")
            if not name or not text:
                raise LineError(f"expected id:value, got {format_text(word)}")
            check_name(name, self.limits)
            _read_value(self._values, text, word)
        raise AssertionError("a line was refused in which no fault can be found")


class VWParser:
    """Vowpal Wabbit's text: the spaces around ``|`` matter as its wiki says.

    A word that touches the first bar from the left is a tag, one that touches a bar from the right
    a namespace; a bar that nothing touches from the right opens the unnamed namespace. Names are
    bare there, else ``namespace^name``. Not taken: a base, features without a name, text as value.
    """

    def __init__(self, labels: Labels, limits: Limits) -> None:
        self.labels = labels
        self.limits = limits
        self._values = Values()

    def parse(self, line: bytes) -> Row:
        """See LineParser."""
        bar = line.find(b"|")
        if bar < 0:
            raise LineError(f'expected "|" before the features, got {format_text(line)}')
        label, importance = self._head(line[:bar])
        names: list[bytes] = []
        values: list[float] = []
        for section in _iter_sections(line, bar):
            self._read_section(section[1], names, values)
            if len(names) > self.limits.max_features_per_sample:
                raise too_many_features(_count_features(line, bar), self.limits)
        return (label, importance, *drop_zeros(names, values))

    def _head(self, head: bytes) -> tuple[float, float]:
        """Label and importance from what stands before the first bar."""
        words = head.split()
        tag = b""
        if words and (not head[-1:].isspace() or words[-1].startswith(b"'")):
            tag = words.pop()
        if not words:
            got = f"only the tag {format_text(tag)} (a word touching the bar)" if tag else "none"
            label = self.labels.missing(f'expected a label before "|", got {got}')
        else:
            label = self.labels.read(words[0])
        importance = read_importance(words[1]) if len(words) > 1 else 1.0
        if len(words) > 2:
            raise LineError(
                'expected at most a label, an importance and a tag before "|" (a base is not'
                f" supported), got {format_text(words[2])}"
            )
        return label, importance

    def _read_section(self, section: bytes, names: list[bytes], values: list[float]) -> None:
        """Append the features between two bars, at most one more than a sample may have."""
        room = self.limits.max_features_per_sample - len(names)
        # The namespace, the features, and whatever is too much in one piece.
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
                value = _read_value(self._values, text, word) if colon else 1.0
                values.append(_product(weight, value, word))
        if excess:
            names.append(b"")  # one too many: the caller counts and refuses

    def _namespace(self, word: bytes) -> tuple[bytes, float]:
        """``namespace^`` and the namespace's weight."""
        name, colon, text = word.partition(b":")
        if not name or (colon and not text):
            raise LineError(
                f'expected namespace or namespace:weight after "|", got {format_text(word)}'
            )
        return name + b"^", _read_value(self._values, text, word) if colon else 1.0


def _read_value(values: Values, text: bytes, word: bytes) -> float:
    try:
        return values[text]
    except LineError as error:
        raise LineError(f"{error} in {format_text(word)}") from None


def _product(weight: float, value: float, word: bytes) -> float:
    product = weight * value
    if not -MAX_MAGNITUDE <= product <= MAX_MAGNITUDE:
        raise LineError(
            f"expected a number of magnitude at most {MAX_MAGNITUDE:g} after the namespace's"
            f" weight, got {product!r} in {format_text(word)}"
        )
    return product if not -MIN_MAGNITUDE < product < MIN_MAGNITUDE else 0.0


def _count_features(line: bytes, bar: int) -> int:
    """How many features a VW line has, in constant memory."""
    count = 0
    for section in _iter_sections(line, bar):
        named = section[1] and not section[1][:1].isspace()
        count += sum(1 for _ in _iter_words(section[1])) - bool(named)
    return count


class TextParser:
    r"""``label \t text``: the features are the text's tokens, each of value 1.

    Bytes that are not UTF-8 separate words.
    """

    def __init__(self, labels: Labels, limits: Limits) -> None:
        self.labels = labels
        self.limits = limits

    def parse(self, line: bytes) -> Row:
        """See LineParser."""
        written, tab, text = line.partition(b"\t")
        if tab:
            label = self.labels.read(written.strip())
        else:
            text = line
            label = self.labels.missing(f"expected label<TAB>text, got {format_text(line)}")
        names = [token.encode() for token in tokens(text.decode("utf-8", "replace"))]
        if len(names) > self.limits.max_features_per_sample:
            raise too_many_features(len(names), self.limits)
        if max(map(len, names), default=0) > self.limits.max_name_bytes:
            for name in names:
                check_name(name, self.limits)
        return label, 1.0, names, [1.0] * len(names)
