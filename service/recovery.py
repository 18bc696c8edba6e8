"""Recovery: the journal's records after a snapshot, applied to its model.

A torn tail is what a process or a machine leaves that dies while it writes: the last bytes of the
last segment, with no whole record after them. Anything else that is wrong is damage, and what is
behind it is not applied.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from onlinesvm.config import Limits
from onlinesvm.errors import BodyError, SampleError
from onlinesvm.learner import OnlineSVM
from onlinesvm.service.journal import HEADER_BYTES, Damage, Record, Segment, records_of
from onlinesvm.service.producers import Producers
from onlinesvm.service.protocol import Fault, numbering_of

__all__ = ["UNLIMITED", "Stop", "contents_of", "replay", "segments_after"]

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
    with open(path, "rb") as file:
        if not path.stat().st_size:
            yield memoryview(b"")
            return
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as data,
        ):
            yield data


def replay(model: OnlineSVM, producers: Producers, segments: Segments) -> Stop | None:
    """Apply the records after the model's position; where and why that ended early, if it did.

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
        replaying = _Replay(model, producers, bar)
        try:
            for i, (_, path) in enumerate(needed):
                following = needed[i + 1][0] if i + 1 < len(needed) else None
                replaying.take(path, needed[i][0], following)
        except _StoppedError as stopped:
            return stopped.stop
    return None


class _Replay:
    def __init__(self, model: OnlineSVM, producers: Producers, bar: tqdm[Any]) -> None:
        self._model = model
        self._producers = producers
        self._bar = bar
        self._base = model.position  # what is before is in the snapshot

    def take(self, path: Path, start: int, following: int | None) -> None:
        """Apply what is needed of one segment. Raises _StoppedError."""
        model = self._model
        if following is not None and following <= model.position:
            return
        if start > model.position:
            raise _StoppedError(
                Stop(
                    path, 0, f"expected records from position {model.position} on, got {start}",
                    False,
                )
            )  # fmt: skip
        with contents_of(path) as data:
            try:
                segment = Segment.unpack(bytes(data[:HEADER_BYTES]), start)
            except ValueError as error:
                # A machine that died may have left a name without the bytes.
                torn = len(data) < HEADER_BYTES or not any(data)
                raise _StoppedError(Stop(path, 0, str(error), torn and following is None)) from None
            if start == model.position and segment.model != model.fingerprint():
                raise _StoppedError(
                    Stop(path, 0, "it goes on from a model of another history", False)
                )
            model.bound(segment.features)
            self._producers.bound(segment.producers)
            damage = None
            at = 0
            for found in records_of(data, segment):
                self._bar.update(found.end - at)
                at = found.end
                if isinstance(found, Damage):
                    damage = damage or found
                    continue
                if following is not None and found.samples and found.position >= following:
                    return
                if damage is not None:
                    self._check_covered(path, damage, found)
                    damage = None
                self._apply(path, found)
        if damage is not None and (following is None or model.position < following):
            raise _StoppedError(Stop(path, damage.offset, damage.message, following is None))

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

    def _apply(self, path: Path, found: Record) -> None:
        model = self._model
        if model.position == self._base and (found.position + max(found.samples, 1) <= self._base):
            return  # the snapshot has it
        if found.position != model.position:
            raise _StoppedError(
                Stop(
                    path, found.offset,
                    f"expected a record of position {model.position}, got {found.position}", False,
                )
            )  # fmt: skip
        try:
            producer, sequence = numbering_of(found.header)
            batch = model.kernel.decode_learn(found.body, UNLIMITED)
            if len(batch) != found.samples:
                raise ValueError(f"expected {found.samples} samples, got {len(batch)}")
        except (Fault, BodyError, SampleError, ValueError) as error:
            raise _StoppedError(Stop(path, found.offset, str(error), False)) from None
        if producer and not len(batch) and sequence <= self._producers.last(producer).sequence:
            return  # without samples its position does not tell that the snapshot has it
        model.learn_batch(batch)
        if producer:
            self._producers.note(producer, sequence, len(batch))
