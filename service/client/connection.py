"""One connection to a daemon, used by one thread at a time."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import zmq
from zmq.utils.monitor import recv_monitor_message

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
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, DaemonUnreachable
from onlinesvm.service.protocol import parse_reply, refusal_of

__all__ = ["Connection"]

T = TypeVar("T")

# While a thread waits, another may close the client: it looks this often.
_LOOK_EVERY_S = 0.1


class Connection:
    """A DEALER to the daemon at `settings.endpoint`; connects at its first use.

    `lock` is held while a thread uses it. `is_closing` is true once its client is closed.
    """

    def __init__(self, settings: Settings, is_closing: Callable[[], bool]) -> None:
        self.lock = threading.Lock()
        self._settings = settings
        self._is_closing = is_closing
        self._last_id = 0
        self._has_answered = False
        self._link = Link(settings)
        self._sockets: Sockets | None = None

    def __repr__(self) -> str:
        return f"<Connection to {self._settings.endpoint}: {self._link.state.value}>"

    def _open(self) -> Sockets:
        self._link = Link(self._settings)
        self._sockets = open_sockets(self._settings)
        # A client that is not closed must not keep its process from ending.
        weakref.finalize(self, _close_unused, self.lock, self._sockets)
        return self._sockets

    def close(self) -> None:
        """Close; messages not yet sent are dropped. May be called again."""
        if self._sockets is not None:
            close_sockets(self._sockets)
            self._sockets = None

    def is_broken(self) -> bool:
        """True if the connection has broken since it was ready."""
        self._take_events()
        return self._link.state is State.BROKEN

    def _is_ready(self) -> bool:
        return self._sockets is not None and self._link.state is State.READY

    def _take_events(self) -> None:
        if self._sockets is not None:
            while self._sockets.monitor.poll(0):
                event = recv_monitor_message(self._sockets.monitor)
                self._link.take_event(event["event"], event["value"])

    def _check_open(self) -> None:
        if self._is_closing():
            self.close()
            raise DaemonLost("the client is closed")

    def _opened(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """The DEALER and its monitor. Raises DaemonLost if they are closed."""
        self._check_open()
        if self._sockets is None:
            raise DaemonLost(f"the connection to {self._settings.endpoint} broke")
        return self._sockets.dealer, self._sockets.monitor

    def connect(self) -> None:
        """Make the connection ready, with new sockets unless it is.

        ZeroMQ would connect the old socket again by itself, but reports the break a moment before
        it removes the dead connection: a request sent in between would be lost without an error.

        Raises DaemonUnreachable if that is impossible, DaemonLost if it breaks at once.
        """
        self._check_open()
        self._take_events()
        if self._is_ready():
            return
        self.close()
        self._has_answered = False
        sockets = self._open()
        while not self._is_ready():
            wait_s = self._link.step(time.monotonic())
            if wait_s:
                sockets.monitor.poll(_milliseconds(min(wait_s, _LOOK_EVERY_S)))
            else:
                self._link.take_finding(probe(self._settings.endpoint, PROBE_S))
            self._check_open()
            self._take_events()

    def ask(self, call: Call[T], timeout_s: float) -> T:
        """Send a request and wait for its answer.

        Raises RequestRefused, DaemonTimeout, DaemonLost.
        """
        id, frames = self._encode(call)
        self.connect()
        deadline = time.monotonic() + timeout_s
        while not self._send(frames, deadline):
            self.connect()
        while True:
            answer = self.receive(deadline)
            if answer is None:
                raise DaemonTimeout(
                    f"no answer to {call.op} from {self._settings.endpoint} within {timeout_s:g} s"
                )
            if answer[0].get("id") == id:
                return call.read(checked(answer))

    def post(self, call: Call[Any], deadline: float) -> int | None:
        """Send a request; its id, None if the connection broke before it was sent.

        Raises DaemonTimeout if the daemon does not take it by `deadline`.
        """
        id, frames = self._encode(call)
        return id if self._send(frames, deadline) else None

    def _encode(self, call: Call[Any]) -> tuple[int, tuple[bytes, ...]]:
        """The id and the frames of a request. Raises LimitError."""
        self._last_id += 1
        settings = self._settings
        return self._last_id, frames_of(call, self._last_id, settings.limits)

    def _send(self, frames: tuple[bytes, ...], deadline: float) -> bool:
        """Send a request; False if the connection broke before it was sent."""
        while True:
            dealer, monitor = self._opened()
            try:
                dealer.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                if self.is_broken():
                    return False
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise DaemonTimeout(
                        f"the daemon at {self._settings.endpoint} did not take a request in time"
                    ) from None
                zmq.zmq_poll(
                    [(dealer, zmq.POLLOUT), (monitor, zmq.POLLIN)],
                    _milliseconds(min(left_s, _LOOK_EVERY_S)),
                )
            else:
                return True

    def receive(self, deadline: float) -> Answer | None:
        """The next answer, None if none came by `deadline`.

        Raises DaemonLost if the connection has broken and no answer from before is left, and
        RequestRefused if the daemon could not read the id of a request.
        """
        suspect_at = deadline
        if not self._has_answered:
            suspect_at = min(deadline, time.monotonic() + FIRST_ANSWER_S)
        while True:
            dealer, monitor = self._opened()
            # Answers from before a break are in the socket by now, so read after the look.
            is_broken = self.is_broken()
            try:
                answer = parse_reply(dealer.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                pass
            except ValueError as error:
                self.close()
                self._link.state = State.BROKEN
                raise DaemonUnreachable(
                    f"{self._settings.endpoint} answers in another protocol: {error}"
                ) from None
            else:
                self._has_answered = True
                if answer[0].get("id") is None and not answer[0]["ok"]:
                    raise refusal_of(answer[0])
                return answer
            if is_broken:
                raise DaemonLost(f"the connection to {self._settings.endpoint} broke")
            now = time.monotonic()
            if now >= deadline:
                return None
            if now >= suspect_at:
                suspect_at = deadline
                self._probe(min(PROBE_S, deadline - now))
                continue
            zmq.zmq_poll(
                [(dealer, zmq.POLLIN), (monitor, zmq.POLLIN)],
                _milliseconds(min(suspect_at - now, _LOOK_EVERY_S)),
            )

    def _probe(self, within_s: float) -> None:
        """Raise DaemonUnreachable if the peer is another service."""
        finding = probe(self._settings.endpoint, within_s)
        if finding.kind is Kind.OTHER:
            raise DaemonUnreachable(
                f"expected a daemon at {self._settings.endpoint}, got {finding.text}"
            )


def _close_unused(lock: threading.Lock, sockets: Sockets) -> None:
    """Close the sockets of a forgotten connection, or at exit those that no thread waits for."""
    if os.getpid() == sockets.pid and lock.acquire(blocking=False):
        close_sockets(sockets)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000) + 1
