"""Rows of a matrix as columns of samples: the door for scipy.sparse and NumPy arrays.

A matrix is validated whole, where it lies; then its rows become batches, piece by piece, so that
nothing of the size of the matrix is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.config import MAX_MAGNITUDE, MIN_MAGNITUDE, Limits
from onlinesvm.data.batch import Batch, BatchColumns
from onlinesvm.data.bounds import UNBOUNDED, Bounds
from onlinesvm.data.label import AnyLabel, Key, any_label_of, joined
from onlinesvm.data.pieces import Decoded, Pieces
from onlinesvm.errors import LimitError, SampleError

__all__ = [
    "Columns", "ColumnsDecoder", "Targets", "array_of", "columns_of", "decode_columns", "is_matrix",
    "label_column", "rows_of_columns", "targets_of",
]  # fmt: skip

_REAL = "biuf"
_PIECE = 2**15  # elements; as a batch they take 1.5 MiB
_BLOCK = 2**14  # values that are screened together: they stay in the cache


class Columns(NamedTuple):
    """Validated rows of a matrix, zeros dropped, in stored order; column j is feature ``str(j)``.

    indptr: int32 or int64[n + 1]. columns: int32 or int64[nnz]. data: float64[nnz]. All may be the
    memory of the matrix itself.
    """

    indptr: NDArray[Any]
    columns: NDArray[Any]
    data: NDArray[np.float64]

    @property
    def samples(self) -> int:
        """The number of rows."""
        return len(self.indptr) - 1

    def features(self, i: int) -> Iterator[tuple[bytes, float]]:
        """The names and values of row `i`."""
        start, end = int(self.indptr[i]), int(self.indptr[i + 1])
        return zip(_names(self.columns[start:end]), self.data[start:end].tolist(), strict=True)


class Targets(NamedTuple):
    """The labels and importances of rows: label_ids, int32[n], are places in label_table."""

    label_table: list[AnyLabel]
    label_ids: NDArray[np.int32]
    importances: NDArray[np.float64]


class ColumnsDecoder(Protocol):
    """A kernel, as far as it is needed here: see `decode_columns`."""

    def decode_columns(
        self,
        indptr: NDArray[np.int64],
        columns: NDArray[Any],
        data: NDArray[np.float64],
        targets: Targets | None,
    ) -> BatchColumns: ...


def columns_of(
    X: Any,  # noqa: N803
    limits: Limits | None,
    bounds: Bounds = UNBOUNDED,
) -> Columns:
    """The rows of `X`, scipy sparse or a 2-D array of numbers or booleans, [n, m].

    Without `limits` no row is too long. A value beyond `bounds` is clipped in a copy, where they
    clip. Raises SampleError for one that is not finite or too large,
    LimitError for a row with too many features, TypeError or ValueError for anything but a matrix
    of real numbers.
    """
    from scipy import sparse

    if hasattr(X, "tocsr"):
        matrix = X.tocsr()
        if len(matrix.shape) != 2:
            raise ValueError(
                f"expected a matrix [n, m], got a sparse array of shape {matrix.shape}"
            )
    else:
        dense = array_of(X)
        if dense is None:
            raise TypeError(f"expected a matrix [n, m], got {type(X).__name__}")
        if dense.ndim != 2:
            raise ValueError(f"expected a matrix [n, m], got an array of {dense.ndim} dimensions")
        matrix = sparse.csr_array(_numbers_of(dense))
    if matrix.dtype.kind not in _REAL:
        raise TypeError(f"expected a matrix of real numbers, got dtype {matrix.dtype}")
    data = np.require(matrix.data, np.float64, ["C", "A"])
    columns, indptr = _integers(matrix.indices), _integers(matrix.indptr)
    _check_ends(indptr, min(len(columns), len(data)))
    fault, small = _screen(data, bounds.value)
    if fault is not None and bounds.clips:
        fault, small = _screen(data, MAX_MAGNITUDE)
        if fault is None:
            data = np.clip(data, -bounds.value, bounds.value)
    if fault is not None:
        _refuse(fault, indptr, columns, data, bounds)
    if small:
        kept = np.abs(data) >= MIN_MAGNITUDE
        indptr = np.concatenate(([0], np.cumsum(kept)))[indptr]
        columns, data = columns[kept], data[kept]
    longest = int(np.diff(indptr).max(initial=0))
    if limits is not None and longest > limits.max_features_per_sample:
        raise LimitError(
            f"expected at most {limits.max_features_per_sample} features a sample, got {longest}",
            (int(np.diff(indptr).argmax()),),
            root="X",
        )
    return Columns(indptr, columns, data)


def rows_of_columns(
    columns: Columns, kernel: ColumnsDecoder, targets: Targets | None = None
) -> Decoded:
    """The rows as a batch of the kernel, or as Pieces where there are many elements."""
    indptr, n = columns.indptr, columns.samples

    def piece(first: int, left: int) -> tuple[BatchColumns, int]:
        # One of indptr's own type, which is else converted whole.
        most = indptr.dtype.type(min(int(indptr[first]) + _PIECE, int(indptr[-1])))
        last = int(np.searchsorted(indptr, most, side="right")) - 1
        end = min(max(last, first + 1), first + left)
        return _decoded(columns, first, end, kernel, targets), end

    if n and indptr[-1] - indptr[0] > _PIECE:
        if targets is None:
            targets_of_all: Targets = Targets([], np.full(n, -1, dtype=np.int32), np.ones(n))
        else:
            targets_of_all = targets
        return Pieces(*targets_of_all, 0, piece)
    return _decoded(columns, 0, n, kernel, targets)


def _decoded(
    columns: Columns, first: int, end: int, kernel: ColumnsDecoder, targets: Targets | None
) -> BatchColumns:
    """Rows `first` to `end`, that one not, as a batch."""
    ends = columns.indptr[first : end + 1].astype(np.int64)
    a, b = int(ends[0]), int(ends[-1])
    if targets is not None:
        table, ids, importances = targets
        targets = Targets(table, ids[first:end], importances[first:end])
    return kernel.decode_columns(ends - a, columns.columns[a:b], columns.data[a:b], targets)


def decode_columns(
    indptr: NDArray[np.int64],
    columns: NDArray[Any],
    data: NDArray[np.float64],
    targets: Targets | None,
) -> Batch:
    """Rows of a matrix as a batch: those of `Columns`, from 0 on, to score without `targets`.

    Raises ValueError for rows that cannot be walked, and for another number of targets.
    """
    _check_ends(indptr, min(len(columns), len(data)))
    n = len(indptr) - 1
    table, ids, importances = targets or ([], [-1] * n, [1.0] * n)
    for name, given in ("label_ids", ids), ("importances", importances):
        if len(given) != n:
            raise ValueError(f"{name}: expected {n} elements, got {len(given)}")
    end = int(indptr[-1])
    return Batch(
        list(table),
        [int(id) for id in ids],
        [float(importance) for importance in importances],
        indptr.tolist(),
        _names(columns[:end]),
        data[:end].tolist(),
    )


def _names(columns: NDArray[Any]) -> list[bytes]:
    return [b"%d" % j for j in columns.tolist()]


def is_matrix(X: Any) -> bool:  # noqa: N803
    """True for a matrix, sparse or a 2-D array of numbers; False for an iterable of samples.

    An array of objects is one unless it starts with a text.
    """
    if hasattr(X, "tocsr"):
        return True
    array = array_of(X)
    if array is None or array.ndim != 2:
        return False
    if array.dtype.kind == "O":
        return array.size > 0 and not isinstance(array.flat[0], str | bytes)
    return array.dtype.kind in "biufc"


def array_of(X: Any) -> NDArray[Any] | None:  # noqa: N803
    """`X` as a NumPy array, if it is an array or a series of any library; None if not."""
    if isinstance(X, np.ndarray):
        return X
    is_array = hasattr(X, "__array__") and hasattr(X, "shape") and not isinstance(X, np.generic)
    return np.asarray(X) if is_array and not hasattr(X, "columns") else None


def _numbers_of(dense: NDArray[Any]) -> NDArray[Any]:
    """`dense` as scipy takes it: big-endian, half and object numbers as float64.

    Raises SampleError for a masked element and for an object that is no number.
    """
    if isinstance(dense, np.ma.MaskedArray) and np.ma.getmaskarray(dense).any():
        row, column = np.argwhere(np.ma.getmaskarray(dense))[0].tolist()
        raise SampleError("expected a number, got a masked element", (row, column), root="X")
    if dense.dtype.kind != "O":
        is_half = dense.dtype == np.float16
        return dense.astype(np.float64) if is_half or not dense.dtype.isnative else dense
    made = np.empty(dense.shape)
    for (i, j), value in np.ndenumerate(dense):
        if not isinstance(value, int | float | np.number | np.bool_) or isinstance(
            value, np.complexfloating
        ):
            raise SampleError(f"expected a number, got {type(value).__name__}", (i, j), root="X")
        try:
            made[i, j] = value
        except OverflowError:  # an integer beyond float64
            made[i, j] = np.inf
    return made


def _integers(values: Any) -> Any:
    """`values` as int32, if they are, else as int64: itself where it can be read as it lies."""
    given = np.asarray(values)
    return np.require(given, np.int32 if given.dtype == np.int32 else np.int64, ["C", "A"])


def _check_ends(indptr: NDArray[Any], stored: int) -> None:
    """Raise ValueError unless rows can be walked within `stored` elements."""
    if not len(indptr):
        raise ValueError("indptr: expected an element at least, got none")
    rises = bool((indptr[1:] >= indptr[:-1]).all())
    if not (rises and indptr[0] >= 0 and indptr[-1] <= stored):
        raise ValueError("indptr: expected ends of rows that rise within the elements")


def _screen(values: NDArray[np.float64], limit: float) -> tuple[int | None, bool]:
    """The index of the first value that is larger than `limit`, in magnitude, or not a number, None
    if none is; where none is, True if one is so small that it counts as 0.
    """
    small = False
    for start in range(0, len(values), _BLOCK):
        magnitudes = np.abs(values[start : start + _BLOCK])
        if not magnitudes.max() <= limit:  # nan is not
            return start + int((~(magnitudes <= limit)).argmax()), False
        small = small or bool(magnitudes.min() < MIN_MAGNITUDE)
    return None, small


def _refuse(
    k: int,
    indptr: NDArray[Any],
    columns: NDArray[Any],
    data: NDArray[np.float64],
    bounds: Bounds,
) -> None:
    row = int(np.searchsorted(indptr, k, side="right")) - 1
    wanted = bounds.expected_value if np.isfinite(data[k]) else "a finite number"
    raise SampleError(f"expected {wanted}, got {data[k]}", (row, int(columns[k])), root="X")


def targets_of(
    n: int, y: ArrayLike, sample_weight: ArrayLike | None, bounds: Bounds = UNBOUNDED
) -> Targets:
    """The labels `y` and the importances `sample_weight` of n rows, [n] each.

    y: text, integers, booleans or floats that are integers, [n] or [n, 1]; or lists of these, the
    sets of labels of a multilabel model.

    Raises SampleError for a value that is no label, or an importance outside the `bounds`,
    ValueError for another number of them than of rows.
    """
    table, ids = _labels(y, n)
    if sample_weight is None:
        return Targets(table, ids, np.ones(n))
    importances = _vector("sample_weight", sample_weight, n)
    limit = MAX_MAGNITUDE if bounds.clips else bounds.importance
    bad = ~((importances >= 0) & (importances <= limit))
    if bad.any():
        i = int(bad.argmax())
        raise SampleError(
            f"expected {bounds.expected_importance}, got {importances[i]:g}",
            (i,),
            root="sample_weight",
        )
    importances = np.where(importances < MIN_MAGNITUDE, 0.0, importances)
    return Targets(table, ids, np.minimum(importances, bounds.importance))


def _labels(y: Any, n: int) -> tuple[list[AnyLabel], NDArray[np.int32]]:
    """The distinct labels of `y` in order of first sight, and the place of each there, int32[n]."""
    given = label_column(y, n)
    if given.dtype.kind in "iufbU" and n:
        second = given != given[0]
        i = int(second.argmax())
        if (given[second] == given[i]).all():  # two labels: nearly always
            first = [0, i] if second[i] else [0]
            ids = second.astype(np.int32)
        else:
            _, seen, inverse = np.unique(given, return_index=True, return_inverse=True)
            order = np.argsort(np.argsort(seen)).astype(np.int32)
            first, ids = np.sort(seen).tolist(), order[inverse.reshape(n)]
        return joined([_label(given[k], k) for k in first], ids, ordered=True)
    labels: list[AnyLabel] = []
    places: dict[Key, int] = {}
    ids = np.empty(n, dtype=np.int32)
    for i, value in enumerate(given.tolist()):
        label = _label(value, i)
        place = places.setdefault(label.text, len(labels))
        if place == len(labels):
            labels.append(label)
        ids[i] = place
    return labels, ids


def label_column(y: Any, n: int) -> NDArray[Any]:
    """`y` as an array [n], given as [n] or [n, 1]. Raises ValueError for another shape."""
    given = np.asarray(y) if hasattr(y, "dtype") or hasattr(y, "to_numpy") else _objects(y)
    if given.shape not in ((n,), (n, 1)):
        raise ValueError(f"y: expected shape ({n},) or ({n}, 1), one a row, got {given.shape}")
    return given.reshape(n)


def _objects(y: Any) -> NDArray[Any]:
    """A sequence as an array of its very elements: NumPy would make text of all beside a text."""
    values = list(y)
    given = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        if isinstance(value, list | tuple):  # of one value, or a set of labels
            value = value[0] if len(value) == 1 else list(value)
        given[i] = value
    return given


def _label(value: Any, i: int) -> AnyLabel:
    try:
        return any_label_of(value)
    except (TypeError, ValueError) as error:
        raise SampleError(str(error), (i,), root="y") from None


def _vector(name: str, values: ArrayLike, n: int) -> NDArray[np.float64]:
    given = np.asarray(values)
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.dtype.kind not in "iuf":
        raise TypeError(f"{name}: expected real numbers, got dtype {given.dtype}")
    if given.shape != (n,):
        raise ValueError(f"{name}: expected shape ({n},), one a row, got {given.shape}")
    return np.require(given, np.float64, ["C", "A"])
