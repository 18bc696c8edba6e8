"""A stream of samples for asyncio: the pipeline of `stream`, awaited."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from types import TracebackType
from typing import NoReturn

from onlinesvm.data.batch import Features
from onlinesvm.data.label import Written
from onlinesvm.data.objects import Worse
from onlinesvm.service.client.async_connection import AsyncConnection, AsyncConnections, Outcome
from onlinesvm.service.client.batches import Cursors
from onlinesvm.service.client.calls import Answer, Calls, Lag
from onlinesvm.service.client.exactly_once import (
    Delivery,
    ExactlyOnce,
    check_cursors,
    noted_cursor,
)
from onlinesvm.service.client.pipeline import Pipeline, busy_s
from onlinesvm.service.client.settings import Settings
from onlinesvm.service.errors import (
    DaemonLost,
    DaemonTimeout,
    DaemonUnreachable,
    RequestRefused,
    ServiceError,
)

__all__ = ["AsyncStream"]

_RETRY_PAUSE_S = 0.02


class AsyncStream:
    """`Stream` for asyncio: the same methods, awaited. Tasks of its loop may share it.

    A numbered stream knows `applied` once its context is entered, or after the first `learn`.
    """

    def __init__(
        self, connections: AsyncConnections, settings: Settings, delivery: Delivery
    ) -> None:
        self._connections = connections
        self._settings = settings
        self._delivery = delivery
        self._calls = Calls(settings.limits, settings.model)
        self._connection: AsyncConnection | None = None
        # As in Stream: of this connection, and of any.
        self._is_joined = self._was_joined = False
        self._entered_at = time.monotonic()
        self._turns = asyncio.Lock()
        self._outcomes: deque[tuple[int, Outcome]] = deque()
        self._arrived = asyncio.Event()

    def __repr__(self) -> str:
        name = self._delivery.producer
        producer = "" if name is None else f", producer={name!r}"
        return (
            f"<AsyncStream to {self._settings.endpoint}: {self.applied} samples applied{producer}>"
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream belongs to one event loop of one process")

    @property
    def applied(self) -> int:
        """Samples that the daemon has acknowledged."""
        return self._delivery.applied

    @property
    def cursor(self) -> bytes | None:
        """The last cursor that the daemon has acknowledged, in earlier runs too; None: none yet."""
        return self._delivery.cursor

    async def learn(
        self,
        features: Features,
        label: Written | Worse,
        importance: float = 1.0,
        *,
        cursor: str | bytes | None = None,
    ) -> None:
        """Take one sample. cursor: the place in the producer's source that follows it.

        Raises as `Stream.learn` does.
        """
        noted = None if cursor is None else noted_cursor(self._delivery, cursor)
        self._check_loop()
        if self._delivery.producer is not None and not self._was_joined:
            await self._turn(settle=False)  # indices count from the producer's first sample
        is_due = self._delivery.add(features, label, importance)
        if noted is not None:
            self._delivery.note(noted)
        if is_due:
            await self._turn(settle=False)

    async def learn_packed(self, body: bytes, samples: int, cursors: Cursors = ()) -> None:
        """Send `body`, a learn request's of `samples` samples; in pieces if it is too large.

        cursors: one for each sample, the place in the producer's source that follows it.
        """
        self._check_loop()
        check_cursors(self._delivery, samples, cursors)
        if self._delivery.producer is not None and not self._was_joined:
            await self._turn(settle=False)
        self._delivery.add_packed(body, samples, cursors)
        await self._turn(settle=False)

    async def mark(self, cursor: str | bytes) -> None:
        """Have a cursor kept that follows all samples taken so far. Raises as `Stream.mark`."""
        self._check_loop()
        noted = noted_cursor(self._delivery, cursor)
        assert isinstance(self._delivery, ExactlyOnce)
        if not self._was_joined:
            await self._turn(settle=False)
        self._delivery.mark(noted)
        await self._turn(settle=False)

    async def report_lag(self, lag: Lag) -> None:
        """Report what is left to read in the producer's source. Raises as `Stream.report_lag`."""
        self._check_loop()
        delivery = self._delivery
        if isinstance(delivery, Pipeline):
            raise ValueError("expected a stream with a producer's name to report a lag, got none")
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def take(_: int, outcome: Outcome) -> None:
            if not answered.done():
                answered.set_result(outcome)

        timeout_s = self._settings.timeout_s
        async with self._turns:
            connection = self._connection
            if connection is None or not self._is_joined:
                return
            call = self._calls.lag(delivery.producer, lag)
            id = await connection.post(call, take, time.monotonic() + timeout_s)
            if id is None:
                self._is_joined = False
                return
            try:
                async with asyncio.timeout(timeout_s):
                    outcome = await answered
            except TimeoutError:
                raise DaemonTimeout(
                    f"no answer to lag from {self._settings.endpoint} within {timeout_s:g} s"
                ) from None
            if isinstance(outcome, Exception) or self._is_explained(connection, outcome):
                self._is_joined = False  # the next exchange connects again
                return
        delivery.take_lag(outcome)

    async def flush(self) -> None:
        """Send all samples taken so far, and wait until they are acknowledged."""
        self._check_loop()
        self._delivery.cut()
        if self._connection is not None or not self._delivery.is_settled:
            await self._turn(settle=True)

    async def close(self) -> None:
        """`flush`, and close the connection. The stream may go on with another."""
        await self.flush()
        self._leave()

    async def __aenter__(self) -> AsyncStream:
        if self._delivery.producer is not None:
            await self._turn(settle=False)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await self.flush()
            elif isinstance(error, Exception) and not isinstance(error, ServiceError):
                # Samples taken before the error are not lost by it; the error itself goes on.
                with contextlib.suppress(ServiceError):
                    await self.flush()
        finally:
            self._leave()

    def _check_loop(self) -> None:
        if self._connection is not None and not self._connection.is_usable():
            if self._connection.closed:
                return  # reported as such by the next turn
            raise RuntimeError(
                "expected a stream in the process that opened it, got another: open one in each"
            )

    # Connections.

    def _leave(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        self._is_joined = False
        if connection is not None:
            connection.close()
        self._outcomes.clear()

    async def _join(self, connection: AsyncConnection) -> None:
        """Make the connection ready; a numbered stream asks how far the daemon is.

        A numbered stream tries again until `timeout_s` have passed, but for a daemon that it has
        never reached.
        """
        delivery, was_joined = self._delivery, self._was_joined
        self._is_joined = False
        while True:
            try:
                if isinstance(delivery, Pipeline):
                    await connection.connect()
                else:
                    call = self._calls.resume(delivery.producer)
                    left_s = max(0.0, self._deadline() - time.monotonic())
                    header = await connection.ask(call, left_s)
                    self._outcomes.clear()
                    delivery.resumed(header["sequence"], header["samples"], header["cursor"])
            except DaemonLost as error:
                if isinstance(delivery, Pipeline) or connection.closed:
                    raise
                if isinstance(error, DaemonUnreachable) and not was_joined:
                    raise
                if time.monotonic() >= self._deadline():
                    raise
                await asyncio.sleep(_RETRY_PAUSE_S)
            except RequestRefused as refusal:
                if refusal.code != "BUSY" or time.monotonic() >= self._deadline():
                    raise
                await asyncio.sleep(busy_s(refusal))
            else:
                self._outcomes.clear()
                self._is_joined = self._was_joined = True
                return

    # Exchange.

    def _deadline(self) -> float:
        return max(self._delivery.progress_at, self._entered_at) + self._settings.timeout_s

    async def _turn(self, *, settle: bool) -> None:
        """Exchange batches and answers with the daemon, and raise a refusal.

        Waits while the window is full; with `settle`, until everything is acknowledged.
        """
        async with self._turns:
            self._entered_at = time.monotonic()
            try:
                if self._connection is None:
                    self._connection = self._connections.open()
                await self._exchange(self._connection, settle)
            except (DaemonLost, DaemonTimeout) as error:
                if isinstance(error, DaemonLost):
                    self._leave()
                raise self._delivery.lose(error) from None
            refusal = self._delivery.take_refusal()
        if refusal is not None:
            raise refusal

    async def _exchange(self, connection: AsyncConnection, settle: bool) -> None:
        while True:
            if not self._is_joined:
                await self._join(connection)
            try:
                await self._run(connection, settle)
            except DaemonLost:
                if self._delivery.producer is None or time.monotonic() >= self._deadline():
                    raise
                self._is_joined = False
            else:
                return

    async def _run(self, connection: AsyncConnection, settle: bool) -> None:
        delivery = self._delivery
        connection.turn()
        await asyncio.sleep(0)  # other tasks have their turn
        self._take_outcomes(connection)
        delivery.cut_if_due()
        while True:
            await self._send(connection)
            if delivery.is_settled if settle or delivery.is_refused else not delivery.has_backlog:
                return
            await self._wait(connection)

    async def _send(self, connection: AsyncConnection) -> None:
        """Send the batches that the window has room for."""
        delivery = self._delivery
        while (batch := delivery.next_batch()) is not None:
            # A daemon that comes back may have fewer samples than it had acknowledged.
            id = None
            if not connection.is_broken():
                call = self._calls.to_model(delivery.call_of(batch))
                id = await connection.post(call, self._arrive, self._deadline())
            if id is None:
                raise DaemonLost(f"the connection to {self._settings.endpoint} broke")
            delivery.sent(id)

    async def _wait(self, connection: AsyncConnection) -> None:
        """Wait for an answer, or for the end of a pause."""
        deadline, pause = self._deadline(), self._delivery.pause
        pause_until = math.inf if pause.until is None else pause.until
        endpoint, timeout_s = self._settings.endpoint, self._settings.timeout_s
        if pause_until > deadline and pause.until is not None:
            raise DaemonTimeout(f"{endpoint} {pause.reason} for {timeout_s:g} s")
        if not self._outcomes:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(deadline, pause_until) - time.monotonic()):
                    await self._arrived.wait()
        if not self._take_outcomes(connection) and pause_until > deadline:
            raise DaemonTimeout(f"no answer from {endpoint} within {timeout_s:g} s")

    def _arrive(self, id: int, outcome: Outcome) -> None:
        self._outcomes.append((id, outcome))
        self._arrived.set()

    def _take_outcomes(self, connection: AsyncConnection) -> bool:
        """Take the outcomes that are there; False if there were none."""
        is_any = bool(self._outcomes)
        while self._outcomes:
            id, outcome = self._outcomes.popleft()
            if isinstance(outcome, Exception):
                raise outcome
            if self._is_explained(connection, outcome):
                raise DaemonLost(f"the connection to {self._settings.endpoint} broke")
            self._delivery.take(id, outcome)
        return is_any

    def _is_explained(self, connection: AsyncConnection, answer: Answer) -> bool:
        """True for a refusal that a broken connection explains: the request may have gone out on
        one that does not own the producer.
        """
        is_numbered = self._delivery.producer is not None
        return not answer[0]["ok"] and is_numbered and connection.is_broken()
