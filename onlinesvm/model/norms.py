"""Samples brought to one size, `normalize`: by their length or by their norm.

    l2      x / √(Σ x_i²)
    mean    x / n, n the number of features

Both count the sample's distinct features, known or not; the bias is added after.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.batch import CSR

__all__ = ["normalized"]


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
        # bincount adds one after the other, so the bits do not depend on NumPy's mood.
        rows = np.repeat(np.arange(n), lengths)
        sizes = np.sqrt(np.bincount(rows, weights=csr.data * csr.data, minlength=n))
    sizes[sizes == 0.0] = 1.0
    return sizes
