"""CSV and TSV with a header: one column is the label, the others are features.

The header is the first line. The label's column is the one named by `--label-column`; the column
named by `--id-key`, if there is one, is the id; a feature has the name of its column and the cell's
number as its value. An empty cell is an absent feature. Cells may be quoted as RFC 4180 says; a
quoted cell ends on its line. Spaces around numbers and labels do not count. A TAB separates cells
in files named ``.tsv`` and in those whose first line has one; else a comma.

Text is not read as a feature yet: a cell that is no number is refused with its column's name.
"""

from __future__ import annotations

from dataclasses import dataclass

from onlinesvm.config import Limits
from onlinesvm.data.bounds import Bounds
from onlinesvm.errors import format_text
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.parsing import Row
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
    """True for lines of equally many cells, most of them numbers.

    A header, the first line, does not count among them. A TAB alone separates a label from a text:
    at least two are a table.
    """
    for delimiter, least in ((b"\t", 2), (b",", 1)):
        count = lines[0].count(delimiter)
        if count < least or any(line.count(delimiter) != count for line in lines):
            continue
        cells = [cell.strip() for line in lines[1:] or lines for cell in line.split(delimiter)]
        numbers = sum(not cell or read_number(cell) is not None for cell in cells)
        if numbers * 2 > len(cells):
            return True
    return False


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


class CSVParser:
    """Tables; the grammar is that of this module's docstring."""

    def __init__(
        self, labels: Labels, limits: Limits, header: Header, *, ids: bool = False
    ) -> None:
        self.labels = labels
        self.limits = limits
        self.ids = ids
        self.header = header
        self._values = Values(Bounds.of(limits, labelled=labels.labelled))

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
        names: list[bytes] = []
        values: list[float] = []
        for name, cell in zip(header.names, cells, strict=True):
            text = cell.strip()
            if name is None or not text:
                continue
            names.append(name)
            values.append(self._value(name, text))
        if len(names) > self.limits.max_features_per_sample:
            raise too_many_features(len(names), self.limits)
        id = cells[header.id] if self.ids and header.id is not None else b""
        return (label, 1.0, *drop_zeros(names, values), id)

    def _value(self, name: bytes, text: bytes) -> float:
        try:
            return self._values[text]
        except LineError as error:
            hint = " (text is not read as a feature yet)" if read_number(text) is None else ""
            raise LineError(f"{error} in the column {format_text(name)}{hint}") from None


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
