r"""Labelled text: ``label \t text``.

The label is all before the first TAB, without the spaces around it; a leading TAB marks text
without a label, and so does a line without any TAB where labels are optional. A model that reads
text reads the text as it stands; for any other the features are its words (`text.tokenize`), each
of value 1, and bytes that are not UTF-8 separate words.
"""

from __future__ import annotations

from onlinesvm.config import Limits
from onlinesvm.data.label import AnyLabel
from onlinesvm.errors import format_text
from onlinesvm.readers.parsing import LineParser, Row, pack_text
from onlinesvm.readers.tokens import check_name, too_many_features
from onlinesvm.text.tokenize import tokens

__all__ = ["HEADER_WORDS", "TextParser", "fits", "text_names", "text_row"]

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


def text_row(parser: LineParser, label: AnyLabel | None, text: bytes) -> Row:
    """A text as the model of `parser` reads it. Raises LineError where its words exceed limits."""
    if parser.only_labels:
        return Row(label, 1.0)
    if parser.reads_text:
        return Row(label, 1.0, record=pack_text(text))
    names = text_names(text, parser.limits)
    return Row(label, 1.0, names, [1.0] * len(names))


class TextParser(LineParser):
    """Labelled text; the grammar is that of this module's docstring."""

    def parse(self, line: bytes) -> Row:
        """See LineParser."""
        written, tab, text = line.partition(b"\t")
        if tab:
            label = self.labels.read(written.strip())
        else:
            text = line
            label = self.labels.missing(f"expected label<TAB>text, got {format_text(line)}")
        return text_row(self, label, text)
