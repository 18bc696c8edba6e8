"""The log: every change of a model is written there before it is applied.

The bytes are specified in `storage.segment` and `storage.entry`.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from onlinesvm.service.errors import NotDurable
from onlinesvm.service.storage.entry import Entry
from onlinesvm.service.storage.fsync import Fsync, SyncError
from onlinesvm.service.storage.open_segment import OpenSegment
from onlinesvm.service.storage.posix import Files
from onlinesvm.service.storage.segment import Segment, SegmentEnd, remove_segment, segment_name

__all__ = ["SEGMENT_BYTES", "SEGMENT_S", "Log", "LogEnd", "Written"]

log = logging.getLogger(__name__)

SEGMENT_BYTES = 256 * 2**20
SEGMENT_S = 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Written(NamedTuple):
    """Entries that were written: term and LSN of the first, salt of their segment."""

    term: int
    lsn: int
    salt: int


class LogEnd(NamedTuple):
    """The end of a log as a start finds it.

    folder: id of the state folder. lsn, term: the largest in the log and in all snapshots.
    previous: the end that the next segment names, None if there is no segment. path: the file to
    close when that is begun. salt: that of the next segment, where it takes the place of one
    without entries that a `close` may name.
    """

    folder: bytes
    term: int
    lsn: int
    previous: SegmentEnd | None = None
    path: Path | None = None
    salt: int | None = None


class Log:
    """The end of a state folder's log, where entries are added; one thread at a time.

    term: that of this leader. preface: entries that are written before the first others, at the
    latest: the begin of the term, limits that changed. `failure` is set where a sync failed: what
    was written since the last that succeeded may be lost, so no entry is taken until `begin_anew`
    and, after a snapshot, `clear`. `wake` is called from a thread when such a failure is found.
    `check_folder` raises OSError where the folder is no longer the one that was locked.
    """

    def __init__(
        self,
        folder: Path,
        end: LogEnd,
        term: int,
        preface: Sequence[Entry],
        check_folder: Callable[[], None],
        *,
        fsync: str,
        files: Files | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        segment_s: float = SEGMENT_S,
    ) -> None:
        self.folder = folder
        self.term = term
        self.lsn = end.lsn  # of the last entry
        self.bytes = 0  # written by this process, and what it has to replay
        self.is_disk_full = False  # found so by the last `append`
        self.wake: Callable[[], None] = lambda: None
        self._end = end
        self._preface = list(preface)
        self._check_folder = check_folder
        self._files = files or Files()
        self._segment_bytes = segment_bytes
        self._segment_s = segment_s
        self._segment: OpenSegment | None = None  # None: the next entry begins one
        self._is_due = False  # to go on in another segment
        self._failure: OSError | None = None
        self._fsync = Fsync(fsync, self._files, lambda: self.wake())

    @property
    def fsync(self) -> str:
        """The policy."""
        return self._fsync.policy

    @property
    def failure(self) -> OSError | None:
        """The error that made the log not durable; None where there was none."""
        self._failure = self._failure or self._fsync.failure
        return self._failure

    def append(self, entries: Sequence[Entry]) -> Written:
        """Write `entries` at once, durable as the policy says when this returns.

        Raises NotDurable, MemoryError: then none of them is in the log.
        """
        self.check()
        if self.failure is not None:
            raise NotDurable(f"the log could not be made durable ({self.failure})")
        pending = [*self._preface, *entries] if self._preface else entries
        try:
            segment = self._segment
            if segment is None or (segment.has_entries and self._must_roll(segment)):
                segment = self._begin()
            try:
                size = self._add(segment, pending)
            except OSError as error:
                if not segment.has_entries or error.errno != errno.EFBIG:
                    raise
                # The file may not grow any more. The next segment may be there even if this fails,
                # and then it names no more of this one than there is now.
                self._is_due = True
                segment = self._begin()
                size = self._add(segment, pending)
        except OSError as error:
            self.is_disk_full = error.errno in _FULL
            raise NotDurable(f"the log cannot be written: {error.strerror or error}") from None
        self.is_disk_full = False
        first = self.lsn + 1 + len(self._preface)
        self._preface.clear()
        self.bytes += size
        self.lsn = segment.lsn
        return Written(self.term, first, segment.header.salt)

    def _must_roll(self, segment: OpenSegment) -> bool:
        age = time.monotonic() - segment.begun_at
        return self._is_due or segment.size >= self._segment_bytes or age >= self._segment_s

    def _add(self, segment: OpenSegment, entries: Sequence[Entry]) -> int:
        try:
            return segment.add(entries, self.term)
        except (OSError, MemoryError) as error:
            if isinstance(error, SyncError):
                self._failure = error
            self._cut(segment)
            raise

    def _cut(self, segment: OpenSegment) -> None:
        """Cut off what a failed write has left."""
        try:
            segment.cut()
        except OSError as error:
            # The next segment names the length of this one, so these bytes are ignored.
            log.error("the log cannot be cut off: %s", error.strerror or error)
            self._leave(None)

    def _begin(self) -> OpenSegment:
        """Go on in a new segment. Raises OSError; nothing has changed then."""
        end = self._end if self._segment is None else self._left(self._segment)
        salt = end.salt or int.from_bytes(os.urandom(4), "little") or 1
        header = Segment(end.folder, self.lsn + 1, self.term, salt, end.previous)
        segment = OpenSegment.create(self.folder, header, self._files, self._fsync)
        if self._segment is None:
            self._close_found(header)
        self._leave(header)
        self._segment, self._is_due = segment, False
        return segment

    def _left(self, segment: OpenSegment) -> LogEnd:
        """The end of the log at the end of `segment`."""
        salt = None if segment.has_entries else segment.header.salt
        return self._end._replace(previous=segment.end, path=None, salt=salt)

    def _leave(self, following: Segment | None) -> None:
        """Close the segment, if there is one; the next begins from its end."""
        if self._segment is None:
            return
        self._end = self._left(self._segment)
        self._segment.close(following if self._segment.has_entries else None)
        self._segment = None

    def _close_found(self, following: Segment) -> None:
        """Close the segment that another process has left."""
        path, previous = self._end.path, self._end.previous
        self._end = self._end._replace(path=None)
        if path is None or previous is None:
            return
        try:
            descriptor = self._files.open(path)
        except OSError:  # it is gone: a snapshot was put here without it
            return
        found = Segment(self._end.folder, previous.first, self.term, previous.salt)
        OpenSegment(self._files, self._fsync, descriptor, found, previous.size, previous.lsn).close(
            following
        )

    def roll(self) -> None:
        """Have the next entry begin a new segment, if this one has any."""
        self._is_due = True

    def drop(self) -> None:
        """Remove the segment, all of which a durable snapshot holds; the next goes on from its end.

        Raises OSError.
        """
        segment = self._segment
        if segment is None or not segment.has_entries:
            return
        self._check_folder()
        remove_segment(self.folder / segment_name(segment.header.first))
        self._leave(None)

    def check(self) -> None:
        """Note as a failure that the folder was replaced or removed: later writes are lost."""
        try:
            self._check_folder()
        except OSError as error:
            self._failure = self.failure or error

    def begin_anew(self) -> None:
        """After a failure: go on in a new segment. Raises OSError."""
        self._check_folder()
        self._fsync.forget()
        self._begin()

    def clear(self) -> None:
        """Take entries again: a snapshot holds what was written before a failure."""
        self._failure = None

    def close(self) -> None:
        """Leave everything durable, as the policy says. Raises OSError. May be called again."""
        self._leave(None)
        self._fsync.stop()
