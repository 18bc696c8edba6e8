"""The keys of operations that are asked for seldom, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from onlinesvm.config import MOST_LABELS
from onlinesvm.data.label import any_label_of, packed
from onlinesvm.service.protocol.header import check_model, integer, shown
from onlinesvm.service.protocol.operations import LAG_FIGURES
from onlinesvm.service.protocol.refusals import Id, RequestError

__all__ = [
    "DEFAULT_TTL_S",
    "MAX_B",
    "MAX_TTL_S",
    "NO_OPTIONS",
    "OPTIONS_OF",
]

DEFAULT_TTL_S = 3600.0  # that a sample is held
MAX_TTL_S = 366 * 86_400.0
MAX_B = 1e9  # of asking for labels
_UPLOAD_BYTES = 16  # of the name of an upload
_MAX_LISTED = 1000
_LISTED = 100
_STRONGEST = 20
_MAX_CONTAINED_BYTES = 256
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def _predicting_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """The extras that are asked for beside predictions. Raises RequestError."""
    held, asked, pairs = _held_of(header, id), _asked_of(header, id), header.get("pairs", False)
    if not isinstance(pairs, bool):
        raise RequestError(
            "BAD_REQUEST", f"expected pairs as true or false, got {shown(pairs)}", None, id
        )
    if pairs:
        return {**held, **asked, "pairs": True}
    return {**held, **asked} if asked else held


def _asked_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """The b by which labels worth asking for are wanted, if they are; None: the daemon's.

    Raises RequestError.
    """
    ask, b = header.get("ask", False), header.get("b")
    if not isinstance(ask, bool):
        raise RequestError(
            "BAD_REQUEST", f"expected ask as true or false, got {shown(ask)}", None, id
        )
    if not ask:
        if b is not None:
            raise RequestError("BAD_REQUEST", "expected b with ask alone", None, id)
        return NO_OPTIONS
    if b is not None and not (type(b) in (int, float) and 0 < b <= MAX_B):
        raise RequestError(
            "BAD_REQUEST", f"expected b above 0, up to {MAX_B:g}, got {shown(b)}", None, id
        )
    return {"b": b}


def _held_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Whether the samples are held, for how long, and their default label. Raises RequestError."""
    hold = header.get("hold", False)
    if not isinstance(hold, bool):
        raise RequestError(
            "BAD_REQUEST", f"expected hold as true or false, got {shown(hold)}", None, id
        )
    if not hold:
        for name in ("ttl_s", "default_label"):
            if name in header:
                raise RequestError("BAD_REQUEST", f"expected {name} with hold alone", None, id)
        return NO_OPTIONS
    ttl, label = header.get("ttl_s", DEFAULT_TTL_S), header.get("default_label")
    if type(ttl) not in (int, float) or not 0.001 <= ttl <= MAX_TTL_S:
        raise RequestError(
            "BAD_REQUEST", f"expected ttl_s from 0.001 to {MAX_TTL_S:.0f}, got {shown(ttl)}",
            None, id,
        )  # fmt: skip
    try:
        default = None if label is None else packed(any_label_of(label))
    except TypeError:
        text = f"expected default_label as text, integer or boolean, got {shown(label)}"
        raise RequestError("BAD_REQUEST", text, None, id) from None
    except ValueError as error:
        raise RequestError("BAD_REQUEST", f"default_label: {error}", None, id) from None
    return {"ttl_ms": int(ttl * 1000), "default": default}


