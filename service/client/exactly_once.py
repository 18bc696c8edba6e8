"""Exactly-once delivery: the samples of a producer, numbered, so that each is learned once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import Limits
from onlinesvm.data.batch import Features
from onlinesvm.data.codec import pack_array
from onlinesvm.data.label import Written
from onlinesvm.data.objects import Worse
from onlinesvm.service.client.batches import Batch, Cursors, halves_of
from onlinesvm.service.client.calls import Answer, Call
from onlinesvm.service.client.pipeline import (
    OnMargins,
    Pause,
    Pipeline,
    Window,
    is_too_large,
    is_waiting,
    with_applied,
)
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, RequestRefused, StreamBroken
from onlinesvm.service.protocol import MAX_CURSOR_BYTES, decode_margins, refusal_of

__all__ = ["Delivery", "ExactlyOnce", "checked_cursor", "delivery_of"]

_NUMBERING_BYTES = 64
_CURSOR_KEY_BYTES = 16  # the key, and the head of the cursor
_MODEL_KEY_BYTES = 8  # the key, and the head of the name


class ExactlyOnce:
    """A pipeline whose batches are numbered, and which goes on after a break.

    `applied` counts the samples that the daemon has learned of this producer, in earlier runs too:
    a producer that starts again skips so many of its samples. Indices of samples count from the
    producer's first one.

    After a lost connection or a restarted daemon the stream asks for the last sequence, takes what
    was applied as acknowledged (its margins are lost: `on_margins` is not called for it), and sends
    the rest again.

    A refused sample is left out, and the samples after it wait: RequestRefused is raised once all
    samples before it are learned, and none after it is. The next call goes on after it. It does not
    count in `applied`: a producer that starts again has to leave it out as well.

    A sample may have a cursor: the place in the producer's own source that follows it. A request
    carries the last cursor of its samples, and the daemon keeps it with the sequence: `cursor` is
    the last one acknowledged, from which a producer that starts again reads on.

    A stream raises DaemonTimeout if nothing is acknowledged for `timeout_s`; a later call goes on
    from there. It raises StreamBroken if it cannot go on: another client uses the producer's name,
    or the daemon has lost samples that it had acknowledged.
    """

    def __init__(
        self,
        producer: str | bytes,
        limits: Limits,
        on_margins: OnMargins | None,
        reserved_bytes: int = 0,
    ) -> None:
        self.producer = producer
        name = (
            producer.encode("utf-8", "surrogateescape") if isinstance(producer, str) else producer
        )
        self._pipeline = Pipeline(
            limits,
            on_margins,
            reserved_bytes=reserved_bytes
            + len(name)
            + _NUMBERING_BYTES
            + _CURSOR_KEY_BYTES
            + MAX_CURSOR_BYTES,
        )
        self.cursor: bytes | None = None  # the last acknowledged
        self._sequence: int | None = None  # the last acknowledged; None before `resumed`
        self._max_sent = 0  # the last ever sent
        # After a refusal all batches in flight after it are refused as well; they are sent again,
        # in order, once nothing is in flight.
        self._is_rewinding = False
        self._rewound: list[Batch] = []
        # The index of a refused sample: those after it are sent once the refusal is raised.
        self._hold_at: int | None = None
        self._failure: StreamBroken | None = None

    @property
    def applied(self) -> int:
        """Samples of this producer that the daemon has learned."""
        return self._pipeline.applied

    @property
    def progress_at(self) -> float:
        """When the last batch was acknowledged."""
        return self._pipeline.progress_at

    @property
    def pause(self) -> Pause:
        """The pause of a daemon that takes nothing at present."""
        return self._pipeline.pause

    @property
    def window(self) -> Window:
        """The batches in flight."""
        return self._pipeline.window

    @property
    def is_refused(self) -> bool:
        """True if a refusal waits to be raised."""
        return self._pipeline.is_refused

    # Samples.

    def add(self, features: Features, label: Written | Worse, importance: float) -> bool:
        """Add one sample, as `Pipeline.add` does. Raises StreamBroken too."""
        self._check()
        return self._pipeline.add(features, label, importance)

    def note(self, cursor: bytes) -> None:
        """The sample added last reaches to `cursor`."""
        self._pipeline.note(cursor)

    def mark(self, cursor: bytes) -> None:
        """All samples added so far, and what was left out after them, reach to `cursor`."""
        self._check()
        self._pipeline.cut()
        pipeline = self._pipeline
        pipeline.put(Batch(pipeline.gatherer.start, 0, pack_array([]), cursors=[cursor]))

    def add_packed(self, body: bytes, samples: int, cursors: Cursors = ()) -> None:
        """Add packed samples, as `Pipeline.add_packed` does. Raises StreamBroken too."""
        self._check()
        self._pipeline.add_packed(body, samples, cursors)

    def cut(self) -> None:
        """Put the samples gathered so far in the queue. Raises StreamBroken."""
        self._check()
        self._pipeline.cut()

    def cut_if_due(self) -> None:
        """Put the samples gathered so far in the queue if the daemon idles or a batch is full."""
        self._pipeline.cut_if_due()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    # Batches.

    def next_batch(self) -> Batch | None:
        """The next batch to send, numbered; None while there is none, or it may not be sent."""
        waiting, window = self._pipeline.waiting, self._pipeline.window
        if self._is_rewinding:
            if window:
                return None
            waiting.extendleft(reversed(self._rewound))
            self._rewound, self._is_rewinding = [], False
        batch = None if self._is_held else self._pipeline.next_batch()
        if batch is not None:
            assert self._sequence is not None
            batch.sequence = self._sequence + len(window) + 1
            batch.is_first = batch.sequence > self._max_sent
            self._max_sent = max(self._max_sent, batch.sequence)
        return batch

    @property
    def _is_held(self) -> bool:
        """True if the next batch waits for a refusal to be raised."""
        waiting = self._pipeline.waiting
        return self._hold_at is not None and bool(waiting) and waiting[0].start > self._hold_at

    def call_of(self, batch: Batch) -> Call[Answer]:
        """The request that carries `batch`."""
        keys = {"producer": self.producer, "sequence": batch.sequence}
        if (cursor := batch.cursor) is not None:
            keys["cursor"] = cursor
        return self._pipeline.call_of(batch, keys)

    def sent(self, id: int) -> None:
        """Note that the batch given by `next_batch` was sent as request `id`."""
        self._pipeline.sent(id)

    @property
    def has_backlog(self) -> bool:
        """True if batches wait to be sent."""
        return self._pipeline.has_backlog

    @property
    def is_settled(self) -> bool:
        """True if everything that may be sent is acknowledged or refused."""
        if self._pipeline.window or self._is_rewinding:
            return False
        return not self._pipeline.waiting or self._is_held

    # Answers.

    def take(self, id: int, answer: Answer) -> None:
        """Take the answer to request `id`. Raises StreamBroken."""
        batch = self._pipeline.window.pop(id)
        if batch is None:
            return
        header, body = answer
        if not header["ok"]:
            self._take_refusal(batch, refusal_of(header))
        elif self._is_rewinding or batch.sequence - 1 != self._sequence:
            raise self._fail(f"sequence {batch.sequence} was applied before the one before it")
        elif not header.get("duplicate"):
            self._acknowledge(batch, decode_margins(body))
        elif batch.is_first:
            raise self._fail(
                f"sequence {batch.sequence} was applied before it was sent: another client uses"
                " this name"
            )
        else:
            self._acknowledge(batch, None)

    def _acknowledge(self, batch: Batch, margins: NDArray[np.float64] | None) -> None:
        self._sequence = batch.sequence
        self.cursor = batch.cursor or self.cursor
        self._pipeline.acknowledge(batch, margins)

    def _take_refusal(self, batch: Batch, refusal: RequestRefused) -> None:
        if self._is_rewinding:
            self._rewound.append(batch)
            return
        self._is_rewinding = True
        self._rewound = [batch]
        if is_waiting(refusal):
            self.pause.begin(refusal)
        elif refusal.code == "SEQUENCE_GAP":
            raise self._fail(refusal.message)
        elif is_too_large(refusal, batch):
            self._rewound = halves_of(batch)
        else:
            self._rewound = self._pipeline.refuse(batch, refusal)
            self._hold_at = refusal.sample

    def take_refusal(self) -> RequestRefused | None:
        """The refusal to be raised, once everything before it is settled."""
        refusal, self._hold_at = self._pipeline.take_earliest_refusal()
        return refusal

    def take_lag(self, answer: Answer) -> None:
        """Take the answer to a report of the lag. Raises StreamBroken, RequestRefused."""
        header, _ = answer
        if header["ok"]:
            return
        refusal = refusal_of(header)
        if refusal.code == "SEQUENCE_GAP":
            raise self._fail("another client uses this name")
        if not is_waiting(refusal):
            raise refusal

    # Breaks.

    def lose(self, error: DaemonLost | DaemonTimeout) -> DaemonLost | DaemonTimeout:
        """`error`, with the number of samples applied; the others are kept for a later call."""
        return with_applied(error, self.applied)

    def resumed(self, sequence: int, samples: int, cursor: bytes | None = None) -> None:
        """Go on with a new connection, given the daemon's last sequence, samples and cursor of the
        producer. Raises StreamBroken if samples were lost, or others were learned.
        """
        pipeline = self._pipeline
        if self._sequence is None:
            self._sequence = self._max_sent = sequence
            self.cursor = cursor
            pipeline.applied = pipeline.gatherer.start = samples
            return
        pipeline.waiting.extendleft(reversed([*self._rewound, *pipeline.window.clear()]))
        self._rewound, self._is_rewinding = [], False
        pipeline.pause.reset()
        if sequence < self._sequence:
            raise self._fail(
                f"the daemon knows of sequence {sequence}, but has acknowledged {self._sequence}:"
                " it has forgotten the producer, or lost what it had"
            )
        if sequence > self._max_sent:
            raise self._fail(
                f"the daemon knows of sequence {sequence}, but only {self._max_sent} were sent:"
                " another client uses this name"
            )
        while self._sequence < sequence:
            batch = pipeline.waiting.popleft()
            batch.sequence = self._sequence + 1
            self._acknowledge(batch, None)
        if cursor != self.cursor:
            raise self._fail(
                f"the daemon knows of cursor {cursor!r}, and {self.cursor!r} was sent: another"
                " client uses this name"
            )
        if samples != self.applied:
            raise self._fail(
                f"the daemon has applied {samples} samples, and {self.applied} were sent: another"
                " client uses this name"
            )

    def _fail(self, why: str) -> StreamBroken:
        self._failure = StreamBroken(
            f"producer {self.producer!r}: {why}; {self.applied} samples are known to be learned",
            self.applied,
        )
        return self._failure


Delivery = Pipeline | ExactlyOnce


def checked_cursor(cursor: str | bytes) -> bytes:
    """`cursor` in bytes. Raises ValueError unless it has 1 to 256."""
    raw = cursor.encode("utf-8", "surrogateescape") if isinstance(cursor, str) else cursor
    if not 1 <= len(raw) <= MAX_CURSOR_BYTES:
        raise ValueError(f"expected a cursor of 1 to {MAX_CURSOR_BYTES} bytes, got {len(raw)}")
    return raw


def noted_cursor(delivery: Delivery, cursor: str | bytes) -> bytes:
    """`cursor` in bytes, of a sample of `delivery`. Raises ValueError."""
    if delivery.producer is None:
        raise ValueError("expected a stream with a producer's name for a cursor, got none")
    return checked_cursor(cursor)


def check_cursors(delivery: Delivery, samples: int, cursors: Cursors) -> None:
    """Raise ValueError unless there are none, or one for each sample of a numbered delivery."""
    if not cursors:
        return
    if len(cursors) != samples:
        raise ValueError(f"expected a cursor for each of {samples} samples, got {len(cursors)}")
    noted_cursor(delivery, next((found for found in reversed(cursors) if found), b"-"))


def delivery_of(
    producer: str | bytes | None,
    limits: Limits,
    on_margins: OnMargins | None,
    model: str | None = None,
) -> Delivery:
    """The pipeline of a stream to a model: numbered if it has a producer's name."""
    reserved = 0 if model is None else len(model) + _MODEL_KEY_BYTES
    if producer is None:
        return Pipeline(limits, on_margins, reserved_bytes=reserved)
    return ExactlyOnce(producer, limits, on_margins, reserved)
