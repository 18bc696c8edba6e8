"""The wire: frames, operations, error codes.

A message is ``[header]`` or ``[header, body]``, each one msgpack object. The frames of a REQ
envelope, up to a first empty one, may come before them; the reply echoes them.

    request header   map of at most 16 keys: v = 1, op, id (int, str or bin to 64 bytes; default
                     nil), model (a model's name; "default"), and the operation's own keys
    reply header     map: v, id, ok = true, and the operation's own keys
    error header     map: v, id, ok = false, error = {code, message, at, sample}: the path to what
                     is wrong in the body, and the index of its sample; nil where it has none.
                     BUSY has retry_after_s too, where that is known

    operation   body   asks for
    ping               a sign of life
    learn       yes    samples to learn; the reply's body holds their margins. With producer and
                       sequence: applied once, however often it is sent; `cursor`, the place in the
                       producer's source that it reaches to, is kept with the sequence
    predict     yes    samples to score; the reply's body holds their margins, or with `output` in
                       the header (`margin`, `label` or `probability`) their labels, nil before the
                       first is known, or the probabilities of the label of side +1. With `hold`
                       the body has keys too, and the samples are held for `ttl_s` seconds, to be
                       learned by their labels, or by the `default_label` afterwards; the reply's
                       header has the places of those whose keys were known, `duplicate`. With `ask`
                       the reply's header has, in `ask`, which labels are worth asking for, by
                       `b`. Of a
                       multiclass model `margin` and `probability` are arrays of [label, score], the
                       best first, `top` of them (in the header; 1, and 0 for all, where the reply's
                       header has all `labels` in their order); of a multilabel model those above
                       its threshold, and `label` is an array; a binary model ignores `top`.
                       With `pairs` a binary model answers so too: an array of one [label, score],
                       where the score is the margin, or the probability of that label
    label       yes    labels of held samples, by their keys; the reply's body has the outcome of
                       each: "learned", "duplicate", "expired" or "unknown"
    explain     yes    samples to score; the reply's body holds the parts of each margin, a map
                       {margin, label, bias, features: array of [name, value, weight,
                       contribution, seen, known], fields: array of [field, contribution, whole,
                       text: array of [part of the text, contribution]]}. Of a multiclass model,
                       with `label` in the header: of the score of that label; with `other` too: of
                       its lead over that
    features    yes    samples; the reply's body holds the features of each, an array of
                       [name, value]
    labels             the labels of a multiclass model from the id `first` (0) on, `count` (100, at
                       most 1,000): the body is a map {labels: array of maps, next: id or nil,
                       confusion: map {labels, weights}, nil after the first page}
    inspect            how well a model predicts: the body is a map {calibration: array of [weight,
                       mean probability, share that came true], a bin each; confusion: map {labels,
                       weights}, by label and prediction; strongest: nil for a `top` of 0, else
                       map {up, down: arrays of [name, weight], `top` (20) of each, the strongest
                       first; matches: the names that contain the text `contains`}}. Of many
                       classes those for `label`. Nil for what the task does not have
    drop_label         a multiclass model to forget `label`: an entry of the log
    stats              figures, as keys of the header
    snapshot           a snapshot, answered when it is durable
    reload             a reader's look for a newer snapshot, answered when it is loaded
    resume             the last sequence, the samples and the last cursor of a producer, which from
                       then on may learn from this connection alone
    lag                what a producer that has asked to resume has still to read in its source,
                       as `stats` shows it: `entries`, `seconds`, `bytes`, nil where unknown
    create             a model of the name `model`, with `config` (a map), or that goes on as the
                       model `copy_of` does now, or as the file `upload`. if_exists: "error", or
                       "same": one of that configuration will do
    drop               the end of a model
    models             at most `limit` models whose names come after `after`
    upload      yes    a piece of a snapshot file, bin, at `offset` of `size` bytes, with its
                       `checksum` (CRC-32); the reply to the first, at 0, names the `upload`
    fetch              a piece of the snapshot of a model with that `lsn`, at `offset`; the reply's
                       body is bin, with its checksum and the file's size in the header

Bodies are described in `onlinesvm.data.codec`, those about held samples in
`onlinesvm.service.held_bodies`.

    code          the request
    BAD_REQUEST   is not one of this protocol
    UNKNOWN_OP    asks for an operation that does not exist
    BAD_SAMPLE    has a sample that cannot be learned or scored, at `at`
    TOO_LARGE     exceeds a limit
    NO_MODEL      names a model that the daemon does not have
    EXISTS        would create a model under a name that is taken
    DAMAGED       is for a model that neither its snapshots nor the log make whole
    FORBIDDEN     is not permitted to its user
    SEQUENCE_GAP  has a number that does not follow the producer's last one
    READ_ONLY     would change a model that is served read-only
    BUSY          cannot be answered now, and may be sent again
    NOT_DURABLE   could not be written to the log, and may be sent again
    INTERNAL      failed
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import MOST_LABELS, Limits
from onlinesvm.data.codec import pack_array
from onlinesvm.data.label import Written, any_label_of, packable, packed
from onlinesvm.errors import BodyError, LimitError, OnlineSVMError, SampleError, format_text
from onlinesvm.model.explanation import Contribution, Explanation
from onlinesvm.model.labels import label_array
from onlinesvm.model.lookup import name_bytes, name_text
from onlinesvm.service.defaults import DEFAULT_ENDPOINT, DEFAULT_MODEL
from onlinesvm.service.errors import RequestRefused
from onlinesvm.service.keys.permit import ANYONE, Permit
from onlinesvm.text.attribution import FieldPart, TextPart

__all__ = [
    "CODES",
    "DEFAULT_ENDPOINT",
    "DEFAULT_MODEL",
    "DEFERRING",
    "LAG_FIGURES",
    "MAX_CURSOR_BYTES",
    "MODELLESS",
    "OPERATIONS",
    "OUTPUTS",
    "ROLE_OF",
    "VERSION",
    "Id",
    "Numbering",
    "Reply",
    "Request",
    "RequestError",
    "code_of",
    "decode_explanations",
    "decode_features",
    "decode_labels",
    "decode_margins",
    "encode_error",
    "encode_explanations",
    "encode_features",
    "encode_labels",
    "encode_reply",
    "encode_request",
    "is_held",
    "is_model_name",
    "request_error_of",
    "numbering_of",
    "parse_reply",
    "parse_request",
    "refusal_of",
    "shown_name",
    "split_envelope",
    "wire_name",
]

VERSION = 1
DEFAULT_TTL_S = 3600.0  # that a sample is held
MAX_TTL_S = 366 * 86_400.0
MAX_B = 1e9  # of asking for labels

CODES = (
    "BAD_REQUEST",
    "UNKNOWN_OP",
    "BAD_SAMPLE",
    "TOO_LARGE",
    "NO_MODEL",
    "EXISTS",
    "DAMAGED",
    "FORBIDDEN",
    "SEQUENCE_GAP",
    "READ_ONLY",
    "BUSY",
    "NOT_DURABLE",
    "INTERNAL",
)

# Operation → True if it has a body.
OPERATIONS = {
    "ping": False,
    "learn": True,
    "predict": True,
    "label": True,
    "explain": True,
    "features": True,
    "labels": False,
    "inspect": False,
    "drop_label": False,
    "stats": False,
    "snapshot": False,
    "reload": False,
    "resume": False,
    "lag": False,
    "create": False,
    "drop": False,
    "models": False,
    "upload": True,
    "fetch": False,
}

# Operation → the least role that may ask for it, where there are keys; admin for any other. To have
# samples held takes the role learn.
ROLE_OF = dict.fromkeys(
    (
        "ping",
        "predict",
        "explain",
        "features",
        "labels",
        "inspect",
        "stats",
        "models",
        "fetch",
    ),
    "read",
) | {
    "learn": "learn",
    "resume": "learn",
    "lag": "learn",
    "label": "learn",
    "drop_label": "admin",
    "snapshot": "admin",
    "reload": "admin",
    "create": "admin",
    "drop": "admin",
    "upload": "admin",
}

# Those that are for no model.
MODELLESS = frozenset(("ping", "models", "upload"))

# Those that run beside the loop and are answered when they are done.
DEFERRING = frozenset(("snapshot", "reload", "create", "fetch", "inspect"))

# The keys of lag.
LAG_FIGURES = ("entries", "seconds", "bytes")

# What predict answers with.
OUTPUTS = ("margin", "label", "probability")

# Those of a producer.
_NUMBERED = frozenset(("learn", "resume", "lag"))

_KEYS = frozenset(("v", "op", "id", "model"))
# Operation → the keys that its header may have.
_KEYS_OF = dict.fromkeys(OPERATIONS, _KEYS) | {
    "learn": _KEYS | {"producer", "sequence", "cursor"},
    "predict": _KEYS | {"output", "top", "hold", "ttl_s", "default_label", "ask", "b", "pairs"},
    "explain": _KEYS | {"label", "other"},
    "labels": _KEYS | {"first", "count"},
    "inspect": _KEYS | {"top", "contains", "label"},
    "drop_label": _KEYS | {"label"},
    "resume": _KEYS | {"producer"},
    "lag": _KEYS | {"producer", *LAG_FIGURES},
    "create": _KEYS | {"config", "if_exists", "copy_of", "upload"},
    "models": _KEYS | {"after", "limit"},
    "upload": _KEYS | {"upload", "offset", "size", "checksum"},
    "fetch": _KEYS | {"lsn", "offset"},
}
_EXTENSIONS = (msgpack.ExtType, msgpack.Timestamp)
_MAX_HEADER_KEYS = 16
_MAX_ID_BYTES = 64
_MODEL_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_MAX_PRODUCER_BYTES = 64
MAX_CURSOR_BYTES = 256
_UPLOAD_BYTES = 16  # of the name of an upload
_MAX_LISTED = 1000
_LISTED = 100
_STRONGEST = 20
_MAX_CONTAINED_BYTES = 256
_NONE: Mapping[str, Any] = MappingProxyType({})

Id = int | str | bytes | None


class RequestError(OnlineSVMError):
    """A request that is answered with an error. `id` is the request's, nil where unreadable.

    at: the path to the wrong value in the body. sample: the index of the sample that it is in.
    retry_after_s: the seconds after which a request that is BUSY may succeed, where that is known.
    """

    def __init__(
        self,
        code: str,
        message: str,
        at: str | None = None,
        id: Id = None,
        sample: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, message, at)
        self.code = code
        self.message = message
        self.at = at
        self.id = id
        self.sample = sample
        self.retry_after_s = retry_after_s


class Numbering(NamedTuple):
    """The producer of a request, its number, and the cursor that it reaches to: b"", 0 and b""
    where it has none.
    """

    producer: bytes = b""
    sequence: int = 0
    cursor: bytes = b""


_UNNUMBERED = Numbering()


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
    options: Mapping[str, Any] = _NONE
    cursor: bytes = b""
    permit: Permit = ANYONE


class Reply(NamedTuple):
    """The answer to a request: the operation's own keys, and a body (None: none)."""

    keys: dict[str, Any]
    body: bytes | None = None


