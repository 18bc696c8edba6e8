"""The dictionary from feature to id, and its read-only view.

Ids count up from 1 in order of first sight; 0 is PAD, what an unknown feature maps to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count, pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.batch import CSR, Batch, BatchColumns, Name
from onlinesvm.data.matrix import Columns
from onlinesvm.snapshot.view import View

__all__ = ["PAD", "Lookup", "LookupView", "WeightsView", "name_bytes", "name_text", "quarter"]

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


def quarter(max_features: int) -> int:
    """How many features a prune leaves room for."""
    return (max_features + 3) // 4


class Lookup:
    """The Python kernel's lookup: a dict.

    `max_features` bounds it: at the bound, new features are as if absent, and `refused` counts them
    as often as they come; unless it `prunes`, then room is made before a sample that has new ones.
    """

    def __init__(self, max_features: int, prunes: bool = False) -> None:
        self.max_features = max_features
        self.prunes = prunes
        self.refused = 0
        self._ids: dict[bytes, int] = {}
        self._names: list[bytes] = []  # by id from 1

    def __len__(self) -> int:
        return len(self._ids)

    def id(self, name: bytes) -> int:
        """The id of `name`, PAD if it is unknown."""
        return self._ids.get(name, PAD)

    def names(self) -> Iterator[bytes]:
        """All names, by id from 1; those that come while they are read too.

        Raises RuntimeError, when it is read on, where the lookup was restored or pruned meanwhile.
        """
        names = self._names
        for i in count():
            if names is not self._names:
                raise RuntimeError("the lookup was replaced while its names were read")
            if i >= len(names):
                return
            yield names[i]

    def grow(self, batch: BatchColumns, first: int = 0) -> CSR:
        """The samples of `batch` from `first` on over ids, new features entered; a sample of
        importance 0 enters none. Duplicates are summed in order, at the place of the first.

        Where the lookup prunes, the rows end before a sample whose new names would pass the bound:
        `prune`, then go on from there.
        """
        rows: list[dict[int | bytes, float]] = []
        for i in range(first, len(batch)):
            row: dict[int | bytes, float] = {}
            growing = batch.importances[i] > 0
            if growing and self.prunes and self._overflows(batch, i):
                break
            for name, value in _features(batch, i):
                known = self._ids.get(name)
                if known is None and growing:
                    if len(self._ids) >= self.max_features:
                        self.refused += 1
                        continue
                    known = self._ids[name] = len(self._ids) + 1
                    self._names.append(name)
                _add(row, known or name, value)
            rows.append(row)
        return _csr(rows)

    def _overflows(self, batch: BatchColumns, i: int) -> bool:
        """Whether a prune has to make room for sample `i`, and others than its own can leave."""
        names = {name for name, _ in _features(batch, i)}
        own = sum(name in self._ids for name in names)
        fresh, count = len(names) - own, len(self._ids)
        left = self.max_features - quarter(self.max_features)
        return fresh > 0 and count + fresh > self.max_features and count > max(left, own)

    def prune(self, kept: NDArray[np.bool_]) -> None:
        """Give up the names for which `kept`, by id from 1, is false. The others get ids 1, 2, … in
        the old order.
        """
        self._names = [name for name, stays in zip(self._names, kept, strict=True) if stays]
        self._ids = {name: i for i, name in enumerate(self._names, 1)}

    def find(self, batch: BatchColumns) -> CSR:
        """`batch` over ids, unknown features as PAD; the lookup stays as it is."""
        rows: list[dict[int | bytes, float]] = []
        for i in range(len(batch)):
            row: dict[int | bytes, float] = {}
            for name, value in _features(batch, i):
                _add(row, self._ids.get(name, name), value)
            rows.append(row)
        return _csr(rows)

    def grow_columns(self, columns: Columns, importances: NDArray[np.float64]) -> CSR:
        """As `grow`, for the rows of a matrix: column j is the feature named ``str(j)``.

        importances: float64[n], one a row.
        """
        return self.grow(_named(columns, importances))

    def find_columns(self, columns: Columns) -> CSR:
        """As `find`, for the rows of a matrix: column j is the feature named ``str(j)``."""
        return self.find(_named(columns, np.ones(len(columns.indptr) - 1)))

    def reserve(self, batches: Iterable[BatchColumns | Columns]) -> int:
        """Make room for all names of `batches` (of Columns too), as if all were new, so that
        growing by them cannot run out of memory. A dict cannot be told; the native lookup can.

        Returns the largest id that they can bring, for the rule's `reserve`. Raises MemoryError,
        and nothing has changed then.
        """
        names = sum(len(b.columns if isinstance(b, Columns) else b.names) for b in batches)
        return min(len(self._ids) + names, max(len(self._ids), self.max_features))

    def view(self) -> View:
        """The names by id as they are now: arrays of their `lengths`, uint32[n], and of their bytes
        end to end, `names`, uint8[sum].
        """
        lengths = np.fromiter(map(len, self._names), dtype=np.uint32, count=len(self._names))
        names = np.frombuffer(b"".join(self._names), dtype=np.uint8)
        return View({"lengths": lengths, "names": names}, {})

    def restore(self, lengths: NDArray[np.uint32], names: NDArray[np.uint8]) -> None:
        """Take the names of a view. Raises ValueError if two are equal or lengths do not fit."""
        total = int(lengths.sum(dtype=np.uint64))
        if total != len(names):
            raise ValueError(f"expected names of {total} bytes, got {len(names)}")
        ends = np.cumsum(lengths, dtype=np.int64).tolist()
        text = names.tobytes()
        taken = [text[start:end] for start, end in pairwise([0, *ends])]
        ids = {name: i for i, name in enumerate(taken, 1)}
        if len(ids) != len(taken):
            raise ValueError("expected distinct names, got one twice")
        self._ids, self._names = ids, taken


def _named(columns: Columns, importances: NDArray[np.float64]) -> Batch:
    names = [b"%d" % j for j in columns.columns.tolist()]
    ones = [1.0] * len(importances)
    return Batch(ones, importances.tolist(), columns.indptr.tolist(), names, columns.data.tolist())


def _features(batch: BatchColumns, i: int) -> Iterable[tuple[bytes, float]]:
    start, end = batch.indptr[i], batch.indptr[i + 1]
    return zip(batch.names[start:end], batch.values[start:end], strict=True)


def _add(row: dict[int | bytes, float], key: int | bytes, value: float) -> None:
    """Add to a row that is keyed by id, or by name where the name has no id."""
    row[key] = row[key] + value if key in row else value


def _csr(rows: list[dict[int | bytes, float]]) -> CSR:
    indptr = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=indptr[1:])
    indices = [PAD if isinstance(key, bytes) else key for row in rows for key in row]
    data = [value for row in rows for value in row.values()]
    return CSR(indptr, np.array(indices, dtype=np.int32), np.array(data, dtype=np.float64))


class AnyLookup(Protocol):
    """What the views need of a kernel's lookup."""

    def __len__(self) -> int: ...
    def id(self, name: bytes) -> int: ...
    def names(self) -> Iterator[bytes]: ...