def _creation_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """How a model is to be created. Raises RequestError."""
    given = [name for name in ("config", "copy_of", "upload") if header.get(name) is not None]
    if len(given) > 1:
        raise RequestError("BAD_REQUEST", f"expected {given[0]} or {given[1]}, got both", None, id)
    pairs = header.get("config") or ()
    if type(pairs) is not tuple:
        raise RequestError("BAD_REQUEST", f"expected config as a map, got {shown(pairs)}", None, id)
    config = {name: value for name, value in pairs if isinstance(name, str)}
    if len(config) != len(pairs):
        raise RequestError(
            "BAD_REQUEST", "expected config with distinct keys that are text, got others", None, id
        )
    copied = header.get("copy_of")
    if copied is not None:
        check_model(copied, id)
    if_exists = header.get("if_exists", "error")
    if if_exists not in ("error", "same"):
        raise RequestError(
            "BAD_REQUEST", f'expected if_exists "error" or "same", got {shown(if_exists)}',
            None, id,
        )  # fmt: skip
    upload = header.get("upload")
    if upload is not None:
        _check_upload(upload, id)
    return {"config": config, "copy_of": copied, "if_exists": if_exists, "upload": upload}


def _check_upload(name: object, id: Id) -> None:
    if not isinstance(name, bytes) or len(name) != _UPLOAD_BYTES:
        raise RequestError(
            "BAD_REQUEST", f"expected an upload as {_UPLOAD_BYTES} bytes, got {shown(name)}",
            None, id,
        )  # fmt: skip


def _listing_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which models are to be listed. Raises RequestError."""
    after, limit = header.get("after", ""), header.get("limit", _LISTED)
    if after != "":
        check_model(after, id)
    return {"after": after, "limit": integer("limit", limit, 1, _MAX_LISTED, id)}


def _piece_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which piece of a file is sent. Raises RequestError."""
    upload = header.get("upload")
    if upload is not None:
        _check_upload(upload, id)
    return {
        "upload": upload,
        "offset": integer("offset", header.get("offset"), 0, 2**62, id),
        "size": integer("size", header.get("size"), 1, 2**62, id),
        "checksum": integer("checksum", header.get("checksum"), 0, 2**32 - 1, id),
    }


def _fetch_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which piece of a file is asked for. Raises RequestError."""
    return {
        "lsn": integer("lsn", header.get("lsn"), 0, 2**62, id),
        "offset": integer("offset", header.get("offset"), 0, 2**62, id),
    }


def _lag_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """How far a producer is from the end of its source. Raises RequestError."""
    figures = {name: header.get(name) for name in LAG_FIGURES}
    for name, value in figures.items():
        if value is not None and not (type(value) in (int, float) and 0 <= value < 2**63):
            raise RequestError(
                "BAD_REQUEST", f"expected {name} as a number from 0, got {shown(value)}", None, id
            )
    return figures


def _explained_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which labels' scores are to be explained."""
    return {"label": header.get("label"), "other": header.get("other")}


def _page_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which labels are to be listed. Raises RequestError."""
    return {
        "first": integer("first", header.get("first", 0), 0, MOST_LABELS, id),
        "count": integer("count", header.get("count", _LISTED), 1, _MAX_LISTED, id),
    }


def _inspected_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which features are to be shown. Raises RequestError."""
    top = integer("top", header.get("top", _STRONGEST), 0, _MAX_LISTED, id)
    contains = header.get("contains", "")
    if not isinstance(contains, str | bytes):
        raise RequestError(
            "BAD_REQUEST", f"expected contains as text or bytes, got {shown(contains)}", None, id
        )
    raw = contains.encode("utf-8", "surrogateescape") if isinstance(contains, str) else contains
    if len(raw) > _MAX_CONTAINED_BYTES:
        raise RequestError(
            "BAD_REQUEST",
            f"expected contains of at most {_MAX_CONTAINED_BYTES} bytes, got {len(raw)}", None, id,
        )  # fmt: skip
    return {"top": top, "contains": raw, "label": header.get("label")}


def _dropped_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which label is to be dropped."""
    return {"label": header.get("label")}


OPTIONS_OF: Mapping[str, Callable[[dict[str, Any], Id], Mapping[str, Any]]] = {
    "predict": _predicting_of,
    "explain": _explained_of,
    "labels": _page_of,
    "inspect": _inspected_of,
    "drop_label": _dropped_of,
    "create": _creation_of,
    "models": _listing_of,
    "upload": _piece_of,
    "fetch": _fetch_of,
    "lag": _lag_of,
}
