"""A block of lines → a batch."""

from __future__ import annotations

from typing import NamedTuple

from onlinesvm.data.batch import Batch, BatchColumns
from onlinesvm.readers.labels import LineError
from onlinesvm.readers.lines import LineParser

__all__ = ["Parsed", "Room", "parse_block"]


class Room(NamedTuple):
    """What a batch holds: it takes no further sample once any of these is reached."""

    samples: int
    features: int
    name_bytes: int


class Parsed(NamedTuple):
    """What came of parsing.

    batch: the samples. end: the offset after the last line taken. lines: how many were taken,
    blank and bad ones too. skipped: how many were bad and passed over. fault: what is wrong with
    the last line, if parsing stopped at a bad one.
    """

    batch: BatchColumns
    end: int
    lines: int
    skipped: int
    fault: LineError | None


def parse_block(
    parser: LineParser, block: bytes, start: int, room: Room, *, skip_bad: bool = False
) -> Parsed:
    """Read `block`, whole lines, from offset `start` on.

    Stops at the end, once the batch is full, or after a bad line, of which nothing is taken; with
    `skip_bad` bad lines are counted and passed over.
    """
    parse = parser.parse
    batch = Batch()
    lines = skipped = name_bytes = 0
    while (
        start < len(block)
        and len(batch.labels) < room.samples
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
                return Parsed(batch, start, lines, skipped, fault)
            skipped += 1
            continue
        if row is not None:
            batch.append(*row)
            name_bytes += sum(map(len, row[2]))
    return Parsed(batch, start, lines, skipped, None)
