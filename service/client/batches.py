"""Batches of a stream's samples: gathered, packed, cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onlinesvm.config import Limits
from onlinesvm.data.batch import Features
from onlinesvm.data.codec import cut_body, pack_array
from onlinesvm.data.label import Written
from onlinesvm.data.objects import Packer, Worse
from onlinesvm.errors import LimitError

__all__ = ["Batch", "Gatherer", "halves_of", "without"]

# A sample is sent at once while nothing is in flight; else samples gather until all batches are
# answered, or the batch is full. So batches are small if the daemon idles and large under load.
_BATCH_BYTES = 256 * 2**10
_BATCH_SAMPLES = 1024
# The request's header and the head of its array, at most.
_ENVELOPE_BYTES = 64


Cursors = Sequence[bytes | None]


@dataclass(slots=True)
class Batch:
    """Samples sent together: `start` is the index of the first in the stream.

    Of a numbered stream also its `sequence`, if that is sent for the first time, and the cursors
    of its samples, None for those without one; empty where none has one.
    """

    start: int
    samples: int
    body: bytes
    sequence: int = 0
    is_first: bool = True
    cursors: Cursors = ()

    @property
    def cursor(self) -> bytes | None:
        """The last cursor of its samples; None where they have none."""
        return next((found for found in reversed(self.cursors) if found is not None), None)


class Gatherer:
    """Packs samples and cuts them into batches.

    start: the index of the first sample not yet cut. parts: the samples since, packed. cursors:
    theirs, up to the last that has one.
    """

    def __init__(self, limits: Limits, reserved_bytes: int) -> None:
        self.start = 0
        self.max_bytes = limits.max_message_bytes - _ENVELOPE_BYTES - reserved_bytes
        self._pack = Packer().sample
        self.parts: list[bytes] = []
        self.cursors: list[bytes | None] = []
        self._size = 0
        self._batch_bytes = min(_BATCH_BYTES, limits.max_message_bytes // 2)
        self._max_samples = limits.max_samples_per_batch
        self.batch_samples = min(_BATCH_SAMPLES, limits.max_samples_per_batch)

    def add(self, features: Features, label: Written | Worse, importance: float) -> Batch | None:
        """Add one sample; the batch it did not fit into, if it did not.

        Raises TypeError for an object that is no sample, LimitError for a sample that no message
        can hold; neither is added.
        """
        parts = self.parts
        part = self._pack(features, label, importance, self.start + len(parts))
        size = self._size + len(part)
        if size <= self._batch_bytes:
            parts.append(part)
            self._size = size
            return None
        return self._add_to_next(part)

    def _add_to_next(self, part: bytes) -> Batch | None:
        """Add a sample that does not fit into the batch; that batch, if there is one."""
        if len(part) > self.max_bytes:
            raise LimitError(
                f"expected a sample of at most {self.max_bytes} bytes, got {len(part)}",
                (self.start + len(self.parts),),
            )
        full = self.cut()
        self.parts.append(part)
        self._size = len(part)
        return full

    def cut(self) -> Batch | None:
        """The samples gathered so far as a batch; None if there are none."""
        if not self.parts:
            return None
        batch = Batch(
            self.start,
            len(self.parts),
            pack_array(self.parts),
            cursors=_whole(self.cursors, self.parts),
        )
        self.drop()
        return batch

    def drop(self) -> None:
        """Drop the samples gathered so far."""
        self.start += len(self.parts)
        self.parts, self.cursors, self._size = [], [], 0

    def note(self, cursor: bytes) -> None:
        """The sample added last reaches to `cursor`."""
        self.cursors += [None] * (len(self.parts) - 1 - len(self.cursors))
        self.cursors.append(cursor)

    def pieces(self, body: bytes, samples: int, cursors: Cursors = ()) -> list[Batch]:
        """A packed body as batches that a message can hold."""
        whole = Batch(self.start, samples, body, cursors=cursors)
        pending, pieces = [whole] if samples else [], []
        while pending:
            batch = pending.pop()
            is_large = len(batch.body) > self.max_bytes or batch.samples > self._max_samples
            if is_large and batch.samples > 1:
                pending.extend(reversed(halves_of(batch)))
            else:
                pieces.append(batch)
        self.start += samples
        return pieces


def without(batch: Batch, index: int) -> list[Batch]:
    """`batch` without its sample `index`: the samples before it, and those after it."""
    if batch.samples == 1:
        return []
    pieces = cut_body(batch.body, index, index + 1)
    del pieces[1 if index else 0]
    return _numbered(batch, [(0, index), (index + 1, batch.samples)], pieces)


def halves_of(batch: Batch) -> list[Batch]:
    """`batch` in two."""
    middle = batch.samples // 2
    pieces = cut_body(batch.body, middle)
    return _numbered(batch, [(0, middle), (middle, batch.samples)], pieces)


def _whole(cursors: list[bytes | None], parts: list[bytes]) -> Cursors:
    """`cursors`, one for each of `parts`; none where there is none."""
    return [*cursors, *[None] * (len(parts) - len(cursors))] if cursors else ()


def _numbered(batch: Batch, spans: list[tuple[int, int]], bodies: list[bytes]) -> list[Batch]:
    """The batches of `bodies`, which hold the samples of the `spans` of `batch` that are not
    empty.
    """
    filled = [(first, last) for first, last in spans if first < last]
    return [
        Batch(batch.start + first, last - first, body, cursors=batch.cursors[first:last])
        for (first, last), body in zip(filled, bodies, strict=True)
    ]
