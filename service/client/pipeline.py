"""The pipeline of a stream: samples in batches, a window of batches in flight, retries.

Pure state, no I/O: `stream` and `async_stream` send what `next_batch` gives and hand every answer
to `take`. Methods that read the clock use time.monotonic().
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import Limits
from onlinesvm.data.batch import Features
from onlinesvm.data.label import Written
from onlinesvm.data.objects import Worse
from onlinesvm.service.client.batches import Batch, Cursors, Gatherer, halves_of, without
from onlinesvm.service.client.calls import Answer, Call, whole
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, RequestRefused
from onlinesvm.service.protocol import decode_margins, refusal_of

__all__ = [
    "OnMargins", "Pause", "Pipeline", "Window", "busy_s", "is_too_large", "is_waiting",
    "with_applied",
]  # fmt: skip

# The window: a producer that outruns the daemon waits here.
_WINDOW_REQUESTS = 16
_WINDOW_BYTES = 8 * 2**20
# While samples gather, answers are read this often, whichever comes first.
_LOOK_EVERY_SAMPLES = 128
_LOOK_EVERY_S = 0.002
# Codes of a daemon that takes nothing at present.
_WAITING = ("BUSY", "NOT_DURABLE")
_FIRST_PAUSE_S = 0.01
_MAX_PAUSE_S = 1.0
_monotonic = time.monotonic
_NO_KEYS: Mapping[str, Any] = {}

OnMargins = Callable[[int, NDArray[np.float64]], object]


class Window:
    """The batches in flight: `batches`, by the id of their request, in the order they were sent."""

    def __init__(self) -> None:
        self.batches: dict[int, Batch] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.batches)

    def has_room(self, batch: Batch) -> bool:
        """True if `batch` may be sent now; one alone always may."""
        return not self.batches or (
            len(self.batches) < _WINDOW_REQUESTS and self._bytes + len(batch.body) <= _WINDOW_BYTES
        )

    def add(self, id: int, batch: Batch) -> None:
        """Add a batch that was sent."""
        self.batches[id] = batch
        self._bytes += len(batch.body)

    def pop(self, id: int) -> Batch | None:
        """Remove the batch of a request that was answered; None if it is not in flight."""
        batch = self.batches.pop(id, None)
        if batch is not None:
            self._bytes -= len(batch.body)
        return batch

    def clear(self) -> list[Batch]:
        """Remove all batches, in the order they were sent."""
        batches = list(self.batches.values())
        self.batches.clear()
        self._bytes = 0
        return batches


class Pause:
    """The pauses of a stream whose daemon takes nothing at present: 10 ms, doubled up to 1 s, or as
    long as the daemon says, up to 1 s too.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.until: float | None = None
        self._seconds = 0.0

    def begin(self, refusal: RequestRefused) -> None:
        """Begin a pause, one for all batches of a window that are refused."""
        self.reason = "was busy" if refusal.code == "BUSY" else f"refused ({refusal.message})"
        if self.until is None:
            self._seconds = min(max(2 * self._seconds, _FIRST_PAUSE_S), _MAX_PAUSE_S)
            self.until = _monotonic() + max(self._seconds, busy_s(refusal))

    def is_over(self) -> bool:
        """True if batches may be sent."""
        if self.until is not None and _monotonic() >= self.until:
            self.until = None
        return self.until is None

    def reset(self) -> None:
        """End the pause; the next is a short one again."""
        self.until, self._seconds = None, 0.0


