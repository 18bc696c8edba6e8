"""A segment of the log: its bytes, and the entries found in them.

A log is a chain of segments, each named for the LSN of its first entry: ``<lsn, 20 digits>.log``.
Each is a header and then entries (`storage.entry`), nothing else; all numbers are little-endian.

    header                      84 bytes
    magic        8 bytes        "onlsvmL\\n"
    version      u4             1
    folder       16 bytes       id of the state folder: random, made with its first segment
    first        u8             LSN of its first entry; its name says the same
    term         u8             term of its first entry
    salt         u4             random, not 0: every entry of this segment begins with it
    previous     32 bytes       the end of the segment before: its first LSN (u8), its salt (u4),
                                its length (u8), the LSN of its last entry (u8), the checksum of
                                that entry (u4). All 0: this segment begins a log
    checksum     u4             CRC-32 (as zlib has it) of the header before it

Bytes of a segment after the length recorded in the next one are ignored: they were never
acknowledged. Clients do not know the salt, so no request can hold bytes that pass for an entry.

An entry `close` is written once the next segment is durable. It tells of a segment that is missing;
a crash can leave a segment without it.

The first LSN of a segment is the last one before it plus 1. It is larger only where a machine
crashed and lost the end of the log under a snapshot that holds those entries.

An empty file ``<lsn, 20 digits>.held`` says that the newest snapshots of all models hold every
entry up to that LSN. It is written before segments are removed: a model that was not changed for
long has an old snapshot, and a start has to know that no entry after it is missing.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from onlinesvm.service.storage import entry
from onlinesvm.service.storage.entry import ENTRY, Damage, Kind, Record
from onlinesvm.service.storage.posix import open_regular
from onlinesvm.snapshot.writer import sync_folder

__all__ = [
    "HEADER_BYTES",
    "Segment",
    "SegmentEnd",
    "Segments",
    "closing_of",
    "drop_segments",
    "header_of",
    "held_in",
    "mark_held",
    "records_of",
    "remove_segment",
    "segment_name",
    "segments_after",
    "segments_in",
    "superfluous_segments",
]

MAGIC = b"onlsvmL\n"
VERSION = 1
HEADER = struct.Struct("<8sI16sQQI")
PREVIOUS = struct.Struct("<QIQQI")
U4 = struct.Struct("<I")
HEADER_BYTES = HEADER.size + PREVIOUS.size + U4.size
CLOSE_BYTES = ENTRY.size + U4.size

_NAME = re.compile(r"(\d{20})\.log")
_HELD = re.compile(r"(\d{20})\.held")

# First LSN and path, the oldest first.
Segments = list[tuple[int, Path]]


class SegmentEnd(NamedTuple):
    """The end of a segment: the next one names it.

    size: the bytes of it that count. lsn and checksum: those of its last entry.
    """

    first: int
    salt: int
    size: int
    lsn: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Segment:
    """The header of a segment; `is_intact` is False for one guessed from the first entry."""

    folder: bytes
    first: int
    term: int
    salt: int
    previous: SegmentEnd | None = None
    is_intact: bool = True

    def pack(self) -> bytes:
        """The header's bytes."""
        packed = HEADER.pack(MAGIC, VERSION, self.folder, self.first, self.term, self.salt)
        packed += PREVIOUS.pack(*(self.previous or (0, 0, 0, 0, 0)))
        return packed + U4.pack(zlib.crc32(packed))

    @classmethod
    def unpack(cls, data: bytes, first: int) -> Segment:
        """The header in the first bytes of a file named for `first`. Raises ValueError."""
        if len(data) < HEADER_BYTES or data[: len(MAGIC)] != MAGIC:
            raise ValueError(
                f"expected a segment's header of {HEADER_BYTES} bytes that begins with {MAGIC!r},"
                f" got {len(data)} bytes that begin with {bytes(data[: len(MAGIC)])!r}"
            )
        _, version, folder, start, term, salt = HEADER.unpack_from(data)
        if version != VERSION:
            raise ValueError(f"expected format version {VERSION}, got {version}")
        covered = HEADER.size + PREVIOUS.size
        (checksum,) = U4.unpack_from(data, covered)
        if checksum != zlib.crc32(data[:covered]):
            raise ValueError(
                f"expected header checksum {checksum}, got {zlib.crc32(data[:covered])}"
            )
        if start != first:
            raise ValueError(
                f"expected the LSN of its name, {first}, got {start}: the header of another segment"
            )
        previous = SegmentEnd(*PREVIOUS.unpack_from(data, HEADER.size))
        return cls(folder, start, term, salt, previous if previous.first else None)

    @classmethod
    def guess(cls, data: memoryview, first: int) -> Segment | None:
        """A header that finds the entries of the file named for `first`: its own, or that of
        another segment, else one of the salt of its first entry; None if that is damaged too.
        """
        if len(data) < HEADER_BYTES:
            return None
        for start in (first, HEADER.unpack_from(data)[3]):
            with contextlib.suppress(ValueError):
                return cls.unpack(bytes(data[:HEADER_BYTES]), start)
        if len(data) < HEADER_BYTES + ENTRY.size:
            return None
        (salt,) = U4.unpack_from(data, HEADER_BYTES)
        if isinstance(entry.unpack(data, HEADER_BYTES, salt), str):
            return None
        return cls(bytes(16), first, 0, salt, None, is_intact=False)