def code_of(error: BodyError | SampleError) -> str:
    """The wire's code for an error in a request's body."""
    if isinstance(error, LimitError):
        return "TOO_LARGE"
    return "BAD_SAMPLE" if isinstance(error, SampleError) else "BAD_REQUEST"


def request_error_of(error: BodyError | SampleError, id: Id) -> RequestError:
    """The error that answers a request with `error` in its body."""
    if isinstance(error, SampleError):
        return RequestError(code_of(error), error.message, error.at, id, _sample_of(error))
    return RequestError(code_of(error), str(error), None, id)


def _sample_of(error: SampleError) -> int | None:
    """The index of the sample that `error` is in; None where it is in the batch as a whole."""
    first = error.path[0] if error.path else None
    return first if isinstance(first, int) else None


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
    header = _parse_header(frames[0])
    id = _checked_id(header.get("id"))
    version = header.get("v")
    if type(version) is not int or version != VERSION:
        raise RequestError(
            "BAD_REQUEST", f"expected v = {VERSION}, got {_shown(version)}", None, id
        )
    op = header.get("op")
    if not isinstance(op, str):
        raise RequestError("BAD_REQUEST", f"expected op as text, got {_shown(op)}", None, id)
    has_body = OPERATIONS.get(op)
    if has_body is None:
        known = ", ".join(OPERATIONS)
        raise RequestError("UNKNOWN_OP", f"expected one of {known}, got {_shown(op)}", None, id)
    known_keys = _KEYS_OF[op]
    if not header.keys() <= known_keys:
        shown = _shown(min(header.keys() - known_keys))
        raise RequestError("BAD_REQUEST", f"expected no key {shown} for {op}", None, id)
    model = header.get("model", DEFAULT_MODEL)
    if model != DEFAULT_MODEL:
        _check_model(model, id)
    output = header.get("output", "margin")
    if not isinstance(output, str) or output not in OUTPUTS:
        known = ", ".join(OUTPUTS)
        raise RequestError(
            "BAD_REQUEST", f"expected output as one of {known}, got {_shown(output)}", None, id
        )
    top = header.get("top")
    if top is not None:
        _integer("top", top, 0, MOST_LABELS, id)
    if has_body and len(frames) == 1:
        raise RequestError("BAD_REQUEST", f"expected a body for {op}, got none", None, id)
    if not has_body and len(frames) == 2:
        raise RequestError("BAD_REQUEST", f"expected no body for {op}, got one", None, id)
    producer, sequence, cursor = _numbering_of(header, op, id)
    read = _OPTIONS_OF.get(op)
    options = _NONE if read is None else read(header, id)
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


