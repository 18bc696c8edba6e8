"""A block of lines → a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from onlinesvm.config import Limits
from onlinesvm.data.batch import Batch, BatchColumns
from onlinesvm.data.bounds import Bounds
from onlinesvm.data.label import AnyLabel
from onlinesvm.errors import SampleError
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.tokens import LineError

__all__ = [
    "LineParser", "Parsed", "Room", "Row", "as_record", "checked", "extracted", "pack_fields",
    "pack_text", "parse_block",
]  # fmt: skip


class Row(NamedTuple):
    """One sample of a line.

    label: None without one. names, values: zeros dropped, duplicates kept. id: empty where there is
    none. record: the features as a packed record (`onlinesvm.text.records`), which the parser's
    extractor reads; there are no names and values then.
    """

    label: AnyLabel | None
    importance: float
    names: Sequence[bytes] = ()
    values: Sequence[float] = ()
    id: bytes = b""
    record: bytes | None = None


class LineParser(ABC):
    """Reads the lines of one format.

    ids: keep the samples' ids. extractor: reads the records of the model that the samples are for;
    None where they are names and numbers alone. keeps: leave records packed, for another process.
    only_labels: the samples have no features; faults of them may pass.
    """

    def __init__(
        self,
        labels: Labels,
        limits: Limits,
        *,
        ids: bool = False,
        extractor: Any = None,
        keeps: bool = False,
        only_labels: bool = False,
    ) -> None:
        self.labels = labels
        self.limits = limits
        self.ids = ids
        self.extractor = extractor
        self.keeps = keeps
        self.only_labels = only_labels
        self.bounds = Bounds.of(limits, labelled=labels.labelled)

    @abstractmethod
    def parse(self, line: bytes) -> Row | None:
        r"""The sample in `line`, a line that is not blank, without its ``\n`` or ``\r\n``.

        None for a line that holds no sample (a comment). Raises LineError.
        """

    def fault(self, error: SampleError) -> LineError:
        """A fault of a record, as one of its line."""
        return LineError(error.message)

    @property
    def reads_text(self) -> bool:
        """True where a record may be a text."""
        return self.extractor is not None and self.extractor.reads_text

    @property
    def reads_maps(self) -> bool:
        """True where a number has further features."""
        return self.extractor is not None and self.extractor.reads_maps


class Room(NamedTuple):
    """The bounds of a batch: it takes no further sample once any of these is reached."""

    samples: int
    features: int
    name_bytes: int


class Parsed(NamedTuple):
    """The outcome of parsing.

    batch: the samples. end: the offset after the last line read. lines: the number of lines read,
    blank and bad ones too. fault: the fault of the last line, if parsing stopped at a bad one.

    skipped: for each bad line passed over, the number of the batch's samples before it.
    first_fault: the first of these lines (counted from 1 at the start of this parse) and its fault.
    ids: of the samples, empty where a line has none; None where they were not asked for.
    """

    batch: BatchColumns
    end: int
    lines: int
    fault: LineError | None = None
    skipped: Sequence[int] = ()
    first_fault: tuple[int, LineError] | None = None
    ids: Sequence[bytes] | None = None


def parse_block(
    parser: LineParser, block: bytes, start: int, room: Room, *, skip_bad: bool = False
) -> Parsed:
    """Read `block`, whole lines, from offset `start` on.

    Stops at the end, once the batch is full, or after a bad line, of which nothing is taken; with
    `skip_bad` bad lines are noted and passed over.
    """
    parse = parser.parse
    batch = Batch()
    ids: list[bytes] | None = [] if parser.ids else None
    skipped: list[int] = []
    first_fault = stopped_by = None
    lines = name_bytes = 0
    while (
        start < len(block)
        and len(batch) < room.samples
        and len(batch.names) < room.features
        and name_bytes < room.name_bytes
    ):
        end = block.find(b"\n", start)
        if end < 0:
            end = len(block)
        line = block[start:end]
        start = min(end + 1, len(block))
        lines += 1
        if not line or line.isspace():
            continue
        try:
            row = parse(line.removesuffix(b"\r"))
            if row is not None and parser.only_labels:
                row = Row(row.label, row.importance, id=row.id)
            if row is not None:
                row = as_record(parser, row)
                columns = _columns(parser, row)
        except LineError as fault:
            if not skip_bad:
                stopped_by = fault
                break
            first_fault = first_fault or (lines, fault)
            skipped.append(len(batch))
            continue
        if row is None:
            continue
        names, values, tags, marks, cut = columns
        if parser.keeps and row.record is not None:
            batch.records[len(batch)] = row.record
            name_bytes += len(row.record)
        batch.append(row.label, row.importance, names, values, tags, marks)
        name_bytes += sum(map(len, names))
        batch.cut += cut
        if ids is not None:
            ids.append(row.id)
    return Parsed(batch, start, lines, stopped_by, skipped, first_fault, ids)


_Marks = Mapping[int, tuple[bytes, ...]]
_Columns = tuple[Sequence[bytes], Sequence[float], Sequence[int], _Marks, int]


def _columns(parser: LineParser, row: Row) -> _Columns:
    """Names, values, tags, marks, and how many texts were cut; none of a record that is kept."""
    if row.record is None:
        return row.names, row.values, (), {}, 0
    if parser.keeps:
        return (), (), (), {}, checked(parser, row.record)
    return extracted(parser, row.record)


def as_record(parser: LineParser, row: Row) -> Row:
    """`row` as a record where numbers have further features: as a message would hold it, an array
    of names where all values are 1, else a map.
    """
    if row.record is not None or not parser.reads_maps or parser.keeps:
        return row
    if all(value == 1.0 for value in row.values):
        return row
    record = pack_fields(zip(row.names, row.values, strict=True))
    return row._replace(names=(), values=(), record=record)


def checked(parser: LineParser, record: bytes) -> int:
    """How many texts of a record will be cut. Raises LineError where it is none."""
    try:
        cut, largest = parser.extractor.check(record)
    except SampleError as error:
        raise parser.fault(error) from None
    if largest > parser.bounds.value and not parser.bounds.clips:
        extracted(parser, record)  # says which value
    return int(cut)


def extracted(parser: LineParser, record: bytes) -> _Columns:
    """The features of a record. Raises LineError."""
    try:
        found = parser.extractor.extract(record)
    except SampleError as error:
        raise parser.fault(error) from None
    values, fit = [], parser.bounds.fit_value
    for name, value in zip(found.names, found.values, strict=True):
        fitting = fit(value)
        if fitting is None:
            expected = f"expected {parser.bounds.expected_value}, got {value:g}"
            raise parser.fault(SampleError(expected, (name,)))
        values.append(fitting)
    return found.names, values, found.views, found.marks, found.cut


def pack_fields(fields: Iterable[tuple[bytes, Any]]) -> bytes:
    """Names and values as a packed record; text as bytes."""
    packed: bytes = msgpack.Packer(use_bin_type=False).pack_map_pairs(list(fields))
    return packed


def pack_text(text: bytes) -> bytes:
    """A text as a packed record."""
    packed: bytes = msgpack.packb(text, use_bin_type=False)
    return packed