class WeightOf(Protocol):
    """What the views need of a kernel's rule."""

    def weight(self, id: int) -> float: ...


class LookupView(Mapping[str, int]):
    """Feature → id, read-only. Takes str, bytes and int, gives str."""

    def __init__(self, lookup: AnyLookup) -> None:
        self._lookup = lookup

    def _id(self, name: Name) -> int:
        try:
            found = self._lookup.id(name_bytes(name))
        except UnicodeEncodeError:  # a lone surrogate: no feature has such a name
            found = PAD
        if found == PAD:
            raise KeyError(name)
        return found

    def __getitem__(self, name: Name) -> int:
        return self._id(name)

    def __contains__(self, name: object) -> bool:
        try:
            self._id(name)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError):
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return map(name_text, self._lookup.names())

    def __len__(self) -> int:
        return len(self._lookup)


class WeightsView(Mapping[str, float]):
    """Feature → weight, read-only. Takes str, bytes and int, gives str; the bias is not in it."""

    def __init__(self, lookup: AnyLookup, rule: WeightOf) -> None:
        self._ids = LookupView(lookup)
        self._rule = rule

    def __getitem__(self, name: Name) -> float:
        return self._rule.weight(self._ids[name])

    def __contains__(self, name: object) -> bool:
        return name in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)
