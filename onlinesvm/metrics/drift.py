"""Drift made visible: a detector on the progressive mistakes.

HDDM_A (Frías-Blanco et al. 2015, "Online and non-parametric drift detection methods based on
Hoeffding's bounds", algorithm 1, one-sided): of all cuts of the stream since the last drift the one
is kept whose mean error plus Hoeffding's bound is least; drift is reported when the mean since the
start exceeds the mean up to that cut by more than Hoeffding's inequality allows with probability
CONFIDENCE (theorem 2)::

    mean(all) − mean(cut) ≥ √((n_all − n_cut)/(2·n_cut·n_all)·ln(2/CONFIDENCE))

It takes six numbers and no window. Each sample counts one, whatever its importance. The bound holds
for one test; there is one at every sample, so CONFIDENCE is small: in fifty streams of a million
samples that stood still, with errors from 0.1 to 50 percent, it reported none (with 1e−4, a dozen).
A rise from 10 to 30 percent after 10,000 samples is reported after about 200 (the median of 400
streams; 420 in one of twenty); small errors take long to show, as Hoeffding's bound does not use
their small variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from onlinesvm.metrics.fpmath import log

__all__ = ["LOG_ONE", "LOG_TWO", "Drift"]

CONFIDENCE = 1e-5
LOG_ONE = log(1.0 / CONFIDENCE)
LOG_TWO = log(2.0 / CONFIDENCE)


class Drift:
    """Counts drifts; `last` is the number of samples since the last one, None if there was none."""

    def __init__(self) -> None:
        self.count = 0.0
        self._since = 0.0
        self._n = self._wrong = self._cut_n = self._cut_wrong = 0.0

    @property
    def last(self) -> int | None:
        """Samples since the last drift was reported."""
        return int(self._since) if self.count else None

    def learn(self, wrong: bool) -> None:
        """Count a sample."""
        self._since += 1.0
        self._n += 1.0
        if wrong:
            self._wrong += 1.0
        mean = self._wrong / self._n
        bound = mean + math.sqrt(LOG_ONE / (2.0 * self._n))
        if self._cut_n == 0.0 or bound <= self._cut_wrong / self._cut_n + math.sqrt(
            LOG_ONE / (2.0 * self._cut_n)
        ):
            self._cut_n, self._cut_wrong = self._n, self._wrong
            return
        part = (self._n - self._cut_n) / (self._cut_n * self._n)
        if mean - self._cut_wrong / self._cut_n >= math.sqrt(part / 2.0 * LOG_TWO):
            self.count += 1.0
            self._since = 0.0
            self._n = self._wrong = self._cut_n = self._cut_wrong = 0.0

    def numbers(self) -> Iterator[float]:
        """The state."""
        yield from (self.count, self._since)
        yield from (self._n, self._wrong, self._cut_n, self._cut_wrong)

    def restore(self, numbers: Iterator[float]) -> None:
        """Replace the state by the next of `numbers`."""
        self.count, self._since = next(numbers), next(numbers)
        self._n, self._wrong = next(numbers), next(numbers)
        self._cut_n, self._cut_wrong = next(numbers), next(numbers)
