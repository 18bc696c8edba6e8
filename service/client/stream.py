"""A stream of samples to a daemon: batched, pipelined, in order, in bounded memory."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from types import TracebackType
from typing import NoReturn

from onlinesvm.data.batch import Features
from onlinesvm.data.label import Written
from onlinesvm.data.objects import Worse
from onlinesvm.service.client.batches import Cursors
from onlinesvm.service.client.calls import Answer, Calls, Lag
from onlinesvm.service.client.connection import Connection
from onlinesvm.service.client.exactly_once import (
    Delivery,
    ExactlyOnce,
    check_cursors,
    noted_cursor,
)
from onlinesvm.service.client.pipeline import Pipeline, busy_s
from onlinesvm.service.client.pool import Pool
from onlinesvm.service.client.settings import Settings
from onlinesvm.service.errors import (
    DaemonLost,
    DaemonTimeout,
    DaemonUnreachable,
    RequestRefused,
    ServiceError,
)

__all__ = ["Stream"]

_RETRY_PAUSE_S = 0.02
# Called for each sample.
_getpid, _get_ident = os.getpid, threading.get_ident


class Stream:
    """Learns samples one after the other; a context manager that ends with everything learned.

    Belongs to the thread and the process that opened it: any other raises RuntimeError.

    `applied` counts the samples that the daemon has acknowledged. `on_margins(start, margins)` is
    called with the progressive margins, float64[n], of the samples start … start + n − 1 of the
    stream, in the order of acknowledgement, which is the order of the stream unless a batch was
    refused.

    A refused sample is left out, the others of its batch are sent again, and once all that was
    handed over is acknowledged, RequestRefused is raised with `sample`, the index of the refused
    one, and `applied`. The stream can then go on; nothing else was lost. A daemon that is BUSY, or
    whose disk takes nothing, is asked again until `timeout_s` of the client have passed.

    Samples that wait for a batch to fill are sent by `flush`, by leaving the context, or by the
    next `learn` that finds the daemon idle: call `flush` before a long pause.

    Raises DaemonTimeout if nothing is acknowledged for `timeout_s`, DaemonLost if the connection
    breaks; `applied` then says how many are known to be learned, and every sample after them is
    dropped. A stream with a producer's name keeps them, and reconnects: see `ExactlyOnce`.
    """

    def __init__(self, pool: Pool, settings: Settings, delivery: Delivery) -> None:
        self._pool = pool
        self._settings = settings
        self._delivery = delivery
        self._pid, self._thread = os.getpid(), threading.get_ident()
        self._calls = Calls(settings.limits, settings.model)
        self._connection: Connection | None = None
        # True once the connection is ready and a numbered stream has asked how far the daemon is:
        # of this connection, and of any.
        self._is_joined = self._was_joined = False
        self._entered_at = time.monotonic()
        if delivery.producer is not None:
            self._turn(settle=False)  # learns how many samples the daemon has

    def __repr__(self) -> str:
        name = self._delivery.producer
        producer = "" if name is None else f", producer={name!r}"
        return f"<Stream to {self._settings.endpoint}: {self.applied} samples applied{producer}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream belongs to one thread of one process: pickle its client")

    @property
    def applied(self) -> int:
        """Samples that the daemon has acknowledged."""
        return self._delivery.applied

    @property
    def cursor(self) -> bytes | None:
        """The last cursor that the daemon has acknowledged, in earlier runs too; None: none yet."""
        return self._delivery.cursor

    def learn(
        self,
        features: Features,
        label: Written | Worse,
        importance: float = 1.0,
        *,
        cursor: str | bytes | None = None,
    ) -> None:
        """Take one sample. cursor: the place in the producer's source that follows it.

        Raises TypeError, SampleError or LimitError for a sample that cannot be sent, and ValueError
        for such a cursor: the sample is not taken; else as the class says.
        """
        self._check_owner()
        noted = None if cursor is None else noted_cursor(self._delivery, cursor)
        is_due = self._delivery.add(features, label, importance)
        if noted is not None:
            self._delivery.note(noted)
        if is_due:
            self._turn(settle=False)

    def learn_packed(self, body: bytes, samples: int, cursors: Cursors = ()) -> None:
        """Send `body`, a learn request's of `samples` samples; in pieces if it is too large.

        cursors: one for each sample, the place in the producer's source that follows it.
        """
        self._check_owner()
        check_cursors(self._delivery, samples, cursors)
        self._delivery.add_packed(body, samples, cursors)
        self._turn(settle=False)

    def mark(self, cursor: str | bytes) -> None:
        """Have a cursor kept that follows all samples taken so far, and what was left out after
        them. Raises ValueError for one that is none.
        """
        self._check_owner()
        noted = noted_cursor(self._delivery, cursor)
        assert isinstance(self._delivery, ExactlyOnce)
        self._delivery.mark(noted)
        self._turn(settle=False)

    def report_lag(self, lag: Lag) -> None:
        """Report what is left to read in the producer's source, for the daemon's `stats`.

        Nothing is reported while there is no connection. Raises StreamBroken if another client uses
        the producer's name, RequestRefused if the daemon refuses, DaemonTimeout.
        """
        self._check_owner()
        connection, delivery = self._connection, self._delivery
        if isinstance(delivery, Pipeline):
            raise ValueError("expected a stream with a producer's name to report a lag, got none")
        if connection is None or not self._is_joined:
            return
        deadline = time.monotonic() + self._settings.timeout_s
        try:
            with connection.lock:
                id = connection.post(self._calls.lag(delivery.producer, lag), deadline)
                while id is not None:
                    answer = connection.receive(deadline)
                    if answer is None:
                        raise DaemonTimeout(f"no answer to lag from {self._settings.endpoint}")
                    if answer[0].get("id") != id:
                        self._take(connection, answer)
                        continue
                    self._check_unbroken(connection, answer)
                    delivery.take_lag(answer)
                    return
        except DaemonLost:
            pass
        self._is_joined = False  # the next exchange connects again

    def flush(self) -> None:
        """Send all samples taken so far, and wait until they are acknowledged."""
        self._check_owner()
        self._delivery.cut()
        if self._connection is not None or not self._delivery.is_settled:
            self._turn(settle=True)

    def close(self) -> None:
        """`flush`, and give the connection back. The stream may go on with another."""
        self.flush()
        self._leave()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.flush()
            elif not isinstance(error, ServiceError):
                # Samples taken before the error are not lost by it; the error itself goes on.
                with contextlib.suppress(ServiceError):
                    self.flush()
        finally:
            self._leave()

    def _check_owner(self) -> None:
        if self._thread != _get_ident() or self._pid != _getpid():
            where = "process" if self._pid != _getpid() else "thread"
            raise RuntimeError(
                f"expected a stream in the {where} that opened it, got another: a stream belongs to"
                " one thread; open one in each"
            )

    # Connections.

    def _leave(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        self._is_joined = False
        if connection is not None:
            self._pool.give(connection)

    def _join(self, connection: Connection) -> None:
        """Make the connection ready; a numbered stream asks how far the daemon is.

        A numbered stream tries again until `timeout_s` have passed, but for a daemon that it has
        never reached.
        """
        delivery, was_joined = self._delivery, self._was_joined
        self._is_joined = False
        while True:
            try:
                if isinstance(delivery, Pipeline):
                    connection.connect()
                else:
                    call = self._calls.resume(delivery.producer)
                    left_s = max(0.0, self._deadline() - time.monotonic())
                    header = connection.ask(call, left_s)
                    delivery.resumed(header["sequence"], header["samples"], header["cursor"])
            except DaemonLost as error:
                if isinstance(delivery, Pipeline) or self._pool.closed:
                    raise
                if isinstance(error, DaemonUnreachable) and not was_joined:
                    raise
                if time.monotonic() >= self._deadline():
                    raise
                time.sleep(_RETRY_PAUSE_S)
            except RequestRefused as refusal:
                if refusal.code != "BUSY" or time.monotonic() >= self._deadline():
                    raise
                time.sleep(busy_s(refusal))
            else:
                self._is_joined = self._was_joined = True
                return

    # Exchange.

    def _deadline(self) -> float:
        return max(self._delivery.progress_at, self._entered_at) + self._settings.timeout_s

    def _turn(self, *, settle: bool) -> None:
        """Exchange batches and answers with the daemon, and raise a refusal.

        Waits while the window is full; with `settle`, until everything is acknowledged.
        """
        self._entered_at = time.monotonic()
        try:
            if self._connection is None:
                self._connection = self._pool.take()
            with self._connection.lock:
                self._exchange(self._connection, settle)
        except (DaemonLost, DaemonTimeout) as error:
            if isinstance(error, DaemonLost):
                self._leave()
            raise self._delivery.lose(error) from None
        refusal = self._delivery.take_refusal()
        if refusal is not None:
            raise refusal

    def _exchange(self, connection: Connection, settle: bool) -> None:
        while True:
            if not self._is_joined:
                self._join(connection)
            try:
                self._run(connection, settle)
            except DaemonLost:
                if self._delivery.producer is None or time.monotonic() >= self._deadline():
                    raise
                self._is_joined = False
            else:
                return

    def _run(self, connection: Connection, settle: bool) -> None:
        delivery = self._delivery
        while delivery.window and self._receive(connection, 0.0):
            pass
        delivery.cut_if_due()
        while True:
            self._send(connection)
            if delivery.is_settled if settle or delivery.is_refused else not delivery.has_backlog:
                return
            self._wait(connection)

    def _send(self, connection: Connection) -> None:
        """Send the batches that the window has room for."""
        while (batch := self._delivery.next_batch()) is not None:
            # A daemon that comes back may have fewer samples than it had acknowledged.
            id = None
            if not connection.is_broken():
                id = connection.post(
                    self._calls.to_model(self._delivery.call_of(batch)), self._deadline()
                )
            if id is None:
                raise DaemonLost(f"the connection to {self._settings.endpoint} broke")
            self._delivery.sent(id)

    def _wait(self, connection: Connection) -> None:
        """Wait for one answer, or for the end of a pause."""
        deadline, pause = self._deadline(), self._delivery.pause
        pause_until = math.inf if pause.until is None else pause.until
        endpoint, timeout_s = self._settings.endpoint, self._settings.timeout_s
        if pause_until > deadline and pause.until is not None:
            raise DaemonTimeout(f"{endpoint} {pause.reason} for {timeout_s:g} s")
        if not self._receive(connection, min(deadline, pause_until)) and pause_until > deadline:
            raise DaemonTimeout(f"no answer from {endpoint} within {timeout_s:g} s")

    def _receive(self, connection: Connection, deadline: float) -> bool:
        """Take the next answer; False if none came by `deadline`."""
        answer = connection.receive(deadline)
        if answer is None:
            return False
        self._take(connection, answer)
        return True

    def _take(self, connection: Connection, answer: Answer) -> None:
        self._check_unbroken(connection, answer)
        self._delivery.take(answer[0]["id"], answer)

    def _check_unbroken(self, connection: Connection, answer: Answer) -> None:
        """Raise DaemonLost for a refusal that a broken connection explains."""
        if not answer[0]["ok"] and self._delivery.producer is not None and connection.is_broken():
            # The request may have gone out on a connection that does not own the producer.
            raise DaemonLost(f"the connection to {self._settings.endpoint} broke")
