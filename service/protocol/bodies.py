"""The bodies of replies: explanations, features, labels and margins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.codec import pack_array
from onlinesvm.data.label import Written, packable
from onlinesvm.model.explanation import Contribution, Explanation
from onlinesvm.model.labels import label_array
from onlinesvm.model.lookup import name_bytes, name_text
from onlinesvm.text.attribution import FieldPart, TextPart

__all__ = [
    "decode_explanations",
    "decode_features",
    "decode_labels",
    "decode_margins",
    "encode_explanations",
    "encode_features",
    "encode_labels",
    "label_shown",
    "shown_name",
    "wire_name",
]


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
