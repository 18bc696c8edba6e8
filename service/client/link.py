"""The link to a daemon: a DEALER socket, and its state by the events of the socket's monitor.

ZMQ_IMMEDIATE keeps requests from being queued for a daemon that does not run, to be applied long
after their sender has raised a timeout. The monitor reports a refused, rejected or broken
connection at once. Does no I/O of its own beyond opening and closing; `connection` and
`async_connection` wait.
"""

from __future__ import annotations

import enum
import math
import os
import threading
import time
from typing import Any, NamedTuple

import zmq

from onlinesvm.errors import ConfigError
from onlinesvm.service.client.probe import Finding, Kind
from onlinesvm.service.client.settings import Settings
from onlinesvm.service.errors import ClientRefused, DaemonLost, DaemonUnreachable

__all__ = [
    "FIRST_ANSWER_S", "PROBE_S", "Link", "Sockets", "State", "close_sockets", "open_sockets",
]  # fmt: skip

# `max_message_bytes` bounds requests and margins; the reply to stats may be longer than both.
_MIN_REPLY_BYTES = 2**20
# A peer that has accepted a connection has this long for the handshake.
_HANDSHAKE_S = 3.0
# A handshake that takes longer is worth a probe, which takes up to PROBE_S.
_PROBE_AFTER_S = 0.25
PROBE_S = 0.5
# The first answer of a peer that takes longer is worth a probe: REP and DEALER sockets shake hands
# as a daemon does, and never answer.
FIRST_ANSWER_S = 1.0
# A context has a table of this many sockets; a connection takes two, its monitor another.
_MAX_SOCKETS = 16_384
_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Sockets(NamedTuple):
    """A DEALER and its monitor, of the process that opened them."""

    pid: int
    dealer: zmq.Socket[bytes]
    monitor: zmq.Socket[bytes]


class _Socket(zmq.Socket[bytes]):
    """A socket whose copy in a fork is left alone: it is the parent's."""

    def __init__(self, *arguments: Any, **keys: Any) -> None:
        self.__dict__["_owner"] = os.getpid()
        super().__init__(*arguments, **keys)

    def __del__(self) -> None:
        if self.__dict__.get("_owner") == os.getpid():
            super().__del__()


class _Context(zmq.Context[zmq.Socket[bytes]]):
    _socket_class = _Socket


class _Contexts:
    """One ZeroMQ context a process, shared by its clients: each context has threads of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contexts: dict[int, zmq.Context[Any]] = {}
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it

    def get(self) -> zmq.Context[Any]:
        with self._lock:
            pid = os.getpid()
            context = self._contexts.get(pid)
            if context is None:
                context = self._contexts[pid] = _Context()
                context.set(zmq.MAX_SOCKETS, _MAX_SOCKETS)
            return context


_contexts = _Contexts()


def open_sockets(settings: Settings) -> Sockets:
    """A DEALER that connects to the daemon. Raises ConfigError if ZeroMQ refuses the endpoint."""
    dealer = _contexts.get().socket(zmq.DEALER)
    dealer.linger = 0
    dealer.immediate = True
    dealer.maxmsgsize = max(2 * settings.limits.max_message_bytes, _MIN_REPLY_BYTES)
    dealer.tcp_keepalive = 1
    dealer.reconnect_ivl = 50
    dealer.reconnect_ivl_max = 1000
    dealer.ipv6 = "[" in settings.endpoint
    if settings.curve is not None:
        pair, server = settings.curve
        dealer.curve_publickey = pair.public.encode()
        dealer.curve_secretkey = pair.secret.encode()
        dealer.curve_serverkey = server.encode()
    sockets = Sockets(os.getpid(), dealer, dealer.get_monitor_socket(_EVENTS))
    try:
        dealer.connect(settings.endpoint)
    except (zmq.ZMQError, UnicodeError) as error:
        close_sockets(sockets)
        why = zmq.strerror(error.errno or 0) if isinstance(error, zmq.ZMQError) else "not UTF-8"
        raise ConfigError(
            f"endpoint: expected tcp://HOST:PORT or ipc://PATH, got {settings.endpoint!r} ({why})"
        ) from None
    return sockets


def close_sockets(sockets: Sockets) -> None:
    """Close both; messages not yet sent are dropped. A fork's copies are left alone."""
    if os.getpid() != sockets.pid or sockets.dealer.closed:
        return
    sockets.dealer.disable_monitor()
    sockets.monitor.close()
    sockets.dealer.close()


class State(enum.Enum):
    """States of a link; the last three are final."""

    CONNECTING = "no connection yet"
    CONNECTED = "a connection, and a handshake under way"
    READY = "requests can be sent"
    REFUSED = "no connection could be made"
    REJECTED = "a connection that ended without a handshake"
    BROKEN = "a connection that ended"
    FORBIDDEN = "a daemon that refuses the client's key"
    FULL = "a daemon that has connections enough"


