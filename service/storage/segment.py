"""A segment of the journal: its bytes, and what is found in them.

A journal is a chain of segments. Each is a header and then records, nothing else; all numbers are
little-endian.

    header                      68 bytes
    magic        8 bytes        "onlsvmJ\\n"
    version      u4             2; 1, which has nothing of the segment before, is read too
    features     u4             max_features while its records were learned
    producers    u4             max_producers while its records were learned
    position     u8             samples learned before its first record; its name says the same
    model        u8             fingerprint of the model before its first record, see below
    mark         u4             random, not 0: what every record of this segment begins with
    before       24 bytes       the end of the segment before: its position (u8), its mark (u4),
                                the bytes that count in it (u8), the checksum of its last record
                                (u4; 0: it has none). All 0: this segment begins a journal
    checksum     u4             CRC-32 (as zlib has it) of the header before it

    record                      28 bytes and the request's own frames
    mark         u4             the segment's
    checksum     u4             CRC-32 of the frames, and then of the 20 bytes between
    length       u4             bytes of the whole record
    samples      u4             samples of the request
    position     u8             samples learned before its first one
    head         u4             bytes of the first frame; 0: a closing record
    frames       length - 28    the request's header, then its body

    closing record              the last of a segment that another goes on from: no samples; its
                                position is where that one starts, its only frame that one's mark

What stands behind the bytes that the next segment counts is void: it was never acknowledged. (A
segment of version 1 does not tell; there a record is void whose position is at or past that of the
next, if it has samples.) Nobody outside knows the mark, so that no request can hold bytes that pass
for a record.

A closing record is written once the next segment is durable, so that it is missing where nobody was
there to write it, and tells of a missing segment where it is there. A snapshot holds the end of the
journal as it was when the snapshot was taken (`snapshot.format`), in the numbers of `before`:
that joins the two.

Records without samples do not move the position, so that a segment can have some of them and still
be named as the next would be: the next then takes its place, under the same mark, with the same
segment before, and begins with a copy of them.

The fingerprint is the first 8 bytes of the SHA-256 of the position (u8) and the seven progressive
totals (f8, as a snapshot has them).
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

from onlinesvm.service.storage.posix import open_regular

__all__ = [
    "CLOSING_BYTES",
    "HEADER_BYTES",
    "RECORD",
    "Closing",
    "Damage",
    "End",
    "Record",
    "Segment",
    "closing_of",
    "drop_segments",
    "header_of",
    "records_of",
    "remove_segment",
    "segment_name",
    "segments_in",
]

MAGIC = b"onlsvmJ\n"
VERSION = 2
HEADER = struct.Struct("<8sIIIQQI")
BEFORE = struct.Struct("<QIQI")
U4 = struct.Struct("<I")
RECORD = struct.Struct("<IIIIQI")
HEADER_BYTES = HEADER.size + BEFORE.size + U4.size
_V1_HEADER_BYTES = HEADER.size + U4.size
CLOSING_BYTES = RECORD.size + U4.size

_NAME = re.compile(r"journal-(\d{20})\.log")


class End(NamedTuple):
    """Where a journal ends: in which segment, behind how many of its bytes.

    `checksum` is that of the segment's last record, 0 where it has none.
    """

    position: int
    mark: int
    size: int
    checksum: int


class Record(NamedTuple):
    """A whole record of a segment; `offset` and `end` are bytes in its file."""

    offset: int
    end: int
    checksum: int
    position: int
    samples: int
    header: bytes
    body: bytes


class Closing(NamedTuple):
    """The record that says where the next segment starts, and its mark."""

    offset: int
    end: int
    position: int
    mark: int

    @staticmethod
    def pack(segment: int, position: int, mark: int) -> bytes:
        """The bytes of one, at the end of a segment whose mark is `segment`."""
        frame = U4.pack(mark)
        fixed = RECORD.pack(segment, 0, CLOSING_BYTES, 0, position, 0)
        checksum = zlib.crc32(fixed[8:], zlib.crc32(frame))
        return fixed[:4] + U4.pack(checksum) + fixed[8:] + frame


class Damage(NamedTuple):
    """Bytes that are no record, up to the next that is one, or to the end of the file."""

    offset: int
    end: int
    message: str


@dataclass(frozen=True, slots=True)
class Segment:
    """What the header of a segment says."""

    features: int
    producers: int
    position: int
    model: int
    mark: int
    before: End | None = None
    version: int = VERSION
    is_whole: bool = True  # or all but the mark is unknown

    @property
    def header_bytes(self) -> int:
        """Where its records begin."""
        return HEADER_BYTES if self.version > 1 else _V1_HEADER_BYTES

    def pack(self) -> bytes:
        """The header's bytes."""
        packed = HEADER.pack(
            MAGIC, VERSION, self.features, self.producers, self.position, self.model, self.mark
        )
        packed += BEFORE.pack(*(self.before or (0, 0, 0, 0)))
        return packed + U4.pack(zlib.crc32(packed))

    @classmethod
    def unpack(cls, data: bytes, position: int) -> Segment:
        """The header in the first bytes of a file named for `position`. Raises ValueError."""
        if len(data) < _V1_HEADER_BYTES or data[: len(MAGIC)] != MAGIC:
            raise ValueError(
                f"expected a journal's header of {HEADER_BYTES} bytes, got something else"
            )
        _, version, features, producers, start, model, mark = HEADER.unpack_from(data)
        if version not in (1, VERSION):
            raise ValueError(f"expected format version 1 or {VERSION}, got {version}")
        size = HEADER.size if version == 1 else HEADER.size + BEFORE.size
        if len(data) < size + U4.size:
            raise ValueError(
                f"expected a journal's header of {HEADER_BYTES} bytes, got {len(data)}"
            )
        (checksum,) = U4.unpack_from(data, size)
        if checksum != zlib.crc32(data[:size]):
            raise ValueError(f"expected header checksum {checksum}, got {zlib.crc32(data[:size])}")
        if start != position:
            raise ValueError(
                f"expected the position of its name, {position}, got {start}: the whole header of"
                " another segment"
            )
        before = None if version == 1 else End(*BEFORE.unpack_from(data, HEADER.size))
        if before is not None and not before.mark:
            before = None
        return cls(features, producers, start, model, mark, before, version)

    @classmethod
    def salvage(cls, data: memoryview, position: int) -> Segment | None:
        """What finds the records of the file named for `position`: its header, or that of another
        segment, else the mark of its first record; None where that is damaged too.
        """
        if len(data) < _V1_HEADER_BYTES:
            return None
        for start in (position, HEADER.unpack_from(data)[4]):
            with contextlib.suppress(ValueError):
                return cls.unpack(bytes(data[:HEADER_BYTES]), start)
        for version in (VERSION, 1):
            segment = cls(0, 0, position, 0, 0, None, version, is_whole=False)
            if len(data) < segment.header_bytes + RECORD.size:
                continue
            (mark,) = U4.unpack_from(data, segment.header_bytes)
            segment = cls(0, 0, position, 0, mark, None, version, is_whole=False)
            if not isinstance(_record_at(data, segment.header_bytes, segment), str):
                return segment
        return None


