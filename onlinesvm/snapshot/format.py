"""Snapshot files: a whole model, readable in any language that has msgpack.

A file is a stream of msgpack objects, nothing else:

    header    map, see below
    chunks    bin …                       the arrays of the header, in its order; each array is cut
                                          into chunks of at most 1 MiB (an empty array has none);
                                          then the blobs, cut likewise
    trailer   map {checksum, digest}

    header key     value
    format         "onlinesvm-snapshot"
    version        1
    library        the version of onlinesvm that wrote it
    kernel         "native" or "python"
    written_at     seconds since 1970, UTC, float
    id             bin, 16 bytes: random, given to the model when it is created
    config         map, the learner's configuration
    max_features   the bound on the model when it was written
    max_labels_per_feature
                   the bound of a multiclass model when it was written; left out otherwise
    bounds         array [max_value, max_importance, clip], float64, float64 and boolean: the limits
                   when it was written; left out where they are the rule's own
    categories     array of [field, values], bin and integer: where categories are crossed, how many
                   values of each field the lookup has entered; left out where there are none
    prune          array [low, next, unjudged, last, equal, threshold], integers but for the
                   threshold: the prune under way; left out without one. Ids 1 … low and from `next`
                   on have features, those between have none. `unjudged` features from `next` on
                   leave if they are below `threshold`, and `equal` of those that equal it; `last`
                   was the last id after the last step
    position       samples learned, at most 2**62
    features       n, the number of features
    scalars        map, the rule's numbers that belong to no feature
    totals         array of 7 float64, the progressive figures (metrics.progressive.TOTALS)
    labels         array of at most 2, that of side −1 first: [label as it was first written, side],
                   side −1.0 or 1.0; a text that is not UTF-8 as bytes
                   empty for many classes, whose labels are arrays
    counters       map, name → array of float64: monitor, the state of metrics.monitor without the
                   totals; label_counts, the samples of −1 and of +1 that class_weight counts (an
                   array of integers for many classes)
    attachments    map, name → any msgpack value: kept for the caller that saved the model
    arrays         array of [name, dtype, count]
    blobs          array of [name, bytes]: as attachments, for what is too large for a header; left
                   out where there are none

    array          dtype, count   meaning
    lengths        <u4, n         bytes of each feature's name, in the order of the ids, which are
                                  1 … n without a prune
    names          |u1, Σ lengths the names, end to end
    weights …      <f8, n         the rule's numbers of each feature, in that order; integers are
                                  <i8, the hedge's experts <f4
    views          |u1, n         each feature's view, plus 4 for one that a text has; left
                                  out where all are 0

A model of many classes has the arrays of `model.rules.class_layout`, then those of its labels, by
id from 0: label_figures …, reliability (metrics.classes); label_counts <i8, of `class_weight`;
label_lengths <i4 and label_names |u1, each label as msgpack as it was first written, of 0 bytes for
a dropped one. Their counts are their own.

Numbers in arrays are little-endian. Keys of maps are text or bytes; extension types are refused.
`checksum` is the CRC-32 (as zlib has it) of all bytes before the trailer. `digest` is the SHA-256,
in hex, of the msgpack of ``[config, position, scalars, totals, counters, labels]`` (maps sorted by
key, labels as their texts; `categories` and `prune` at the end, where there are any) followed by
the arrays' bytes: equal digests, equal models, whatever kernel wrote them and when. The id, the
attachments and the blobs are not part of it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import MANY_LABELS, LearnerConfig, Limits
from onlinesvm.data.label import label_of
from onlinesvm.data.sweep import Sweep, without_gap
from onlinesvm.errors import SnapshotError

__all__ = [
    "CHUNK_BYTES", "FORMAT", "FORMAT_VERSION", "MAX_POSITION", "Snapshot", "bytes_of",
    "dense", "digested_head", "restoring",
]  # fmt: skip

FORMAT = "onlinesvm-snapshot"
FORMAT_VERSION = 1
DEFAULT_ROW = Limits().max_labels_per_feature
MAX_POSITION = 2**62  # so that no count of samples overflows in the kernels
CHUNK_BYTES = 2**20
# Of many classes, the arrays by feature: how many numbers each has for one.
CLASS_NUMBERS = {
    "mean_squares": 1, "ages": 1, "runs": 1, "seen": 1, "row_lengths": 1, "second_orders": 4,
    "views": 1,
}  # fmt: skip


class TakesNames(Protocol):
    """A kernel's lookup, as far as a snapshot needs it."""

    def restore(
        self,
        lengths: NDArray[np.uint32],
        names: NDArray[np.uint8],
        categories: Sequence[tuple[bytes, int]] = (),
        sweep: tuple[int, int] | None = None,
    ) -> None: ...


class Opens(Protocol):
    """A kernel's rule, as far as a prune under way needs it."""

    def open_gap(self, first: int, n: int, gap: int) -> None: ...


class TakesState(Opens, Protocol):
    """A kernel's rule, as far as a snapshot needs it."""

    def restore(
        self, arrays: Mapping[str, NDArray[np.generic]], scalars: Mapping[str, Any]
    ) -> None: ...


