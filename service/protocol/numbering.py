"""The numbering of a learn request: its producer, its sequence, and its cursor."""

from __future__ import annotations

from typing import Any, NamedTuple

from onlinesvm.service.protocol.header import parse_header, shown
from onlinesvm.service.protocol.refusals import Id, RequestError

__all__ = [
    "MAX_CURSOR_BYTES",
    "Numbering",
    "numbering_in",
    "numbering_of",
]

# Those of a producer.
_NUMBERED = frozenset(("learn", "resume", "lag"))
_MAX_PRODUCER_BYTES = 64
MAX_CURSOR_BYTES = 256


class Numbering(NamedTuple):
    """The producer of a request, its number, and the cursor that it reaches to: b"", 0 and b""
    where it has none.
    """

    producer: bytes = b""
    sequence: int = 0
    cursor: bytes = b""


_UNNUMBERED = Numbering()


def numbering_in(header: dict[str, Any], op: str, id: Id) -> Numbering:
    """The numbering of a request. Raises RequestError."""
    producer, sequence = header.get("producer"), header.get("sequence")
    if op == "learn" and producer is None and sequence is None:
        if header.get("cursor") is not None:
            raise RequestError(
                "BAD_REQUEST",
                "expected a producer and a sequence with a cursor, got none",
                None,
                id,
            )
        return _UNNUMBERED
    if op not in _NUMBERED:
        return _UNNUMBERED
    if not isinstance(producer, str | bytes):
        raise RequestError(
            "BAD_REQUEST",
            f"expected producer as text or bytes, got {shown(producer)}", None, id,
        )  # fmt: skip
    raw = producer.encode("utf-8", "surrogateescape") if isinstance(producer, str) else producer
    if not 1 <= len(raw) <= _MAX_PRODUCER_BYTES:
        raise RequestError(
            "BAD_REQUEST",
            f"expected a producer of 1 to {_MAX_PRODUCER_BYTES} bytes, got {len(raw)}", None, id,
        )  # fmt: skip
    if op != "learn":
        return Numbering(raw)
    if type(sequence) is not int or not 1 <= sequence < 2**63:
        raise RequestError(
            "BAD_REQUEST",
            f"expected sequence as an integer from 1, got {shown(sequence)}", None, id,
        )  # fmt: skip
    cursor = header.get("cursor")
    return Numbering(raw, sequence, b"" if cursor is None else _checked_cursor(cursor, id))


def _checked_cursor(cursor: object, id: Id) -> bytes:
    """`cursor` in bytes. Raises RequestError."""
    if not isinstance(cursor, str | bytes):
        raise RequestError(
            "BAD_REQUEST", f"expected a cursor as text or bytes, got {shown(cursor)}", None, id
        )
    raw = cursor.encode("utf-8", "surrogateescape") if isinstance(cursor, str) else cursor
    if not 1 <= len(raw) <= MAX_CURSOR_BYTES:
        raise RequestError(
            "BAD_REQUEST",
            f"expected a cursor of 1 to {MAX_CURSOR_BYTES} bytes, got {len(raw)}", None, id,
        )  # fmt: skip
    return raw


def numbering_of(frame: bytes) -> Numbering:
    """The numbering in the header frame of a learn request. Raises RequestError."""
    return numbering_in(parse_header(frame), "learn", None)
