"""The entries of the log after the snapshots, found and checked, and noted in their models.

A torn tail is what a crash leaves: the last bytes of the last segment, with no whole entry after
them. Any other fault is damage, and nothing after it is read: also a segment that is missing,
and one of another folder. Damage in entries that every snapshot holds does not matter.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

from onlinesvm.service.storage.entry import Damage, Kind, Record
from onlinesvm.service.storage.held_entries import until_of
from onlinesvm.service.storage.loading import Progress
from onlinesvm.service.storage.log import LogEnd
from onlinesvm.service.storage.model_state import name_created_by, user_created_by
from onlinesvm.service.storage.posix import contents_of
from onlinesvm.service.storage.segment import (
    HEADER_BYTES,
    Segment,
    SegmentEnd,
    Segments,
    closing_of,
    header_of,
    records_of,
    segment_name,
    segments_after,
)
from onlinesvm.service.storage.stored_model import StoredModel

__all__ = ["Replay", "Stop"]

log = logging.getLogger(__name__)

_SHOWN = 5  # models that an error names


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a replay ended before the end of the log, and why."""

    path: Path
    offset: int
    message: str
    is_torn: bool

    def __str__(self) -> str:
        return f"{self.path}: byte {self.offset}: {self.message}"


class _StoppedError(Exception):
    def __init__(self, path: Path, offset: int, message: str, *, is_torn: bool = False) -> None:
        self.stop = Stop(path, offset, message, is_torn)


