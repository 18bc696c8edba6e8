"""Recovery: the journal's records after a snapshot, applied to its model.

A torn tail is what a process or a machine leaves that dies while it writes: the last bytes of the
last segment, with no whole record after them. Anything else that is wrong is damage, and what is
behind it is not applied: also a segment that is missing, or one of another journal. A snapshot
without any journal is none: somebody put it there.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from onlinesvm.config import Limits
from onlinesvm.errors import BodyError, SampleError
from onlinesvm.service.protocol import RequestError, numbering_of
from onlinesvm.service.storage.posix import open_regular
from onlinesvm.service.storage.producers import Producers
from onlinesvm.service.storage.segment import (
    HEADER_BYTES,
    Closing,
    Damage,
    End,
    Record,
    Segment,
    closing_of,
    header_of,
    records_of,
    segment_name,
)
from onlinesvm.svm import OnlineSVM

__all__ = ["UNLIMITED", "Replayed", "Stop", "contents_of", "replay", "segments_after"]

log = logging.getLogger(__name__)

# What was applied once is applied again, whatever the limits are now.
_MOST = 2**31 - 2
UNLIMITED = Limits(
    max_features_per_sample=_MOST,
    max_samples_per_batch=_MOST,
    max_name_bytes=_MOST,
    max_message_bytes=_MOST,
    max_header_bytes=_MOST,
)

Segments = Sequence[tuple[int, Path]]


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a replay ended before the end of the journal, and why."""

    path: Path
    offset: int
    message: str
    is_torn: bool

    def __str__(self) -> str:
        return f"{self.path}: byte {self.offset}: {self.message}"


class _StoppedError(Exception):
    def __init__(self, stop: Stop) -> None:
        self.stop = stop


def segments_after(segments: Segments, position: int) -> Segments:
    """Those of `segments` that may hold records after `position`."""
    for i in range(len(segments) - 1):
        if segments[i + 1][0] > position:
            return segments[i:]
    return segments[-1:]


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


class Replayed(NamedTuple):
    """What a replay came to: the end of the journal, and why it ended early, if it did."""

    end: End | None
    stop: Stop | None


def _before(following: tuple[int, Path]) -> End | None:
    """The end that a segment goes on from; None where it does not tell."""
    start, path = following
    try:
        header = header_of(path, start)
    except ValueError:
        return None
    return None if header.version == 1 else header.before or End(0, 0, 0, 0)


def replay(
    model: OnlineSVM, producers: Producers, segments: Segments, saved_end: End | None
) -> Replayed:
    """Apply the records after the model's position.

    saved_end: the end of the journal when the model's snapshot was taken; None if that is unknown.
    Shows a progress bar where stderr is a terminal. Raises OSError.
    """
    needed = segments_after(segments, model.position)
    total = sum(path.stat().st_size for _, path in needed)
    bar: tqdm[Any] = tqdm(
        total=total,
        desc="replaying the journal",
        unit="B",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
        leave=False,
    )
    with bar:
        replaying = _Replay(model, producers, segments, saved_end, bar)
        try:
            for i, segment in enumerate(needed):
                replaying.take(*segment, needed[i + 1] if i + 1 < len(needed) else None)
            replaying.check_reached()
        except _StoppedError as stopped:
            stop = stopped.stop
            return Replayed(replaying.joined_end if stop.is_torn else replaying.end, stop)
    return Replayed(replaying.joined_end, None)


