"""A stream of samples to a daemon: batched, pipelined, in order, in bounded memory."""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.batch import Features
from onlinesvm.data.codec import cut_body, pack_array
from onlinesvm.data.objects import Packer
from onlinesvm.errors import LimitError
from onlinesvm.service.client.connection import Answer
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, RequestRefused, ServiceError
from onlinesvm.service.protocol import decode_margins, refusal_of

if TYPE_CHECKING:
    from onlinesvm.service.client.client import Client

__all__ = ["WAITING", "Batch", "Stream", "halves_of", "waiting_for", "without"]

# A sample is sent at once while nothing is under way; else samples gather until a look finds all
# answered, or the batch is full. So batches are small where the daemon idles and large under load.
_BATCH_BYTES = 256 * 2**10
_BATCH_SAMPLES = 1024
# The window: a producer that outruns the daemon waits here.
_WINDOW_REQUESTS = 16
_WINDOW_BYTES = 8 * 2**20
# While samples gather, answers are looked for this often, whichever comes first.
_LOOK_EVERY_SAMPLES = 128
_LOOK_EVERY_S = 0.002
# Codes that say: not now.
WAITING = ("BUSY", "NOT_DURABLE")
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 1.0
# The request's header and the head of its array, at most.
_ENVELOPE_BYTES = 64


@dataclass(slots=True)
class Batch:
    """Samples that were sent together: `start` is the index of the first in the stream."""

    start: int
    samples: int
    body: bytes
    # Of a numbered stream: its number, and whether that was never sent before.
    sequence: int = 0
    is_first: bool = True


