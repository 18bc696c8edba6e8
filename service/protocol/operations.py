"""The operations of the wire: which have a body, their keys, and who may ask for them.

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
"""

from __future__ import annotations

__all__ = [
    "DEFAULT_ENDPOINT",
    "DEFAULT_MODEL",
    "DEFERRING",
    "KEYS_OF",
    "LAG_FIGURES",
    "MODELLESS",
    "OPERATIONS",
    "OUTPUTS",
    "ROLE_OF",
    "VERSION",
]

VERSION = 1
DEFAULT_ENDPOINT = "tcp://127.0.0.1:5577"
DEFAULT_MODEL = "default"

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
_KEYS = frozenset(("v", "op", "id", "model"))

# Operation → the keys that its header may have.
KEYS_OF = dict.fromkeys(OPERATIONS, _KEYS) | {
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
