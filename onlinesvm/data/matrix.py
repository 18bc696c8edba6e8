"""Rows of a matrix as columns of samples: the door for scipy.sparse and NumPy arrays.

A matrix is only read, where it lies: once to validate it whole, and once, in slabs that stay in
the processor's cache, to learn or score it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.config import MAX_MAGNITUDE, MIN_MAGNITUDE, Limits
from onlinesvm.data.batch import Batch
from onlinesvm.errors import LimitError, SampleError
from onlinesvm.metrics.progressive import observe

if TYPE_CHECKING:
    from onlinesvm.kernel import Kernel, KernelJudge, KernelLookup, KernelRule

__all__ = [
    "Columns", "columns_of", "is_matrix", "learn_matrix", "named", "pieces", "score_matrix",
    "screen_matrix", "targets_of",
]  # fmt: skip

_NAMED_FEATURES = 100_000
_NAMED_ROWS = 16_384
_PIECE = 2**18  # elements: some MiB of what is made of them


class Columns(NamedTuple):
    """Validated rows, zeros dropped, in stored order.

    indptr: int32 or int64[n + 1]. columns: int32 or int64[nnz]. data: float64[nnz]. All may be the
    memory of the matrix itself.
    """

    indptr: NDArray[np.int32] | NDArray[np.int64]
    columns: NDArray[np.int32] | NDArray[np.int64]
    data: NDArray[np.float64]


def columns_of(X: Any, limits: Limits, kernel: Kernel) -> Columns:  # noqa: N803
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
    data = np.require(matrix.data, np.float64, ["C", "A"])
    columns, indptr = _integers(matrix.indices), _integers(matrix.indptr)
    fault, small, longest = kernel.screen_matrix(indptr, data)
    if longest < 0 or len(columns) < indptr[-1]:
        raise ValueError("indptr: expected ends of rows that rise within the elements")
    if fault is not None:
        _refuse(fault, indptr, columns, data)
    if small:
        kept = np.abs(data) >= MIN_MAGNITUDE
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


def pieces(X: Any, limits: Limits, kernel: Kernel) -> Iterator[Columns]:  # noqa: N803
    """As `columns_of`, validated whole, in pieces of about _PIECE elements, which are copies:
    nobody changes them while they are walked.
    """
    indptr, columns, data = columns_of(X, limits, kernel)
    first, n = 0, len(indptr) - 1
    while first < n:
        last = int(np.searchsorted(indptr, int(indptr[first]) + _PIECE, side="right")) - 1
        end = min(max(last, first + 1), n)
        a, b = int(indptr[first]), int(indptr[end])
        yield Columns(indptr[first : end + 1] - a, columns[a:b].copy(), data[a:b].copy())
        first = end


def is_matrix(X: Any) -> bool:  # noqa: N803
    """Whether `X` is a matrix, sparse or an array of numbers, and not an iterable of samples."""
    return hasattr(X, "tocsr") or (isinstance(X, np.ndarray) and X.dtype.kind in "biufc")


def _integers(values: Any) -> Any:
    """`values` as int32, if they are, else as int64: itself where it can be read as it lies."""
    given = np.asarray(values)
    return np.require(given, np.int32 if given.dtype == np.int32 else np.int64, ["C", "A"])


def screen_matrix(
    indptr: NDArray[Any], values: NDArray[np.float64]
) -> tuple[int | None, bool, int]:
    """What makes a matrix unfit to be learned as it lies, and what bounds it.

    The index of the first of `values`, float64[nnz], that is not finite or too large, None if none
    is; where none is, whether one is so small that it counts as 0; the elements of the longest row,
    −1 where the rows of `indptr`, int32 or int64[n + 1], cannot be walked.
    """
    magnitudes = np.abs(values)
    bad = ~(magnitudes <= MAX_MAGNITUDE)
    lengths = np.diff(indptr)
    walks = indptr[0] >= 0 and bool((lengths >= 0).all()) and indptr[-1] <= len(values)
    return (
        int(bad.argmax()) if bad.any() else None,
        bool((magnitudes < MIN_MAGNITUDE).any()),
        int(lengths.max(initial=0)) if walks else -1,
    )


def _refuse(k: int, indptr: NDArray[Any], columns: NDArray[Any], data: NDArray[np.float64]) -> None:
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


def learn_matrix(
    lookup: KernelLookup,
    rule: KernelRule,
    judge: KernelJudge,
    totals: NDArray[np.float64],
    columns: Columns,
    labels: NDArray[np.float64],
    importances: NDArray[np.float64] | None,
    weights: Any,
    threshold: float,
) -> None:
    """Learn the rows of a matrix: new columns are entered, the rule learns by `weights`, the
    progressive `totals` and the `judge` by `importances`; each [n], one a row, or None for 1s.

    Raises MemoryError, and nothing has changed then.
    """
    ones = np.ones(len(columns.indptr) - 1)
    importances = ones if importances is None else importances
    weights = ones if weights is None else weights
    rule.reserve(lookup.reserve((columns,)))
    margins = rule.learn(lookup.grow_columns(columns, importances), labels, weights)
    observe(totals, margins, labels, importances, threshold)
    judge.learn(margins, labels, importances)


def score_matrix(lookup: KernelLookup, rule: KernelRule, columns: Columns) -> NDArray[np.float64]:
    """The margins of the rows of a matrix, float64[n]; changes nothing."""
    return rule.score(lookup.find_columns(columns))


def targets_of(
    y: ArrayLike, sample_weight: ArrayLike | None, n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Labels and importances of `n` rows, float64[n] each; None for importances that are all 1.

    Raises SampleError for a label that is not −1 or +1 or an importance outside 0 … 1e50,
    ValueError for another number of them than of rows.
    """
    labels = _vector("y", y, n)
    bad = (labels != 1) & (labels != -1)
    if bad.any():
        i = int(bad.argmax())
        raise SampleError(f"expected a label of -1 or +1, got {labels[i]:g}", (i,), root="y")
    if sample_weight is None:
        return labels, None
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
    return np.require(given, np.float64, ["C", "A"])
