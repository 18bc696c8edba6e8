"""The features of two models that began as one, in one order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm.snapshot.format import Snapshot

__all__ = ["Join"]


@dataclass(frozen=True, slots=True)
class Join:
    """The features of two models, `n` in all: those of their base, then the first one's new ones,
    then those of the second alone.

    lengths, names: as a snapshot has them. old: the features of the base. places: where each new
    feature of the second one is, from 0; −1 where the bound leaves it out.
    """

    n: int
    lengths: NDArray[np.uint32]
    names: NDArray[np.uint8]
    old: int
    places: NDArray[np.int64]

    @classmethod
    def of(cls, base: Snapshot, first: Snapshot, second: Snapshot, bound: int) -> Join:
        """The join of two models of `base`, with `bound` features at most."""
        old = len(base.lengths)
        lookup = kernels.load().Lookup(max(1, bound - old))
        lookup.restore(*_new(first, base))
        lengths, names = _new(second, base)
        ids = lookup.join(lengths, names)
        if bound <= old:
            ids[:] = 0
        places = np.where(ids > 0, ids.astype(np.int64) + (old - 1), -1)
        joined = lookup.view().arrays()
        count = len(joined["lengths"]) if bound > old else 0
        size = int(joined["lengths"][:count].sum(dtype=np.uint64))
        return cls(
            old + count,
            np.concatenate([base.lengths, joined["lengths"][:count]]),
            np.concatenate([base.names, joined["names"][:size]]),
            old,
            places,
        )

    def of_base(self, array: NDArray[Any], fresh: Any) -> NDArray[Any]:
        """The numbers of the base, in the order of all; `fresh` for other features."""
        made = np.full(self.n, fresh, dtype=array.dtype)
        made[: self.old] = array
        return made

    def of_first(self, array: NDArray[Any], fresh: Any) -> NDArray[Any]:
        """The numbers of the first model, likewise."""
        made = np.full(self.n, fresh, dtype=array.dtype)
        made[: len(array)] = array
        return made

    def of_second(self, array: NDArray[Any], fresh: Any) -> NDArray[Any]:
        """The numbers of the second model, likewise."""
        made = np.full(self.n, fresh, dtype=array.dtype)
        made[: self.old] = array[: self.old]
        there = self.places >= 0
        made[self.places[there]] = array[self.old :][there]
        return made


def _new(model: Snapshot, base: Snapshot) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """The names that the model has and its base has not."""
    return model.lengths[len(base.lengths) :], model.names[len(base.names) :]
