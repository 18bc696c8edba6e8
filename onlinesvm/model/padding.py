"""Ragged rows filled up to one length with PAD, and their margins: the classic way to batch them.

PAD's weight is 0 and its value is 0, so a cell of padding adds 0 to a sum that started from 0.0:
the bits stay. NumPy alone is needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.batch import CSR
from onlinesvm.model.lookup import PAD
from onlinesvm.model.margins import check_weights, checked, known

__all__ = ["pad", "score_padded", "unpad"]

# Cells of a block: ids, values, products and a transposed copy of these stay in a cache.
_CELLS = 2**15


def pad(csr: CSR) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]:
    """The rows as ids int32[n, longest], values float64[n, longest] and lengths int64[n]; cells
    after a row's length are PAD of value 0. `unpad` gives the rows back.

    Raises ValueError for rows that cannot be such.
    """
    indptr, indices, data = checked(csr)
    lengths = np.diff(indptr)
    n, longest = len(lengths), int(lengths.max(initial=0))
    there = np.arange(longest) < lengths[:, None]
    ids = np.full((n, longest), PAD, dtype=np.int32)
    values = np.zeros((n, longest))
    ids[there] = indices
    values[there] = data
    return ids, values, lengths


def unpad(ids: NDArray[np.int32], values: NDArray[np.float64], lengths: NDArray[np.int64]) -> CSR:
    """The rows that `pad` made these of, order and bits as they were.

    Raises ValueError where shapes differ or a length cannot be a row's.
    """
    ids, values, lengths = np.asarray(ids), np.asarray(values), np.asarray(lengths)
    if ids.ndim != 2 or values.shape != ids.shape or lengths.shape != ids.shape[:1]:
        raise ValueError(
            "expected ids [n, longest], values [n, longest] and lengths [n], got shapes"
            f" {ids.shape}, {values.shape} and {lengths.shape}"
        )
    longest = ids.shape[1]
    low, high = int(lengths.min(initial=0)), int(lengths.max(initial=0))
    if low < 0 or high > longest:
        raise ValueError(f"lengths: expected numbers from 0 to {longest}, got {low} to {high}")
    there = np.arange(longest) < lengths[:, None]
    indptr = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=indptr[1:])
    return CSR(indptr, ids[there].astype(np.int32), values[there].astype(np.float64))


def score_padded(csr: CSR, weights: NDArray[np.float64], bias: float) -> NDArray[np.float64]:
    """The margins of the rows, float64[n], as `onlinesvm.model.margins.score_fixed` has them.

    Rows of like length are padded together, so that little is padding however lengths differ, and
    in blocks of bounded size; the margins are in the order of the rows.
    """
    indptr, indices, data = checked(csr)
    weights = check_weights(weights)
    indices = known(indices, len(weights))
    lengths = np.diff(indptr)
    margins = np.empty(len(lengths))
    for rows in _blocks(lengths):
        longest = int(lengths[rows[-1]])
        places = indptr[rows][:, None] + np.arange(longest)
        after = np.arange(longest) >= lengths[rows][:, None]
        if len(indices):
            places[after] = 0
        ids, values = indices.take(places), data.take(places)
        ids[after] = PAD
        values[after] = 0.0
        margins[rows] = _sums(weights.take(ids) * values) + bias
    return margins


def _blocks(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.intp]]:
    """The rows, shortest first, in blocks whose cells are bounded and whose padding is too."""
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    start = 0
    while start < len(order):
        # No row is filled up to more than a quarter above the shortest.
        limit = int(ordered[start]) * 5 // 4 + 2
        end = int(np.searchsorted(ordered, limit, side="right"))
        end = min(end, start + max(1, _CELLS // limit))
        yield order[start:end]
        start = end


def _sums(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of each row, from 0.0, left to right."""
    if len(products) == 1:  # NumPy adds a single row in pairs
        products = np.concatenate((products, np.zeros_like(products)))
        return _sums(products)[:1]
    # Summed over its first axis, a block is added row by row.
    transposed = np.ascontiguousarray(products.T)
    total: NDArray[np.float64] = np.add.reduce(transposed, axis=0, initial=0.0)
    return total
