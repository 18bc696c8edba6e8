"""Replies that ZeroMQ holds for each client: the bytes that have not left yet."""

from __future__ import annotations

from collections import deque
from typing import Protocol

__all__ = ["SMALL_BYTES", "UNSENT_BYTES", "Unsent"]

# Smaller replies are not tracked: ZeroMQ's own bound, in messages, holds for them.
SMALL_BYTES = 2**14
# With as many small ones as the socket's queue holds, envelopes too, a client has 32 MiB waiting at
# most, and the reply that passes the bound.
UNSENT_BYTES = 26 * 2**20


class _Tracker(Protocol):
    """A message that was given away; done once ZeroMQ has freed it."""

    @property
    def done(self) -> bool: ...


class Unsent:
    """Bytes of replies that were given to ZeroMQ and have not left, by the client's identity.

    ZeroMQ counts messages, not bytes, and shows no queue. It frees a message once its bytes are in
    the system's buffers or its connection has ended.
    """

    def __init__(self) -> None:
        self._replies: dict[bytes, deque[tuple[int, _Tracker]]] = {}
        self._bytes: dict[bytes, int] = {}

    def add(self, identity: bytes, size: int, tracker: _Tracker) -> None:
        """Count a reply of `size` bytes until its `tracker` is done."""
        self._replies.setdefault(identity, deque()).append((size, tracker))
        self._bytes[identity] = self._bytes.get(identity, 0) + size

    def bytes_of(self, identity: bytes) -> int:
        """The bytes that wait for a client."""
        replies = self._replies.get(identity)
        if replies is None:
            return 0
        while replies and replies[0][1].done:
            self._bytes[identity] -= replies.popleft()[0]
        if not replies:
            del self._replies[identity]
            return self._bytes.pop(identity)
        return self._bytes[identity]

    def forget_sent(self) -> None:
        """Drop the clients for whom nothing waits any more."""
        for identity in list(self._replies):
            self.bytes_of(identity)
