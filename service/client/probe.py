"""Probe of an endpoint: which service listens there, for the text of an error.

Opens connections of its own, apart from the client's, and speaks as much of ZMTP 3 (RFC 23) and of
HTTP as it takes to get one reply.

    greeting   64 bytes: FF 00×8 7F, version 3 0, mechanism (20 bytes, zero-padded), as-server,
               filler. A peer sends its own once it has the version; at another mechanism it would
               close the connection instead, so ours comes after the peer's
    command    04, size of the rest (1 byte), size of its name (1 byte), name, then properties: size
               (1 byte) and name, size (4 bytes, big-endian) and value; only read, as a socket of
               another kind would end the connection at ours
"""

from __future__ import annotations

import contextlib
import enum
import os
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Finding", "Kind", "probe"]

_GREETING = b"\xff" + bytes(8) + b"\x7f\x03"
_REST = b"\x00" + b"NULL".ljust(20, b"\x00") + bytes(32)
_REQUEST = b"HEAD / HTTP/1.0\r\n\r\n"


class Kind(enum.Enum):
    """Kinds of peers."""

    NOBODY = "no connection can be made"
    DAEMON = "a ZeroMQ ROUTER, as a daemon is"
    OTHER = "another service"
    CLOSED = "a peer that closes the connection before it sends anything"
    SILENT = "a peer that sends nothing"


class Finding(NamedTuple):
    """The result of a probe; `text` completes "expected a daemon at …, got …". has_keys: whether
    the daemon demands them, where that is known.
    """

    kind: Kind
    text: str
    has_keys: bool | None = None


def probe(endpoint: str, within_s: float) -> Finding:
    """Find out which service listens at `endpoint`, in about `within_s` seconds."""
    deadline = time.monotonic() + within_s
    found = _zmtp(endpoint, time.monotonic() + within_s / 2)
    if found.kind in (Kind.SILENT, Kind.CLOSED):
        reply = _exchange(endpoint, _REQUEST, 5, deadline)
        if isinstance(reply, bytes) and reply:
            # A daemon under load may have been silent until now.
            return _daemon("a ZeroMQ socket", reply) if _is_zmtp(reply) else _banner(reply)
    return found


def _zmtp(endpoint: str, deadline: float) -> Finding:
    reply = _exchange(endpoint, _GREETING, 256, deadline, _rest_of)
    if isinstance(reply, OSError):
        reason = os.strerror(reply.errno) if reply.errno in _KNOWN else str(reply.strerror or reply)
        return Finding(Kind.NOBODY, reason[:1].lower() + reason[1:])
    if reply is None:
        return Finding(Kind.SILENT, "a peer that sends nothing")
    if not reply:
        return Finding(Kind.CLOSED, "a peer that closes the connection")
    if not _is_zmtp(reply):
        return _banner(reply)
    mechanism = _mechanism(reply)
    if mechanism == "CURVE":
        return _daemon("a ZeroMQ socket with keys", reply)
    if mechanism not in ("", "NULL"):
        return Finding(Kind.OTHER, f"a ZeroMQ socket with the mechanism {mechanism}")
    kind = _socket_type(reply[64:])
    if kind in ("", "ROUTER"):
        return _daemon("a ZeroMQ ROUTER", reply)
    return Finding(Kind.OTHER, f"a ZeroMQ {kind} socket")


def _mechanism(reply: bytes) -> str:
    """The mechanism in a greeting, "" if it is not there."""
    return reply[12:32].rstrip(b"\x00").decode("ascii", "replace")


def _daemon(text: str, reply: bytes) -> Finding:
    mechanism = _mechanism(reply)
    return Finding(Kind.DAEMON, text, mechanism == "CURVE" if mechanism else None)


# Errors of connecting that `os.strerror` words better than the exception does.
_KNOWN = {number for number in (2, 13, 20, 61, 111)}


def _socket_type(commands: bytes) -> str:
    """The socket type in a READY command, "" if it is not there."""
    _, marker, rest = commands.partition(b"\x0bSocket-Type")
    if not marker or len(rest) < 4:
        return ""
    return rest[4 : 4 + int.from_bytes(rest[:4], "big")].decode("ascii", "replace")


def _is_zmtp(reply: bytes) -> bool:
    return reply[0] == 0xFF and len(reply) > 9 and reply[9] == 0x7F


def _banner(reply: bytes) -> Finding:
    if reply.startswith(b"HTTP/"):
        return Finding(Kind.OTHER, "an HTTP server")
    return Finding(Kind.OTHER, f"another service, which sends {reply[:20]!r}")


def _rest_of(reply: bytes) -> bytes:
    """The rest of our greeting, once the peer's is there and no keys are demanded."""
    return _REST if len(reply) >= 64 and _mechanism(reply) == "NULL" else b""


def _exchange(
    endpoint: str,
    sent: bytes,
    expected: int,
    deadline: float,
    rest: Callable[[bytes], bytes] = lambda reply: b"",
) -> bytes | OSError | None:
    """The reply to `sent`, up to about `expected` bytes, and to the `rest` of a reply, sent once;
    b"" if the peer closes first, None if it sends nothing; the error if no connection can be made.
    """
    reply = b""
    try:
        peer = _connected(endpoint, deadline)
    except OSError as error:
        return error
    with peer:
        is_open, has_rest = True, False
        with contextlib.suppress(TimeoutError):
            try:
                peer.sendall(sent)
                while is_open and len(reply) < expected:
                    left_s = deadline - time.monotonic()
                    # A reply that has begun is not waited for long: it may be all there is.
                    peer.settimeout(max(0.01, min(left_s, 0.1) if reply else left_s))
                    piece = peer.recv(4096)
                    is_open = bool(piece)
                    reply += piece
                    if not has_rest and (more := rest(reply)):
                        has_rest = True
                        peer.sendall(more)
            except ConnectionError:
                is_open = False
    return None if not reply and is_open else reply


def _connected(endpoint: str, deadline: float) -> socket.socket:
    transport, _, address = endpoint.partition("://")
    left_s = max(0.05, deadline - time.monotonic())
    if transport == "tcp":
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), left_s)
    peer = socket.socket(socket.AF_UNIX)
    try:
        peer.settimeout(left_s)
        peer.connect("\0" + address[1:] if address.startswith("@") else address)
    except BaseException:
        peer.close()
        raise
    return peer