def _predicting_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """The extras that are asked for beside predictions. Raises RequestError."""
    held, asked, pairs = _held_of(header, id), _asked_of(header, id), header.get("pairs", False)
    if not isinstance(pairs, bool):
        raise RequestError(
            "BAD_REQUEST", f"expected pairs as true or false, got {_shown(pairs)}", None, id
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
            "BAD_REQUEST", f"expected ask as true or false, got {_shown(ask)}", None, id
        )
    if not ask:
        if b is not None:
            raise RequestError("BAD_REQUEST", "expected b with ask alone", None, id)
        return _NONE
    if b is not None and not (type(b) in (int, float) and 0 < b <= MAX_B):
        raise RequestError(
            "BAD_REQUEST", f"expected b above 0, up to {MAX_B:g}, got {_shown(b)}", None, id
        )
    return {"b": b}


def _held_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Whether the samples are held, for how long, and their default label. Raises RequestError."""
    hold = header.get("hold", False)
    if not isinstance(hold, bool):
        raise RequestError(
            "BAD_REQUEST", f"expected hold as true or false, got {_shown(hold)}", None, id
        )
    if not hold:
        for name in ("ttl_s", "default_label"):
            if name in header:
                raise RequestError("BAD_REQUEST", f"expected {name} with hold alone", None, id)
        return _NONE
    ttl, label = header.get("ttl_s", DEFAULT_TTL_S), header.get("default_label")
    if type(ttl) not in (int, float) or not 0.001 <= ttl <= MAX_TTL_S:
        raise RequestError(
            "BAD_REQUEST", f"expected ttl_s from 0.001 to {MAX_TTL_S:.0f}, got {_shown(ttl)}",
            None, id,
        )  # fmt: skip
    try:
        default = None if label is None else packed(any_label_of(label))
    except TypeError:
        text = f"expected default_label as text, integer or boolean, got {_shown(label)}"
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
        raise RequestError(
            "BAD_REQUEST", f"expected config as a map, got {_shown(pairs)}", None, id
        )
    config = {name: value for name, value in pairs if isinstance(name, str)}
    if len(config) != len(pairs):
        raise RequestError(
            "BAD_REQUEST", "expected config with distinct keys that are text, got others", None, id
        )
    copied = header.get("copy_of")
    if copied is not None:
        _check_model(copied, id)
    if_exists = header.get("if_exists", "error")
    if if_exists not in ("error", "same"):
        raise RequestError(
            "BAD_REQUEST", f'expected if_exists "error" or "same", got {_shown(if_exists)}',
            None, id,
        )  # fmt: skip
    upload = header.get("upload")
    if upload is not None:
        _check_upload(upload, id)
    return {"config": config, "copy_of": copied, "if_exists": if_exists, "upload": upload}


def _check_upload(name: object, id: Id) -> None:
    if not isinstance(name, bytes) or len(name) != _UPLOAD_BYTES:
        raise RequestError(
            "BAD_REQUEST", f"expected an upload as {_UPLOAD_BYTES} bytes, got {_shown(name)}",
            None, id,
        )  # fmt: skip


def _listing_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which models are to be listed. Raises RequestError."""
    after, limit = header.get("after", ""), header.get("limit", _LISTED)
    if after != "":
        _check_model(after, id)
    return {"after": after, "limit": _integer("limit", limit, 1, _MAX_LISTED, id)}