class Replay:
    """Reads a folder's log after the snapshots, and notes each entry in its model of `stored`.

    stored: by id; a model that the log creates is added, one that it drops goes to `dropped`.
    folder: id of the state folder, None until a segment tells it. held: the LSN up to which the
    snapshots hold the log: damage before it does not matter. lsn, term: the largest so far.
    unknown: by id, where the first entry is of a model that is not in `stored`.
    """

    def __init__(
        self,
        segments: Segments,
        folder: bytes | None,
        stored: dict[bytes, StoredModel],
        held: int,
        term: int,
        on_progress: Progress,
    ) -> None:
        self.folder = folder
        self.stored = stored
        self.dropped: list[StoredModel] = []
        self.unknown: dict[bytes, Stop] = {}
        self.lsn = self._held_by_all = held
        self.term = term
        self._held_last = max((model.held for model in stored.values()), default=held)
        self._at_end = {model.held: model for model in stored.values()}  # by their last LSN
        self._last_term = 0  # of the entry that was read last
        self._segments = segments
        self._on_progress = on_progress
        self._previous: SegmentEnd | None = None
        self._path: Path | None = None  # of the segment that `_previous` is the end of
        self._salt: int | None = None  # of the last segment, where it has no entries

    def run(self) -> Stop | None:
        """Note all entries up to the first damage; returns where that is. Raises OSError."""
        needed = segments_after(self._segments, self._held_by_all)
        segments = self._segments  # all of them: a model without a snapshot may begin in any
        for i, segment in enumerate(segments):
            self._on_progress(i, len(segments))
            try:
                self._take(*segment, segments[i + 1] if i + 1 < len(segments) else None)
            except _StoppedError as stopped:
                if segment in needed:
                    return stopped.stop
                log.warning("%s; snapshots hold it", stopped.stop)
                self._previous = None
        return None

    @property
    def end(self) -> LogEnd:
        """The end of the log as far as it was read."""
        assert self.folder is not None
        lsn = max(self.lsn, self._held_last)
        return LogEnd(self.folder, self.term, lsn, self._previous, self._path, self._salt)

    def _take(self, first: int, path: Path, following: tuple[int, Path] | None) -> None:
        """Note the entries of one segment. Raises _StoppedError."""
        with contents_of(path) as data:
            segment = self._segment(first, path, data, following)
            is_chained, after = False, None
            if following is not None:
                after = _previous_of(following)
                is_chained = after is not None and after[:2] == (first, segment.salt)
            size = after.size if after is not None and is_chained else len(data)
            with data[:size] as counted:
                damage = self._note_all(path, segment, counted)
            if damage is not None and not (following and following[0] - 1 <= self._held_by_all):
                is_torn = following is None
                raise _StoppedError(path, damage.offset, damage.message, is_torn=is_torn)
            if following is not None:
                if is_chained:
                    closing = next(records_of(data, segment, size), None)
                    if isinstance(closing, Record) and closing.kind == Kind.CLOSE:
                        self._check_closing(path, closing)
                if after is not None and damage is None:
                    self._check_chained(path, segment, after, following[1])

    def _segment(
        self, first: int, path: Path, data: memoryview, following: tuple[int, Path] | None
    ) -> Segment:
        """The header of a segment that goes on from what was read. Raises _StoppedError."""
        expected = self.lsn + 1
        if first > expected and first - 1 > self._held_by_all:
            if not self.stored:
                raise _StoppedError(
                    path, 0, f"expected entries from LSN {expected} on, or a snapshot that holds"
                    f" them, got LSN {first} and no snapshot",
                )  # fmt: skip
            raise _StoppedError(path, 0, f"expected entries from LSN {expected} on, got {first}")
        try:
            segment = Segment.unpack(bytes(data[:HEADER_BYTES]), first)
        except ValueError as error:
            # A crash of the machine can leave a name without the bytes, but not of a first segment.
            torn = first > 1 and (len(data) < HEADER_BYTES or not any(data))
            torn = torn and following is None and not self._is_named(first)
            raise _StoppedError(path, 0, str(error), is_torn=torn) from None
        self.folder = self.folder or segment.folder
        if segment.folder != self.folder:
            raise _StoppedError(
                path, 0,
                f"it is of another state folder: expected folder {self.folder.hex()}, got"
                f" {segment.folder.hex()}",
            )  # fmt: skip
        previous = segment.previous
        if previous is not None:
            self._check_salt(path, previous.lsn, previous.salt)
        self.lsn = first - 1
        self._previous, self._path, self._salt = previous, None, segment.salt
        return segment

    def _check_salt(self, path: Path, lsn: int, salt: int) -> None:
        """Raise _StoppedError if a snapshot holds entry `lsn` of another log than this."""
        model = self._at_end.get(lsn)
        if model is not None and model.salt not in (0, salt):
            raise _StoppedError(
                path, 0,
                f"it is of another log than the snapshot of model {model.name}: expected LSN"
                f" {lsn} in a segment of salt {model.salt:08x}, got {salt:08x}",
            )  # fmt: skip

    def _is_named(self, first: int) -> bool:
        """True if the segment before says that this one was durable."""
        earlier = [segment for segment in self._segments if segment[0] < first]
        closing = closing_of(earlier[-1][1], earlier[-1][0]) if earlier else None
        return closing is not None and closing.lsn == first

    def _check_closing(self, path: Path, closing: Record) -> None:
        """Raise _StoppedError unless the segment that goes on from `path` is there."""
        target = path.with_name(segment_name(closing.lsn))
        if (closing.lsn, target) not in self._segments:
            raise _StoppedError(
                target, 0, f"it is missing: {path.name} says that the log goes on there"
            )
        with contextlib.suppress(ValueError):  # reported where it is read
            if header_of(target, closing.lsn).salt != closing.next_salt:
                raise _StoppedError(
                    target, 0, f"it is not the segment that {path.name} says the log goes on in"
                )

    def _check_chained(
        self, path: Path, segment: Segment, after: SegmentEnd, following: Path
    ) -> None:
        """Raise _StoppedError unless `following` goes on from the end of what was read."""
        found = self._previous
        if after == found:
            return
        if after[:2] == (segment.first, segment.salt) and self.lsn < after.lsn:
            if after.lsn <= self._held_by_all:
                return
            size = found.size if found and found.first == segment.first else HEADER_BYTES
            raise _StoppedError(
                path, size,
                f"expected entries up to byte {after.size}, where {following.name} goes on, got"
                f" {size} bytes",
            )  # fmt: skip
        raise _StoppedError(
            following, 0,
            f"it goes on from another segment: expected one that ends with LSN {after.lsn} and has"
            f" salt {after.salt:08x}, got {path.name}, which ends with LSN {self.lsn} and has salt"
            f" {segment.salt:08x}",
        )  # fmt: skip

    def _note_all(self, path: Path, segment: Segment, data: memoryview) -> Damage | None:
        """Note the entries in `data`; returns the damage after the last. Raises _StoppedError."""
        damage = None
        for found in records_of(data, segment):
            if isinstance(found, Damage):
                damage = damage or found
                continue
            if found.kind == Kind.CLOSE:
                self._check_closing(path, found)
                return damage
            if damage is not None:
                self._check_held(path, damage, found)
                damage = None
            elif found.lsn != self.lsn + 1 or found.term < self._last_term:
                raise _StoppedError(
                    path, found.offset,
                    f"expected LSN {self.lsn + 1} of term {self._last_term} or later, got LSN"
                    f" {found.lsn} of term {found.term}",
                )  # fmt: skip
            self.lsn, self._last_term = found.lsn, found.term
            self.term = max(self.term, found.term)
            self._note(path, segment, found)
            self._path, self._salt = path, None
            self._previous = SegmentEnd(
                segment.first, segment.salt, found.end, found.lsn, found.checksum
            )
        return damage

    def _check_held(self, path: Path, damage: Damage, found: Record) -> None:
        """Raise _StoppedError unless the snapshots hold everything that is damaged."""
        if not self.lsn < found.lsn <= self._held_by_all + 1:
            raise _StoppedError(
                path, damage.offset,
                f"{damage.message}; whole entries follow at byte {found.offset}",
            )  # fmt: skip
        log.warning("%s: byte %d: %s; snapshots hold it", path, damage.offset, damage.message)

    def _note(self, path: Path, segment: Segment, found: Record) -> None:
        """Note one entry, unless a snapshot holds it. Raises _StoppedError."""
        if found.kind == Kind.TERM:
            return
        self._check_salt(path, found.lsn, segment.salt)
        if found.kind == Kind.DROP:
            self.unknown.pop(found.model, None)
            if (dropped := self.stored.pop(found.model, None)) is not None:
                self.dropped.append(dropped)
            return
        model = self.stored.get(found.model)
        if model is None and found.kind == Kind.CREATE:
            try:
                user = user_created_by(found)
                model = StoredModel(name_created_by(found), found.model, found.lsn, user=user)
            except ValueError as error:
                raise _StoppedError(path, found.offset, str(error)) from None
            self.stored[found.model] = model
        if model is not None:
            if found.lsn > model.held:
                model.add(found.lsn, (segment.first, found.offset), found.end - found.offset)
                if found.kind == Kind.HOLD:
                    with contextlib.suppress(ValueError):  # reported where it is applied
                        model.expires(until_of(found))
        elif found.model not in self.unknown and found.lsn > self._held_by_all:
            known = ", ".join(f"{m.name} ({m.id.hex()})" for m in [*self.stored.values()][:_SHOWN])
            self.unknown[found.model] = Stop(
                path, found.offset,
                f"it is of a model that is not in this folder: expected one of {known or 'none'},"
                f" got {found.model.hex()}",
                is_torn=False,
            )  # fmt: skip


def _previous_of(following: tuple[int, Path]) -> SegmentEnd | None:
    """The end that a segment goes on from; None where its header is damaged."""
    first, path = following
    try:
        return header_of(path, first).previous or SegmentEnd(0, 0, 0, 0, 0)
    except ValueError:
        return None