class Stream:
    """Learns samples one after the other; a context manager that ends with everything learned.

    `applied` counts the samples that the daemon has acknowledged. `on_margins(start, margins)` is
    called with the progressive margins, float64[n], of the samples start … start + n − 1 of the
    stream, in the order of acknowledgement, which is the order of the stream unless a batch was
    refused.

    A refused sample is left out, the others of its batch are sent again, and once all that was
    under way is acknowledged, RequestRefused is raised with `sample`, the index of the refused one,
    and `applied`. The stream can then go on; nothing else was lost. A daemon that is BUSY, or whose
    disk takes nothing, is asked again until `timeout_s` of the client have passed.

    Samples that wait for a batch to fill are sent by `flush`, by leaving the context, or by the
    next `learn` that finds the daemon idle: call `flush` before a long pause.

    Raises DaemonTimeout where nothing is acknowledged for `timeout_s`, DaemonLost where the
    connection breaks; `applied` then says how many are known to be learned, and all that was handed
    over after them is given up.
    """

    def __init__(
        self, client: Client, on_margins: Callable[[int, NDArray[np.float64]], None] | None
    ) -> None:
        self._client = client
        self._on_margins = on_margins
        self._packer = Packer()
        self.applied = 0
        self._start = 0  # the index of the first sample that was not sent
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._under_way: dict[int, Batch] = {}
        self._under_way_bytes = 0
        self._again: deque[Batch] = deque()
        self._busy = ""  # how the daemon takes nothing at present
        self._pause_s = 0.0
        self._refused: list[RequestRefused] = []
        self._batch_bytes = min(_BATCH_BYTES, client.limits.max_message_bytes // 2)
        self._batch_samples = min(_BATCH_SAMPLES, client.limits.max_samples_per_batch)
        self._progress_at = self._entered_at = time.monotonic()
        self._look_at = self._progress_at + _LOOK_EVERY_S
        self._breaks = client.breaks

    def learn(self, features: Features, label: float, importance: float = 1.0) -> None:
        """Take one sample.

        Raises TypeError for what is no sample and LimitError for one that no message can hold,
        which are not taken; else as the class says.
        """
        self._check_connection()
        parts = self._parts
        part = self._packer.sample(features, label, importance, self._start + len(parts))
        size = self._parts_bytes + len(part)
        if size > self._batch_bytes:
            size = self._make_room(part)
            parts = self._parts
        parts.append(part)
        self._parts_bytes = size
        if not self._under_way or len(parts) >= self._batch_samples:
            self._send_parts()
        elif len(parts) % _LOOK_EVERY_SAMPLES == 0 or time.monotonic() >= self._look_at:
            self._look()
            if not self._under_way:
                self._send_parts()
        if self._refused:
            self._raise_refused()

    def _make_room(self, part: bytes) -> int:
        """Send what has gathered, so that `part` fits in; the bytes that then have gathered."""
        most = self._most_bytes()
        if len(part) > most:
            raise LimitError(
                f"expected a sample of at most {most} bytes, got {len(part)}",
                (self._start + len(self._parts),),
            )
        if self._parts:
            self._send_parts()
        return len(part)

    def learn_packed(self, body: bytes, samples: int) -> None:
        """Send `body`, a learn request's of `samples` samples; in pieces if it is too large."""
        self._check_connection()
        if self._parts:
            self._send_parts()
        pending = [Batch(self._start, samples, body)]
        while pending:
            batch = pending.pop()
            if len(batch.body) > self._most_bytes() and batch.samples > 1:
                pending.extend(reversed(halves_of(batch)))
            else:
                self._send(batch)
        self._start += samples
        self._raise_refused()

    def flush(self) -> None:
        """Send what waits, and wait until all is acknowledged."""
        self._check_connection()
        if self._parts:
            self._send_parts()
        self._settle()
        self._raise_refused()

    def close(self) -> None:
        """`flush`."""
        self.flush()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.flush()
        elif not isinstance(error, DaemonLost | DaemonTimeout):
            # What was handed over before the error is not lost by it; the error itself goes on.
            with contextlib.suppress(ServiceError):
                self.flush()

    # Sending.

    def _check_connection(self) -> None:
        """Raise DaemonLost if the connection broke under another request of the client."""
        if self._breaks != self._client.breaks:
            self._breaks = self._client.breaks
            if self._under_way or self._again:
                raise self._lost(DaemonLost(f"the connection to {self._client.endpoint} broke"))

    def _most_bytes(self) -> int:
        return self._client.limits.max_message_bytes - _ENVELOPE_BYTES

    def _send_parts(self) -> None:
        batch = Batch(self._start, len(self._parts), pack_array(self._parts))
        self._start += len(self._parts)
        self._parts, self._parts_bytes = [], 0
        self._send(batch)

    def _send(self, batch: Batch) -> None:
        """Send `batch` when there is room in the window."""
        while self._under_way and not self._has_room(batch):
            self._wait()
        if not self._under_way:
            self._progress_at = time.monotonic()
        self._post(batch)
        self._look()

    def _has_room(self, batch: Batch) -> bool:
        """Whether the window has room for `batch`."""
        return (
            len(self._under_way) < _WINDOW_REQUESTS
            and self._under_way_bytes + len(batch.body) <= _WINDOW_BYTES
        )

    def _post(self, batch: Batch) -> None:
        if self.applied and not self._under_way and self._client.is_broken():
            # Nothing was under way; still the daemon may come back with less than it had.
            raise self._lost(DaemonLost(f"the connection to {self._client.endpoint} broke"))
        try:
            id = self._client.post("learn", batch.body, self._take, self._deadline())
        except (DaemonLost, DaemonTimeout) as error:
            raise self._lost(error) from None
        self._under_way[id] = batch
        self._under_way_bytes += len(batch.body)

    # Answers.

    def _deadline(self) -> float:
        return max(self._progress_at, self._entered_at) + self._client.timeout_s

    def _look(self) -> None:
        """Take the answers that are there."""
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        self._drain()
        self._send_again()

    def _drain(self) -> None:
        while self._under_way and self._receive(0.0):
            pass

    def _wait(self) -> None:
        """Wait for one answer."""
        if not self._receive(self._deadline()):
            raise self._lost(
                DaemonTimeout(
                    f"no answer from {self._client.endpoint} within {self._client.timeout_s:g} s"
                )
            )
        self._send_again()

    def _receive(self, deadline: float) -> bool:
        try:
            return self._client.receive(deadline)
        except DaemonLost as error:
            raise self._lost(error) from None

    def _settle(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way or self._again:
            if self._under_way:
                self._wait()
            else:
                self._send_again()

    def _take(self, id: int, answer: Answer) -> None:
        batch = self._under_way.pop(id)
        self._under_way_bytes -= len(batch.body)
        header, body = answer
        if header["ok"]:
            self._pause_s = 0.0
            self._progress_at = time.monotonic()
            self.applied += batch.samples
            if self._on_margins is not None:
                self._on_margins(batch.start, decode_margins(body))
            return
        refusal = refusal_of(header)
        if refusal.code in WAITING:
            self._busy = waiting_for(refusal)
            self._again.append(batch)
            return
        faulty = re.match(r"\$\[(\d+)\]", refusal.at or "")
        if faulty:
            index = int(faulty[1])
            refusal.sample = batch.start + index
            self._again.extend(without(batch, index))
        elif refusal.code == "TOO_LARGE" and batch.samples > 1:
            # The daemon's limits are lower than those known here.
            self._again.extend(halves_of(batch))
            return
        else:
            refusal.sample = batch.start
            if batch.samples > 1:
                refusal.message += f" (with the {batch.samples - 1} samples after it)"
        self._refused.append(refusal)

    def _send_again(self) -> None:
        """Send again what was refused for another's fault, or by a daemon that was busy."""
        self._pause()
        while self._again:
            self._post(self._again.popleft())

    def _pause(self) -> None:
        """Wait a little if the daemon takes nothing at present."""
        if not self._busy:
            return
        # One pause for the whole window, whose other batches it will have refused as well.
        self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        if time.monotonic() + self._pause_s > self._deadline():
            raise self._lost(
                DaemonTimeout(
                    f"{self._client.endpoint} {self._busy} for {self._client.timeout_s:g} s"
                )
            )
        time.sleep(self._pause_s)
        self._drain()
        self._busy = ""

    def _raise_refused(self) -> None:
        """Raise the first refusal, once everything else is acknowledged."""
        if not self._refused:
            return
        self._settle()
        first, *others = self._refused
        self._refused = []
        first.applied = self.applied
        if others:
            first.message += f" ({len(others)} more samples were refused)"
        raise first

    def _lost(self, error: DaemonLost | DaemonTimeout) -> DaemonLost | DaemonTimeout:
        """`error` with what is known of the stream; all that was not acknowledged is given up."""
        for id in self._under_way:
            self._client.forget(id)
        self._under_way.clear()
        self._under_way_bytes = 0
        self._again.clear()
        self._start += len(self._parts)
        self._parts, self._parts_bytes = [], 0
        self._busy = ""
        self._pause_s = 0.0
        self._breaks = self._client.breaks
        named = type(error)(f"{error}; {self.applied} samples of the stream were acknowledged")
        named.applied = self.applied
        return named


def waiting_for(refusal: RequestRefused) -> str:
    """What the daemon does instead, for a message."""
    return "was busy" if refusal.code == "BUSY" else f"refused ({refusal.message})"


def without(batch: Batch, index: int) -> list[Batch]:
    """`batch` less its sample `index`: what stands before it, and what stands behind."""
    if batch.samples == 1:
        return []
    pieces = cut_body(batch.body, index, index + 1)
    del pieces[1 if index else 0]
    return _numbered(batch.start, [(0, index), (index + 1, batch.samples)], pieces)


def halves_of(batch: Batch) -> list[Batch]:
    """`batch` in two."""
    middle = batch.samples // 2
    pieces = cut_body(batch.body, middle)
    return _numbered(batch.start, [(0, middle), (middle, batch.samples)], pieces)


def _numbered(start: int, spans: list[tuple[int, int]], bodies: list[bytes]) -> list[Batch]:
    """The batches of `bodies`, which hold the samples of the `spans` that are not empty."""
    filled = [(first, last) for first, last in spans if first < last]
    return [
        Batch(start + first, last - first, body)
        for (first, last), body in zip(filled, bodies, strict=True)
    ]