# So many handshakes that a daemon with keys ends are no accident.
_REJECTIONS = 3
_FINAL = (State.BROKEN, State.FORBIDDEN, State.FULL)
# The status code of a daemon that has connections enough, of those of ZAP.
_FULL = 500


class Link:
    """The state of one socket, and how long it may take to become READY.

    Waiting goes: `step` says what to do next, `take_finding` takes the result of a probe.
    """

    def __init__(self, settings: Settings) -> None:
        self.state = State.CONNECTING
        self._settings = settings
        self._finding: Finding | None = None
        self._is_waiting = False
        self._rejections = 0
        now = time.monotonic()
        self._wait_until = now + settings.wait_s
        # For a host that does not react at all.
        self._connect_until = now + max(settings.wait_s, settings.timeout_s)
        self._handshake_until = math.inf
        self._probe_at = math.inf

    def take_event(self, event: int, value: int) -> None:
        """Take an event of the socket's monitor."""
        if self.state in _FINAL:
            return
        now = time.monotonic()
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self.state = State.FULL if value == _FULL else State.FORBIDDEN
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.state = State.READY
        elif event == zmq.EVENT_CONNECTED:
            self.state = State.CONNECTED
            self._handshake_until = now + min(self._settings.timeout_s, _HANDSHAKE_S)
            self._probe_at = now + _PROBE_AFTER_S
        elif event == zmq.EVENT_CONNECT_RETRIED:
            if self.state is State.CONNECTING:
                self.state = State.REFUSED
                self._probe_at = now
        elif self.state is State.READY:
            self.state = State.BROKEN
        else:
            self.state = State.REJECTED
            self._rejections += event == zmq.EVENT_DISCONNECTED
            if self._finding is None or self._rejections < _REJECTIONS:
                self._probe_at = now

    def step(self, now: float) -> float:
        """Seconds to wait for the next event of a link that is not READY; 0: probe now.

        Raises DaemonLost if the connection broke right after its handshake, ClientRefused and
        DaemonUnreachable if there is no use in waiting.
        """
        if self.state is State.BROKEN:
            raise DaemonLost(f"the connection to {self._settings.endpoint} broke")
        if self.state in _FINAL:
            raise self._refused()
        if self._rejections >= _REJECTIONS and self._has_other_key:
            raise self._unreachable()
        if now >= self._probe_at:
            return 0.0
        until = self._wait_until
        if self.state is State.CONNECTING:
            until = self._connect_until
        elif self.state is State.CONNECTED:
            until = max(until, self._handshake_until)
        elif self._finding is not None and self._finding.kind is Kind.DAEMON:
            # The daemon has come meanwhile, and ZeroMQ tries again in a moment.
            until = self._connect_until
        if now >= until:
            raise self._unreachable()
        return min(until, self._probe_at) - now

    def take_finding(self, finding: Finding) -> None:
        """Take the result of a probe. Raises DaemonUnreachable if another service answers."""
        self._finding = finding
        self._probe_at = math.inf
        has_keys = self._settings.curve is not None
        if finding.kind is Kind.DAEMON and finding.has_keys not in (has_keys, None):
            raise self._refused()
        if finding.kind is Kind.OTHER:
            raise self._unreachable()
        if time.monotonic() < self._wait_until and not self._is_waiting:
            self._is_waiting = True
            if self._settings.on_waiting is not None:
                self._settings.on_waiting()

    @property
    def _has_other_key(self) -> bool:
        """True if a daemon with keys ended each connection, as one with another key does."""
        finding = self._finding
        return self.state is State.REJECTED and finding is not None and finding.has_keys is True

    def _refused(self) -> ClientRefused:
        endpoint, curve = self._settings.endpoint, self._settings.curve
        if self.state is State.FULL:
            return ClientRefused(
                f"the daemon at {endpoint} has as many connections as it may (max_connections)"
            )
        if curve is None:
            return ClientRefused(
                f"the daemon at {endpoint} expects a key, got none: give key and server_key"
                " (--key, --server-key)"
            )
        if self.state is State.FORBIDDEN:
            return ClientRefused(
                f"the daemon at {endpoint} does not permit the key {curve.pair.public}"
            )
        return ClientRefused(f"the daemon at {endpoint} has no keys: expected none, got some")

    def _unreachable(self) -> DaemonUnreachable:
        endpoint, finding = self._settings.endpoint, self._finding
        if finding is not None and finding.kind is Kind.NOBODY:
            return DaemonUnreachable(f"no daemon at {endpoint}: {finding.text}")
        if self.state is State.CONNECTING:
            return DaemonUnreachable(f"no connection to {endpoint} within the timeout")
        if self._has_other_key and self._settings.curve is not None:
            return ClientRefused(
                f"the daemon at {endpoint} has another key than the server_key"
                f" {self._settings.curve.server}"
            )
        if finding is None or finding.kind in (Kind.DAEMON, Kind.SILENT):
            return DaemonUnreachable(
                f"expected a daemon at {endpoint}, got a peer without a ZeroMQ handshake in time"
            )
        return DaemonUnreachable(f"expected a daemon at {endpoint}, got {finding.text}")
