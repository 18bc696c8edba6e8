"""The daemon's socket: a mandatory ROUTER with bounded queues that loses no reply silently.

A client for whom 32 MiB of replies wait `is_full`: its requests are refused. A reply that does not
fit into ZeroMQ's queue is kept and retried. Until it is sent, further requests of that client are
dropped unread and counted, so a client that does not read its replies delays no other.

A message is taken frame by frame. Frames beyond those of any request are dropped as they come, some
thousands a turn. ZeroMQ can neither close one peer nor bound the frames of a message before all
have arrived, and it gives no other message before all are taken; docs/security.md says whom the
socket is for.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import zmq

from onlinesvm.config import Limits
from onlinesvm.service.endpoint import is_ipc_in_use
from onlinesvm.service.errors import StateError
from onlinesvm.service.server.auth.access import Access
from onlinesvm.service.server.auth.door import Door
from onlinesvm.service.server.auth.seed import seed_generator
from onlinesvm.service.server.unsent import SMALL_BYTES, UNSENT_BYTES, Unsent

__all__ = ["Frames", "Router", "Sender"]

log = logging.getLogger(__name__)

# A turn ends when either is reached.
TURN_MESSAGES = 64
TURN_BYTES = 2**19
# Frames that are dropped in a turn, for two milliseconds.
TURN_DROPS = 4096
# No request has more: 16 of an envelope, the header and the body.
MOST_FRAMES = 18
# Messages a client may have queued before it has to wait, and replies before it is not read.
RECEIVE_HIGH_WATER = 16
SEND_HIGH_WATER = 256
CLOSE_S = 1.0
# Setting the time-out costs a call, so it is set in coarse steps.
_TICK_MS = 20
_TICKS_PER_S = 1000 // _TICK_MS
# As plain integers: combining the library's own flags costs as much as sending a frame.
_NOBLOCK, _POLLIN = int(zmq.NOBLOCK), int(zmq.POLLIN)
_MORE = _NOBLOCK | int(zmq.SNDMORE)
# No client has this identity: ZeroMQ's own start with a zero byte, and nobody can guess it.
_WAKER = b"waker" + os.urandom(16)

Frames = Sequence[bytes]


class Sender(NamedTuple):
    """The connection that a message came by.

    identity: its address; another connection may take it later. user: the connection's number, a
    blank and the client's public key, as `auth.door` gives it; no other connection ever has it.
    frame: the message's first.
    """

    identity: bytes
    user: str
    frame: zmq.Frame

    @property
    def key(self) -> str:
        """The client's public key; empty where there are no keys."""
        return self.user.partition(" ")[2]

    @property
    def number(self) -> int:
        return int(self.user.partition(" ")[0])

    @property
    def descriptor(self) -> int:
        """The connection's descriptor, when the message came."""
        return int(self.frame.get(zmq.SRCFD))


