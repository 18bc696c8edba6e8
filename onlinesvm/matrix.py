"""Rows of a matrix as columns of samples: the door for scipy.sparse and NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.config import MAX_MAGNITUDE, MIN_MAGNITUDE, Limits
from onlinesvm.errors import LimitError, SampleError
from onlinesvm.samples import Batch

__all__ = ["Columns", "columns_of", "named", "targets_of"]

_NAMED_FEATURES = 100_000
_NAMED_ROWS = 16_384


class Columns(NamedTuple):
    """Validated rows, zeros dropped, in stored order.

    indptr: int64[n + 1]. columns: int64[nnz]. data: float64[nnz].
    """

    indptr: NDArray[np.int64]
    columns: NDArray[np.int64]
    data: NDArray[np.float64]


def columns_of(X: Any, limits: Limits) -> Columns:  # noqa: N803
    """The rows of `X`, scipy sparse or array-like, [n, m].

    Raises SampleError for a value that is not finite or too large, LimitError for a row with too
    many features, TypeError or ValueError for what is no matrix of real numbers.
    """
    from scipy import sparse

    if sparse.issparse(X):
        matrix = X.tocsr()
    else:
        dense = np.asarray(X)
        if dense.ndim != 2:
            raise ValueError(f"expected a matrix [n, m], got an array of {dense.ndim} dimensions")
        matrix = sparse.csr_array(dense)
    if matrix.dtype.kind not in "iuf":
        raise TypeError(f"expected a matrix of real numbers, got dtype {matrix.dtype}")
    data = np.asarray(matrix.data, dtype=np.float64)
    indptr = matrix.indptr.astype(np.int64)
    magnitudes = np.abs(data)
    _refuse_first(~(magnitudes <= MAX_MAGNITUDE), indptr, matrix.indices, data)
    kept = magnitudes >= MIN_MAGNITUDE
    columns = matrix.indices.astype(np.int64)
    if not kept.all():
        indptr = np.concatenate(([0], np.cumsum(kept)))[indptr]
        columns, data = columns[kept], data[kept]
    longest = int(np.diff(indptr).max(initial=0))
    if longest > limits.max_features_per_sample:
        raise LimitError(
            f"expected at most {limits.max_features_per_sample} features a sample, got {longest}",
            (int(np.diff(indptr).argmax()),),
            root="X",
        )
    return Columns(indptr, columns, data)


def _refuse_first(
    bad: NDArray[np.bool_], indptr: NDArray[Any], columns: NDArray[Any], data: NDArray[np.float64]
) -> None:
    if not bad.any():
        return
    k = int(bad.argmax())
    row = int(np.searchsorted(indptr, k, side="right")) - 1
    wanted = (
        f"number of magnitude at most {MAX_MAGNITUDE:g}"
        if np.isfinite(data[k])
        else "finite number"
    )
    raise SampleError(f"expected a {wanted}, got {data[k]}", (row, int(columns[k])), root="X")


def named(
    columns: Columns, labels: NDArray[np.float64], importances: NDArray[np.float64]
) -> Iterator[Batch]:
    """The rows by the names of their columns, in batches of some thousand features."""
    first, n = 0, len(labels)
    while first < n:
        room = columns.indptr[first] + _NAMED_FEATURES
        last = min(
            int(np.searchsorted(columns.indptr, room, side="right")) - 1, first + _NAMED_ROWS
        )
        stop = max(first + 1, last)
        start, end = int(columns.indptr[first]), int(columns.indptr[stop])
        yield Batch(
            labels[first:stop].tolist(),
            importances[first:stop].tolist(),
            (columns.indptr[first : stop + 1] - start).tolist(),
            [b"%d" % j for j in columns.columns[start:end].tolist()],
            columns.data[start:end].tolist(),
        )
        first = stop


def targets_of(
    y: ArrayLike, sample_weight: ArrayLike | None, n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Labels and importances of `n` rows, float64[n] each.

    Raises SampleError for a label that is not −1 or +1 or an importance outside 0 … 1e50,
    ValueError for another number of them than of rows.
    """
    labels = _vector("y", y, n)
    bad = np.abs(labels) != 1
    if bad.any():
        i = int(bad.argmax())
        raise SampleError(f"expected a label of -1 or +1, got {labels[i]:g}", (i,), root="y")
    if sample_weight is None:
        return labels, np.ones(n)
    importances = _vector("sample_weight", sample_weight, n)
    bad = ~((importances >= 0) & (importances <= MAX_MAGNITUDE))
    if bad.any():
        i = int(bad.argmax())
        raise SampleError(
            f"expected an importance from 0 to {MAX_MAGNITUDE:g}, got {importances[i]:g}",
            (i,),
            root="sample_weight",
        )
    return labels, np.where(importances < MIN_MAGNITUDE, 0.0, importances)


def _vector(name: str, values: ArrayLike, n: int) -> NDArray[np.float64]:
    given = np.asarray(values)
    if given.dtype.kind not in "iuf":
        raise TypeError(f"{name}: expected real numbers, got dtype {given.dtype}")
    if given.shape != (n,):
        raise ValueError(f"{name}: expected shape ({n},), one a row, got {given.shape}")
    return given.astype(np.float64)
