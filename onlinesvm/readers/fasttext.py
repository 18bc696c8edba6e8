"""fastText: ``__label__x text``.

The label is the rest of the first word after ``__label__``; a line whose first word is another has
no label. The rest is the text, without the spaces before it, and read as labelled text is
(`labelled_text`). fastText takes every word that begins with ``__label__`` for a label, and so does
this: a line has one, or for a multilabel model any number.
"""

from __future__ import annotations

import re

from onlinesvm.errors import format_text
from onlinesvm.readers.labelled_text import text_row
from onlinesvm.readers.parsing import LineParser, Row

__all__ = ["FastTextParser", "fits"]

PREFIX = b"__label__"
_find_labels = re.compile(rb"(?<!\S)__label__\S*").findall
_drop_labels = re.compile(rb"(?<!\S)__label__\S*").sub


def fits(line: bytes) -> bool:
    """True for a line that begins with ``__label__``."""
    return line.lstrip().startswith(PREFIX)


class FastTextParser(LineParser):
    """fastText; the grammar is that of this module's docstring."""

    def parse(self, line: bytes) -> Row:
        """See LineParser."""
        found = _find_labels(line) if PREFIX in line else []
        if len(found) > 1 and self.labels.sets:
            texts = [text.removeprefix(PREFIX) for text in found]
            label = self.labels.read_all(texts)
        elif len(found) > 1:
            label = self.labels.missing(
                f"expected one label a line, got {format_text(found[0])} and"
                f" {format_text(found[1])}"
            )
        elif not found or not fits(line):
            label = self.labels.missing(
                f"expected __label__ and a label as the first word, got {format_text(line)}"
            )
        else:
            label = self.labels.read(found[0].removeprefix(PREFIX))
        return text_row(self, label, (_drop_labels(b"", line) if found else line).lstrip())
