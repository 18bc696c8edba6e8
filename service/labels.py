"""The bodies of replies about many labels: the best of a sample, pages of those of a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.codec import pack_array
from onlinesvm.data.label import Written, label_of, packable, packed
from onlinesvm.data.label_sets import LabelSets
from onlinesvm.service.protocol import label_shown

__all__ = [
    "decode_page", "decode_scores", "decode_top", "encode_page", "encode_pairs", "encode_sets",
    "encode_top",
]  # fmt: skip


def encode_top(
    names: Sequence[Written], ids: NDArray[np.int32], rows: NDArray[Any], scores: NDArray[Any]
) -> bytes:
    """The best labels of each sample as the body of a reply: arrays of [label, score].

    ids: int32[k] of `names`, rising. rows, scores: the ids and the scores, [n, m].
    """
    head, parts = msgpack.packb, [b"\x92" + packed(label_of(name)) for name in names]
    places = np.searchsorted(ids, rows).tolist()
    samples = [
        pack_array([parts[k] + head(score) for k, score in zip(*row, strict=True)])
        for row in zip(places, scores.astype(np.float64).tolist(), strict=True)
    ]
    return pack_array(samples)


def encode_pairs(
    names: Sequence[Written | None], chosen: NDArray[np.intp], scores: NDArray[np.float64]
) -> bytes:
    """The one label `chosen` of `names` for each sample as `encode_top` has it; nil before it is
    known. chosen, scores: [n].
    """
    head = msgpack.packb
    parts = [b"\x91\x92" + (b"\xc0" if n is None else packed(label_of(n))) for n in names]
    return pack_array(
        [parts[k] + head(s) for k, s in zip(chosen.tolist(), scores.tolist(), strict=True)]
    )


def encode_sets(
    names: Sequence[Written],
    ids: NDArray[np.int32],
    sets: LabelSets,
    scores: NDArray[Any] | None,
) -> bytes:
    """The predicted labels of each sample as the body of a reply: arrays of labels, or with
    `scores`, one an id of `sets`, of [label, score]. ids: int32[k] of `names`, rising.
    """
    head = b"" if scores is None else b"\x92"
    packs = [head + packed(label_of(name)) for name in names]
    parts = [packs[k] for k in np.searchsorted(ids, sets.ids).tolist()]
    if scores is not None:
        shown = scores.astype(np.float64).tolist()
        parts = [part + msgpack.packb(score) for part, score in zip(parts, shown, strict=True)]
    return pack_array([pack_array(parts[a:b]) for a, b in pairwise(sets.starts.tolist())])


def decode_top(body: bytes) -> list[list[tuple[Any, float]]]:
    """The best labels of each sample in the body of a reply, with their scores."""
    return [[(label_shown(label), score) for label, score in row] for row in msgpack.unpackb(body)]


def encode_page(
    rows: list[dict[str, Any]],
    following: int | None,
    confusion: tuple[list[Written | None], NDArray[np.float64]] | None,
) -> bytes:
    """A page of labels as the body of a reply."""
    for row in rows:
        row |= {name: packable(row[name]) for name in ("label", "confused_with")}
    shown = None
    if confusion is not None:
        names, weights = confusion
        shown = {"labels": [packable(name) for name in names], "weights": weights.tolist()}
    packed: bytes = msgpack.packb({"labels": rows, "next": following, "confusion": shown})
    return packed


def decode_page(body: bytes) -> dict[str, Any]:
    """A page of labels in the body of a reply."""
    page: dict[str, Any] = msgpack.unpackb(body)
    for row in page["labels"]:
        row |= {name: label_shown(row[name]) for name in ("label", "confused_with")}
    if page["confusion"] is not None:
        page["confusion"]["labels"] = [label_shown(name) for name in page["confusion"]["labels"]]
    return page


def decode_scores(
    labels: Sequence[Written | bytes], body: bytes, missing: float
) -> NDArray[np.float64]:
    """The scores of all labels in the body of a reply, float64[n, labels]; `missing` without."""
    places = {label: k for k, label in enumerate(labels)}
    rows = msgpack.unpackb(body)
    made = np.full((len(rows), len(labels)), missing)
    for scores, row in zip(made, rows, strict=True):
        for label, score in row:
            scores[places[label]] = score
    return made
