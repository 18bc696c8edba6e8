"""Requests: their frames, read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from onlinesvm.config import MOST_LABELS, Limits
from onlinesvm.service.keys.permit import ANYONE, Permit
from onlinesvm.service.protocol.header import check_model, checked_id, integer, parse_header, shown
from onlinesvm.service.protocol.numbering import numbering_in
from onlinesvm.service.protocol.operations import (
    DEFAULT_MODEL,
    KEYS_OF,
    OPERATIONS,
    OUTPUTS,
    VERSION,
)
from onlinesvm.service.protocol.options import NO_OPTIONS, OPTIONS_OF
from onlinesvm.service.protocol.refusals import Id, RequestError

__all__ = [
    "Request",
    "encode_request",
    "is_held",
    "parse_request",
    "split_envelope",
]


class Request(NamedTuple):  # a frozen dataclass takes four times as long to make
    """One request. `body` is b"" for an operation without one.

    header: its frame, as it came. producer, sequence, cursor: see Numbering. peer: the connection
    it came from. model: the name of the model it is for. top: how many labels of each sample
    predict answers with. options: the checked keys of an operation that is asked for seldom; a
    label among them is as it came. permit: that of its user.
    """

    op: str
    id: Id
    body: bytes
    header: bytes = b""
    producer: bytes = b""
    sequence: int = 0
    peer: bytes = b""
    output: str = "margin"
    model: str = DEFAULT_MODEL
    top: int | None = None
    options: Mapping[str, Any] = NO_OPTIONS
    cursor: bytes = b""
    permit: Permit = ANYONE


def split_envelope(frames: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """The frames of the REQ envelope, up to a first empty one, and the frames after it."""
    for i, frame in enumerate(frames):
        if not frame:
            return frames[: i + 1], frames[i + 1 :]
    return (), frames


def parse_request(
    frames: Sequence[bytes], limits: Limits, peer: bytes = b"", permit: Permit = ANYONE
) -> Request:
    """The request in `frames`, envelope apart, of `peer`; its body is not read.

    Raises RequestError.
    """
    if not 1 <= len(frames) <= 2:
        raise RequestError(
            "BAD_REQUEST",
            "expected 1 or 2 frames after the envelope (all frames up to a first empty one),"
            f" got {len(frames)}",
        )
    if len(frames[0]) > limits.max_header_bytes:
        raise RequestError(
            "TOO_LARGE",
            f"expected a header of at most {limits.max_header_bytes} bytes, got {len(frames[0])}",
        )
    header = parse_header(frames[0])
    id = checked_id(header.get("id"))
    version = header.get("v")
    if type(version) is not int or version != VERSION:
        raise RequestError("BAD_REQUEST", f"expected v = {VERSION}, got {shown(version)}", None, id)
    op = header.get("op")
    if not isinstance(op, str):
        raise RequestError("BAD_REQUEST", f"expected op as text, got {shown(op)}", None, id)
    has_body = OPERATIONS.get(op)
    if has_body is None:
        known = ", ".join(OPERATIONS)
        raise RequestError("UNKNOWN_OP", f"expected one of {known}, got {shown(op)}", None, id)
    known_keys = KEYS_OF[op]
    if not header.keys() <= known_keys:
        stranger = shown(min(header.keys() - known_keys))
        raise RequestError("BAD_REQUEST", f"expected no key {stranger} for {op}", None, id)
    model = header.get("model", DEFAULT_MODEL)
    if model != DEFAULT_MODEL:
        check_model(model, id)
    output = header.get("output", "margin")
    if not isinstance(output, str) or output not in OUTPUTS:
        known = ", ".join(OUTPUTS)
        raise RequestError(
            "BAD_REQUEST", f"expected output as one of {known}, got {shown(output)}", None, id
        )
    top = header.get("top")
    if top is not None:
        integer("top", top, 0, MOST_LABELS, id)
    if has_body and len(frames) == 1:
        raise RequestError("BAD_REQUEST", f"expected a body for {op}, got none", None, id)
    if not has_body and len(frames) == 2:
        raise RequestError("BAD_REQUEST", f"expected no body for {op}, got one", None, id)
    producer, sequence, cursor = numbering_in(header, op, id)
    read = OPTIONS_OF.get(op)
    options = NO_OPTIONS if read is None else read(header, id)
    size = sum(map(len, frames))
    if size > limits.max_message_bytes:
        raise RequestError(
            "TOO_LARGE",
            f"expected a message of at most {limits.max_message_bytes} bytes, got {size}",
            None,
            id,
        )
    body = frames[1] if has_body else b""
    return Request(
        op,
        id,
        body,
        frames[0],
        producer,
        sequence,
        peer,
        output,
        model,
        top,
        options,
        cursor,
        permit,
    )


def is_held(request: Request) -> bool:
    """True where a predict request has its samples held."""
    return "ttl_ms" in request.options


def encode_request(op: str, id: Id, **keys: Any) -> bytes:
    """The header of a request, with the operation's own `keys`."""
    return _pack({"v": VERSION, "op": op, "id": id, **keys})


def _pack(header: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(header, unicode_errors="surrogateescape")
    return packed
