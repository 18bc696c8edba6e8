"""svmlight: ``label id:value id:value ...  # comment``.

A word ends at ASCII whitespace. The bytes of an id, up to the first colon, are the feature's name.
``qid:N`` and all that follows a ``#`` are ignored; a line without any word is no sample. A first
word with a colon is a feature: the line has no label.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from onlinesvm.config import Limits
from onlinesvm.errors import format_text
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.parsing import LineParser, Row
from onlinesvm.readers.tokens import (
    LineError,
    Values,
    check_name,
    drop_zeros,
    read_number,
    read_value,
    too_many_features,
)

__all__ = ["SvmlightParser", "fits"]

_iter_words = re.compile(rb"\S+").finditer
_drop_qid = re.compile(rb"(?<!\S)qid:\S*").sub


def fits(line: bytes) -> bool:
    """True for a line of ``name:value`` words, perhaps after a label.

    The label or one of the values is a number, so that ``see http://x`` is not such a line.
    """
    words = line.partition(b"#")[0].split()
    label = words.pop(0) if words and b":" not in words[0] else None
    pairs = [word.partition(b":") for word in words]
    if not pairs or not all(name and text for name, _, text in pairs):
        return False
    if label is not None and read_number(label) is not None:
        return True
    return any(read_number(text) is not None for _, _, text in pairs)


class SvmlightParser(LineParser):
    """svmlight: ``label id:value ...``. The bytes of an id are the feature's name."""

    def __init__(self, labels: Labels, limits: Limits, **how: Any) -> None:
        super().__init__(labels, limits, **how)
        self._values = Values(self.bounds)

    def parse(self, line: bytes) -> Row | None:
        """See LineParser."""
        if b"#" in line:
            line = line[: line.index(b"#")]
        if b"qid:" in line:
            line = _drop_qid(b"", line)
        # The label, the features, and the excess in one piece.
        words = line.split(None, self.limits.max_features_per_sample + 1)
        if not words:
            return None
        if b":" in words[0]:
            label = self.labels.missing(
                f"expected a label before the features, got {format_text(words[0])}"
            )
        else:
            label = self.labels.read(words.pop(0))
        if self.only_labels:
            return Row(label, 1.0)
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
        return Row(label, 1.0, *drop_zeros(names, values))

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
            read_value(self._values, text, word)
        raise AssertionError("a line was refused in which no fault can be found")
