"""One connection to a daemon, shared by the tasks of one event loop.

Waits for the socket's descriptor as zmq.asyncio does, and reads every answer that is there at each
wake-up: with a future for each receive and send, the sockets of zmq.asyncio take a third of that.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import zmq
from zmq.utils.monitor import parse_monitor_message

from onlinesvm.service.client.calls import Answer, Call, checked, frames_of
from onlinesvm.service.client.link import (
    FIRST_ANSWER_S,
    PROBE_S,
    Link,
    Sockets,
    State,
    close_sockets,
    open_sockets,
)
from onlinesvm.service.client.probe import Kind, probe
from onlinesvm.service.client.settings import Settings
from onlinesvm.service.errors import (
    DaemonLost,
    DaemonTimeout,
    DaemonUnreachable,
    RequestRefused,
)
from onlinesvm.service.protocol import parse_reply, refusal_of

__all__ = ["AsyncConnection", "AsyncConnections", "Outcome"]

T = TypeVar("T")
# An answer, or the reason why none can come.
Outcome = Answer | DaemonLost | DaemonTimeout | RequestRefused

# Messages read in one go, before other tasks have their turn.
_TURN_MESSAGES = 256
# As plain integers: combining the library's own flags costs as much as sending a frame.
_NOBLOCK, _POLLIN, _EVENTS = int(zmq.NOBLOCK), int(zmq.POLLIN), int(zmq.EVENTS)


class AsyncConnection:
    """A DEALER to the daemon at `settings.endpoint`; connects at its first use.

    Belongs to the loop that runs when it is made, and to its process.
    """

    def __init__(self, settings: Settings) -> None:
        self.loop = asyncio.get_running_loop()
        self.pid = os.getpid()
        self.closed = False
        self._settings = settings
        self._link = Link(settings)
        self._sockets: Sockets | None = None
        self._connecting = asyncio.Lock()
        self._last_id = 0
        self._has_answered = False
        # By the id of a request: called once, with its answer or the reason why none can come.
        self._awaited: dict[int, Callable[[int, Outcome], object]] = {}
        self._suspicion: asyncio.Task[None] | None = None
        # Set at each event of either socket; for those that wait for room or for a handshake.
        self._changed = asyncio.Event()
        self._is_turn_due = False

    def __repr__(self) -> str:
        return (
            f"<AsyncConnection to {self._settings.endpoint}: {self._link.state.value},"
            f" {len(self._awaited)} requests in flight>"
        )

    # Sockets.

    def _open(self) -> None:
        self._link = Link(self._settings)
        self._has_answered = False
        self._sockets = sockets = open_sockets(self._settings)
        weakref.finalize(self, _close_unused, self.loop, sockets)
        self.loop.add_reader(sockets.dealer, self.turn)
        self.loop.add_reader(sockets.monitor, self.turn)
        self._wake()

    def is_usable(self) -> bool:
        """True if the running loop may use it; False if it is another process's or its loop is
        closed. Raises RuntimeError in another loop.
        """
        if self.pid != os.getpid():
            return False
        if self.loop is asyncio.get_running_loop():
            return not self.closed
        if self.loop.is_closed():
            self.close()
            return False
        raise RuntimeError(
            "expected the event loop that this client is used in, got another: make a client in"
            " each loop"
        )

    def _drop(self, error: DaemonLost) -> None:
        """Close the sockets; requests in flight end with `error`."""
        if self.pid != os.getpid():
            return
        sockets, self._sockets = self._sockets, None
        is_running = not self.loop.is_closed()
        if sockets is not None:
            if is_running:
                self.loop.remove_reader(sockets.dealer)
                self.loop.remove_reader(sockets.monitor)
            close_sockets(sockets)
        awaited, self._awaited = self._awaited, {}
        if is_running:
            for id, take in awaited.items():
                take(id, type(error)(str(error)))
            self._changed.set()

    def close(self) -> None:
        """Close; requests in flight raise DaemonLost. May be called again."""
        self.closed = True
        self._drop(DaemonLost("the client is closed"))

    def is_broken(self) -> bool:
        """True if the connection has broken since it was ready."""
        self._take_events()
        if self._link.state is not State.BROKEN:
            return False
        self._wake()  # for the requests in flight
        return True

    # Events: a descriptor of ZeroMQ is ready when its state changes, so after each send and turn
    # the state itself is read.

    def _wake(self) -> None:
        """Have a turn soon."""
        if not self._is_turn_due:
            self._is_turn_due = True
            self.loop.call_soon(self.turn)

    def turn(self) -> None:
        """Read the events and answers that are there."""
        self._is_turn_due = False
        if self._sockets is None:
            return
        # Answers from before a break are in the socket by now, so they are read after the look.
        is_broken = self.is_broken()
        dealer = self._sockets.dealer
        for _ in range(_TURN_MESSAGES):
            try:
                answer = parse_reply(dealer.recv_multipart(_NOBLOCK))
            except zmq.Again:
                break
            except ValueError as error:
                self._drop(
                    DaemonUnreachable(
                        f"{self._settings.endpoint} answers in another protocol: {error}"
                    )
                )
                return
            self._take(answer)
        else:
            self._wake()
            return
        if is_broken:
            self._drop(DaemonLost(f"the connection to {self._settings.endpoint} broke"))
        self._changed.set()

    def _take_events(self) -> None:
        if self._sockets is not None:
            monitor = self._sockets.monitor
            while int(monitor.getsockopt(_EVENTS)) & _POLLIN:
                frames = monitor.recv_multipart(_NOBLOCK)
                event = parse_monitor_message(frames)
                self._link.take_event(event["event"], event["value"])

    def _take(self, answer: Answer) -> None:
        self._has_answered = True
        header, _ = answer
        id = header.get("id")
        if id is None and not header["ok"]:
            # The daemon could not read the id: the oldest request is the one it refused.
            for oldest in list(self._awaited)[:1]:
                self._awaited.pop(oldest)(oldest, refusal_of(header))
            return
        if isinstance(id, int) and id in self._awaited:
            self._awaited.pop(id)(id, answer)

    async def _change(self, within_s: float) -> None:
        """Wait for an event of either socket, at most so long."""
        self._changed.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    # Requests.

    async def connect(self) -> None:
        """Make the connection ready, with new sockets unless it is.

        Raises DaemonUnreachable if that is impossible, DaemonLost if it breaks at once.
        """
        # A break since the last turn of the loop is met by the request itself, as DaemonLost.
        if self._sockets is not None and self._link.state is State.READY:
            return
        async with self._connecting:
            while self._sockets is None or self._link.state is not State.READY:
                await self._try_to_connect()

    async def _try_to_connect(self) -> None:
        self._check_open()
        self._drop(DaemonLost(f"the connection to {self._settings.endpoint} broke"))
        self._open()
        link = self._link
        try:
            while link.state is not State.READY:
                wait_s = link.step(time.monotonic())
                if wait_s:
                    await self._change(wait_s)
                else:
                    found = await asyncio.to_thread(probe, self._settings.endpoint, PROBE_S)
                    link.take_finding(found)
                self._check_open()
                self._take_events()
            self.loop.call_later(FIRST_ANSWER_S, self._suspect)
        except BaseException:
            self._drop(DaemonLost(f"no connection to {self._settings.endpoint}"))
            raise

    def _check_open(self) -> None:
        if self.closed:
            raise DaemonLost("the client is closed")

    async def ask(self, call: Call[T], timeout_s: float) -> T:
        """Send a request and wait for its answer. A task that is cancelled ignores its answer.

        Raises RequestRefused, DaemonTimeout, DaemonLost.
        """
        id, frames = self._encode(call)
        await self.connect()
        future: asyncio.Future[Answer] = self.loop.create_future()

        def take(id: int, outcome: Outcome) -> None:
            if not future.done():
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

        deadline = time.monotonic() + timeout_s
        while not await self._send(id, frames, take, deadline):
            await self.connect()
        late = DaemonTimeout(
            f"no answer to {call.op} from {self._settings.endpoint} within {timeout_s:g} s"
        )
        expiry = self.loop.call_later(max(0.0, deadline - time.monotonic()), take, id, late)
        try:
            answer = await future
        finally:
            expiry.cancel()
            self._awaited.pop(id, None)
        return call.read(checked(answer))

    async def post(
        self, call: Call[Any], take: Callable[[int, Outcome], object], deadline: float
    ) -> int | None:
        """Send a request whose outcome `take` is called with, after its id; the id. None if the
        connection broke before it was sent.

        Raises DaemonTimeout if the daemon does not take it by `deadline`.
        """
        id, frames = self._encode(call)
        return id if await self._send(id, frames, take, deadline) else None

    def _encode(self, call: Call[Any]) -> tuple[int, tuple[bytes, ...]]:
        """The id and the frames of a request. Raises LimitError."""
        self._last_id += 1
        settings = self._settings
        return self._last_id, frames_of(call, self._last_id, settings.limits)

    async def _send(
        self,
        id: int,
        frames: tuple[bytes, ...],
        take: Callable[[int, Outcome], object],
        deadline: float,
    ) -> bool:
        """Send a request; False if the connection broke before it was sent."""
        while True:
            self._check_open()
            if self._sockets is None:
                return False
            try:
                self._sockets.dealer.send_multipart(frames, _NOBLOCK)
            except zmq.Again:
                if self.is_broken():
                    return False
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise DaemonTimeout(
                        f"the daemon at {self._settings.endpoint} did not take a request in time"
                    ) from None
                await self._change(left_s)
            else:
                self._awaited[id] = take
                self._wake()
                return True

    def _suspect(self) -> None:
        """Probe a peer that has not answered its first request: it may be another service."""
        if self._awaited and not self._has_answered:
            self._suspicion = self.loop.create_task(self._probe())

    async def _probe(self) -> None:
        sockets = self._sockets
        finding = await asyncio.to_thread(probe, self._settings.endpoint, PROBE_S)
        if finding.kind is Kind.OTHER and not self._has_answered and sockets is self._sockets:
            self._drop(
                DaemonUnreachable(
                    f"expected a daemon at {self._settings.endpoint}, got {finding.text}"
                )
            )


def _close_unused(loop: asyncio.AbstractEventLoop, sockets: Sockets) -> None:
    """Close the sockets of a forgotten connection, or at exit those that no loop waits for."""
    if not loop.is_running():
        close_sockets(sockets)


class AsyncConnections:
    """The connections of one client: one that its requests share, one for each stream.

    Belongs to one event loop at a time: another may follow once the first is closed.
    """

    def __init__(self, settings: Settings) -> None:
        self.closed = False
        self._settings = settings
        self._shared: AsyncConnection | None = None
        self._all: weakref.WeakSet[AsyncConnection] = weakref.WeakSet()

    def shared(self) -> AsyncConnection:
        """The connection of the requests. Raises DaemonLost if the client is closed, RuntimeError
        in another loop than the first that still runs.
        """
        connection = self._shared
        if connection is not None and connection.is_usable():
            return connection
        self._shared = self.open()
        return self._shared

    def open(self) -> AsyncConnection:
        """A new connection of this loop. Raises DaemonLost if the client is closed."""
        if self.closed:
            raise DaemonLost("the client is closed")
        connection = AsyncConnection(self._settings)
        self._all.add(connection)
        return connection

    def close(self) -> None:
        """Close all connections."""
        self.closed = True
        for connection in list(self._all):
            connection.close()
