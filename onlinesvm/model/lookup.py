"""The dictionary from feature to id.

Ids count up from 1 in order of first sight; 0 is PAD, what an unknown feature maps to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import MAX_MAGNITUDE, MIN_MAGNITUDE
from onlinesvm.data.batch import CSR, Batch, BatchColumns, Name
from onlinesvm.data.sweep import Sweep, check_rows, check_sweep
from onlinesvm.model.view import View
from onlinesvm.text.categories import CountedFields, check_categories

__all__ = ["PAD", "Lookup", "features_of", "name_bytes", "name_text"]

PAD = 0


def name_bytes(name: Name) -> bytes:
    """The bytes that are the feature: a str is its UTF-8, an int its decimal form.

    Raises TypeError for anything else (bool and float names too), ValueError for an int outside
    −2⁶³ … 2⁶⁴−1.
    """
    if isinstance(name, str):
        return name.encode("utf-8", "surrogateescape")
    if isinstance(name, bytes | bytearray):
        return bytes(name)
    if isinstance(name, int | np.integer) and not isinstance(name, bool):
        if not -(2**63) <= name < 2**64:
            raise ValueError(f"expected an integer name from -2**63 to 2**64 - 1, got {name}")
        return b"%d" % int(name)
    raise TypeError(f"expected text, bytes or an integer as a name, got {type(name).__name__}")


def name_text(name: bytes) -> str:
    """`name` as the views show it; `name_bytes` gives it back."""
    return name.decode("utf-8", "surrogateescape")


def features_of(
    batch: BatchColumns, left_out: Collection[int] = ()
) -> list[list[tuple[str, float]]]:
    """The names and values of each sample, in order, without the features left out."""
    left_out = set(left_out)
    names, values = batch.names, list(batch.values)
    return [
        [
            (name_text(names[j]), float(values[j]))
            for j in range(int(first), int(last))
            if j not in left_out
        ]
        for first, last in pairwise(batch.indptr)
    ]


class Lookup:
    """The Python kernel's lookup: a dict.

    `max_features` bounds the ids: at the bound, new features are left out, and `refused` counts
    each time that one is. prunes: a `prune` may make room. `last`: the last id. `name_bytes`: those
    of all names.
    """

    def __init__(self, max_features: int, prunes: bool = False) -> None:
        self.max_features = max_features
        self.refused = self.name_bytes = self.last = 0
        self.sweep: Sweep | None = None  # the prune under way
        self._ids: dict[bytes, int] = {}
        self._names: list[bytes] = []  # in the order of their ids
        self._entered: list[int] = []  # the tags of the last of them
        self._fields = CountedFields()

    def __len__(self) -> int:
        return len(self._ids)

    def id(self, name: bytes) -> int:
        """The id of `name`, PAD if it is unknown."""
        return self._ids.get(name, PAD)

    def ids(
        self,
        rows: Batch,
        *,
        grow: bool = False,
        first: int = 0,
        stop: int | None = None,
        tagged: bool = False,
    ) -> CSR:
        """The rows `first` … `stop` − 1 over ids, None for all. Duplicates are summed in order, at
        the place of the first; each sum keeps the magnitudes of a value: beyond 1e50 it is 1e50
        with its sign, below 1e−50 it is 0.

        Unknown features are PAD, or with `tagged` the negative of their tag; the lookup stays as it
        is. With `grow`, new features are
        entered; a row of importance 0 enters none. A cross of too many values is as if absent (see
        `onlinesvm.text.categories`). Raises ValueError for other rows than there are.
        """
        stop = check_rows(first, stop, len(rows))
        made: list[dict[int | bytes, float]] = []
        found: list[int] = []
        marks, tags = rows.marks, rows.tags
        if grow:
            self._entered = []
        for i in range(first, stop):
            row: dict[int | bytes, float] = {}
            growing = grow and rows.importances[i] > 0
            left_out = self._left_out(rows, i) if marks else ()
            for j, (name, value) in enumerate(rows.features(i), int(rows.indptr[i])):
                if j in left_out:
                    continue
                id = self._ids.get(name)
                if id is None and growing:
                    if self.last >= self.max_features:
                        self.refused += 1
                        continue
                    self.last += 1
                    id = self._ids[name] = self.last
                    self._names.append(name)
                    self.name_bytes += len(name)
                    if tags:
                        self._entered.append(tags[j])
                    if len(marks.get(j, ())) == 1:
                        self._fields.add(*marks[j])
                key = id or name  # a name without an id stands for itself
                if key not in row:
                    row[key] = value
                    found.append(id or (-tags[j] if tagged and tags else PAD))
                else:
                    row[key] = _bounded(row[key] + value)
            made.append(row)
        return _csr(made, found)

    def left_out(self, batch: Batch) -> list[int]:
        """The features of `batch` that are crosses of too many values, as it stands."""
        return [j for i in range(len(batch)) for j in sorted(self._left_out(batch, i))]

    def _left_out(self, batch: Batch, i: int) -> set[int]:
        features = range(batch.indptr[i], batch.indptr[i + 1])
        marks = {j: batch.marks[j] for j in features if j in batch.marks}
        return {
            j for j, fields in marks.items() if len(fields) == 2 and not self._fields.cross(*fields)
        }

    @property
    def categories(self) -> list[tuple[bytes, int]]:
        """The fields whose categories are crossed, and how many values of each were entered."""
        return self._fields.items()

    def entered(self) -> tuple[int, bytes]:
        """The first of the ids that the last call of `ids` entered, and the tags of all of them; no
        tags where all are 0. For `Rule.enter`.
        """
        return self.last - len(self._entered) + 1, bytes(self._entered)

    def prune(self, kept: NDArray[np.bool_]) -> None:
        """Look at the next ids, as many as `kept` has: drop the names for which it is false, and
        give the others the lowest free ids, in the old order. Begins a prune if none is under way;
        it ends with the last id, and the ids that are free by then can be given again.

        Raises ValueError for more than there are, MemoryError, and nothing has changed then.
        """
        low, first = self.sweep or Sweep(0, 1)
        n, most = len(kept), self.last - first + 1
        if not 0 < n <= most:
            raise ValueError(f"kept: expected 1 to {most} elements, got {n}")
        names = self._names[low : low + n]
        stay = [name for name, stays in zip(names, kept.tolist(), strict=True) if stays]
        self._names[low : low + n] = stay
        for name in names:
            del self._ids[name]
        for name in stay:
            low += 1
            self._ids[name] = low
        self.name_bytes += sum(map(len, stay)) - sum(map(len, names))
        self.sweep = Sweep(low, first + n)
        if first + n > self.last:
            self.sweep, self.last = None, low

    def reserve(self, parts: Iterable[Batch]) -> int:
        """Reserve memory for all names of `parts`, as if all were new, so that growing by them
        cannot fail. A dict cannot reserve; the native lookup can.

        Returns the largest id that they can bring, for the rule's `reserve`. Raises MemoryError,
        and nothing has changed then.
        """
        names = sum(len(part.names) for part in parts)
        return min(self.last + names, max(self.last, self.max_features))

    def view(self) -> View:
        """The names in the order of their ids as they are now: arrays of their `lengths`,
        uint32[n], and of their bytes end to end, `names`, uint8[sum].
        """
        lengths = np.fromiter(map(len, self._names), dtype=np.uint32, count=len(self._names))
        names = np.frombuffer(b"".join(self._names), dtype=np.uint8)
        return View({"lengths": lengths, "names": names}, {})

    def join(self, lengths: NDArray[np.uint32], names: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The ids of names, as a view has them, int32[n]: new ones are entered up to
        `max_features`, then they are PAD. Raises ValueError if the lengths do not fit.
        """
        ids = []
        for name in _cut(lengths, names):
            id = self._ids.get(name, PAD)
            if not id and self.last < self.max_features:
                self.last += 1
                id = self._ids[name] = self.last
                self._names.append(name)
                self.name_bytes += len(name)
            ids.append(id)
        return np.array(ids, dtype=np.int32)

    def restore(
        self,
        lengths: NDArray[np.uint32],
        names: NDArray[np.uint8],
        categories: Sequence[tuple[bytes, int]] = (),
        sweep: tuple[int, int] | None = None,
    ) -> None:
        """Replace the names by those of a view, the `categories`, and the prune under way. Raises
        ValueError if two are equal, or the parts do not fit.
        """
        found = _cut(lengths, names)
        check_sweep(sweep, len(found))
        low, gap = (0, 0) if sweep is None else (sweep[0], Sweep(*sweep).gap)
        ids = {name: i if i <= low else i + gap for i, name in enumerate(found, 1)}
        if len(ids) != len(found):
            raise ValueError("expected distinct names, got one twice")
        self._fields = CountedFields(check_categories(categories))
        self._ids, self._names, self.name_bytes = ids, found, len(names)
        self.sweep = None if sweep is None else Sweep(*sweep)
        self.last = len(found) + gap


def _cut(lengths: NDArray[np.uint32], names: NDArray[np.uint8]) -> list[bytes]:
    """The names that lie end to end. Raises ValueError if the lengths do not fit."""
    total = int(lengths.sum(dtype=np.uint64))
    if total != len(names):
        raise ValueError(f"expected names of {total} bytes, got {len(names)}")
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    text = names.tobytes()
    return [text[start:end] for start, end in pairwise([0, *ends])]


def _bounded(total: float) -> float:
    """`total` with the magnitude of a value, as the rules' spans presume."""
    if -MIN_MAGNITUDE < total < MIN_MAGNITUDE:
        return 0.0
    return min(max(total, -MAX_MAGNITUDE), MAX_MAGNITUDE)


def _csr(rows: list[dict[int | bytes, float]], indices: list[int]) -> CSR:
    indptr = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=indptr[1:])
    data = [value for row in rows for value in row.values()]
    return CSR(indptr, np.array(indices, dtype=np.int32), np.array(data, dtype=np.float64))
