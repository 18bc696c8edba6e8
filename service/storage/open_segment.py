"""The segment that the log writes to."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from onlinesvm.service.storage import entry
from onlinesvm.service.storage.entry import Entry
from onlinesvm.service.storage.fsync import Closing, Fsync, SyncError
from onlinesvm.service.storage.posix import Buffer, Files
from onlinesvm.service.storage.segment import Segment, SegmentEnd, segment_name

__all__ = ["OpenSegment"]

_JOINED_BYTES = 64 * 2**10
_MAX_PARTS = 1000  # the system takes 1,024 in one call


class OpenSegment:
    """A segment's file, and its end so far. Methods raise OSError.

    size: bytes that count. lsn, checksum: those of its last entry; `lsn` is that of the entry
    before the segment where it has none.
    """

    def __init__(
        self, files: Files, fsync: Fsync, descriptor: int, segment: Segment, size: int, lsn: int
    ) -> None:
        self._files = files
        self._fsync = fsync
        self._descriptor = descriptor
        self.header = segment
        self.size = size
        self.lsn = lsn
        self.checksum = 0
        self.begun_at = time.monotonic()

    @classmethod
    def create(cls, folder: Path, segment: Segment, files: Files, fsync: Fsync) -> OpenSegment:
        """A new segment: whole under its name, or not there at all. Replaces one of its name."""
        path = folder / segment_name(segment.first)
        descriptor, temporary = files.create_beside(path)
        try:
            header = segment.pack()
            _write(files, descriptor, [header])
            if fsync.waits:
                files.sync(descriptor)
            files.replace(temporary, path)
            if fsync.waits:
                files.sync_folder(folder)
        except (OSError, MemoryError):
            os.close(descriptor)
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        fsync.note(descriptor, len(header), folder)
        return cls(files, fsync, descriptor, segment, len(header), segment.first - 1)

    @property
    def has_entries(self) -> bool:
        """True if anything was added, so that the next segment has another name."""
        return self.lsn >= self.header.first

    @property
    def end(self) -> SegmentEnd | None:
        """The end that the next segment names."""
        if not self.has_entries:
            return self.header.previous
        return SegmentEnd(self.header.first, self.header.salt, self.size, self.lsn, self.checksum)

    def add(self, entries: Sequence[Entry], term: int) -> int:
        """Write `entries` at once, and wait for the disk where the policy says so; their bytes.

        After an error `cut` removes a partial write. Raises SyncError where the disk fails.
        """
        packed = entry.pack(entries, self.header.salt, term, self.lsn + 1)
        # A few large parts are written from their places; many small ones are faster as one.
        parts: list[Buffer] = packed.parts
        if packed.size <= _JOINED_BYTES:
            parts = [b"".join(parts)]
        _write(self._files, self._descriptor, parts)
        if self._fsync.waits:
            try:
                self._files.sync(self._descriptor)
            except OSError as error:
                raise SyncError(error.errno, error.strerror) from error
        self._fsync.note(self._descriptor, packed.size)
        self.size += packed.size
        self.lsn += len(entries)
        self.checksum = packed.checksum
        return packed.size

    def cut(self) -> None:
        """Remove what a failed write has left."""
        self._files.truncate(self._descriptor, self.size)

    def close(self, following: Segment | None = None) -> None:
        """Close the file, with an entry `close` once `following` is durable."""
        closing = b""
        if following is not None:
            closing = entry.pack_close(
                self.header.salt, following.term, following.first, following.salt
            )
        self._fsync.close(Closing(self._descriptor, self.size, closing))


def _write(files: Files, descriptor: int, parts: list[Buffer]) -> None:
    while parts:
        parts = _unwritten(parts, files.write(descriptor, parts[:_MAX_PARTS]))


def _unwritten(parts: list[Buffer], written: int) -> list[Buffer]:
    """The bytes of `parts` after the first `written`."""
    for i, part in enumerate(parts):
        if written < len(part):
            return [memoryview(part)[written:], *parts[i + 1 :]]
        written -= len(part)
    return []
