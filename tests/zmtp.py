"""A peer that speaks ZMTP 3 (RFC 23) by hand, for what no ZeroMQ socket does."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from types import MappingProxyType

import msgpack

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16 + 32)


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value


class Peer:
    """A DEALER's side of a connection to `endpoint`, that claims an `identity` and `more`
    properties.

    Raises OSError where there is no connection, or it ends before the handshake does.
    """

    def __init__(
        self,
        endpoint: str,
        identity: bytes = b"",
        within_s: float = 5.0,
        more: Mapping[bytes, bytes] = MappingProxyType({}),
    ) -> None:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self.socket = socket.create_connection((host, int(port)), within_s)
        self.socket.settimeout(within_s)
        self._read = b""
        ready = b"\x05READY" + _property(b"Socket-Type", b"DEALER")
        ready += _property(b"Identity", identity)
        ready += b"".join(_property(name, value) for name, value in more.items())
        try:
            self.command = self._handshake(ready)
        except BaseException:
            self.close()
            raise

    def _handshake(self, ready: bytes) -> bytes:
        """The command of the other side, which answers ours."""
        self.socket.sendall(GREETING + b"\x04" + bytes([len(ready)]) + ready)
        self._take(64)
        return self._take(self._take(2)[1])

    def _take(self, size: int) -> bytes:
        while len(self._read) < size:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("the daemon has closed the connection")
            self._read += piece
        taken, self._read = self._read[:size], self._read[size:]
        return taken

    def send(self, header: dict[str, object]) -> None:
        """Send a message of one frame."""
        frame = msgpack.packb(header)
        self.socket.sendall(b"\x00" + bytes([len(frame)]) + frame)

    def receive(self) -> dict[str, object]:
        """The header of the next reply. Raises TimeoutError."""
        flags, *_ = self._take(1)
        size = struct.unpack(">Q", self._take(8))[0] if flags & 2 else self._take(1)[0]
        header = msgpack.unpackb(self._take(size))
        assert isinstance(header, dict)
        while flags & 1:
            flags, *_ = self._take(1)
            self._take(struct.unpack(">Q", self._take(8))[0] if flags & 2 else self._take(1)[0])
        return header

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
