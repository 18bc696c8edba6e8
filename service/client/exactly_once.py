"""A stream under a producer's name: every sample is learned exactly once, whatever breaks."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onlinesvm.service.client.connection import Answer
from onlinesvm.service.client.stream import WAITING, Batch, Stream, halves_of, waiting_for, without
from onlinesvm.service.errors import (
    DaemonLost,
    DaemonTimeout,
    RequestRefused,
    ServiceError,
    StreamBroken,
)
from onlinesvm.service.protocol import decode_margins, refusal_of

if TYPE_CHECKING:
    from onlinesvm.service.client.client import Client

__all__ = ["NumberedStream"]

_RECONNECT_PAUSE_S = 0.02
_NUMBERING_BYTES = 64


class NumberedStream(Stream):
    """A stream whose requests are numbered, and which goes on after whatever broke.

    `applied` counts the samples that the daemon has learned of this producer, in earlier lives too:
    a producer that starts again leaves out so many of its samples and goes on behind them. Indices
    of samples count from the producer's first one.

    After a lost connection or a restarted daemon it asks for the last sequence, takes what was
    applied as acknowledged (its margins are lost: `on_margins` is not called for it), and sends the
    rest again.

    A refused sample is left out, and what comes behind it waits: RequestRefused is raised once all
    before it is learned, and nothing behind it is. The next call goes on behind it. It does not
    count in `applied`: a producer that starts again has to leave it out as well.

    Raises DaemonTimeout where nothing is acknowledged for `timeout_s`; a later call goes on from
    there. Raises StreamBroken where it cannot go on: somebody else uses the producer's name, or
    the daemon does not know what it had acknowledged.
    """

    def __init__(
        self,
        client: Client,
        producer: str | bytes,
        on_margins: Callable[[int, NDArray[np.float64]], None] | None,
    ) -> None:
        super().__init__(client, on_margins)
        self.producer = producer
        self._producer_bytes = len(producer.encode() if isinstance(producer, str) else producer)
        self._sequence = 0  # the last that was acknowledged
        self._most_sent = 0  # the last that was ever sent
        # After a refusal all that is under way behind it is refused as well; it is sent again, in
        # order, once nothing is under way.
        self._is_rewinding = False
        self._rewound: list[Batch] = []
        # How many of what waits in `_again` may be sent before a refusal is raised; None: all.
        self._may_send: int | None = None
        self._failure: StreamBroken | None = None
        known = self._asked()
        self._sequence = self._most_sent = known["sequence"]
        self.applied = self._start = known["samples"]

    # Connections.

    def _asked(self) -> dict[str, int]:
        """What the daemon knows of the producer, asked on a connection that is its owner now."""
        while True:
            try:
                header, _ = self._client.request(
                    "resume", deadline=self._deadline(), producer=self.producer
                )
            except DaemonLost as error:
                if self._client.closed or time.monotonic() > self._deadline():
                    raise self._lost(error) from None
                time.sleep(_RECONNECT_PAUSE_S)
            except DaemonTimeout as error:
                raise self._lost(error) from None
            else:
                self._renewals = self._client.renewals
                return header

    def _reconnect(self) -> None:
        """Go on after a break: ask what was applied, and send the rest again."""
        for id in self._under_way:
            self._client.forget(id)
        self._again.extendleft(reversed([*self._rewound, *self._under_way.values()]))
        self._rewound, self._is_rewinding, self._busy = [], False, ""
        self._under_way.clear()
        self._under_way_bytes = 0
        known = self._asked()
        applied = known["sequence"] - self._sequence
        if applied < 0:
            raise self._broken(
                f"the daemon knows of sequence {known['sequence']}, but has acknowledged"
                f" {self._sequence}: it has forgotten the producer, or lost what it had"
            )
        if known["sequence"] > self._most_sent:
            raise self._broken(
                f"the daemon knows of sequence {known['sequence']}, but only {self._most_sent} were"
                " sent: another client uses this name"
            )
        for _ in range(applied):
            batch = self._again.popleft()
            self._acknowledge(batch)
            if self._may_send:
                self._may_send -= 1
        if known["samples"] != self.applied:
            raise self._broken(
                f"the daemon has applied {known['samples']} samples, and {self.applied} were sent:"
                " another client uses this name"
            )

    def _broken(self, why: str) -> StreamBroken:
        self._failure = StreamBroken(
            f"producer {self.producer!r}: {why}; {self.applied} samples are known to be learned",
            self.applied,
        )
        return self._failure

    def _lost(self, error: DaemonLost | DaemonTimeout) -> DaemonLost | DaemonTimeout:
        named = type(error)(f"{error}; {self.applied} samples of the stream were acknowledged")
        named.applied = self.applied
        return named

    def _check_connection(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._entered_at = time.monotonic()
        if self._renewals != self._client.renewals:
            self._reconnect()

    # Sending, in order.

    def _most_bytes(self) -> int:
        return super()._most_bytes() - self._producer_bytes - _NUMBERING_BYTES

    def _send(self, batch: Batch) -> None:
        if not batch.samples:
            return
        self._again.append(batch)
        self._send_again()
        while self._again and not self._refused:
            if self._under_way:
                self._wait()
            else:
                self._send_again()
        self._look()

    def _has_room(self, batch: Batch) -> bool:
        return not self._under_way or super()._has_room(batch)

    def _send_again(self) -> None:
        """Send what waits, as far as the window has room."""
        if self._is_rewinding:
            if self._under_way:
                return
            self._again.extendleft(reversed(self._rewound))
            self._rewound, self._is_rewinding = [], False
            self._pause()
        while self._again and self._may_send != 0 and self._has_room(self._again[0]):
            self._post(self._again[0])

    def _post(self, batch: Batch) -> None:
        """Send the first of what waits."""
        batch.sequence = self._sequence + len(self._under_way) + 1
        batch.is_first = batch.sequence > self._most_sent
        self._most_sent = max(self._most_sent, batch.sequence)
        try:
            id = self._client.post(
                "learn",
                batch.body,
                self._take,
                self._deadline(),
                producer=self.producer,
                sequence=batch.sequence,
            )
        except DaemonTimeout as error:
            raise self._lost(error) from None
        except DaemonLost:
            self._reconnect()
            return
        self._again.popleft()
        if self._may_send:
            self._may_send -= 1
        self._under_way[id] = batch
        self._under_way_bytes += len(batch.body)
        if self._renewals != self._client.renewals:
            self._reconnect()  # it went out on a connection that does not own the producer

    # Answers.

    def _receive(self, deadline: float) -> bool:
        try:
            received = self._client.receive(deadline)
        except DaemonLost:
            self._reconnect()
            received = True
        if self._failure is not None:
            raise self._failure
        return received

    def _settle(self) -> None:
        while self._under_way or self._is_rewinding or (self._again and self._may_send != 0):
            if self._under_way:
                self._wait()
            else:
                self._send_again()

    def _acknowledge(self, batch: Batch, margins: NDArray[np.float64] | None = None) -> None:
        self._sequence += 1
        self._pause_s = 0.0
        self._progress_at = time.monotonic()
        self.applied += batch.samples
        if margins is not None and self._on_margins is not None:
            self._on_margins(batch.start, margins)

    def _take(self, id: int, answer: Answer) -> None:
        batch = self._under_way.pop(id)
        self._under_way_bytes -= len(batch.body)
        header, body = answer
        if not header["ok"]:
            self._take_refusal(batch, refusal_of(header))
        elif self._is_rewinding or batch.sequence != self._sequence + 1:
            self._broken(f"sequence {batch.sequence} was applied before the one before it")
        elif not header.get("duplicate"):
            self._acknowledge(batch, decode_margins(body))
        elif batch.is_first:
            self._broken(
                f"sequence {batch.sequence} was applied before it was sent: another client uses"
                " this name"
            )
        else:
            self._acknowledge(batch)

    def _take_refusal(self, batch: Batch, refusal: RequestRefused) -> None:
        if self._is_rewinding:
            self._rewound.append(batch)
            return
        self._is_rewinding = True
        self._rewound = [batch]
        if refusal.code in WAITING:
            self._busy = waiting_for(refusal)
        elif refusal.code == "SEQUENCE_GAP":
            if not self._client.is_broken():  # else it is the answer of another connection
                self._broken(refusal.message)
        else:
            self._rewound = self._without_fault(batch, refusal)

    def _without_fault(self, batch: Batch, refusal: RequestRefused) -> list[Batch]:
        """What remains of `batch`; what is behind its faulty sample waits for the exception."""
        faulty = re.match(r"\$\[(\d+)\]", refusal.at or "")
        if not faulty and refusal.code == "TOO_LARGE" and batch.samples > 1:
            return halves_of(batch)
        index = int(faulty[1]) if faulty else 0
        refusal.sample = batch.start + index
        if faulty:
            pieces = without(batch, index)
        else:
            pieces = []
            if batch.samples > 1:
                refusal.message += f" (with the {batch.samples - 1} samples after it)"
        self._refused.append(refusal)
        self._may_send = 1 if index else 0
        return pieces

    def _raise_refused(self) -> None:
        if self._refused:
            try:
                super()._raise_refused()
            finally:
                if not self._refused:
                    self._may_send = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.flush()
        elif not isinstance(error, ServiceError):
            with contextlib.suppress(ServiceError):
                self.flush()
