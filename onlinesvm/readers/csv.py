"""CSV and TSV with a header: one column is the label, the others are features.

The header is the first line. The label's column is the one named by `--label-column`; the column
named by `--id-key`, if there is one, is the id; a feature has the name of its column and the cell's
number as its value. A cell that is no number is a text, a category or a date in the field of its
column's name (`onlinesvm.text.records`), and so is any cell of a column that is declared as one. An
empty cell is an absent feature. Cells may be quoted as RFC 4180 says; a quoted cell ends on its
line. Spaces around a cell do not count. A TAB separates cells in files named ``.tsv`` and in those
whose first line has one; else a comma.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onlinesvm.config import Limits
from onlinesvm.errors import SampleError, format_text
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.parsing import LineParser, Row, pack_fields
from onlinesvm.readers.tokens import (
    LineError,
    Values,
    check_name,
    drop_zeros,
    read_number,
    too_many_features,
)

__all__ = ["CSVParser", "Header", "delimiter_of", "looks_like_table", "read_header"]

_SHOWN_COLUMNS = 8


@dataclass(frozen=True)
class Header:
    """The columns of a table: the label's place and the id's, None where there is no such column.

    names: of the columns, None for those two.
    """

    names: tuple[bytes | None, ...]
    label: int | None
    id: int | None
    delimiter: str


def delimiter_of(name: str, first_line: bytes) -> str:
    """A TAB or a comma, by the file's name and its first line."""
    tabs = name.endswith((".tsv", ".tab")) or ".tsv." in name
    return "\t" if tabs or b"\t" in first_line else ","


def looks_like_table(lines: list[bytes]) -> bool:
    """True for lines of equally many cells, most of them numbers; or all of one named column.

    A header, the first line, does not count among them. A column counts alone if two lines or more
    have a number in it and the header has none. A TAB alone separates a label from a text: at least
    two are a table.
    """
    for delimiter, least in ((b"\t", 2), (b",", 1)):
        count = lines[0].count(delimiter)
        if count < least or any(line.count(delimiter) != count for line in lines):
            continue
        rows = [[cell.strip() for cell in line.split(delimiter)] for line in lines[1:] or lines]
        numbers = sum(not cell or _is_number(cell) for row in rows for cell in row)
        if numbers * 2 > len(rows) * (count + 1):
            return True
        named = [not _is_number(cell) for cell in lines[0].split(delimiter)]
        if len(lines) > 2 and any(
            name and all(map(_is_number, column))
            for name, column in zip(named, zip(*rows, strict=True), strict=True)
        ):
            return True
    return False


def _is_number(cell: bytes) -> bool:
    return read_number(cell.strip()) is not None


def read_header(line: bytes, delimiter: str, label: str | None, id: str | None, limits: Limits,
                *, labelled: bool) -> Header:  # fmt: skip
    """The columns that `line` names. Raises LineError.

    The label's column may be missing where labels are optional; the id's column always may.
    """
    cells = [cell.strip() for cell in _cells(line, delimiter)]
    places: dict[bytes, int] = {}
    for i, name in enumerate(cells):
        if not name:
            raise LineError(
                f"expected a name for every column, got none for column {i + 1} of"
                f" {len(cells)} (pandas leaves its index out by: to_csv(index=False))"
            )
        if name in places:
            raise LineError(f"expected each column once, got {format_text(name)} twice")
        check_name(name, limits)
        places[name] = i
    at = None if label is None else places.get(label.encode("utf-8", "surrogateescape"))
    if at is None and labelled:
        wanted = "" if label is None else f" {format_text(label)}"
        shown = ", ".join(map(format_text, cells[:_SHOWN_COLUMNS]))
        more = ", …" if len(cells) > _SHOWN_COLUMNS else ""
        raise LineError(
            f"expected a column{wanted} of labels (--label-column names it), got {shown}{more}"
        )
    id_at = None if id is None else places.get(id.encode("utf-8", "surrogateescape"))
    names = tuple(None if i in (at, id_at) else name for i, name in enumerate(cells))
    return Header(names, at, id_at, delimiter)


class CSVParser(LineParser):
    """Tables; the grammar is that of this module's docstring."""

    def __init__(self, labels: Labels, limits: Limits, header: Header, **how: Any) -> None:
        super().__init__(labels, limits, **how)
        self.header = header
        self._values = Values(self.bounds)
        self._declared = {} if self.extractor is None else self.extractor.options.raw_fields()

    def parse(self, line: bytes) -> Row:
        """See LineParser."""
        header = self.header
        cells = _cells(line, header.delimiter)
        if len(cells) != len(header.names):
            raise LineError(
                f"expected {len(header.names)} cells, as in the header, got {len(cells)}"
            )
        if header.label is None:
            label = self.labels.missing("expected a column of labels, got none")
        else:
            label = self.labels.read(cells[header.label].strip())
        id = cells[header.id] if self.ids and header.id is not None else b""
        named = [
            (name, text)
            for name, cell in zip(header.names, cells, strict=True)
            if name is not None and (text := cell.strip())
        ]
        if len(named) > self.limits.max_features_per_sample:
            raise too_many_features(len(named), self.limits)
        if self.reads_maps or not all(self._is_number(text) for _, text in named):
            fields = pack_fields((name, self._field(name, text)) for name, text in named)
            return Row(label, 1.0, id=id, record=fields)
        values = [self._value(name, text) for name, text in named]
        return Row(label, 1.0, *drop_zeros([name for name, _ in named], values), id)

    def fault(self, error: SampleError) -> LineError:
        """See LineParser."""
        (column,) = error.path[:1]
        return LineError(f"{error.message} in the column {format_text(bytes(column))}")

    def _is_number(self, text: bytes) -> bool:
        return self.extractor is None or text in self._values or read_number(text) is not None

    def _value(self, name: bytes, text: bytes) -> float:
        """The number of a cell, within its bounds."""
        try:
            return self._values[text]
        except LineError as error:
            hint = " (data frames take text)" if read_number(text) is None else ""
            raise LineError(f"{error} in the column {format_text(name)}{hint}") from None

    def _field(self, name: bytes, text: bytes) -> float | bytes:
        """A cell as a record has it: a number as it came."""
        if name in self._declared or (number := read_number(text)) is None:
            return text
        self._value(name, text)
        return number


def _cells(line: bytes, delimiter: str) -> list[bytes]:
    import csv  # for tables alone

    text = line.decode("utf-8", "surrogateescape")
    try:
        # A quote that is never closed would take the line's end for a part of the cell.
        (cells,) = csv.reader([text], delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise LineError(
            f"expected cells separated by {format_text(delimiter)}, each quote closed on its line,"
            f" got a fault: {error}"
        ) from None
    return [cell.encode("utf-8", "surrogateescape") for cell in cells]
