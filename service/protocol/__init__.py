"""The wire: frames, operations, error codes.

A message is ``[header]`` or ``[header, body]``, each one msgpack object. The frames of a REQ
envelope, up to a first empty one, may come before them; the reply echoes them.

    request header   map of at most 16 keys: v = 1, op, id (int, str or bin to 64 bytes; default
                     nil), model (a model's name; "default"), and the operation's own keys
    reply header     map: v, id, ok = true, and the operation's own keys
    error header     map: v, id, ok = false, error = {code, message, at, sample}: the path to what
                     is wrong in the body, and the index of its sample; nil where it has none.
                     BUSY has retry_after_s too, where that is known

`operations` has the operations and their keys, `refusals` the codes. `request` and `reply` read and
write the frames, by `header`, `numbering` and `options`; `bodies` those of replies. May import
`onlinesvm`, `service.errors` and `service.keys`.
"""

from __future__ import annotations

from onlinesvm.service.protocol.bodies import (
    decode_explanations,
    decode_features,
    decode_labels,
    decode_margins,
    encode_explanations,
    encode_features,
    encode_labels,
    label_shown,
    shown_name,
    wire_name,
)
from onlinesvm.service.protocol.header import is_model_name
from onlinesvm.service.protocol.numbering import MAX_CURSOR_BYTES, Numbering, numbering_of
from onlinesvm.service.protocol.operations import (
    DEFAULT_ENDPOINT,
    DEFAULT_MODEL,
    DEFERRING,
    LAG_FIGURES,
    MODELLESS,
    OPERATIONS,
    OUTPUTS,
    ROLE_OF,
    VERSION,
)
from onlinesvm.service.protocol.options import MAX_B
from onlinesvm.service.protocol.refusals import (
    CODES,
    Id,
    RequestError,
    code_of,
    refusal_of,
    request_error_of,
)
from onlinesvm.service.protocol.reply import Reply, encode_error, encode_reply, parse_reply
from onlinesvm.service.protocol.request import (
    Request,
    encode_request,
    is_held,
    parse_request,
    split_envelope,
)

__all__ = [
    "CODES",
    "DEFAULT_ENDPOINT",
    "DEFAULT_MODEL",
    "DEFERRING",
    "LAG_FIGURES",
    "MAX_B",
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
    "label_shown",
    "numbering_of",
    "parse_reply",
    "parse_request",
    "refusal_of",
    "request_error_of",
    "shown_name",
    "split_envelope",
    "wire_name",
]
