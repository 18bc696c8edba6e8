"""The start of a file: its format and header, where its samples begin, the parser for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onlinesvm.errors import FormatError, format_text
from onlinesvm.readers.csv import delimiter_of, read_header
from onlinesvm.readers.detect import LookAhead, detect, is_text_header
from onlinesvm.readers.formats import FORMATS, Setup
from onlinesvm.readers.parsing import LineParser
from onlinesvm.readers.tokens import LineError

__all__ = ["Start", "read_start"]


@dataclass(frozen=True)
class Start:
    """The findings of the first lines of a file.

    format: None where no line has a sample. guessed: True where no format was given. first_line:
    the number of the line at which the samples begin. notes: for the user, one sentence each.
    """

    format: str | None
    guessed: bool
    first_line: int
    parser: LineParser
    notes: tuple[str, ...]


def read_start(
    ahead: LookAhead, source: str, setup: Setup, format: str | None, label_column: str | None
) -> Start:
    """The start of the file `source` that `ahead` shows. `format`: None finds out.

    Raises FormatError where the format cannot be known or the header of a table cannot be read.
    """
    guessed = format is None
    notes = []
    lines = [line for _, line in ahead.samples]
    number, first = ahead.samples[0] if lines else (1, b"")
    try:
        if ahead.cut:
            raise LineError("expected a sample in the first 16 MiB, got none")
        if format is None and lines:
            format = detect(lines, labelled=setup.labels.labelled)
            notes.append(f"read as {format} ({FORMATS[format].line})")
        elif format is None and ahead.comments and not (setup.labels.labelled or ahead.fault):
            number, first = ahead.comments[0]
            raise LineError(
                f"expected a sample, got only lines as {format_text(first)}, which are comments in"
                " all formats but text; --format text reads them"
            )
        if format is None or (format == "csv" and not lines):
            # No line will be parsed but comments.
            return Start(format, False, 1, FORMATS["svmlight"].parser(setup), ())
        if format == "csv":
            delimiter = delimiter_of(source, first)
            id = setup.keys.id
            header = read_header(
                first, delimiter, label_column, id, setup.limits, labelled=setup.labels.labelled
            )
            if label_column is not None and header.label is None:
                notes.append(f"no column {format_text(label_column)}: the samples have no labels")
            setup = replace(setup, header=header)
            number += 1
    except LineError as error:
        raise FormatError(str(error), source, number) from None
    if format == "text" and lines and is_text_header(lines, setup.labels.positive):
        notes.append(f"line {number}, {format_text(first)}, is a header and no sample")
        number += 1
    elif format != "csv" and not _follow_comments(ahead, format, first):
        number = 1
    return Start(format, guessed, number, FORMATS[format].parser(setup), tuple(notes))


def _follow_comments(ahead: LookAhead, format: str, first: bytes) -> bool:
    """True where all lines before `first` are comments: unlike it, they are not of the format."""
    fits = FORMATS[format].fits
    return fits(first) and not any(fits(line) for _, line in ahead.comments)