def _piece_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which piece of a file is sent. Raises RequestError."""
    upload = header.get("upload")
    if upload is not None:
        _check_upload(upload, id)
    return {
        "upload": upload,
        "offset": _integer("offset", header.get("offset"), 0, 2**62, id),
        "size": _integer("size", header.get("size"), 1, 2**62, id),
        "checksum": _integer("checksum", header.get("checksum"), 0, 2**32 - 1, id),
    }


def _fetch_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which piece of a file is asked for. Raises RequestError."""
    return {
        "lsn": _integer("lsn", header.get("lsn"), 0, 2**62, id),
        "offset": _integer("offset", header.get("offset"), 0, 2**62, id),
    }


def _lag_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """How far a producer is from the end of its source. Raises RequestError."""
    figures = {name: header.get(name) for name in LAG_FIGURES}
    for name, value in figures.items():
        if value is not None and not (type(value) in (int, float) and 0 <= value < 2**63):
            raise RequestError(
                "BAD_REQUEST", f"expected {name} as a number from 0, got {_shown(value)}", None, id
            )
    return figures


def _integer(name: str, value: object, low: int, high: int, id: Id) -> int:
    if type(value) is not int or not low <= value <= high:
        raise RequestError(
            "BAD_REQUEST",
            f"expected {name} as an integer from {low} to {high}, got {_shown(value)}", None, id,
        )  # fmt: skip
    return value


