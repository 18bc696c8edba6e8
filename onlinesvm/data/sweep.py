"""The ids of a lookup while a prune is under way, and the rows that one call walks."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sweep", "check_rows", "check_sweep", "without_gap"]

T = TypeVar("T", bound=np.generic)


class Sweep(NamedTuple):
    """Ids 1 … `low` were looked at and moved, those from `next` on were not. Those between are
    nobody's.
    """

    low: int
    next: int

    @property
    def gap(self) -> int:
        """The ids that are nobody's."""
        return self.next - self.low - 1


def without_gap(by_id: NDArray[T], sweep: Sweep | None, each: int = 1) -> NDArray[T]:
    """Numbers by id from 1, `each` for an id, without those of the ids that are nobody's."""
    if sweep is None or not sweep.gap:
        return by_id
    low, first = sweep.low * each, (sweep.next - 1) * each
    return np.concatenate((by_id[:low], by_id[first:]))


def check_sweep(sweep: tuple[int, int] | None, n: int) -> None:
    """Raise ValueError unless `sweep` can be that of n features."""
    if sweep is not None and not (0 <= sweep[0] < n and sweep[0] < sweep[1]):
        raise ValueError(f"sweep: expected one within {n} features, got {tuple(sweep)}")


def check_rows(first: int, stop: int | None, n: int) -> int:
    """The end of rows first … stop − 1 of n samples, n for None. Raises ValueError."""
    if first > n:
        raise ValueError(f"first: expected one of {n} samples, got {first}")
    if stop is None:
        return n
    if not first <= stop <= n:
        raise ValueError(f"stop: expected one from {first} to {n}, got {stop}")
    return stop
