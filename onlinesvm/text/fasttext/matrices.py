"""The matrices of a fastText file: dense, and product-quantized (Jégou, Douze, Schmid, 2011).

Both lie in the mapped file; a row is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CENTROIDS", "Codebook", "Dense", "Matrix", "Quantized"]

CENTROIDS = 256  # of each part of a row: a code is one byte


@dataclass(frozen=True, slots=True)
class Dense:
    """values: float32[rows, dim], little-endian, maybe unaligned."""

    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """float32[len(ids), dim], a copy."""
        return self.values[list(ids)].astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class Codebook:
    """The centroids of a product quantizer.

    A row of `dim` numbers is cut into parts of `width`, the last one of the rest. The centroids
    of a part follow those of the one before it: float32[dim · 256] in all.
    """

    dim: int
    width: int
    centroids: NDArray[np.float32]

    @property
    def parts(self) -> int:
        return -(-self.dim // self.width)

    def decoded(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The rows of `codes`, uint8[n, parts]: float32[n, dim]."""
        out = np.empty((len(codes), self.dim), np.float32)
        for part in range(self.parts):
            start = part * self.width
            end = min(start + self.width, self.dim)
            table = self.centroids[start * CENTROIDS : end * CENTROIDS]
            out[:, start:end] = table.reshape(CENTROIDS, end - start)[codes[:, part]]
        return out


@dataclass(frozen=True, slots=True)
class Quantized:
    """codes: uint8[rows, parts]. With qnorm, norms: uint8[rows], codes of each row's length."""

    codes: NDArray[np.uint8]
    book: Codebook
    norms: NDArray[np.uint8] | None = None
    norm_book: Codebook | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """float32[len(ids), dim], decoded."""
        chosen = list(ids)
        rows = self.book.decoded(self.codes[chosen])
        if self.norms is not None and self.norm_book is not None:
            rows *= self.norm_book.decoded(self.norms[chosen][:, None])
        return rows


Matrix = Dense | Quantized