class Router:
    """A ROUTER socket bound to `bind`; `endpoint` has the port that was chosen for ``*``.

    Raises StateError if it cannot be bound.
    """

    def __init__(self, bind: str, limits: Limits, access: Access | None = None) -> None:
        self.dropped_requests = 0
        self.was_woken = False  # whether `wake` was called for the last turn
        self._is_dropping = False  # more frames of the message at hand are to be dropped
        self._unsent = Unsent()
        # Replies that did not fit, by client; several if some were prepared beside the loop.
        self._kept: dict[bytes, deque[tuple[Sender, Frames]]] = {}
        self._waker: zmq.Socket[bytes] | None = None
        self._waking = threading.RLock()
        seed_generator()
        access = Access() if access is None else access
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.ROUTER)
        self.socket.linger = int(CLOSE_S * 1000)
        self.socket.router_mandatory = True
        self.socket.rcvhwm = RECEIVE_HIGH_WATER
        self.socket.sndhwm = SEND_HIGH_WATER
        self.socket.maxmsgsize = limits.socket_message_bytes
        self.socket.backlog = 512
        self.socket.tcp_keepalive = 1
        self.socket.ipv6 = "[" in bind
        is_permitted = None
        if access.pair is not None:
            self.socket.curve_server = True
            self.socket.curve_secretkey = access.pair.secret.encode()
            is_permitted = access.users.is_permitted
        self.door = Door(self._context, self.socket, access.max_connections, is_permitted)
        try:
            if is_ipc_in_use(bind):
                raise StateError(_unbound(bind, zmq.EADDRINUSE))
            mask = os.umask(0o177)  # of an ipc socket: only the daemon's user connects
            try:
                self.socket.bind(bind)
            finally:
                os.umask(mask)
        except zmq.ZMQError as error:
            self.close()
            raise StateError(_unbound(bind, error.errno or 0)) from None
        except StateError:
            self.close()
            raise
        self.endpoint = self.socket.get_string(zmq.LAST_ENDPOINT)
        self._timeout_ms = -1
        # A wake-up comes as a message, so that the loop has one thing to wait for.
        self.socket.bind("inproc://waker")
        self._waker = self._context.socket(zmq.DEALER)
        self._waker.routing_id = _WAKER
        self._waker.sndhwm = 2
        self._waker.linger = 0
        self._waker.connect("inproc://waker")

    @property
    def keeps(self) -> bool:
        """True while a reply waits for room."""
        return bool(self._kept)

    def turn(self, seconds: float) -> list[tuple[Sender, Frames]]:
        """The messages of one turn: each one's sender, and the frames it sent.

        Waits for the first until about `seconds` have passed or `wake` is called, then takes those
        that have arrived.
        """
        taken: list[tuple[Sender, Frames]] = []
        self.was_woken = False
        if self._is_dropping and not self._drop():
            return taken
        if seconds <= 0 and not int(self.socket.getsockopt(zmq.EVENTS)) & _POLLIN:
            return taken
        count = size = 0
        # One blocking receive costs less than a poll and a receive.
        message = self._receive(math.ceil(seconds * _TICKS_PER_S) * _TICK_MS)
        while message is not None:
            frame, frames = message
            identity = frame.bytes
            count += 1  # dropped ones too: they must not hold up other clients
            size += sum(map(len, frames))
            if identity in self._kept:
                self.dropped_requests += 1
            elif identity == _WAKER:
                self.was_woken = True
            else:
                # Asked of every message: the identity says nothing about who sends.
                taken.append((Sender(identity, str(frame.get("User-Id")), frame), frames))
            if size >= TURN_BYTES or count == TURN_MESSAGES:
                break
            if self._is_dropping and not self._drop():
                break
            # Asking is cheaper than the exception of a receive without a message.
            there = int(self.socket.getsockopt(zmq.EVENTS)) & _POLLIN
            message = self._message(_NOBLOCK) if there else None
        return taken

    def _receive(self, timeout_ms: int) -> tuple[zmq.Frame, list[bytes]] | None:
        """The next message, None where none comes in time."""
        if timeout_ms != self._timeout_ms:
            self._timeout_ms = self.socket.rcvtimeo = timeout_ms
        try:
            return self._message(0)
        except zmq.Again:
            return None

    def _message(self, flags: int) -> tuple[zmq.Frame, list[bytes]]:
        """The next message: the sender's identity, with what is known of the sender, and the rest.

        The rest has one frame more than a request can have where it has too many; those are to be
        dropped. Raises Again where there is none.
        """
        receive = self.socket.recv
        # A frame knows whether more follow. Asking the socket costs as much as a frame.
        first = frame = receive(flags, copy=False)
        frames: list[bytes] = []
        while frame.more:
            frame = receive(0, copy=False)
            if len(frames) == MOST_FRAMES:
                self._is_dropping = frame.more
                frames.append(b"")
                break
            frames.append(frame.bytes)
        return first, frames

    def _drop(self) -> bool:
        """Drop frames of the message at hand, as many as a turn may; True if none are left."""
        receive = self.socket.recv
        for _ in range(TURN_DROPS):
            if not receive(0, copy=False).more:
                self._is_dropping = False
                return True
        return False

    def wake(self) -> None:
        """End a `turn` that waits; from any thread, or a signal handler."""
        with self._waking, contextlib.suppress(zmq.ZMQError):  # full: it will wake anyway
            if self._waker is not None:
                self._waker.send(b"", zmq.NOBLOCK)

    def is_open(self, sender: Sender) -> bool:
        """True if the sender's connection is open: only then is its identity still its own."""
        return self.door.is_open(sender.descriptor, sender.number)

    def is_full(self, sender: Sender) -> bool:
        """True if so many bytes of replies wait for a client that it gets no more before it reads
        some.
        """
        identity = sender.identity
        kept = sum(sum(map(len, frames)) for _, frames in self._kept.get(identity, ()))
        return kept + self._unsent.bytes_of(identity) >= UNSENT_BYTES

    def send(self, sender: Sender, frames: Frames) -> None:
        """Send a reply, or keep it until there is room; one to a client that left is dropped."""
        identity = sender.identity
        if identity in self._kept:
            self._kept[identity].append((sender, frames))
        elif not self._try(identity, frames) and self.is_open(sender):
            self._kept[identity] = deque([(sender, frames)])
            log.warning(
                "client %s does not read its replies; its requests are dropped", identity.hex()
            )

    def _try(self, identity: bytes, frames: Frames) -> bool:
        """Send a reply; False if there is no room for it."""
        try:
            send = self.socket.send
            send(identity, _MORE)
            for frame in frames[:-1]:
                send(frame, _MORE)
            last = frames[-1]
            if len(last) < SMALL_BYTES:
                send(last, _NOBLOCK)
            else:  # a body: headers and envelopes are small
                tracker = send(last, _NOBLOCK, copy=False, track=True)
                self._unsent.add(identity, len(last), tracker)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
        return True

    def retry(self) -> None:
        """Send the replies that were kept, as far as there is room."""
        self._unsent.forget_sent()
        for identity, kept in list(self._kept.items()):
            while kept:
                sender, frames = kept[0]
                if self.is_open(sender) and not self._try(identity, frames):
                    break
                kept.popleft()
            if not kept:
                del self._kept[identity]

    def close(self) -> None:
        """Close; replies that were sent are given a second to leave."""
        if self._waker is not None:
            with self._waking:
                self._waker.close()
        self.door.close()
        self.socket.close()
        self._context.term()


def _unbound(bind: str, code: int) -> str:
    """The message about an endpoint that cannot be bound."""
    text = f"cannot bind {bind}: {zmq.strerror(code)}"
    if code == zmq.EADDRINUSE:
        text += "; `onlinesvm ping` shows a daemon that runs there, --bind names another endpoint"
    return text
