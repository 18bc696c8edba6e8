"""Pairs of items, better and worse, as rows of differences: what ranking learns from."""

from __future__ import annotations

import numpy as np

from onlinesvm.config import MIN_MAGNITUDE
from onlinesvm.data.batch import CSR

__all__ = ["differences"]


def differences(csr: CSR) -> CSR:
    """Row 2k less row 2k + 1 of `csr`, for each k, by ascending id.

    Values of a magnitude below MIN_MAGNITUDE are 0, as those of a sample are, and left out; so is
    PAD. Raises ValueError for an odd number of rows.
    """
    indptr, indices, data = csr
    lengths = np.diff(indptr)
    if len(lengths) % 2:
        raise ValueError(f"pairs: expected an even number of rows, got {len(lengths)}")
    rows = np.repeat(np.arange(len(lengths)), lengths)
    stored = slice(int(indptr[0]), int(indptr[-1]))
    order = np.lexsort((rows, indices[stored], rows // 2))
    order = order[indices[stored][order] != 0]
    pairs, ids = rows[order] // 2, indices[stored][order]
    signed = np.where(rows[order] % 2, -data[stored][order], data[stored][order])
    first = np.ones(len(ids), dtype=bool)
    first[1:] = (ids[1:] != ids[:-1]) | (pairs[1:] != pairs[:-1])
    starts = np.flatnonzero(first)
    sums = np.add.reduceat(signed, starts) if len(starts) else signed
    kept = np.abs(sums) >= MIN_MAGNITUDE
    ends = np.searchsorted(pairs[starts][kept], np.arange(len(lengths) // 2 + 1))
    return CSR(ends.astype(np.int64), ids[starts][kept].astype(np.int32), sums[kept])
