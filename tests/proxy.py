"""A TCP proxy between client and daemon that cuts, delays and duplicates connections."""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import threading
import time
from collections import deque
from typing import Any

from tests.daemons import DEADLINE_S

_PIECE = 65_536


class _Way:
    """Bytes from one socket to others, each piece held for a while."""

    def __init__(
        self, source: socket.socket, targets: list[socket.socket], *, is_request: bool = False
    ) -> None:
        self.source = source
        self.is_request = is_request
        self.targets = targets
        self.pieces: deque[tuple[float, bytes]] = deque()
        self.is_ended = False


class Proxy:
    """Listens at `endpoint` and forwards to `upstream`, which may be changed at any time.

    delay_s: the longest a piece is held, both ways. is_doubling: a client's bytes go to the daemon
    on a second connection as well, whose answers nobody reads. `cut` ends all connections,
    `cut_after` one that has carried so many bytes.
    """

    def __init__(self, upstream: str, *, delay_s: float = 0.0, is_doubling: bool = False) -> None:
        self.upstream = upstream
        self.delay_s = delay_s
        self.is_doubling = is_doubling
        self.connections = 0
        self._random = random.Random(7)
        self._bytes_to_cut: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ways: list[_Way] = []
        self._cutting = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def cut(self) -> None:
        """End all connections; bytes on their way are lost."""
        self._cutting.set()

    def cut_after(self, bytes_from_client: int) -> None:
        """End the connection whose client sends the last of so many bytes; those are forwarded."""
        self._bytes_to_cut = bytes_from_client

    def _run(self) -> None:
        while not self._stopping.is_set():
            with selectors.DefaultSelector() as ready:
                ready.register(self._listener, selectors.EVENT_READ)
                for way in self._ways:
                    if way.is_ended:
                        continue
                    ready.register(way.source, selectors.EVENT_READ, way)
                for key, _ in ready.select(0.002):
                    if key.data is None:
                        self._accept()
                    else:
                        self._read(key.data)
            self._forward()
            if self._cutting.is_set():
                self._cutting.clear()
                for way in list(self._ways):
                    self._close(way)
        for way in list(self._ways):
            self._close(way)
        self._listener.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        host, port = self.upstream.removeprefix("tcp://").split(":")
        daemons: list[socket.socket] = []
        try:
            for _ in range(2 if self.is_doubling else 1):
                daemons.append(socket.create_connection((host, int(port)), DEADLINE_S))
        except OSError:  # nobody there at present
            for end in (client, *daemons):
                end.close()
            return
        self.connections += 1
        self._ways.append(_Way(client, daemons, is_request=True))
        self._ways.append(_Way(daemons[0], [client]))
        self._ways += [_Way(ghost, []) for ghost in daemons[1:]]

    def _read(self, way: _Way) -> None:
        if way not in self._ways:
            return
        try:
            piece = way.source.recv(_PIECE)
        except OSError:
            piece = b""
        if self._bytes_to_cut is not None and way.is_request:
            piece = piece[: self._bytes_to_cut]
            self._bytes_to_cut -= len(piece)
            if self._bytes_to_cut == 0:
                self._bytes_to_cut = None
                way.is_ended = True
        if piece:
            held_s = self._random.random() * self.delay_s
            way.pieces.append((time.monotonic() + held_s, piece))
        else:
            way.is_ended = True  # bytes it had sent are still on their way

    def _forward(self) -> None:
        now = time.monotonic()
        for way in list(self._ways):
            while way in self._ways and way.pieces and way.pieces[0][0] <= now:
                _, piece = way.pieces.popleft()
                for target in way.targets:
                    try:
                        target.sendall(piece)
                    except OSError:
                        self._close(way)
            if way.is_ended and not way.pieces:
                self._close(way)

    def _close(self, way: _Way) -> None:
        """Close a connection on both sides, ghosts too."""
        ends = {way.source, *way.targets}
        joined = [other for other in self._ways if ends & {other.source, *other.targets}]
        for other in joined:
            for end in (other.source, *other.targets):
                end.close()
        self._ways = [other for other in self._ways if other not in joined]

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stopping.set()
        self._thread.join(DEADLINE_S)
        with contextlib.suppress(OSError):
            self._listener.close()
