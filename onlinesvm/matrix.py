"""Rows of a matrix as columns of samples: the door for scipy.sparse and NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.config import MAX_MAGNITUDE, MIN_MAGNITUDE, Limits
from onlinesvm.errors import LimitError, SampleError

__all__ = ["Columns", "columns_of", "is_matrix", "is_sparse", "pieces", "targets_of"]

_PIECE = 2**18  # elements: some 10 MiB of what is made of them


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

    rows = X.tocsr() if is_sparse(X) else sparse.csr_array(_dense(X))
    return _columns(rows.indptr, rows.indices, rows.data, limits)


def pieces(X: Any, limits: Limits) -> Iterator[Columns]:  # noqa: N803
    """As `columns_of`, in pieces of about _PIECE elements, so that little memory is taken beside
    `X`, whatever its size. Raises as `columns_of` does, when it comes to the fault.
    """
    from scipy import sparse

    if is_sparse(X):
        rows = X.tocsr()
        indptr, indices, data = rows.indptr, rows.indices, rows.data
        first, n = 0, len(indptr) - 1
        while first < n:
            last = int(np.searchsorted(indptr, int(indptr[first]) + _PIECE, side="right")) - 1
            end = min(max(last, first + 1), n)
            a, b = int(indptr[first]), int(indptr[end])
            yield _columns(indptr[first : end + 1] - a, indices[a:b], data[a:b], limits, first)
            first = end
        return
    dense = _dense(X)
    step = max(1, _PIECE // max(1, dense.shape[1]))
    for first in range(0, len(dense), step):
        rows = sparse.csr_array(dense[first : first + step])
        yield _columns(rows.indptr, rows.indices, rows.data, limits, first)


def is_sparse(X: Any) -> bool:  # noqa: N803
    """Whether `X` is a matrix of scipy.sparse; who gives none needs no scipy."""
    return hasattr(X, "tocsr")


def is_matrix(X: Any) -> bool:  # noqa: N803
    """Whether `X` is a matrix, sparse or an array of numbers, and not an iterable of samples."""
    return is_sparse(X) or (isinstance(X, np.ndarray) and X.dtype.kind in "biufc")


def _dense(X: Any) -> NDArray[Any]:  # noqa: N803
    dense = np.asarray(X)
    if dense.ndim != 2:
        raise ValueError(f"expected a matrix [n, m], got an array of {dense.ndim} dimensions")
    _refuse_unreal(dense.dtype)
    return dense


def _refuse_unreal(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "iuf":
        raise TypeError(f"expected a matrix of real numbers, got dtype {dtype}")


def _columns(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    numbers: NDArray[Any],
    limits: Limits,
    first: int = 0,
) -> Columns:
    """Rows of a matrix, validated; `first` is the place of the first in the whole."""
    _refuse_unreal(numbers.dtype)
    data = np.asarray(numbers, dtype=np.float64)
    indptr = indptr.astype(np.int64)
    magnitudes = np.abs(data)
    _refuse_first(~(magnitudes <= MAX_MAGNITUDE), indptr, indices, data, first)
    kept = magnitudes >= MIN_MAGNITUDE
    columns = indices.astype(np.int64)
    if not kept.all():
        indptr = np.concatenate(([0], np.cumsum(kept)))[indptr]
        columns, data = columns[kept], data[kept]
    lengths = np.diff(indptr)
    longest = int(lengths.max(initial=0))
    if longest > limits.max_features_per_sample:
        raise LimitError(
            f"expected at most {limits.max_features_per_sample} features a sample, got {longest}",
            (first + int(lengths.argmax()),),
            root="X",
        )
    return Columns(indptr, columns, data)


def _refuse_first(
    bad: NDArray[np.bool_],
    indptr: NDArray[Any],
    columns: NDArray[Any],
    data: NDArray[np.float64],
    first: int,
) -> None:
    if not bad.any():
        return
    k = int(bad.argmax())
    row = first + int(np.searchsorted(indptr, k, side="right")) - 1
    wanted = (
        f"number of magnitude at most {MAX_MAGNITUDE:g}"
        if np.isfinite(data[k])
        else "finite number"
    )
    raise SampleError(f"expected a {wanted}, got {data[k]}", (row, int(columns[k])), root="X")


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
