"""The journal: every learn request that was applied, in segments that replay to the same model.

A segment is a header and then records, nothing else; all numbers are little-endian.

    header                      44 bytes
    magic        8 bytes        "onlsvmJ\\n"
    version      u4             1
    features     u4             max_features while its records were learned
    producers    u4             max_producers while its records were learned
    position     u8             samples learned before its first record; its name says the same
    model        u8             fingerprint of the model before its first record, see below
    mark         u4             random: what every record of this segment begins with
    checksum     u4             CRC-32 (as zlib has it) of the header before it

    record                      28 bytes and the request's own frames
    mark         u4             the segment's
    checksum     u4             CRC-32 of the frames, and then of the 20 bytes between
    length       u4             bytes of the whole record
    samples      u4             samples of the request
    position     u8             samples learned before its first one
    head         u4             bytes of the first frame
    frames       length - 28    the request's header, then its body

A record whose position is at or past that of the next segment is void: it was never acknowledged
(one without samples is kept: it teaches nothing, and its sequence number counts). Nobody outside
knows the mark, so that no request can hold bytes that pass for a record.

Records without samples do not move the position, so that a segment can have some of them and still
be named as the next would be: the next then begins with a copy of them, under the same mark.

The fingerprint is the first 8 bytes of the SHA-256 of the position (u8) and the seven progressive
totals (f8, as a snapshot has them). These come from every sample's margin, so that a journal that
was put beside a snapshot of another history is not taken for its continuation.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from onlinesvm.errors import NotDurable
from onlinesvm.service.files import Buffer, Files
from onlinesvm.service.syncer import Syncer

__all__ = [
    "FSYNC",
    "HEADER_BYTES",
    "Damage",
    "Entry",
    "Journal",
    "Record",
    "Segment",
    "drop_segments",
    "records_of",
    "segments_in",
]

log = logging.getLogger(__name__)

FSYNC = ("always", "everysec", "never")
MAGIC = b"onlsvmJ\n"
VERSION = 1
HEADER = struct.Struct("<8sIIIQQI")
CHECKSUM = struct.Struct("<I")
RECORD = struct.Struct("<IIIIQI")
HEADER_BYTES = HEADER.size + CHECKSUM.size
SEGMENT_BYTES = 256 * 2**20
_JOINED_BYTES = 64 * 2**10
_MOST_PARTS = 1000  # the system takes 1,024 in one call

_SEGMENT = re.compile(r"journal-(\d{20})\.log")


class Entry(NamedTuple):
    """A learn request to be written: how many samples it has, and its frames."""

    samples: int
    header: bytes
    body: bytes


class Record(NamedTuple):
    """A whole record of a segment; `offset` and `end` are bytes in its file."""

    offset: int
    end: int
    position: int
    samples: int
    header: bytes
    body: bytes


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
    is_whole: bool = True  # or all but the mark is unknown

    def pack(self) -> bytes:
        """The header's bytes."""
        packed = HEADER.pack(
            MAGIC, VERSION, self.features, self.producers, self.position, self.model, self.mark
        )
        return packed + CHECKSUM.pack(zlib.crc32(packed))

    @classmethod
    def unpack(cls, data: bytes, position: int) -> Segment:
        """The header in the first bytes of a file named for `position`. Raises ValueError."""
        head = data[: HEADER.size]
        if len(data) < HEADER_BYTES or head[: len(MAGIC)] != MAGIC:
            raise ValueError(
                f"expected a journal's header of {HEADER_BYTES} bytes, got something else"
            )
        _, version, features, producers, start, model, mark = HEADER.unpack(head)
        (checksum,) = CHECKSUM.unpack(data[HEADER.size : HEADER_BYTES])
        if checksum != zlib.crc32(head):
            raise ValueError(f"expected header checksum {checksum}, got {zlib.crc32(head)}")
        if version != VERSION:
            raise ValueError(f"expected format version {VERSION}, got {version}")
        if start != position:
            raise ValueError(
                f"expected the position of its name, {position}, got {start}: the whole header of"
                " another segment"
            )
        return cls(features, producers, start, model, mark)

    @classmethod
    def salvage(cls, data: memoryview, position: int) -> Segment | None:
        """What finds the records of the file named for `position`: its header, or that of another
        segment, else the mark of its first record; None where that is damaged too.
        """
        if len(data) < HEADER_BYTES:
            return None
        for start in (position, HEADER.unpack_from(data)[4]):
            with contextlib.suppress(ValueError):
                return cls.unpack(bytes(data[:HEADER_BYTES]), start)
        if len(data) < HEADER_BYTES + RECORD.size:
            return None
        (mark,) = CHECKSUM.unpack_from(data, HEADER_BYTES)
        segment = cls(0, 0, position, 0, mark, is_whole=False)
        return None if _record_at(data, HEADER_BYTES, segment)[0] is None else segment


