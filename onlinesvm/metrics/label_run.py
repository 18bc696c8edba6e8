"""The longest run of one label, which shows a stream that is sorted by class.

An online learner follows its latest samples: after a file of one class and then the other it
predicts the other, while its progressive error stays small. Among n labels in random order, all but
k of them of one kind, the longest run of that kind is about (ln(k + 1) + γ)/ln(n/(n − k)) long, γ
being Euler's constant (Schilling 1990, "The longest run of heads"). A run is *long* above 200 and
above 20 times that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LabelRun"]

LEAST = 200
TIMES = 20.0
_EULER = 0.5772156649015329


class LabelRun:
    """Counts labels, and the longest run of each."""

    def __init__(self) -> None:
        self._counts: dict[float, int] = {}
        self._longest: dict[float, int] = {}
        self._last = math.nan
        self._run = 0

    def count(self, labels: Sequence[float] | NDArray[Any]) -> None:
        """Count `labels`, numbers [n] without nan, which follow those before."""
        row = np.asarray(labels, dtype=np.float64)
        if not len(row):
            return
        starts = np.flatnonzero(np.concatenate(([True], row[1:] != row[:-1])))
        runs = np.diff(np.concatenate((starts, [len(row)])))
        kinds = row[starts]
        carried = self._run if kinds[0] == self._last else 0
        self._run = int(runs[-1]) + (carried if len(runs) == 1 else 0)
        self._last = float(kinds[-1])
        first, begun = float(kinds[0]), int(runs[0]) + carried
        self._longest[first] = max(self._longest.get(first, 0), begun)
        while len(kinds):
            label, mine = float(kinds[0]), kinds == kinds[0]
            self._counts[label] = self._counts.get(label, 0) + int(runs[mine].sum())
            self._longest[label] = max(self._longest.get(label, 0), int(runs[mine].max()))
            kinds, runs = kinds[~mine], runs[~mine]

    @property
    def longest(self) -> int:
        """The length of the longest run; 0 before the first label."""
        return max(self._longest.values(), default=0)

    @property
    def long(self) -> tuple[float, int, int] | None:
        """The label of the longest long run, its length, and the length that random order gives.

        None where no run is long.
        """
        found = [
            (run, label)
            for label, run in self._longest.items()
            if run > LEAST and run > TIMES * self._expected(label)
        ]
        if not found:
            return None
        run, label = max(found)
        return label, run, round(self._expected(label))

    def _expected(self, label: float) -> float:
        """The longest run of `label` in random order; infinite where there is no other label."""
        count, n = self._counts[label], sum(self._counts.values())
        if count == n:
            return math.inf
        return max(1.0, (math.log(n - count + 1) + _EULER) / math.log(n / count))
