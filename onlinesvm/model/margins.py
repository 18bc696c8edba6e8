"""The margins of rows by fixed weights, a flat vector by id: the Python kernel's `score_fixed`.

    margin = ((0 + w_i·x_i) + w_j·x_j) + … + b, in the stored order of the row

`normalized` first brings rows to one size, the configuration's `normalize`:

    l2      x / √(Σ x_i²)
    mean    x / n, n the number of features

Both count the row's distinct features, known or not; the bias is added after.

The sum starts from 0.0, so that it never is −0.0, and what adds 0 to it (PAD, an unknown feature, a
cell of padding) leaves its bits as they are.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.data.batch import CSR
from onlinesvm.model.lookup import PAD

__all__ = [
    "MAX_ID",
    "agreeing",
    "check_weights",
    "checked",
    "known",
    "normalized",
    "rows_over_ids",
    "score_fixed",
    "vector_of",
    "walkable",
]

MAX_ID = 2**31 - 2

Scalar = TypeVar("Scalar", bound=np.generic)
Vector = NDArray[np.float64]


def score_fixed(csr: CSR, weights: NDArray[np.float64], bias: float) -> NDArray[np.float64]:
    """The margins of the rows, float64[n].

    weights: float64[features + 1], by id; that of PAD is 0. Ids beyond them have no weight: they
    are of features that came later.

    Raises ValueError for rows or weights that cannot be such.
    """
    indptr, indices, data = checked(csr)
    weights = check_weights(weights)
    n = len(indptr) - 1
    products = weights.take(known(indices, len(weights))) * data
    rows = np.repeat(np.arange(n, dtype=np.int64), np.diff(indptr))
    # bincount adds one after the other, from 0.0; NumPy's sums add in pairs.
    sums = np.bincount(rows, weights=products, minlength=n).astype(np.float64, copy=False)
    return sums + bias


def normalized(csr: CSR, how: str, counted: CSR | None = None) -> CSR:
    """`csr` with every row divided by its size, as ``"l2"`` or ``"mean"`` has it.

    The sizes are those of the rows of `counted`, where `csr` lacks some of their features.
    """
    sizes = _sizes(counted or csr, how)
    return csr._replace(data=csr.data / np.repeat(sizes, np.diff(csr.indptr)))


def _sizes(csr: CSR, how: str) -> NDArray[np.float64]:
    """The size of each row, 1 where it has none, float64[n]."""
    n = len(csr.indptr) - 1
    lengths = np.diff(csr.indptr)
    if how == "mean":
        sizes = lengths.astype(np.float64)
    else:
        # bincount adds one after the other: the same bits in every NumPy.
        rows = np.repeat(np.arange(n), lengths)
        sizes = np.sqrt(np.bincount(rows, weights=csr.data * csr.data, minlength=n))
    sizes[sizes == 0.0] = 1.0
    return sizes


def agreeing(positive: Vector, margins: Vector, at_zero: float) -> Vector:
    """`positive`, probabilities of +1, above one half where the margin is above 0 and nowhere else.

    at_zero: the probability at margin 0, p. On the side of margin 0 where labels and probabilities
    disagree, those between 1 − p and p are moved halfway towards 1 − p; all others stay, and the
    order is kept.
    """
    is_above, end = margins > 0.0, 1.0 - at_zero
    if at_zero > 0.5:
        moved = np.where(~is_above & (positive > end), (positive + end) / 2.0, positive)
    else:
        moved = np.where(is_above & (positive < end), (positive + end) / 2.0, positive)
    # Ties at one half, where the calibration is flat.
    return np.where(is_above, np.maximum(moved, np.nextafter(0.5, 1.0)), np.minimum(moved, 0.5))


def known(ids: NDArray[np.int32], n: int) -> NDArray[np.int32]:
    """`ids` with PAD in place of those from `n` on. Raises ValueError for anything but ids."""
    largest = _largest(ids)
    return ids if largest < n else np.where(ids < n, ids, PAD).astype(np.int32)


def _largest(ids: NDArray[np.int32]) -> int:
    """The largest of `ids`, PAD if there is none. Raises ValueError for anything but ids."""
    if not len(ids):
        return PAD
    least, largest = int(ids.min()), int(ids.max())
    if least < PAD or largest > MAX_ID:
        raise ValueError(f"indices: expected ids from 0 to {MAX_ID}, got {least} to {largest}")
    return largest


def walkable(csr: CSR) -> CSR:
    """`csr`, as `checked` gives it, with every index an id. Raises ValueError for anything else."""
    csr = checked(csr)
    _largest(csr.indices)
    return csr


def check_weights(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """`weights` as a vector. Raises ValueError where the weight of PAD is not 0."""
    weights = _vector(weights, np.float64)
    if not len(weights) or weights[0] != 0.0:
        raise ValueError(f"weights: expected 0 for PAD, got {weights[:1].tolist()}")
    return weights


def checked(csr: CSR) -> CSR:
    """`csr` in the types of CSR, cut to the elements of its rows. Raises ValueError for
    anything else.
    """
    indptr, indices, data = csr
    indptr = _vector(indptr, np.int64)
    indices, data = _vector(indices, np.int32), _vector(data, np.float64)
    if not len(indptr):
        raise ValueError("indptr: expected an element at least, got none")
    stored = min(len(indices), len(data))
    rising = bool((indptr[1:] >= indptr[:-1]).all())
    if not (rising and indptr[0] >= 0 and indptr[-1] <= stored):
        raise ValueError("indptr: expected ends of rows that rise within the elements")
    first, end = int(indptr[0]), int(indptr[-1])
    if first:
        indptr = indptr - first
    return CSR(indptr, indices[first:end], data[first:end])


def rows_over_ids(csr: CSR) -> CSR:
    """`csr`, given by a caller, in the types of CSR; the ends of its rows are a copy.

    Ids are checked before they are cut to 32 bits; a caller that changes the ends while the rows
    are walked does not change the copy.

    Raises ValueError for ids, ends or values that cannot be such.
    """
    indptr, indices, data = map(np.asarray, csr)
    if indptr.dtype.kind not in "iu" or (indices.dtype.kind not in "iu" and len(indices)):
        raise ValueError(
            f"indptr, indices: expected integers, got {indptr.dtype} and {indices.dtype}"
        )
    if data.dtype.kind not in "iuf":
        raise ValueError(f"data: expected real numbers, got {data.dtype}")
    if indices.dtype != np.int32:
        _largest(indices)
    ends = np.array(indptr, dtype=np.int64)
    return CSR(ends, _vector(indices, np.int32), _vector(data, np.float64))


def vector_of(name: str, values: ArrayLike, n: int) -> Vector:
    """`values` as float64[n]. Raises ValueError, which names them, for another number of them."""
    vector = _vector(values, np.float64)
    if len(vector) != n:
        raise ValueError(f"{name}: expected {n} elements, got {len(vector)}")
    return vector


def _vector(values: ArrayLike, dtype: type[Scalar]) -> NDArray[Scalar]:
    array = np.ascontiguousarray(values, dtype)
    if array.ndim != 1:
        raise ValueError(f"expected an array of 1 dimension, got one of {array.ndim}")
    return array