def segments_in(folder: Path) -> list[tuple[int, Path]]:
    """Position and path of the segments in `folder`, the oldest first. Raises OSError."""
    found = []
    for name in os.listdir(folder):
        match = _SEGMENT.fullmatch(name)
        if match:
            found.append((int(match[1]), folder / name))
    return sorted(found)


def drop_segments(folder: Path, position: int) -> None:
    """Remove the segments that a start at `position` or later does not need."""
    segments = segments_in(folder)
    for (_, path), (following, _) in pairwise(segments):
        if following > position:
            return
        path.unlink(missing_ok=True)


def records_of(data: memoryview, segment: Segment) -> Iterator[Record | Damage]:
    """The records of the segment whose file holds `data`, and the damage between them."""
    offset = HEADER_BYTES
    while offset < len(data):
        record, message = _record_at(data, offset, segment)
        if record is None:
            end = _next_record(data, offset + 1, segment)
            yield Damage(offset, end, message)
            offset = end
        else:
            yield record
            offset = record.end


def _record_at(data: memoryview, offset: int, segment: Segment) -> tuple[Record | None, str]:
    """The record at `offset`, or None and what is wrong with it."""
    left = len(data) - offset
    if left < RECORD.size:
        return None, f"expected a record of at least {RECORD.size} bytes, got {left}"
    mark, checksum, length, samples, position, head = RECORD.unpack_from(data, offset)
    if mark != segment.mark:
        return None, f"expected a record's mark {segment.mark:08x}, got {mark:08x}"
    if not RECORD.size + head <= length <= left:
        return None, f"expected a record of at most {left} bytes, got one of {length}"
    end = offset + length
    start = offset + RECORD.size
    found = zlib.crc32(data[offset + 8 : start], zlib.crc32(data[start:end]))
    if found != checksum:
        return None, f"expected checksum {checksum}, got {found}"
    body = start + head
    header = bytes(data[start:body])
    return Record(offset, end, position, samples, header, bytes(data[body:end])), ""


def _next_record(data: memoryview, start: int, segment: Segment) -> int:
    """Where the first whole record from `start` on begins; the end of the file if none does."""
    mark = re.compile(re.escape(CHECKSUM.pack(segment.mark)))
    for match in mark.finditer(data, start):
        if _record_at(data, match.start(), segment)[0] is not None:
            return match.start()
    return len(data)


def _behind(parts: list[Buffer], written: int) -> list[Buffer]:
    """What of `parts` comes behind the first `written` bytes."""
    for i, part in enumerate(parts):
        if written < len(part):
            return [memoryview(part)[written:], *parts[i + 1 :]]
        written -= len(part)
    return []


