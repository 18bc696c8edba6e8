"""The door of a socket: admits connections and counts them, on a thread of its own.

ZeroMQ asks about each connection at ``inproc://zeromq.zap.01`` (ZAP, RFC 27). A request has the
frames version, request id, domain, address, identity, mechanism and credentials; its answer
version, request id, status code, text, user id and metadata. Our user id is the connection's
number, a blank, and the client's public key where there are keys. Every message of the connection
carries it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import socket
import threading
from collections.abc import Callable

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

__all__ = ["ANSWERED", "HANDSHAKE_S", "Door"]

log = logging.getLogger(__name__)

# A connection that has not shaken hands by then is closed. A long turn of the loop delays the door.
HANDSHAKE_S = 10.0
# So many above the bound get an answer that says why; those above are cut off at once.
ANSWERED = 32
_ZAP = "inproc://zeromq.zap.01"
_MONITOR = "inproc://door"
_VERSION = b"1.0"
_OK, _DENIED, _FULL = b"200", b"400", b"500"
_EVENTS = int(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
_NOBLOCK, _POLLIN = int(zmq.NOBLOCK), int(zmq.POLLIN)


class Door:
    """Admits the connections of `guarded`, which is not bound yet; `max_connections` at most.

    `refused` counts those that were not admitted.

    is_permitted: called from the door's thread with the public key of a client as Z85; None where
    there are no keys.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        guarded: zmq.Socket[bytes],
        max_connections: int,
        is_permitted: Callable[[str], bool] | None = None,
    ) -> None:
        self._max_connections = max_connections
        self._is_permitted = is_permitted
        # One clock for both: when a connection was accepted, by its descriptor, and its number.
        self._clock = 0
        self._accepted: dict[int, int] = {}
        self._cut: set[int] = set()  # descriptors that will be closed
        self._was_full = False
        self.refused = 0
        self._lock = threading.Lock()
        self._is_closing = False
        self._guarded = guarded
        guarded.zap_domain = b"onlinesvm"
        guarded.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # no door, no connection
        guarded.handshake_ivl = int(HANDSHAKE_S * 1000)
        guarded.monitor(_MONITOR, _EVENTS)
        self._monitor = context.socket(zmq.PAIR)
        self._monitor.rcvhwm = 0  # ZeroMQ's own thread would wait for room
        self._monitor.connect(_MONITOR)
        self._zap = context.socket(zmq.REP)
        self._zap.linger = 0
        self._zap.bind(_ZAP)
        self._wake_in, self._wake_out = os.pipe()
        self._thread = threading.Thread(target=self._run, name="onlinesvm-door", daemon=True)
        self._thread.start()

    @property
    def connections(self) -> int:
        """The connections that are open, with or without a handshake. Any thread may ask."""
        return len(self._accepted)

    def is_open(self, descriptor: int, number: int) -> bool:
        """True if the connection of that `number` is open; its messages came from `descriptor`.

        The descriptor's connection was accepted before it had a number. One that has taken the
        descriptor since was accepted after that.
        """
        with self._lock:
            self._take_events()
            return self._accepted.get(descriptor, math.inf) < number

    def close(self) -> None:
        """Admit no more; may be called again."""
        if not self._is_closing:
            self._is_closing = True
            os.write(self._wake_out, b"\0")
            self._thread.join()
            self._guarded.disable_monitor()
            self._monitor.close()
            self._zap.close()
            os.close(self._wake_in)
            os.close(self._wake_out)

    def _run(self) -> None:
        """Answer and count until closed.

        The sockets' descriptors become readable when something has changed, so all that is there
        is read before the next wait.
        """
        poll = select.poll()
        for source in (self._zap, self._monitor):
            poll.register(int(source.getsockopt(zmq.FD)), select.POLLIN)
        poll.register(self._wake_in, select.POLLIN)
        while not self._is_closing:
            try:
                with self._lock:
                    self._take_events()
                while self._answer():
                    pass
            except Exception:  # a door that ends would let nobody in any more
                log.exception("the door failed unexpectedly")
            poll.poll()

    def _take_events(self) -> None:
        """Take the events that are there, then cut off what is far above the bound. The lock is
        held.
        """
        accepted: list[int] = []
        # Asking is cheaper than the exception of a receive without a message.
        while int(self._monitor.getsockopt(zmq.EVENTS)) & _POLLIN:
            event = parse_monitor_message(self._monitor.recv_multipart(_NOBLOCK))
            descriptor = event["value"]
            self._clock += 1
            if event["event"] == zmq.EVENT_ACCEPTED:
                self._accepted[descriptor] = self._clock
                accepted.append(descriptor)
            else:
                self._accepted.pop(descriptor, None)
                self._cut.discard(descriptor)
        while accepted and self._excess > ANSWERED:
            descriptor = accepted.pop()
            if descriptor in self._accepted and descriptor not in self._cut:
                self._cut.add(descriptor)
                self.refused += 1
                _cut(descriptor)

    @property
    def _excess(self) -> int:
        """The connections above the bound."""
        return len(self._accepted) - len(self._cut) - self._max_connections

    def _answer(self) -> bool:
        """Answer a request of ZAP; False where there is none."""
        try:
            _, id, _, _, _, mechanism, *credentials = self._zap.recv_multipart(_NOBLOCK)
        except zmq.Again:
            return False
        key = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" else ""
        with self._lock:
            self._take_events()  # it was accepted before it asks
            self._clock += 1
            number, is_full = self._clock, self._excess > 0
        if is_full and not self._was_full:
            log.warning(
                "%d connections are open: more are refused (max_connections)",
                self._max_connections,
            )
        self._was_full = is_full
        status, text = _OK, ""
        if self._is_permitted is not None and not self._is_permitted(key):
            status, text = _DENIED, "the key is not permitted"
        elif is_full:
            status, text = _FULL, "too many connections"
        self.refused += status != _OK
        user = f"{number} {key}" if status == _OK else ""
        answer = (_VERSION, id, status, text.encode(), user.encode(), b"")
        self._zap.send_multipart(answer)
        return True


def _cut(descriptor: int) -> None:
    """End a connection of ZeroMQ's, which then closes it.

    It may have closed it already, and the descriptor may be another's: at worst that of a client
    who connects again. What is no socket is left alone.
    """
    with contextlib.suppress(OSError):
        connection = socket.socket(fileno=descriptor)
        try:
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0:
                connection.shutdown(socket.SHUT_RDWR)
        finally:
            connection.detach()