def segment_name(first: int) -> str:
    """The name of the segment whose first LSN is `first`."""
    return f"{first:020}.log"


def segments_in(folder: Path) -> Segments:
    """The segments in `folder`, which need not exist. Raises OSError."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = ((_NAME.fullmatch(name), name) for name in names)
    return sorted((int(match[1]), folder / name) for match, name in found if match)


def held_in(folder: Path) -> int:
    """The LSN up to which the newest snapshots of all models hold the log in `folder`, as the file
    of that name says; 0 where there is none. Raises OSError.
    """
    try:
        found = map(_HELD.fullmatch, os.listdir(folder))
    except FileNotFoundError:
        return 0
    return max((int(match[1]) for match in found if match), default=0)


def mark_held(folder: Path, lsn: int) -> None:
    """Note, durably, that snapshots hold the log up to `lsn`. Raises OSError."""
    path = folder / f"{lsn:020}.held"
    if path.exists():
        return
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    sync_folder(os.fspath(folder))
    for name in os.listdir(folder):
        earlier = _HELD.fullmatch(name)
        if earlier and int(earlier[1]) < lsn:
            (folder / name).unlink(missing_ok=True)


def segments_after(segments: Segments, lsn: int) -> Segments:
    """Those of `segments` that can hold entries after `lsn`."""
    for i, (_, (following, _)) in enumerate(pairwise(segments)):
        if following > lsn + 1:
            return segments[i:]
    return segments[-1:]


def superfluous_segments(folder: Path, lsn: int) -> list[Path]:
    """The segments in `folder` that hold no entry after `lsn`, but the last. Raises OSError."""
    segments = segments_in(folder)
    return [path for _, path in segments[: len(segments) - len(segments_after(segments, lsn))]]


def drop_segments(folder: Path, lsn: int) -> int:
    """Remove the segments that hold no entry after `lsn`, but the last; returns how many.

    Raises OSError.
    """
    superfluous = superfluous_segments(folder, lsn)
    for path in superfluous:
        remove_segment(path)
    return len(superfluous)


def remove_segment(path: Path) -> None:
    """Remove a segment and give its bytes back at once, also where another thread has it open.

    The bytes stay where the file has another name: a user made a copy. Raises OSError.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        path.unlink(missing_ok=True)
        if not os.fstat(descriptor).st_nlink:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def header_of(path: Path, first: int) -> Segment:
    """The header of the file at `path`, which is named for `first`.

    Raises OSError; ValueError where it is damaged.
    """
    with open_regular(path) as file:
        return Segment.unpack(file.read(HEADER_BYTES), first)


def closing_of(path: Path, first: int) -> Record | None:
    """The entry `close` at the end of a segment, None if it has none. Raises OSError."""
    with open_regular(path) as file:
        try:
            segment = Segment.unpack(file.read(HEADER_BYTES), first)
        except ValueError:
            return None
        size = file.seek(0, os.SEEK_END)
        if size < HEADER_BYTES + CLOSE_BYTES:
            return None
        file.seek(size - CLOSE_BYTES)
        found = entry.unpack(memoryview(file.read(CLOSE_BYTES)), 0, segment.salt)
    if isinstance(found, str) or found.kind != Kind.CLOSE:
        return None
    return found._replace(offset=size - CLOSE_BYTES, end=size)


def records_of(
    data: memoryview, segment: Segment, start: int = HEADER_BYTES
) -> Iterator[Record | Damage]:
    """The entries of the segment whose file holds `data`, and the damage between them.

    The first begins at byte `start`.
    """
    offset = start
    while offset < len(data):
        at = entry.unpack(data, offset, segment.salt)
        found = (
            Damage(offset, _next_record(data, offset + 1, segment), at)
            if isinstance(at, str)
            else at
        )
        yield found
        offset = found.end


def _next_record(data: memoryview, start: int, segment: Segment) -> int:
    """The offset of the first whole entry from `start` on; the end of the file if there is none."""
    salt = re.compile(re.escape(U4.pack(segment.salt)))
    for match in salt.finditer(data, start):
        if not isinstance(entry.unpack(data, match.start(), segment.salt), str):
            return match.start()
    return len(data)