class Pipeline:
    """The samples of one stream, from `add` until they are acknowledged. In order unless refused.

    A refused sample is left out, the others of its batch are sent again, and `refusal` is there to
    be raised once everything else is acknowledged. A batch that a daemon is too BUSY for, or that
    its disk does not take, is sent again after a pause.

    applied: samples acknowledged. waiting: batches to be sent. window: those in flight.
    progress_at: when the last batch was acknowledged.
    """

    producer: str | bytes | None = None
    cursor: bytes | None = None

    def __init__(
        self, limits: Limits, on_margins: OnMargins | None, *, reserved_bytes: int = 0
    ) -> None:
        self.applied = 0
        self.progress_at = _monotonic()
        self.waiting: deque[Batch] = deque()
        self.window = Window()
        self.pause = Pause()
        self.gatherer = Gatherer(limits, reserved_bytes)
        self._refused: list[RequestRefused] = []
        self._on_margins = on_margins
        self._look_at = 0.0

    # Samples.

    def add(self, features: Features, label: Written | Worse, importance: float) -> bool:
        """Add one sample; True if it is time to exchange batches with the daemon.

        Raises TypeError, SampleError, LimitError; the sample is then not added.
        """
        gatherer = self.gatherer
        full = gatherer.add(features, label, importance)
        if full is not None:
            self.put(full)
            return True
        count = len(gatherer.parts)
        return (
            not self.window.batches
            or count >= gatherer.batch_samples
            or count % _LOOK_EVERY_SAMPLES == 0
            or _monotonic() >= self._look_at
        )

    def note(self, cursor: bytes) -> None:
        """The sample added last reaches to `cursor`."""
        self.gatherer.note(cursor)

    def add_packed(self, body: bytes, samples: int, cursors: Cursors = ()) -> None:
        """Add `samples` samples, packed as a learn request's body."""
        self.cut()
        for piece in self.gatherer.pieces(body, samples, cursors):
            self.put(piece)

    def put(self, batch: Batch) -> None:
        """Put a batch in the queue."""
        if not self.window and not self.waiting:
            self.progress_at = _monotonic()
        self.waiting.append(batch)

    def cut(self) -> None:
        """Put the samples gathered so far in the queue."""
        batch = self.gatherer.cut()
        if batch is not None:
            self.put(batch)

    def cut_if_due(self) -> None:
        """Put the samples gathered so far in the queue if the daemon idles or a batch is full."""
        self._look_at = _monotonic() + _LOOK_EVERY_S
        is_full = len(self.gatherer.parts) >= self.gatherer.batch_samples
        if is_full or not self.window or self._refused:
            self.cut()

    # Batches.

    def next_batch(self) -> Batch | None:
        """The next batch to send; None while there is none, or no room in the window."""
        if not self.waiting or not self.pause.is_over():
            return None
        return self.waiting[0] if self.window.has_room(self.waiting[0]) else None

    def call_of(self, batch: Batch, keys: Mapping[str, Any] = _NO_KEYS) -> Call[Answer]:
        """The request that carries `batch`, with the numbering in `keys` if it has one."""
        return Call("learn", whole, batch.body, keys)

    def sent(self, id: int) -> None:
        """Note that the batch given by `next_batch` was sent as request `id`."""
        self.window.add(id, self.waiting.popleft())

    @property
    def has_backlog(self) -> bool:
        """True if batches wait to be sent."""
        return bool(self.waiting)

    @property
    def is_settled(self) -> bool:
        """True if everything handed over is acknowledged or refused, gathered samples apart."""
        return not self.window and not self.waiting

    @property
    def is_refused(self) -> bool:
        """True if a refusal waits to be raised."""
        return bool(self._refused)

    # Answers.

    def take(self, id: int, answer: Answer) -> None:
        """Take the answer to request `id`; that of another stream is ignored."""
        batch = self.window.pop(id)
        if batch is None:
            return
        header, body = answer
        if header["ok"]:
            self.acknowledge(batch, decode_margins(body))
            return
        refusal = refusal_of(header)
        if is_waiting(refusal):
            self.pause.begin(refusal)
            self.waiting.append(batch)
        elif is_too_large(refusal, batch):
            self.waiting.extend(halves_of(batch))
        else:
            self.waiting.extend(self.refuse(batch, refusal))

    def acknowledge(self, batch: Batch, margins: NDArray[np.float64] | None) -> None:
        """Count a batch as applied; None for margins that were lost."""
        self.pause.reset()
        self.progress_at = _monotonic()
        self.applied += batch.samples
        if margins is not None and self._on_margins is not None:
            self._on_margins(batch.start, margins)

    def refuse(self, batch: Batch, refusal: RequestRefused) -> list[Batch]:
        """Note the refusal of a sample of `batch`; the samples before it and those after it."""
        index = refusal.sample
        if index is not None and index >= batch.samples:
            index = None  # of no sample that was sent
        refusal.sample = batch.start + (index or 0)
        if batch.cursors and (index is not None or batch.samples == 1):
            refusal.cursor = batch.cursors[index or 0]
        self._refused.append(refusal)
        if index is not None:
            return without(batch, index)
        if batch.samples > 1:
            refusal.message += f" (with the {batch.samples - 1} samples after it)"
        return []

    def take_refusal(self) -> RequestRefused | None:
        """The first refusal, to be raised once everything else is settled."""
        if not self._refused:
            return None
        first, *others = self._refused
        self._refused = []
        first.applied = self.applied
        if others:
            first.message += f" ({len(others)} more samples were refused)"
        return first

    def take_earliest_refusal(self) -> tuple[RequestRefused | None, int | None]:
        """The refusal of the earliest sample, and the index of the next one that was refused.

        A batch is refused for its first fault; what comes before that may have one of another kind.
        """
        if not self._refused:
            return None, None
        self._refused.sort(key=lambda refusal: refusal.sample or 0)
        earliest = self._refused.pop(0)
        earliest.applied = self.applied
        return earliest, self._refused[0].sample if self._refused else None

    # Breaks.

    def lose(self, error: DaemonLost | DaemonTimeout) -> DaemonLost | DaemonTimeout:
        """Drop every sample that is not acknowledged; `error`, with how many are."""
        self.window.clear()
        self.waiting.clear()
        self.gatherer.drop()
        self.pause.reset()
        return with_applied(error, self.applied)


def with_applied(error: DaemonLost | DaemonTimeout, applied: int) -> DaemonLost | DaemonTimeout:
    """`error` with the number of samples that were acknowledged."""
    named = type(error)(f"{error}; {applied} samples of the stream were acknowledged")
    named.applied = applied
    return named


def busy_s(refusal: RequestRefused) -> float:
    """Seconds after which to ask a daemon again that takes nothing at present: 10 ms to 1 s."""
    return min(max(refusal.retry_after_s or 0.0, _FIRST_PAUSE_S), _MAX_PAUSE_S)


def is_waiting(refusal: RequestRefused) -> bool:
    """True if the daemon takes nothing at present."""
    return refusal.code in _WAITING


def is_too_large(refusal: RequestRefused, batch: Batch) -> bool:
    """True if smaller batches may help: the daemon's limits are lower than those known here."""
    return refusal.code == "TOO_LARGE" and refusal.sample is None and batch.samples > 1