def segment_name(position: int) -> str:
    """The name of the segment that starts at `position`."""
    return f"journal-{position:020}.log"


def segments_in(folder: Path) -> list[tuple[int, Path]]:
    """Position and path of the segments in `folder`, the oldest first. Raises OSError."""
    found = []
    for name in os.listdir(folder):
        match = _NAME.fullmatch(name)
        if match:
            found.append((int(match[1]), folder / name))
    return sorted(found)


def drop_segments(folder: Path, position: int) -> None:
    """Remove the segments that a start at `position` or later does not need."""
    segments = segments_in(folder)
    for (_, path), (following, _) in pairwise(segments):
        if following > position:
            return
        remove_segment(path)


def remove_segment(path: Path) -> None:
    """Remove the file at `path`, if it is there. Raises OSError.

    Its room is free at once, also where it is open to be closed later; unless it has another name,
    which is somebody's copy.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        path.unlink(missing_ok=True)
        if not os.fstat(descriptor).st_nlink:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def header_of(path: Path, position: int) -> Segment:
    """The header of the file at `path`, which is named for `position`.

    Raises OSError; ValueError where it is none.
    """
    with open_regular(path) as file:
        return Segment.unpack(file.read(HEADER_BYTES), position)


def closing_of(path: Path, position: int) -> Closing | None:
    """The closing record at the end of a segment, None if it has none. Raises OSError."""
    with open_regular(path) as file:
        try:
            segment = Segment.unpack(file.read(HEADER_BYTES), position)
        except ValueError:
            return None
        size = file.seek(0, os.SEEK_END)
        if size < segment.header_bytes + CLOSING_BYTES:
            return None
        file.seek(size - CLOSING_BYTES)
        found = _record_at(memoryview(file.read(CLOSING_BYTES)), 0, segment)
    if not isinstance(found, Closing):
        return None
    return found._replace(offset=size - CLOSING_BYTES, end=size)


def records_of(
    data: memoryview, segment: Segment, start: int | None = None
) -> Iterator[Record | Closing | Damage]:
    """The records of the segment whose file holds `data`, and the damage between them.

    The first begins at byte `start`; where the header ends, if that is None.
    """
    offset = segment.header_bytes if start is None else start
    while offset < len(data):
        at = _record_at(data, offset, segment)
        found = (
            Damage(offset, _next_record(data, offset + 1, segment), at)
            if isinstance(at, str)
            else at
        )
        yield found
        offset = found.end


def _record_at(data: memoryview, offset: int, segment: Segment) -> Record | Closing | str:
    """The record at `offset`, or what is wrong with it."""
    left = len(data) - offset
    if left < RECORD.size:
        return f"expected a record of at least {RECORD.size} bytes, got {left}"
    mark, checksum, length, samples, position, head = RECORD.unpack_from(data, offset)
    if mark != segment.mark:
        return f"expected a record's mark {segment.mark:08x}, got {mark:08x}"
    if not RECORD.size + head <= length <= left:
        return f"expected a record of at most {left} bytes, got one of {length}"
    end = offset + length
    start = offset + RECORD.size
    found = zlib.crc32(data[offset + 8 : start], zlib.crc32(data[start:end]))
    if found != checksum:
        return f"expected checksum {checksum}, got {found}"
    if not head and length == CLOSING_BYTES:
        return Closing(offset, end, position, U4.unpack_from(data, start)[0])
    body = start + head
    header = bytes(data[start:body])
    return Record(offset, end, checksum, position, samples, header, bytes(data[body:end]))


def _next_record(data: memoryview, start: int, segment: Segment) -> int:
    """Where the first whole record from `start` on begins; the end of the file if none does."""
    mark = re.compile(re.escape(U4.pack(segment.mark)))
    for match in mark.finditer(data, start):
        if not isinstance(_record_at(data, match.start(), segment), str):
            return match.start()
    return len(data)