@dataclass(kw_only=True, slots=True)
class Snapshot:
    """A whole model at rest. See the module's docstring for the fields."""

    id: bytes
    config: LearnerConfig
    max_features: int
    kernel: str
    position: int
    scalars: dict[str, float | int]
    totals: list[float]
    lengths: NDArray[np.uint32]
    names: NDArray[np.uint8]
    arrays: dict[str, NDArray[Any]]
    counters: dict[str, list[float]]
    labels: list[list[Any]]
    bounds: tuple[float, float, bool] | None = None
    categories: list[tuple[bytes, int]] = field(default_factory=list)
    attachments: dict[str, Any] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    max_labels_per_feature: int = DEFAULT_ROW
    prune: list[float | int] | None = None

    @property
    def sweep(self) -> Sweep | None:
        """The ids of the prune under way."""
        return None if self.prune is None else Sweep(int(self.prune[0]), int(self.prune[1]))

    @property
    def limits(self) -> Limits:
        """The limits that held when it was taken, as far as it holds them."""
        limits = _limits(self.max_features, self.max_labels_per_feature)
        if self.bounds is None:
            return limits.under(self.config.rule)
        return limits.bounded(*self.bounds)

    def blocks(self, size: int) -> Iterator[Snapshot]:
        """Snapshots of `size` features each, the last of fewer; at least one. Shares the memory.

        One of many classes is one block.
        """
        if self.config.task in MANY_LABELS:
            yield self
            return
        ends = np.cumsum(self.lengths, dtype=np.uint64)
        for start in range(0, max(1, len(ends)), size):
            rows = slice(start, start + size)
            first = int(ends[start - 1]) if start else 0
            last = int(ends[rows][-1]) if len(ends) else 0
            yield replace(
                self,
                prune=None,
                lengths=self.lengths[rows],
                names=self.names[first:last],
                arrays={name: array[rows] for name, array in self.arrays.items()},
            )

    def all_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays in the order of the file, little-endian."""
        arrays: dict[str, NDArray[Any]] = {"lengths": self.lengths, "names": self.names}
        arrays.update(self.arrays)
        return {
            name: np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            for name, array in arrays.items()
        }

    def digest(self) -> str:
        """SHA-256 of the model, in hex; see the module's docstring."""
        sha = hashlib.sha256(self.digested_head())
        for array in self.all_arrays().values():
            sha.update(bytes_of(array))
        return sha.hexdigest()

    def digested_head(self) -> bytes:
        """The bytes that the digest covers before the arrays."""
        return digested_head(
            self.config.as_dict(),
            self.position,
            self.scalars,
            self.totals,
            self.counters,
            self.labels,
            self.categories,
            self.prune,
        )

    def restore(self, lookup: TakesNames, rule: TakesState) -> None:
        """Give the names to `lookup` and the state to `rule`, both new.

        Raises SnapshotError if the parts do not make a whole.
        """
        with restoring():
            for name, array in self.arrays.items():
                if len(array) != len(self.lengths):
                    raise ValueError(
                        f"{name}: expected {len(self.lengths)} numbers, got {len(array)}"
                    )
            lookup.restore(self.lengths, self.names, self.categories, self.sweep)
            rule.restore(self.arrays, self.scalars)
            self.open_gap(rule)

    def open_gap(self, rule: Opens) -> None:
        """Have the state of `rule`, just restored, lie at the ids that the features have."""
        if self.sweep is not None:
            low = self.sweep.low
            rule.open_gap(low + 1, len(self.lengths) - low, self.sweep.gap)


def dense(
    arrays: Mapping[str, NDArray[Any]], prune: Sequence[Any] | None, task: str
) -> dict[str, NDArray[Any]]:
    """The arrays of a rule's view, by id, without the ids that are nobody's."""
    if prune is None:
        return dict(arrays)
    each = CLASS_NUMBERS if task in MANY_LABELS else dict.fromkeys(arrays, 1)
    sweep = Sweep(prune[0], prune[1])
    return {
        name: without_gap(array, sweep, each[name]) if name in each else array
        for name, array in arrays.items()
    }


@lru_cache(maxsize=1024)
def _limits(max_features: int, max_labels_per_feature: int) -> Limits:
    """One object for all snapshots of these limits."""
    return Limits(max_features=max_features, max_labels_per_feature=max_labels_per_feature)


def bytes_of(array: NDArray[Any]) -> memoryview:
    """The memory of `array` as bytes; an empty array has no memory to cast."""
    return array.data.cast("B") if array.size else memoryview(b"")


def digested_head(
    config: dict[str, Any],
    position: int,
    scalars: dict[str, Any],
    totals: list[float],
    counters: dict[str, list[float]],
    labels: list[list[Any]],
    categories: Sequence[Sequence[Any]] = (),
    prune: Sequence[Any] | None = None,
) -> bytes:
    """The bytes that the digest of such a model covers before its arrays."""
    compared = [[label_of(label).text, side] for label, side in labels]
    head = [_sorted(config), position, _sorted(scalars), totals, _sorted(counters), compared]
    if categories:
        head.append([[field, values] for field, values in categories])
    if prune is not None:
        head.append(list(prune))
    packed: bytes = msgpack.packb(head)
    return packed


def _sorted(mapping: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(mapping.items()))


@contextlib.contextmanager
def restoring() -> Iterator[None]:
    """Raise SnapshotError for parts that a model refuses."""
    try:
        yield
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise SnapshotError(f"snapshot: its parts do not make a model: {error}") from None
