"""The samples of a body whose features would take much memory at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from onlinesvm.data.batch import BatchColumns
from onlinesvm.data.label import AnyLabel

__all__ = ["Decoded", "Pieces", "in_pieces"]


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


def in_pieces(rows: Any) -> Iterable[Any]:
    """The pieces of `rows`, or `rows` alone."""
    return rows if isinstance(rows, Pieces) else (rows,)
