"""The strongest features of a model at rest: those of largest weight, each way.

The weights are made a block at a time, so that beside the snapshot it takes little memory. Of many
classes the weight of a feature for a label is Σ_r c_r·w_r/√s², with the coefficients c of the
experts and the mean square s² of the feature's values: its part in the label's score is this weight
times a value, over the norm of the sample.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import MANY_LABELS
from onlinesvm.kernel.contract import Kernel
from onlinesvm.model.head import Head
from onlinesvm.model.lookup import name_text
from onlinesvm.model.rules.class_layout import N
from onlinesvm.snapshot.format import Snapshot

__all__ = ["ClassWeights", "Pairs", "Strongest", "ends_of", "strongest"]

_BLOCK = 2**16  # features
_PIECE = 2**20  # bytes of names that are searched at once
_FOLDED = np.arange(256, dtype=np.uint8)
_FOLDED[ord("A") : ord("Z") + 1] += 32

Pairs = list[tuple[str, float]]


class Strongest(NamedTuple):
    """Names and weights above 0 and below, strongest first, and how many names were looked at."""

    up: Pairs
    down: Pairs
    matches: int


class ClassWeights(NamedTuple):
    """Of many classes, the id of the label that the weights are for, and the experts' coefficients,
    float64[4].
    """

    label: int
    coefficients: NDArray[np.float64]


def strongest(
    taken: Snapshot,
    kernel: Kernel,
    n: int,
    contains: bytes = b"",
    of: ClassWeights | None = None,
) -> Strongest:
    """The `n` strongest features each way whose names contain these bytes; A–Z count as a–z.

    of: needed for a model of many classes.
    """
    if taken.config.task in MANY_LABELS:
        assert of is not None
        weights = _weights_of_label(taken, of)
    else:
        weights = _weights(taken, kernel)
    ends = np.cumsum(taken.lengths, dtype=np.int64)
    ids = _containing(taken.names, ends, contains) if contains else np.arange(len(weights))
    weights = weights[ids]

    def named(places: list[int]) -> Pairs:
        pairs = []
        for i in places:
            end = int(ends[ids[i]])
            name = taken.names[end - int(taken.lengths[ids[i]]) : end].tobytes()
            pairs.append((name_text(name), float(weights[i])))
        return pairs

    up, down = ends_of(weights, n)
    return Strongest(named(up), named(down), len(ids))


def ends_of(weights: NDArray[np.float64], n: int) -> tuple[list[int], list[int]]:
    """The places of the `n` largest weights above 0, and of the smallest below, strongest first; of
    equal ones the first.
    """
    return _largest(weights, n), _largest(-weights, n)


def _largest(weights: NDArray[np.float64], n: int) -> list[int]:
    places = np.flatnonzero(weights > 0.0)
    if n < len(places):
        found = weights[places]
        least = np.partition(found, len(found) - n)[len(found) - n] if n else np.inf
        above, equal = places[found > least], places[found == least]
        places = np.concatenate([above, equal[: n - len(above)]])
    order: list[int] = places[np.lexsort((places, -weights[places]))].tolist()
    return order


def _weights(taken: Snapshot, kernel: Kernel) -> NDArray[np.float64]:
    """The weights by id less 1, float64[n], as the rule has them."""
    parts = [np.empty(0)]
    for block in taken.blocks(_BLOCK):
        rule = Head(kernel, taken.config).rule
        rule.restore(block.arrays, block.scalars)
        parts.append(rule.weights(len(block.lengths))[0][1:])
    return np.concatenate(parts)


def _weights_of_label(taken: Snapshot, of: ClassWeights) -> NDArray[np.float64]:
    """The weights for a label by id less 1, float64[n]."""
    arrays: dict[str, NDArray[Any]] = taken.arrays
    weights = np.zeros(len(taken.lengths))
    entries = np.flatnonzero(arrays["row_labels"] == of.label)
    row_ends = np.cumsum(arrays["row_lengths"], dtype=np.int64)
    features = np.searchsorted(row_ends, entries, side="right")
    mixed = arrays["row_weights"].reshape(-1, N)[entries].astype(np.float64) @ of.coefficients
    weights[features] = mixed / np.sqrt(arrays["mean_squares"][features])
    return weights


def _containing(names: NDArray[np.uint8], ends: NDArray[np.int64], part: bytes) -> NDArray[np.intp]:
    """The ids less 1 of the names that contain `part`, in order, int[m].

    names: all of them, end to end; the ends of each.
    """
    wanted = _FOLDED[np.frombuffer(part, dtype=np.uint8)]
    found = [np.empty(0, dtype=np.intp)]
    for start in range(0, len(names), _PIECE):
        piece = _FOLDED[names[start : start + _PIECE + len(wanted) - 1]]
        at = np.flatnonzero(piece[: max(0, len(piece) - len(wanted) + 1)] == wanted[0])
        for k in range(1, len(wanted)):
            at = at[piece[at + k] == wanted[k]]
        at += start
        ids = np.searchsorted(ends, at, side="right")
        found.append(np.unique(ids[at + len(wanted) <= ends[ids]]))
    return np.unique(np.concatenate(found))
