"""The server under the door: uvicorn, with bounds on the head of a request."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["MAX_HEAD_BYTES", "Server"]

MAX_HEAD_BYTES = 64 * 2**10
_HEAD_S = 20.0  # the head of a request is whole within
_MAX_CONNECTIONS = 1024
_STOP_S = 5


class _Bounded(HttpToolsProtocol):
    """A connection that ends where the head of a request is endless, or takes too long."""

    _head_bytes = 0
    _expiry: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._expiry is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._stop_waiting()
        self._head_bytes = 0
        self._expiry = self.loop.call_later(_HEAD_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None


class Server(uvicorn.Server):
    """A server of `application` that prints `line` once it answers, and calls `on_stop` when it
    begins to stop.
    """

    def __init__(self, application: Any, line: str, on_stop: Callable[[], None]) -> None:
        self._line = line
        self._on_stop = on_stop
        super().__init__(
            uvicorn.Config(
                application,
                http=_Bounded,
                ws="none",
                loop="uvloop",
                log_level="error",
                access_log=False,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_graceful_shutdown=_STOP_S,
                server_header=False,
                proxy_headers=False,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        print(self._line, file=sys.stderr, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is under way, and end."""
        self._on_stop()
        await super().shutdown(sockets)
