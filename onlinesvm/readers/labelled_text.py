r"""Labelled text: ``label \t text``.

The label is all before the first TAB, without the spaces around it; a leading TAB marks text
without a label, and so does a line without any TAB where labels are optional. The features are the
tokens of the text (`onlinesvm.text`), each of value 1. Bytes that are not UTF-8 separate words.
"""

from __future__ import annotations

from onlinesvm.config import Limits
from onlinesvm.errors import format_text
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.parsing import Row
from onlinesvm.readers.tokens import check_name, too_many_features
from onlinesvm.text.tokenize import tokens

__all__ = ["HEADER_WORDS", "TextParser", "fits", "text_names"]

# Names of a label's column: a first line that begins with one is a header.
HEADER_WORDS = frozenset({b"label", b"labels", b"class", b"target", b"category", b"y"})


def fits(line: bytes) -> bool:
    """True for a line with a TAB."""
    return b"\t" in line


def text_names(text: bytes, limits: Limits) -> list[bytes]:
    """The tokens of `text` as names. Raises LineError where they exceed `limits`."""
    names = [token.encode() for token in tokens(text.decode("utf-8", "replace"))]
    if len(names) > limits.max_features_per_sample:
        raise too_many_features(len(names), limits)
    if max(map(len, names), default=0) > limits.max_name_bytes:
        for name in names:
            check_name(name, limits)
    return names


class TextParser:
    """Labelled text; the grammar is that of this module's docstring."""

    def __init__(self, labels: Labels, limits: Limits, *, ids: bool = False) -> None:
        self.labels = labels
        self.limits = limits
        self.ids = ids

    def parse(self, line: bytes) -> Row:
        """See LineParser."""
        written, tab, text = line.partition(b"\t")
        if tab:
            label = self.labels.read(written.strip())
        else:
            text = line
            label = self.labels.missing(f"expected label<TAB>text, got {format_text(line)}")
        names = text_names(text, self.limits)
        return label, 1.0, names, [1.0] * len(names), b""