def _explained_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which labels' scores are to be explained."""
    return {"label": header.get("label"), "other": header.get("other")}


def _page_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which labels are to be listed. Raises RequestError."""
    return {
        "first": _integer("first", header.get("first", 0), 0, MOST_LABELS, id),
        "count": _integer("count", header.get("count", _LISTED), 1, _MAX_LISTED, id),
    }


def _inspected_of(header: dict[str, Any], id: Id) -> Mapping[str, Any]:
    """Which features are to be shown. Raises RequestError."""
    top = _integer("top", header.get("top", _STRONGEST), 0, _MAX_LISTED, id)
    contains = header.get("contains", "")
    if not isinstance(contains, str | bytes):
        raise RequestError(
            "BAD_REQUEST", f"expected contains as text or bytes, got {_shown(contains)}", None, id
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


_OPTIONS_OF: Mapping[str, Callable[[dict[str, Any], Id], Mapping[str, Any]]] = {
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


def _numbering_of(header: dict[str, Any], op: str, id: Id) -> Numbering:
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
            f"expected producer as text or bytes, got {_shown(producer)}", None, id,
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
            f"expected sequence as an integer from 1, got {_shown(sequence)}", None, id,
        )  # fmt: skip
    cursor = header.get("cursor")
    return Numbering(raw, sequence, b"" if cursor is None else _checked_cursor(cursor, id))


def _checked_cursor(cursor: object, id: Id) -> bytes:
    """`cursor` in bytes. Raises RequestError."""
    if not isinstance(cursor, str | bytes):
        raise RequestError(
            "BAD_REQUEST", f"expected a cursor as text or bytes, got {_shown(cursor)}", None, id
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
    return _numbering_of(_parse_header(frame), "learn", None)


def _parse_header(raw: bytes) -> dict[str, Any]:
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
        raise RequestError("BAD_REQUEST", f"expected a header as a map, got {_shown(pairs)}")
    if len(pairs) > _MAX_HEADER_KEYS:
        raise RequestError(
            "BAD_REQUEST", f"expected a header of at most {_MAX_HEADER_KEYS} keys, got {len(pairs)}"
        )
    for key, value in pairs:
        if type(key) is not str:
            raise RequestError(
                "BAD_REQUEST", f"expected a header whose keys are text, got {_shown(key)}"
            )
        if type(value) in _EXTENSIONS:
            raise RequestError(
                "BAD_REQUEST", f"expected a header without extensions, got one for {_shown(key)}"
            )
    header = dict(pairs)
    if len(header) != len(pairs):
        raise RequestError("BAD_REQUEST", "expected a header of distinct keys, got one twice")
    return header


def is_model_name(name: str) -> bool:
    """True for a name of a model: 1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot."""
    return _MODEL_NAME.fullmatch(name) is not None


def _check_model(name: object, id: Id) -> None:
    """Raise RequestError unless `name` may be a model's."""
    if not isinstance(name, str) or not is_model_name(name):
        raise RequestError(
            "BAD_REQUEST",
            "expected a model's name of 1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot,"
            f" got {_shown(name)}",
            None,
            id,
        )


def _checked_id(id: object) -> Id:
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
    raise RequestError("BAD_REQUEST", f"expected an id as integer, text or bytes, got {_shown(id)}")


