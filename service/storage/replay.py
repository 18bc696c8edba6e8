"""The entries of the log after the snapshots, applied to their models.

A torn tail is what a crash leaves: the last bytes of the last segment, with no whole entry after
them. Any other fault is damage, and nothing after it is applied: also a segment that is missing,
and one of another folder. Damage in entries that every snapshot holds does not matter.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from onlinesvm.errors import OnlineSVMError
from onlinesvm.service.storage.entry import Damage, Kind, Record
from onlinesvm.service.storage.log import LogEnd
from onlinesvm.service.storage.model_state import ModelState
from onlinesvm.service.storage.posix import open_regular
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

__all__ = ["Progress", "Replay", "Stop", "contents_of"]

log = logging.getLogger(__name__)

# Called with the bytes replayed so far, and of how many.
Progress = Callable[[int, int], None]
_PROGRESS_BYTES = 2**20


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


@contextlib.contextmanager
def contents_of(path: Path) -> Iterator[memoryview]:
    """The bytes of a file, without reading them all at once. Raises OSError."""
    with open_regular(path) as file:
        if not path.stat().st_size:
            yield memoryview(b"")
            return
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as data,
        ):
            yield data


class Replay:
    """Applies a folder's log to `models`, which are by id as their snapshots have them.

    folder: id of the state folder, None until a segment tells it. lsn, term: the largest so far.
    Models that the log creates are added to `models`.
    """

    def __init__(
        self,
        segments: Segments,
        folder: bytes | None,
        models: dict[bytes, ModelState],
        kernel: str | None,
        on_progress: Progress,
    ) -> None:
        self.folder = folder
        self.models = models
        self._held = {id: model.position.lsn for id, model in models.items()}  # by snapshots
        self._held_by_all = min(self._held.values(), default=0)
        self.lsn = self._held_by_all
        self.term = max((model.position.term for model in models.values()), default=0)
        self._last_term = 0  # of the entry that was read last
        self._segments = segments
        self._kernel = kernel
        self._progress = _Steps(on_progress)
        self._previous: SegmentEnd | None = None
        self._path: Path | None = None  # of the segment that `_previous` is the end of
        self._salt: int | None = None  # of the last segment, where it has no entries

    def run(self) -> Stop | None:
        """Apply all entries up to the first damage; returns where that is. Raises OSError."""
        needed = segments_after(self._segments, self._held_by_all)
        self._progress.total = sum(path.stat().st_size for _, path in needed)
        try:
            for i, segment in enumerate(needed):
                self._take(*segment, needed[i + 1] if i + 1 < len(needed) else None)
        except _StoppedError as stopped:
            return stopped.stop
        return None

    @property
    def end(self) -> LogEnd:
        """The end of the log as far as it was applied."""
        assert self.folder is not None
        lsn = max([self.lsn, *self._held.values()])
        return LogEnd(self.folder, self.term, lsn, self._previous, self._path, self._salt)

    def _take(self, first: int, path: Path, following: tuple[int, Path] | None) -> None:
        """Apply the entries of one segment. Raises _StoppedError."""
        with contents_of(path) as data:
            segment = self._segment(first, path, data, following)
            is_chained, after = False, None
            if following is not None:
                after = _previous_of(following)
                is_chained = after is not None and after[:2] == (first, segment.salt)
            size = after.size if after is not None and is_chained else len(data)
            with data[:size] as counted:
                damage = self._apply_all(path, segment, counted)
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
            if not self.models:
                raise _StoppedError(
                    path, 0, f"expected entries from LSN {expected} on, or a snapshot that holds"
                    f" them, got LSN {first} and no snapshot",
                )  # fmt: skip
            raise _StoppedError(path, 0, f"expected entries from LSN {expected} on, got {first}")
        try:
            segment = Segment.unpack(bytes(data[:HEADER_BYTES]), first)
        except ValueError as error:
            # A crash of the machine can leave a name without the bytes.
            torn = len(data) < HEADER_BYTES or not any(data)
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
        for model in self.models.values():
            ends_there = previous is not None and previous.lsn == model.position.lsn
            if model.salt and ends_there and previous is not None and previous.salt != model.salt:
                self._refuse_salt(path, model, previous.salt)
        self.lsn = first - 1
        self._previous, self._path, self._salt = previous, None, segment.salt
        return segment

    def _refuse_salt(self, path: Path, model: ModelState, salt: int) -> None:
        raise _StoppedError(
            path, 0,
            f"it is of another log than the snapshot of model {model.name}: expected LSN"
            f" {model.position.lsn} in a segment of salt {model.salt:08x}, got {salt:08x}",
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

    def _apply_all(self, path: Path, segment: Segment, data: memoryview) -> Damage | None:
        """Apply the entries in `data`; returns the damage after the last. Raises _StoppedError."""
        damage = None
        at = 0
        for found in records_of(data, segment):
            self._progress.add(found.end - at)
            at = found.end
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
            self._apply(path, segment, found)
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

    def _apply(self, path: Path, segment: Segment, found: Record) -> None:
        """Apply one entry, unless a snapshot holds it. Raises _StoppedError."""
        if found.kind == Kind.TERM:
            return
        model = self.models.get(found.model)
        if model is not None and found.lsn <= self._held.get(found.model, 0):
            is_last = found.lsn == model.position.lsn
            if is_last and model.salt and model.salt != segment.salt:
                self._refuse_salt(path, model, segment.salt)
            return
        try:
            if found.kind == Kind.CREATE:
                self._create(found, segment.salt)
            elif model is None:
                known = ", ".join(f"{m.name} ({m.model.id.hex()})" for m in self.models.values())
                raise ValueError(
                    f"it is of a model that is not in this folder: expected one of"
                    f" {known or 'none'}, got {found.model.hex()}"
                )
            else:
                model.apply(found, segment.salt)
        except (OnlineSVMError, ValueError) as error:
            raise _StoppedError(path, found.offset, str(error)) from None

    def _create(self, found: Record, salt: int) -> None:
        made = ModelState.created_by(found, salt, self._kernel)
        for model in self.models.values():
            if model.name == made.name:
                raise ValueError(
                    f"model {made.name}: expected id {model.model.id.hex()}, that of its snapshot,"
                    f" got {found.model.hex()}"
                )
        self.models[found.model] = made


class _Steps:
    """Calls back about once a mebibyte."""

    def __init__(self, on_progress: Progress) -> None:
        self._on_progress = on_progress
        self._done = self._reported = 0
        self.total = 0

    def add(self, size: int) -> None:
        self._done += size
        if self._done - self._reported >= _PROGRESS_BYTES or self._done == self.total:
            self._reported = self._done
            self._on_progress(self._done, self.total)


def _previous_of(following: tuple[int, Path]) -> SegmentEnd | None:
    """The end that a segment goes on from; None where its header is damaged."""
    first, path = following
    try:
        return header_of(path, first).previous or SegmentEnd(0, 0, 0, 0, 0)
    except ValueError:
        return None
