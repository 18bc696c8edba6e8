"""The end of the journal: every learn request is written there before it is applied.

The bytes are specified in `onlinesvm.service.storage.segment`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from onlinesvm.service.errors import NotDurable
from onlinesvm.service.storage.fsync import Left, Syncer, leave
from onlinesvm.service.storage.posix import Buffer, Files
from onlinesvm.service.storage.segment import (
    RECORD,
    U4,
    Closing,
    End,
    Record,
    Segment,
    records_of,
    remove_segment,
    segment_name,
)

__all__ = ["FSYNC", "Entry", "Journal"]

log = logging.getLogger(__name__)

FSYNC = ("always", "everysec", "never")
SEGMENT_BYTES = 256 * 2**20
_JOINED_BYTES = 64 * 2**10
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MOST_PARTS = 1000  # the system takes 1,024 in one call


class Entry(NamedTuple):
    """A learn request to be written: how many samples it has, and its frames."""

    samples: int
    header: bytes
    body: bytes


def _behind(parts: list[Buffer], written: int) -> list[Buffer]:
    """What of `parts` comes behind the first `written` bytes."""
    for i, part in enumerate(parts):
        if written < len(part):
            return [memoryview(part)[written:], *parts[i + 1 :]]
        written -= len(part)
    return []


class Journal:
    """The end of a folder's journal, where records are added; owned by the loop's thread.

    position: samples learned before the next record; `end`: that of the journal so far, None where
    there is none. features: the model's max_features, producers: how many are remembered, and
    `fingerprint` that of the model as it stands; the segments record them. `failure` is set where
    fsync has failed: what was written since the last that succeeded may be gone, so nothing more is
    taken until `recover` (a fresh segment) and, after a snapshot, `clear`. `wake` is called from a
    thread when a failure came to light. `check_folder` raises OSError where the folder is another
    than it was.
    """

    def __init__(
        self,
        folder: Path,
        position: int,
        end: End | None,
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
        self._end = end  # of what others have left, until the first segment is begun
        self._segment: Segment | None = None
        self._descriptor: int | None = None  # None: the next record begins a segment
        self._is_full = False
        self.is_disk_full = False  # found so by the last `append`
        # Whether nothing that was refused is left in the segment before.
        self.is_cut = True
        self._size = 0
        self._checksum = 0  # of the last record
        self._failure: OSError | None = None
        self._syncer = None if fsync == "always" else Syncer(self._files, lambda: self.wake())

    @property
    def end(self) -> End | None:
        """The end of the journal so far; None where there is none."""
        if self._segment is None:
            return self._end
        return End(self._segment.position, self._segment.mark, self._size, self._checksum)

    @property
    def failure(self) -> OSError | None:
        """What went wrong with making durable; None where all is well."""
        if self._failure is None and self._syncer is not None and self.fsync == "everysec":
            self._failure = self._syncer.failure
        return self._failure

    def append(self, entries: Sequence[Entry], *, continues: bool = False) -> None:
        """Write `entries` at once, durable as the policy says when this returns.

        With `continues` the model has not applied all that is in the journal, so that no fresh
        segment can begin: none could tell the model's fingerprint at its position.

        Raises NotDurable, MemoryError: then none of them is in the journal.
        """
        if self.failure is not None:
            raise NotDurable(f"the journal could not be made durable ({self.failure})")
        try:
            full = self._is_full or self._size >= self._segment_bytes
            due = self._descriptor is None or (full and self._has_samples())
            if due and not continues:
                self._begin()
            try:
                parts, size, position, checksum = self._packed(entries)
                self._add(parts)
            except OSError as error:
                if continues or not self._has_samples() or error.errno != errno.EFBIG:
                    raise
                # A file may not be as large as the segment would be. Whether or not this succeeds:
                # the next segment may be there, and tell of no more than there is in this one.
                self._is_full = True
                self._begin()
                parts, size, position, checksum = self._packed(entries)
                self._add(parts)
        except OSError as error:
            self.is_disk_full = error.errno in _FULL
            raise NotDurable(f"the journal cannot be written: {error.strerror or error}") from None
        self.is_disk_full = False
        self._size += size
        self._checksum = checksum
        self.bytes += size
        self.position = position

    def _has_samples(self) -> bool:
        """Whether the segment has any, so that the next would have another name."""
        return self._segment is not None and self._segment.position != self.position

    def _packed(self, entries: Sequence[Entry]) -> tuple[list[Buffer], int, int, int]:
        """The records of `entries` in parts, their bytes; position and checksum at their end."""
        assert self._segment is not None
        parts: list[Buffer] = []
        size = 0
        position = self.position
        mark = self._segment.mark
        checksum = self._checksum
        for samples, header, body in entries:
            length = RECORD.size + len(header) + len(body)
            fixed = RECORD.pack(mark, 0, length, samples, position, len(header))
            checksum = zlib.crc32(fixed[8:], zlib.crc32(body, zlib.crc32(header)))
            parts += [fixed[:4], U4.pack(checksum), fixed[8:], header, body]
            position += samples
            size += length
        # Few large parts are written from where they are, many small ones better as one.
        if size <= _JOINED_BYTES:
            parts = [b"".join(parts)]
        return parts, size, position, checksum

    def _add(self, parts: list[Buffer]) -> None:
        assert self._descriptor is not None
        try:
            self._write(self._descriptor, parts)
            if self.fsync == "everysec" and self._syncer is not None:
                self._syncer.note(self._descriptor, sum(map(len, parts)))
        except (OSError, MemoryError):
            self._cut()
            raise
        if self.fsync == "always":
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
            self._leave()

    def _begin(self) -> None:
        """Go on in a fresh segment: whole under its name, or not there at all."""
        self._check_folder()
        before = self.end
        path = self.folder / segment_name(self.position)
        segment, kept, checksum = self._renewed(path, before)
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
        except (OSError, MemoryError):
            os.close(descriptor)
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        if self._syncer is not None:
            self._syncer.note(descriptor, len(data), self.folder)
        if before is not None and before.position != self.position:
            if self._descriptor is None:
                self._reopen(before)
            self._leave(segment)
        else:
            self._leave()
        self._segment, self._descriptor, self._is_full = segment, descriptor, False
        self._size, self._checksum = len(data), checksum
        self.is_cut = True

    def _renewed(self, path: Path, before: End | None) -> tuple[Segment, bytes, int]:
        """The segment to be, the records that it takes over, and the checksum of their last.

        Those are of a segment of the same position: nothing has any samples yet, so that both have
        the same name, and what is there was acknowledged.
        """
        fresh = Segment(
            self._features,
            self._most_producers,
            self.position,
            self._fingerprint(),
            int.from_bytes(os.urandom(4), "little") or 1,
            before,
        )
        if before is None or before.position != self.position:
            return fresh, b"", 0
        try:
            data = memoryview(path.read_bytes())[: before.size]
        except FileNotFoundError:
            data = memoryview(b"")
        old = Segment.salvage(data, self.position)
        renewed = replace(fresh, mark=before.mark, before=old.before if old else None)
        if old is None:
            return renewed, b"", 0
        kept, checksum = b"", 0
        for found in records_of(data, old):
            if isinstance(found, Record):
                kept += data[found.offset : found.end]
                checksum = found.checksum
        return renewed, kept, checksum

    def _reopen(self, end: End) -> None:
        """Take up the segment that another life has left, to close it."""
        try:
            self._descriptor = self._files.open(self.folder / segment_name(end.position))
        except OSError:  # the snapshot came without it
            self._descriptor = None

    def _leave(self, following: Segment | None = None) -> None:
        """Leave the segment as it is; closed, once what is `following` is durable."""
        descriptor, self._descriptor = self._descriptor, None
        end = self.end
        if descriptor is None or end is None:
            return
        left = Left(descriptor, end.size, b"")
        if following is not None:
            left = left._replace(closing=Closing.pack(end.mark, following.position, following.mark))
        if self._syncer is not None:
            self._syncer.leave(left)
        else:
            leave(self._files, left)

    def roll(self) -> None:
        """Have the next record begin a fresh segment, if this one has any."""
        self._is_full = True

    def drop(self) -> None:
        """Drop the segment, all of which a durable snapshot has; the next goes on from its end.

        Raises OSError.
        """
        if self._descriptor is None or not self._has_samples():
            return
        self._end = self.end
        assert self._end is not None
        self._check_folder()
        remove_segment(self.folder / segment_name(self._end.position))
        self._leave()
        self._segment = None

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
        self._leave()
        if self._syncer is None:
            return
        try:
            self._syncer.stop()
        except OSError:
            if self.fsync != "never":
                raise
