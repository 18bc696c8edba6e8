"""Connections of one client: each request under way, and each stream, has one to itself."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator

from onlinesvm.service.client.connection import Connection
from onlinesvm.service.client.settings import Settings
from onlinesvm.service.errors import DaemonLost

__all__ = ["Pool"]


class Pool:
    """Connections that idle, most recently used last. Safe for threads; belongs to one process.

    As many connections are opened as requests and streams are ever under way at once.
    """

    def __init__(self, settings: Settings) -> None:
        self.pid = os.getpid()
        self.closed = False
        self._settings = settings
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()

    def __len__(self) -> int:
        return len(self._all)

    def take(self) -> Connection:
        """A connection that nothing else uses. Raises DaemonLost if the client is closed."""
        with self._lock:
            if self.closed:
                raise DaemonLost("the client is closed")
            if self._idle:
                return self._idle.pop()
            # A weak reference: a connection in use must not keep a forgotten client's pool.
            pool = weakref.ref(self)
            connection = Connection(self._settings, lambda: (p := pool()) is not None and p.closed)
            self._all.add(connection)
            return connection

    def give(self, connection: Connection) -> None:
        """Give a connection back."""
        with self._lock:
            if self.closed:
                connection.close()
            else:
                self._idle.append(connection)

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for the time of one request."""
        connection = self.take()
        try:
            with connection.lock:
                yield connection
        finally:
            self.give(connection)

    def close(self) -> None:
        """Close all connections; a thread that waits in one closes that one itself, and raises."""
        with self._lock:
            self.closed = True
            self._idle.clear()
            everyone = list(self._all)
        for connection in everyone:
            if connection.lock.acquire(blocking=False):
                try:
                    connection.close()
                finally:
                    connection.lock.release()