def _shown(value: object) -> str:
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


def encode_request(op: str, id: Id, **keys: Any) -> bytes:
    """The header of a request, with the operation's own `keys`."""
    return _pack({"v": VERSION, "op": op, "id": id, **keys})


def _pack(header: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(header, unicode_errors="surrogateescape")
    return packed


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
        raise ValueError(f"expected a reply's header as a map with ok, got {_shown(header)}")
    if not header["ok"] and not isinstance(header.get("error"), dict):
        raise ValueError("expected an error's header with a map error, got none")
    return header, frames[1] if len(frames) == 2 else b""


def encode_explanations(explanations: Sequence[Explanation]) -> bytes:
    """The body of a reply to explain."""
    packed: bytes = msgpack.packb(
        [
            {
                "margin": explained.margin,
                "label": packable(explained.label),
                "bias": explained.bias,
                "features": [[wire_name(part.name), *part[1:]] for part in explained.contributions],
                "fields": [
                    [
                        wire_name(part.field),
                        part.contribution,
                        part.whole,
                        [[wire_name(text), contribution] for text, contribution in part.text],
                    ]
                    for part in explained.fields
                ],
            }
            for explained in explanations
        ]
    )
    return packed


def decode_explanations(body: bytes) -> list[Explanation]:
    """The explanations in the body of a reply."""
    return [
        Explanation(
            explained["margin"],
            label_shown(explained["label"]),
            explained["bias"],
            [Contribution(shown_name(name), *rest) for name, *rest in explained["features"]],
            [
                FieldPart(
                    shown_name(field),
                    contribution,
                    whole,
                    [TextPart(shown_name(text), part) for text, part in texts],
                )
                for field, contribution, whole, texts in explained["fields"]
            ],
        )
        for explained in msgpack.unpackb(body)
    ]


def encode_features(features: Sequence[Sequence[tuple[str, float]]]) -> bytes:
    """The body of a reply to features."""
    packed: bytes = msgpack.packb(
        [[[wire_name(name), value] for name, value in sample] for sample in features]
    )
    return packed


def decode_features(body: bytes) -> list[list[tuple[str, float]]]:
    """The features in the body of a reply."""
    return [
        [(shown_name(name), value) for name, value in sample] for sample in msgpack.unpackb(body)
    ]


def shown_name(name: str | bytes) -> str:
    """A name in a reply as Python shows it."""
    return name_text(name_bytes(name))


def wire_name(name: str) -> str | bytes:
    """A name as text where it is UTF-8, else as bytes."""
    raw = name_bytes(name)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def encode_labels(names: Sequence[Written | None], chosen: NDArray[np.intp]) -> bytes:
    """The labels `chosen` of `names`, as the body of a reply."""
    parts = [msgpack.packb(None if name is None else packable(name)) for name in names]
    return pack_array([parts[i] for i in chosen.tolist()])


def decode_labels(body: bytes) -> NDArray[Any]:
    """The labels in the body of a reply, [n]: int64, bool, text, or objects; of several labels a
    sample tuples.
    """
    labels = msgpack.unpackb(body)
    if not any(type(label) is list for label in labels):
        return label_array([label_shown(label) for label in labels])
    sets = np.empty(len(labels), dtype=object)  # of a multilabel model
    for i, label in enumerate(labels):
        sets[i] = tuple(map(label_shown, label))
    return sets


def label_shown(label: Written | bytes | None) -> Written | None:
    """A label in a reply as Python shows it; one that is not UTF-8 comes as bytes."""
    return label.decode("utf-8", "surrogateescape") if isinstance(label, bytes) else label


def decode_margins(body: bytes) -> NDArray[np.float64]:
    """The margins in the body of a reply, float64[n]."""
    return np.array(msgpack.unpackb(body), dtype=np.float64)


def refusal_of(header: dict[str, Any]) -> RequestRefused:
    """The exception for an error's header. Keys of another type than the protocol's are dropped."""
    error = header["error"]
    at, sample, seconds = error.get("at"), error.get("sample"), error.get("retry_after_s")
    return RequestRefused(
        str(error.get("code")),
        str(error.get("message")),
        at if isinstance(at, str) else None,
        sample=sample if type(sample) is int and sample >= 0 else None,
        retry_after_s=seconds if isinstance(seconds, int | float) else None,
    )
