"""The label sets of samples, as ids, and what learning them returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["LabelSets", "LearnedSets"]


class LabelSets:
    """The label ids of n samples: those of sample i are ids[starts[i]:starts[i + 1]].

    starts: int64[n + 1] from 0. ids: int32, distinct within a sample. A slice of them shares their
    memory.
    """

    __slots__ = ("ids", "starts")

    def __init__(self, starts: NDArray[np.int64], ids: NDArray[np.int32]) -> None:
        self.starts, self.ids = starts, ids

    @classmethod
    def of(cls, sets: Sequence[Sequence[int]]) -> LabelSets:
        """These sets."""
        starts = np.cumsum([0, *map(len, sets)], dtype=np.int64)
        return cls(starts, np.array([id for ids in sets for id in ids], dtype=np.int32))

    @classmethod
    def joined(cls, parts: Iterable[LabelSets]) -> LabelSets:
        """The sets of all parts."""
        parts = list(parts)
        lengths = [np.diff(part.starts) for part in parts]
        starts = np.concatenate([[0], np.cumsum(np.concatenate([[0][:0], *lengths]))])
        ids = np.concatenate([np.empty(0, np.int32), *(part.ids for part in parts)])
        return cls(starts.astype(np.int64), ids)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, rows: slice) -> LabelSets:
        first, stop, _ = rows.indices(len(self))
        starts = self.starts[first : max(first, stop) + 1]
        return LabelSets(starts - starts[0], self.ids[int(starts[0]) : int(starts[-1])])

    def take(self, rows: NDArray[np.intp]) -> LabelSets:
        """The sets of these samples, in their order."""
        return LabelSets.of([self.of_row(i) for i in rows.tolist()])

    def of_row(self, i: int) -> list[int]:
        """The labels of sample i."""
        found: list[int] = self.ids[int(self.starts[i]) : int(self.starts[i + 1])].tolist()
        return found

    def lists(self) -> list[list[int]]:
        """The labels of each sample."""
        ids, ends = self.ids.tolist(), self.starts.tolist()
        return [ids[start:end] for start, end in pairwise(ends)]

    @property
    def rows(self) -> NDArray[np.intp]:
        """The sample of each id."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))


class LearnedSets(NamedTuple):
    """Of n samples, each as the model stood before it was learned.

    margins: float64[n], the least score of the sample's labels, less the best other one's; a label
    that is not known, or the other where there is none, has the score of a label that no feature
    knows, and for a sample without labels the threshold stands. predicted: the labels whose scores
    were above the threshold, by id, of each sample the first 256.
    """

    margins: NDArray[np.float64]
    predicted: LabelSets
