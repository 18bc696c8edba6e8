"""A block of lines → a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from onlinesvm.config import Limits
from onlinesvm.data.batch import Batch, BatchColumns
from onlinesvm.data.label import AnyLabel
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.tokens import LineError

__all__ = ["LineParser", "Parsed", "Room", "Row", "parse_block"]

# Label (None without one), importance, names, values (zeros dropped, duplicates kept), id (empty
# where there is none).
Row = tuple[AnyLabel | None, float, Sequence[bytes], Sequence[float], bytes]


class LineParser(Protocol):
    """Reads the lines of one format, by these labels and limits. `ids`: keep the samples' ids."""

    labels: Labels
    limits: Limits
    ids: bool

    def parse(self, line: bytes) -> Row | None:
        r"""The sample in `line`, a line that is not blank, without its ``\n`` or ``\r\n``.

        None for a line that holds no sample (a comment). Raises LineError.
        """
        ...


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
        except LineError as fault:
            if not skip_bad:
                stopped_by = fault
                break
            first_fault = first_fault or (lines, fault)
            skipped.append(len(batch))
            continue
        if row is not None:
            label, importance, names, values, id = row
            batch.append(label, importance, names, values)
            name_bytes += sum(map(len, names))
            if ids is not None:
                ids.append(id)
    return Parsed(batch, start, lines, stopped_by, skipped, first_fault, ids)