class Journal:
    """The end of a folder's journal, where records are added; owned by the loop's thread.

    position: samples learned before the next record. features: the model's max_features,
    producers: how many are remembered, and `fingerprint` that of the model as it stands; the
    segments record them. `failure` is set where
    fsync has failed: what was written since the last that succeeded may be gone, so nothing more is
    taken until `recover` (a fresh segment) and, after a snapshot, `clear`. `wake` is called from a
    thread when a failure came to light. `check_folder` raises OSError where the folder is another
    than it was.
    """

    def __init__(
        self,
        folder: Path,
        position: int,
        features: int,
        producers: int,
        fingerprint: Callable[[], int],
        check_folder: Callable[[], None] = lambda: None,
        *,
        fsync: str,
        files: Files | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.folder = folder
        self.position = position
        self.fsync = fsync
        self.bytes = 0  # added so far
        self.wake: Callable[[], None] = lambda: None
        self._features = features
        self._most_producers = producers
        self._fingerprint = fingerprint
        self._check_folder = check_folder
        self._files = files or Files()
        self._segment_bytes = segment_bytes
        self._segment = Segment(features, producers, position, 0, 0)
        self._descriptor: int | None = None  # no segment yet: the next record begins one
        # Whether nothing that was refused is left in the segment before.
        self.is_cut = True
        self._size = 0
        self._failure: OSError | None = None
        self._syncer = Syncer(self._files, lambda: self.wake()) if fsync == "everysec" else None

    @property
    def failure(self) -> OSError | None:
        """What went wrong with making durable; None where all is well."""
        if self._failure is None and self._syncer is not None:
            self._failure = self._syncer.failure
        return self._failure

    def append(self, entries: Sequence[Entry], *, continues: bool = False) -> None:
        """Write `entries` at once, durable as the policy says when this returns.

        With `continues` the model has not applied all that is in the journal, so that no fresh
        segment can begin: none could tell the model's fingerprint at its position.

        Raises NotDurable: then none of them is in the journal.
        """
        if self.failure is not None:
            raise NotDurable(f"the journal could not be made durable ({self.failure})")
        try:
            full = self._size >= self._segment_bytes and self._segment.position != self.position
            if not continues and (self._descriptor is None or full):
                self._begin()
            try:
                parts, size, position = self._packed(entries)
                self._add(parts)
            except OSError as error:
                is_new = self._segment.position == self.position
                if continues or is_new or error.errno != errno.EFBIG:
                    raise
                self._begin()  # a file may not be as large as the segment would be
                parts, size, position = self._packed(entries)
                self._add(parts)
        except OSError as error:
            raise NotDurable(f"the journal cannot be written: {error.strerror or error}") from None
        self._size += size
        self.bytes += size
        self.position = position

    def _packed(self, entries: Sequence[Entry]) -> tuple[list[Buffer], int, int]:
        """The records of `entries` in parts, their bytes in all, and the position after them."""
        parts: list[Buffer] = []
        size = 0
        position = self.position
        mark = self._segment.mark
        for samples, header, body in entries:
            length = RECORD.size + len(header) + len(body)
            fixed = RECORD.pack(mark, 0, length, samples, position, len(header))
            checksum = zlib.crc32(fixed[8:], zlib.crc32(body, zlib.crc32(header)))
            parts += [fixed[:4], CHECKSUM.pack(checksum), fixed[8:], header, body]
            position += samples
            size += length
        # Few large parts are written from where they are, many small ones better as one.
        return (parts if size > _JOINED_BYTES else [b"".join(parts)]), size, position

    def _add(self, parts: list[Buffer]) -> None:
        assert self._descriptor is not None
        try:
            self._write(self._descriptor, parts)
        except OSError:
            self._cut()
            raise
        if self._syncer is not None:
            self._syncer.note(self._descriptor, sum(map(len, parts)))
        elif self.fsync == "always":
            try:
                self._files.sync(self._descriptor)
            except OSError as error:
                self._failure = error
                self._cut()
                raise

    def _write(self, descriptor: int, parts: list[Buffer]) -> None:
        while parts:
            parts = _behind(parts, self._files.write(descriptor, parts[:_MOST_PARTS]))

    def _cut(self) -> None:
        """Cut off what a failed write has left."""
        assert self._descriptor is not None
        try:
            self._files.truncate(self._descriptor, self._size)
        except OSError as error:
            # The next segment begins at this position, which makes what is left here void.
            log.error("the journal cannot be cut off: %s", error.strerror or error)
            self.is_cut = False
            self._release()

    def _begin(self) -> None:
        """Go on in a fresh segment: whole under its name, or not there at all."""
        self._check_folder()
        path = self.folder / f"journal-{self.position:020}.log"
        mark, kept = self._kept(path)
        segment = Segment(
            self._features, self._most_producers, self.position, self._fingerprint(), mark
        )
        temporary = self.folder / f".{path.name}.tmp"
        descriptor = self._files.create(temporary)
        try:
            data = segment.pack() + kept
            self._write(descriptor, [data])
            if self.fsync == "always" or kept:  # what it takes the place of may be durable
                self._files.sync(descriptor)
            self._files.replace(temporary, path)
            if self.fsync == "always":
                self._files.sync_folder(self.folder)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        self._release()
        self._segment, self._descriptor, self._size = segment, descriptor, len(data)
        self.is_cut = True
        if self._syncer is not None:
            self._syncer.note(descriptor, len(data), self.folder)

    def _kept(self, path: Path) -> tuple[int, bytes]:
        """The mark of the segment to be, and the records that it takes over.

        Those are of a segment of the same position: nothing has any samples yet, so that both have
        the same name, and what is there was acknowledged.
        """
        try:
            data = memoryview(path.read_bytes())
        except FileNotFoundError:
            data = memoryview(b"")
        # Behind `_size` may be what was refused and could not be cut off.
        is_own = self._segment.position == self.position and self._size
        if is_own:
            data = data[: self._size]
        segment = self._segment if is_own else Segment.salvage(data, self.position)
        if segment is None:
            return int.from_bytes(os.urandom(4), "little"), b""
        records = (found for found in records_of(data, segment) if isinstance(found, Record))
        kept = [
            data[found.offset : found.end]
            for found in records
            if found.position == self.position and not found.samples
        ]
        return segment.mark, b"".join(kept)

    def _release(self) -> None:
        """Leave the segment as it is."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._syncer is not None:
            self._syncer.close(descriptor)
        else:
            os.close(descriptor)

    def roll(self) -> None:
        """Have the next record begin a fresh segment, if this one has any."""
        if self._segment.position != self.position:
            self._release()

    def check(self) -> None:
        """Note as a failure that the folder is no longer there: what is written there is lost."""
        try:
            self._check_folder()
        except OSError as error:
            self._failure = self.failure or error

    def recover(self) -> None:
        """After a failure: go on in a fresh segment. Raises OSError."""
        if self._syncer is not None:
            self._syncer.forget()
        self._begin()

    def clear(self) -> None:
        """Take records again: what was written before a failure is durable otherwise."""
        self._failure = None

    def close(self) -> None:
        """Leave everything durable, as the policy says. Raises OSError. May be called again."""
        self._release()
        if self._syncer is not None:
            self._syncer.stop()
