"""One client's connection: a DEALER that knows when its daemon is there and when it has left.

ZMQ_IMMEDIATE keeps requests from being queued for a daemon that is not there (and applied when it
comes back, long after their sender gave up); the socket monitor tells of a broken connection at
once, where a deadline would have to run out.
"""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Callable
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from onlinesvm.errors import ConfigError
from onlinesvm.service.errors import DaemonLost, DaemonTimeout
from onlinesvm.service.protocol import parse_reply

__all__ = ["Answer", "Connection"]

Answer = tuple[dict[str, Any], bytes]

# A limit on what is sent bounds margins, but not figures: however low it is, they come through.
_LEAST_REPLY_BYTES = 2**20
# What connecting may take before a word is said.
_PATIENCE_S = 0.5


class Connection:
    """A DEALER to `endpoint`. Raises ConfigError if that is no endpoint. Not thread-safe."""

    def __init__(self, endpoint: str, max_message_bytes: int) -> None:
        self.endpoint = endpoint
        self._max_message_bytes = max_message_bytes
        self.renewals = 0
        self._open()

    def _open(self) -> None:
        self._broken = False
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.immediate = True
        self._socket.maxmsgsize = max(2 * self._max_message_bytes, _LEAST_REPLY_BYTES)
        self._socket.tcp_keepalive = 1
        self._socket.reconnect_ivl = 50
        self._socket.reconnect_ivl_max = 1000
        self._socket.ipv6 = "[" in self.endpoint
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        # A client that nobody closed must not keep its process from ending.
        self._close = weakref.finalize(
            self, _close, os.getpid(), self._context, self._socket, self._monitor
        )
        try:
            self._socket.connect(self.endpoint)
        except (zmq.ZMQError, UnicodeError) as error:
            self.close()
            why = "no UTF-8" if isinstance(error, UnicodeError) else zmq.strerror(error.errno or 0)
            raise ConfigError(
                f"endpoint: expected tcp://HOST:PORT or ipc://PATH, got {self.endpoint!r} ({why})"
            ) from None

    def close(self) -> None:
        """Close; what was not sent is dropped. May be called again."""
        self._close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return bool(self._socket.closed)

    def is_broken(self) -> bool:
        """Whether the connection has broken since it was opened or renewed."""
        while self._monitor.poll(0):
            recv_monitor_message(self._monitor)
            self._broken = True
        return self._broken

    def renew(self) -> None:
        """Go on after a break, with a socket of its own.

        ZeroMQ would connect the old one anew by itself, but tells of the break a moment before it
        takes the dead connection away: a request sent in between is lost without a word.
        """
        self.close()
        self.renewals += 1
        self._open()

    def send(
        self, frames: tuple[bytes, ...], deadline: float, on_waiting: Callable[[], None]
    ) -> bool:
        """Send, by `deadline` (time.monotonic()); False if the connection broke before it could.

        `on_waiting` is called where that has taken half a second, and a daemon is not there yet.

        Raises DaemonTimeout if no daemon takes it.
        """
        patience = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._socket.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                if self.is_broken():
                    return False
                now = time.monotonic()
                left_s = deadline - now
                if now >= patience:
                    patience = math.inf
                    on_waiting()
                if left_s <= 0:
                    raise DaemonTimeout(
                        f"no daemon took a request at {self.endpoint} in time; is one running?"
                    ) from None
                zmq.zmq_poll(
                    [(self._socket, zmq.POLLOUT), (self._monitor, zmq.POLLIN)],
                    int(min(left_s, patience - now) * 1000) + 1,
                )
            else:
                return True

    def receive(self, deadline: float) -> Answer | None:
        """The next answer, None if none came by `deadline`.

        Raises DaemonLost where the connection has broken and nothing more can come from before, or
        was closed.
        """
        if self.closed:
            raise DaemonLost("the client is closed")
        while True:
            # Answers from before a break are in the socket already, so it is asked after the look.
            broken = self.is_broken()
            try:
                return parse_reply(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                pass
            except ValueError as error:
                raise DaemonLost(f"{self.endpoint} answers in another protocol: {error}") from None
            if broken:
                self.renew()
                raise DaemonLost(f"the connection to {self.endpoint} broke")
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            zmq.zmq_poll(
                [(self._socket, zmq.POLLIN), (self._monitor, zmq.POLLIN)], int(left_s * 1000) + 1
            )


def _close(
    pid: int, context: zmq.Context[Any], socket: zmq.Socket[Any], monitor: zmq.Socket[Any]
) -> None:
    if os.getpid() != pid:
        return  # a fork's copy: the sockets are its parent's
    socket.disable_monitor()
    monitor.close()
    socket.close()
    context.term()
