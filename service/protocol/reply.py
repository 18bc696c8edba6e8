"""Replies and errors: their frames, written and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack

from onlinesvm.service.protocol.header import shown
from onlinesvm.service.protocol.operations import VERSION
from onlinesvm.service.protocol.refusals import Id, RequestError

__all__ = [
    "Reply",
    "encode_error",
    "encode_reply",
    "parse_reply",
]


class Reply(NamedTuple):
    """The answer to a request: the operation's own keys, and a body (None: none)."""

    keys: dict[str, Any]
    body: bytes | None = None


def encode_reply(id: Id, keys: dict[str, Any]) -> bytes:
    """The header of a reply with the operation's own `keys`."""
    return _pack_header({"v": VERSION, "id": id, "ok": True, **keys})


def encode_error(error: RequestError) -> bytes:
    """The header of an error."""
    keys: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "at": error.at,
        "sample": error.sample,
    }
    if error.retry_after_s is not None:
        keys["retry_after_s"] = error.retry_after_s
    return _pack_header({"v": VERSION, "id": error.id, "ok": False, "error": keys})


def _pack_header(header: dict[str, Any]) -> bytes:
    # A path may hold bytes that are not UTF-8; text on the wire is UTF-8.
    packed: bytes = msgpack.packb(header, unicode_errors="backslashreplace")
    return packed


def parse_reply(frames: Sequence[bytes]) -> tuple[dict[str, Any], bytes]:
    """The header and the body (b"" if there is none) of a reply.

    Raises ValueError if `frames` are no reply.
    """
    if not 1 <= len(frames) <= 2:
        raise ValueError(f"expected a reply of 1 or 2 frames, got {len(frames)}")
    try:
        header = msgpack.unpackb(frames[0], strict_map_key=False)
    except (msgpack.UnpackException, TypeError) as error:
        raise ValueError(f"expected a reply's header, got none ({error})") from None
    if not isinstance(header, dict) or not isinstance(header.get("ok"), bool):
        raise ValueError(f"expected a reply's header as a map with ok, got {shown(header)}")
    if not header["ok"] and not isinstance(header.get("error"), dict):
        raise ValueError("expected an error's header with a map error, got none")
    return header, frames[1] if len(frames) == 2 else b""
