"""The ways of mixing numbers: means by counts, and sums of increments.

A mean is of what converges: weights, variances, mean squares, margins' sizes. Increments are summed
where a number counts the examples: samples, and the sums of squared gradients G, which are
what one learner of all samples would have summed (Duchi, Hazan and Singer 2011, "Adaptive
subgradient methods", equation 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.mixing.join import Join
from onlinesvm.mixing.outcome import Outcome
from onlinesvm.snapshot.format import Snapshot

__all__ = ["Columns", "Shares", "mean", "summed"]


@dataclass(frozen=True, slots=True)
class Shares:
    """The weights of two outcomes in a mean: `first`, `second`, numbers or arrays of numbers from
    0. Where the second is 0 the mean is the first number, bit for bit, and the other way round.
    """

    first: Any
    second: Any

    def mean(self, first: Any, second: Any) -> Any:
        """The mean of numbers, in float64; within them, whatever the rounding."""
        total = np.maximum(self.first + self.second, 1)
        mixed = (self.first * np.asarray(first, np.float64) + self.second * second) / total
        mixed = np.clip(mixed, np.minimum(first, second), np.maximum(first, second))
        mixed = np.where(self.second == 0, first, mixed)
        return np.where(self.first == 0, np.where(self.second == 0, first, second), mixed)


def mean(first: float, second: float, own: float, other: float) -> float:
    """The mean of two numbers of weights `own` and `other`."""
    return float(Shares(np.float64(own), np.float64(other)).mean(first, second))


def summed(base: Any, first: Any, second: Any) -> Any:
    """base + (first − base) + (second − base)."""
    return first + (second - base)


class Columns:
    """The arrays of two outcomes, by feature, in one order of the features."""

    def __init__(self, base: Snapshot, first: Outcome, second: Outcome, join: Join) -> None:
        self.join = join
        self._base, self._first, self._second = base, first.model, second.model
        own = join.of_first(first.counts, 0).astype(np.float64)
        self.shares = Shares(own, join.of_second(second.counts, 0).astype(np.float64))

    def counts(self) -> NDArray[np.uint32]:
        """How often each feature was seen in the round."""
        made: NDArray[np.uint32] = (self.shares.first + self.shares.second).astype(np.uint32)
        return made

    def all(self, name: str, fresh: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """An array of the base, the first and the second model; `fresh` for a new feature."""
        return (
            self.join.of_base(self._base.arrays[name], fresh),
            self.join.of_first(self._first.arrays[name], fresh),
            self.join.of_second(self._second.arrays[name], fresh),
        )

    def mean(self, name: str, fresh: Any) -> NDArray[Any]:
        """The mean of an array, by counts."""
        _, first, second = self.all(name, fresh)
        made: NDArray[Any] = self.shares.mean(first, second).astype(first.dtype)
        return made

    def sum(self, name: str, fresh: Any, low: float, high: float) -> NDArray[Any]:
        """The base and both increments of an array, cut to the span of its numbers."""
        base, first, second = self.all(name, fresh)
        kind = np.int64 if first.dtype.kind == "i" else np.float64
        total = summed(base.astype(kind), first.astype(kind), second.astype(kind))
        cut = np.where(self.shares.second == 0, first, np.clip(total, low, high))
        made: NDArray[Any] = np.where(self.shares.first == 0, second, cut).astype(first.dtype)
        return made