class _Replay:
    """`end`: that of the segments read so far."""

    def __init__(
        self,
        model: OnlineSVM,
        producers: Producers,
        segments: Segments,
        saved_end: End | None,
        bar: tqdm[Any],
    ) -> None:
        self._model = model
        self._producers = producers
        self._segments = segments
        self._saved_end = saved_end
        self._bar = bar
        self._base = model.position  # what is before is in the snapshot
        self.end: End | None = None
        # Whether what was read is the journal that the snapshot belongs to, as far as is known.
        self._is_joined = saved_end is None
        self._reaches_saved: bool | None = None

    @property
    def joined_end(self) -> End | None:
        """The end that the model goes on from: its snapshot's, if none of that journal is left."""
        return self.end if self._is_joined else self._saved_end

    def take(self, start: int, path: Path, following: tuple[int, Path] | None) -> None:
        """Apply what is needed of one segment. Raises _StoppedError."""
        model = self._model
        if start > model.position:
            message = f"expected records from position {model.position} on, got {start}"
            raise _StoppedError(Stop(path, 0, message, False))
        with contents_of(path) as data:
            try:
                segment = Segment.unpack(bytes(data[:HEADER_BYTES]), start)
            except ValueError as error:
                # A machine that died may have left a name without the bytes.
                torn = len(data) < HEADER_BYTES or not any(data)
                torn = torn and following is None and not self._is_told_of(start)
                raise _StoppedError(Stop(path, 0, str(error), torn)) from None
            self._check_history(path, segment)
            model.bound(segment.features)
            self._producers.bound(segment.producers)
            self.end = End(start, segment.mark, segment.header_bytes, 0)
            before = None if following is None else _before(following)
            is_chained = before is not None and before[:2] == self.end[:2]
            size, void = len(data), None if following is None else following[0]
            if before is not None and is_chained:
                size, void = before.size, None
            with data[:size] as counted:
                damage = self._apply_all(path, segment, counted, void)
            if damage is not None and (
                is_chained or following is None or model.position < following[0]
            ):
                raise _StoppedError(
                    Stop(path, damage.offset, damage.message, is_torn=following is None)
                )
            if following is not None and before is not None:
                closing = next(records_of(data, segment, before.size), None) if is_chained else None
                if isinstance(closing, Closing):
                    self._check_closing(path, closing)
                self._check_chained(path, before, following[1])

    def _is_told_of(self, start: int) -> bool:
        """Whether the segment that starts there was durable once: the one before says so."""
        earlier = [segment for segment in self._segments if segment[0] < start]
        closing = closing_of(earlier[-1][1], earlier[-1][0]) if earlier else None
        return closing is not None and closing.position == start

    def _check_history(self, path: Path, segment: Segment) -> None:
        """Raise _StoppedError where the model and the segment are known to be of two histories."""
        model, saved = self._model, self._saved_end
        if segment.position == model.position and segment.model != model.fingerprint():
            raise _StoppedError(Stop(path, 0, "it goes on from a model of another history", False))
        if self.end is not None or saved is None:
            return  # not the first, or one of which nothing is known
        if segment.position == saved.position:
            mark = segment.mark
        elif segment.position == self._base:
            mark = segment.before.mark if segment.before else 0
        else:
            return  # it may have nothing that the snapshot has not
        self._is_joined = mark == saved.mark
        if not self._is_joined:
            raise _StoppedError(
                Stop(path, 0, "it is of another journal than the snapshot before it", False)
            )

    def _check_closing(self, path: Path, closing: Closing) -> None:
        """Raise _StoppedError unless the segment that goes on from `path` is there."""
        target = path.with_name(segment_name(closing.position))
        if (closing.position, target) not in self._segments:
            raise _StoppedError(
                Stop(target, 0, f"it is missing: {path.name} says that it goes on there", False)
            )
        with contextlib.suppress(ValueError):  # told of where it is read
            if header_of(target, closing.position).mark != closing.mark:
                raise _StoppedError(
                    Stop(target, 0, f"it is another than the one that {path.name} names", False)
                )

    def _check_chained(self, path: Path, before: End, following: Path) -> None:
        """Raise _StoppedError unless `following` goes on from the end of what was read."""
        if before == self.end:
            return
        assert self.end is not None
        if before[:2] == self.end[:2]:
            raise _StoppedError(
                Stop(
                    path, self.end.size,
                    f"expected records up to byte {before.size}, where {following.name} goes on,"
                    f" got {self.end.size} bytes", False,
                )
            )  # fmt: skip
        expected = segment_name(before.position) if before.mark else "none"
        raise _StoppedError(
            Stop(
                following, 0,
                f"the segment that it goes on from is {expected} of mark {before.mark:08x}, got"
                f" {path.name} of mark {self.end.mark:08x}", False,
            )
        )  # fmt: skip

    def check_reached(self) -> None:
        """Raise _StoppedError where the segment is missing that the snapshot was taken behind."""
        saved = self._saved_end
        if saved is None or not self._segments or self._segments[-1][0] >= saved.position:
            return  # none at all: a snapshot that was put there alone
        path = self._segments[-1][1].with_name(segment_name(saved.position))
        if not path.with_name(f"{path.name}.damaged").exists():
            raise _StoppedError(
                Stop(
                    path, 0,
                    f"it is missing: the snapshot of position {self._base} was taken behind its"
                    " beginning", False,
                )
            )  # fmt: skip

    def _apply_all(
        self, path: Path, segment: Segment, data: memoryview, void: int | None
    ) -> Damage | None:
        """Apply the records in `data`; the damage after the last of them. Raises _StoppedError.

        void: the position from which on records are void, if they have samples.
        """
        damage = None
        at = 0
        for found in records_of(data, segment):
            self._bar.update(found.end - at)
            at = found.end
            if isinstance(found, Damage):
                damage = damage or found
                continue
            if isinstance(found, Closing):
                self._check_closing(path, found)
                return None
            if void is not None and found.samples and found.position >= void:
                return None
            if damage is not None:
                self._check_covered(path, damage, found)
                damage = None
            if not self._is_saved(data, segment, found):
                self._apply(path, found)
            self.end = End(segment.position, segment.mark, found.end, found.checksum)
        return damage

    def _check_covered(self, path: Path, damage: Damage, found: Record) -> None:
        """Raise _StoppedError unless all that is damaged lies before the snapshot's position."""
        if found.position > self._base or self._model.position != self._base:
            raise _StoppedError(
                Stop(
                    path, damage.offset,
                    f"{damage.message}; whole records follow at byte {found.offset}", False,
                )
            )  # fmt: skip
        log.warning("%s: byte %d: %s; the snapshot has it", path, damage.offset, damage.message)

    def _is_saved(self, data: memoryview, segment: Segment, found: Record) -> bool:
        """Whether the snapshot has a record without samples, of which its position does not tell.

        It has all up to its end of the journal, if the segment still goes that far.
        """
        saved = self._saved_end
        if (
            saved is None or not saved.checksum or found.samples or found.end > saved.size
            or segment.position != saved.position or found.position != self._base
        ):  # fmt: skip
            return False
        if self._reaches_saved is None:
            for later in records_of(data, segment, found.offset):
                if later.end >= saved.size or not isinstance(later, Record):
                    break
            is_it = isinstance(later, Record) and later.end == saved.size
            self._reaches_saved = is_it and later[2] == saved.checksum
        return self._reaches_saved

    def _apply(self, path: Path, found: Record) -> None:
        model = self._model
        if model.position == self._base and (found.position + max(found.samples, 1) <= self._base):
            return  # the snapshot has it
        if found.position != model.position:
            message = f"expected a record of position {model.position}, got {found.position}"
            raise _StoppedError(Stop(path, found.offset, message, False))
        if not self._is_joined:
            message = "it is of another journal than the snapshot that it goes on from"
            raise _StoppedError(Stop(path, found.offset, message, False))
        try:
            producer, sequence = numbering_of(found.header)
            batch = model.kernel.decode(found.body, UNLIMITED, labelled=True)
            if len(batch) != found.samples:
                raise ValueError(f"expected {found.samples} samples, got {len(batch)}")
        except (RequestError, BodyError, SampleError, ValueError) as error:
            raise _StoppedError(Stop(path, found.offset, str(error), False)) from None
        if producer and not len(batch) and sequence <= self._producers.last(producer).sequence:
            return  # without samples its position does not tell that the snapshot has it
        model.learn_batch(batch)
        if producer:
            self._producers.note(producer, sequence, len(batch))
