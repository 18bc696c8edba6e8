"""The registry of formats: their names, the look of a line, how one is known, what reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onlinesvm.config import Limits
from onlinesvm.readers import csv, fasttext, jsonl, labelled_text, svmlight, vw
from onlinesvm.readers.jsonl import Keys
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.parsing import LineParser

__all__ = ["FORMATS", "NAMES", "Format", "Setup"]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that parsers need of a reader. header: of a table. The last three: see LineParser."""

    labels: Labels
    limits: Limits
    keys: Keys
    ids: bool
    header: csv.Header | None = None
    extractor: Any = None
    keeps: bool = False
    only_labels: bool = False

    @property
    def how(self) -> dict[str, Any]:
        """The keywords of every parser."""
        return {
            "ids": self.ids,
            "extractor": self.extractor,
            "keeps": self.keeps,
            "only_labels": self.only_labels,
        }


@dataclass(frozen=True)
class Format:
    """A format. fits: true for a line that looks like this format's and no plainer one's."""

    name: str
    line: str
    fits: Callable[[bytes], bool]
    parser: Callable[[Setup], LineParser]


def _table(setup: Setup) -> csv.CSVParser:
    assert setup.header is not None, "a table is read once its header was"
    return csv.CSVParser(setup.labels, setup.limits, setup.header, **setup.how)


# A line that fits several is of the first of them.
FORMATS = {
    format.name: format
    for format in (
        Format(
            "json",
            '{"label": 1, "features": ["name", …]}',
            jsonl.fits,
            lambda s: jsonl.JSONParser(s.labels, s.limits, s.keys, **s.how),
        ),
        Format(
            "fasttext",
            "__label__x text",
            fasttext.fits,
            lambda s: fasttext.FastTextParser(s.labels, s.limits, **s.how),
        ),
        Format(
            "vw",
            "label | name name:value …",
            vw.fits,
            lambda s: vw.VWParser(s.labels, s.limits, **s.how),
        ),
        Format(
            "svmlight",
            "label id:value …",
            svmlight.fits,
            lambda s: svmlight.SvmlightParser(s.labels, s.limits, **s.how),
        ),
        Format(
            "text",
            "label<TAB>text",
            labelled_text.fits,
            lambda s: labelled_text.TextParser(s.labels, s.limits, **s.how),
        ),
        # Never guessed: a table needs the name of its label's column.
        Format("csv", "with a header and --label-column NAME", lambda _: False, _table),
    )
}
NAMES = tuple(FORMATS)
