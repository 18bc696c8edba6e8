"""The samples of a body whose features would take much memory at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from onlinesvm.data.batch import BatchColumns
from onlinesvm.data.label import AnyLabel

__all__ = ["Decoded", "Pieces", "in_pieces", "parts"]


class Pieces:
    """The samples of one body, validated whole; iterating makes their features, piece by piece.

    label_table, label_ids, importances: of all samples, as BatchColumns has them. start: where in
    the body the samples begin. decode: the samples from a place on, at most so many, and the place
    of those after them.
    """

    def __init__(
        self,
        label_table: list[AnyLabel],
        label_ids: Any,
        importances: Any,
        start: int,
        decode: Callable[[int, int], tuple[BatchColumns, int]],
    ) -> None:
        self.label_table = label_table
        self.label_ids = label_ids
        self.importances = importances
        self._start = start
        self._decode = decode

    def __len__(self) -> int:
        return len(self.importances)

    def __iter__(self) -> Iterator[BatchColumns]:
        place, left = self._start, len(self)
        while left:
            batch, place = self._decode(place, left)
            left -= len(batch)
            yield batch


Decoded = BatchColumns | Pieces
SAMPLE = 4  # a sample takes as long as so many features, beside its own


def parts(rows: Decoded, most: int) -> Iterator[BatchColumns]:
    """`rows` in parts of about `most` features, at least one; a sample is never divided."""
    if not isinstance(rows, Pieces) and rows.indptr[-1] + SAMPLE * len(rows) <= most:
        yield rows
        return
    for piece in in_pieces(rows):
        # Samples and features before each sample; parts of about the same size.
        ends = np.asarray(piece.indptr) + SAMPLE * np.arange(len(piece) + 1)
        count = -(-int(ends[-1]) // most)
        places = np.searchsorted(ends, np.arange(1, count) * (ends[-1] / count))
        first = 0
        for stop in (*dict.fromkeys(places.tolist()), len(piece)):
            if stop > first:
                yield piece.part(first, stop)
                first = stop


def in_pieces(rows: Any) -> Iterable[Any]:
    """The pieces of `rows`, or `rows` alone."""
    return rows if isinstance(rows, Pieces) else (rows,)
