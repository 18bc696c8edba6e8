"""Headers of requests, as msgpack has them: read, checked, and shown in messages."""

from __future__ import annotations

import re
from typing import Any

import msgpack

from onlinesvm.errors import format_text
from onlinesvm.service.protocol.refusals import Id, RequestError

__all__ = [
    "check_model",
    "checked_id",
    "integer",
    "is_model_name",
    "parse_header",
    "shown",
]

_EXTENSIONS = (msgpack.ExtType, msgpack.Timestamp)
_MAX_HEADER_KEYS = 16
_MAX_ID_BYTES = 64
_MODEL_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


def integer(name: str, value: object, low: int, high: int, id: Id) -> int:
    """`value` if it is an integer from `low` to `high`. Raises RequestError."""
    if type(value) is not int or not low <= value <= high:
        raise RequestError(
            "BAD_REQUEST",
            f"expected {name} as an integer from {low} to {high}, got {shown(value)}", None, id,
        )  # fmt: skip
    return value


def parse_header(raw: bytes) -> dict[str, Any]:
    """The header in a frame. Raises RequestError.

    Linear in the bytes: maps are read as pairs, and nothing is hashed but a few keys of text.
    """
    try:
        pairs = msgpack.unpackb(
            raw,
            strict_map_key=False,
            object_pairs_hook=tuple,
            unicode_errors="surrogateescape",  # an id is echoed whatever its bytes are
        )
    except (msgpack.UnpackException, ValueError, TypeError):
        raise RequestError(
            "BAD_REQUEST",
            f"expected a header of one msgpack map, got {len(raw)} bytes that are none",
        ) from None
    if type(pairs) is not tuple:
        raise RequestError("BAD_REQUEST", f"expected a header as a map, got {shown(pairs)}")
    if len(pairs) > _MAX_HEADER_KEYS:
        raise RequestError(
            "BAD_REQUEST", f"expected a header of at most {_MAX_HEADER_KEYS} keys, got {len(pairs)}"
        )
    for key, value in pairs:
        if type(key) is not str:
            raise RequestError(
                "BAD_REQUEST", f"expected a header whose keys are text, got {shown(key)}"
            )
        if type(value) in _EXTENSIONS:
            raise RequestError(
                "BAD_REQUEST", f"expected a header without extensions, got one for {shown(key)}"
            )
    header = dict(pairs)
    if len(header) != len(pairs):
        raise RequestError("BAD_REQUEST", "expected a header of distinct keys, got one twice")
    return header


def is_model_name(name: str) -> bool:
    """True for a name of a model: 1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot."""
    return _MODEL_NAME.fullmatch(name) is not None


def check_model(name: object, id: Id) -> None:
    """Raise RequestError unless `name` may be a model's."""
    if not isinstance(name, str) or not is_model_name(name):
        raise RequestError(
            "BAD_REQUEST",
            "expected a model's name of 1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot,"
            f" got {shown(name)}",
            None,
            id,
        )


def checked_id(id: object) -> Id:
    """`id` if it may be one. Raises RequestError."""
    if id is None or type(id) is int:
        return id
    if isinstance(id, str | bytes):
        raw = id.encode("utf-8", "surrogateescape") if isinstance(id, str) else id
        if len(raw) <= _MAX_ID_BYTES:
            return id
        raise RequestError(
            "BAD_REQUEST", f"expected an id of at most {_MAX_ID_BYTES} bytes, got {len(raw)}"
        )
    raise RequestError("BAD_REQUEST", f"expected an id as integer, text or bytes, got {shown(id)}")


def shown(value: object) -> str:
    """`value` for a message: short, and in the wire's words."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return format_text(value)
    if isinstance(value, bytes):
        return f"bytes {format_text(value)}"
    kinds: dict[type, str] = {list: "an array", tuple: "a map", dict: "a map"}
    return kinds.get(type(value), "an extension")
