"""What all rules of the Python kernel share: views of their state, and pruning it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onlinesvm.snapshot.view import View

__all__ = ["Arrays", "Rule", "Scalars"]

Arrays = dict[str, NDArray[np.generic]]
Scalars = dict[str, float | int]


class Rule(ABC):
    """A rule that keeps what it knows of a feature in dicts by id, the attributes BY_ID."""

    BY_ID: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def weight(self, id: int) -> float:
        """The weight of a feature; 0.0 for PAD."""

    @abstractmethod
    def dump(self, n: int) -> tuple[Arrays, Scalars]:
        """The state of ids 1 … n, in arrays by id from 1, and the scalars."""

    def view(self, n: int) -> View:
        """The state of ids 1 … n as it is now."""
        return View(*self.dump(n))

    def scalars(self) -> Scalars:
        """The numbers that belong to no feature, as a snapshot has them."""
        return self.dump(0)[1]

    def reserve(self, n: int) -> None:  # noqa: B027 - nothing, here
        """Make room for the state of ids up to `n`. A dict cannot be told; the native rules can.

        Raises MemoryError, and nothing has changed then.
        """

    def reserve_prune(self, n: int) -> None:  # noqa: B027 - nothing, here
        """Make room to prune up to `n` features, so that it cannot run out of memory. A dict cannot
        be told; the native rules can. Raises MemoryError.
        """

    def prune(self, n: int, own: Collection[Any], left: int) -> NDArray[np.bool_]:
        """Give up features until `left` of ids 1 … n are left, or only those that are `own`.

        Those of smallest |weight| leave, of equal ones the lower id first, and none of `own`,
        distinct ids. The rest get ids 1, 2, … in the old order. Returns who stays, by id from 1,
        bool[n]; what it says is good until the next call.
        """
        kept = np.ones(n, dtype=np.bool_)
        strangers = set(range(1, n + 1)).difference(map(int, own))
        weakest = sorted(strangers, key=lambda i: (abs(self.weight(i)), i))
        for i in weakest[: max(0, n - left)]:
            kept[i - 1] = False
        stay = [i for i in range(1, n + 1) if kept[i - 1]]
        for name in self.BY_ID:
            state = getattr(self, name)
            setattr(self, name, {k: state[i] for k, i in enumerate(stay, 1) if i in state})
        return kept
