"""What is learned of the progressive margins beside the model: calibration, balance, drift."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.metrics.calibration import Calibration
from onlinesvm.metrics.confusion import Balance, rates
from onlinesvm.metrics.constants import LARGEST_GAIN
from onlinesvm.metrics.drift import Drift

__all__ = ["JUDGED", "SIZE", "Judge", "report"]


class Judge:
    """The Python kernel's judge. The prediction is +1 where the margin is above `threshold`."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._calibration, self._balance, self._drift = Calibration(), Balance(), Drift()

    def learn(
        self, margins: NDArray[np.float64], labels: Iterable[float], importances: Iterable[float]
    ) -> NDArray[np.float64]:
        """Learn samples in order, of the margins that they had before they were learned.

        Returns the probability of +1 that each had, float64[n]. Importance 0 teaches nothing.
        """
        probabilities = []
        for margin, y, h in zip(margins.tolist(), labels, importances, strict=True):
            if h > 0.0:
                predicted = margin > self._threshold
                z = self._calibration.scaled(margin)
                probabilities.append(self._calibration.learn(margin, y))
                self._balance.learn(z, predicted, y, h)
                self._drift.learn(predicted != (y > 0.0))
            else:
                probabilities.append(self._calibration.probability(margin))
        return np.array(probabilities, dtype=np.float64)

    def probabilities(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of +1 of samples with these margins, float64[n]; changes nothing."""
        of = self._calibration.probability
        return np.array([of(margin) for margin in margins.tolist()], dtype=np.float64)

    @property
    def drifts(self) -> int:
        """How often drift was told."""
        return int(self._drift.count)

    def dump(self) -> NDArray[np.float64]:
        """The state, float64[SIZE]."""
        parts = (self._calibration, self._balance, self._drift)
        return np.array([number for part in parts for number in part.numbers()])

    def restore(self, numbers: NDArray[np.float64]) -> None:
        """Take the state of a dump. Raises ValueError for numbers that cannot be one."""
        check_state(numbers)
        taken = iter(numbers.tolist())
        for part in (self._calibration, self._balance, self._drift):
            part.take(taken)


def check_state(numbers: NDArray[np.float64]) -> None:
    """Raise ValueError unless `numbers` can be the state of a judge."""
    if numbers.shape != (SIZE,):
        raise ValueError(f"judge: expected {SIZE} numbers, got {numbers.size}")
    for name, (part, low, high) in _PARTS.items():
        if not bool(((numbers[part] >= low) & (numbers[part] <= high)).all()):  # nan neither
            raise ValueError(
                f"judge: {name}: expected numbers from {low:g} to {high:g}, got others"
            )
    aa, ab, bb, count, size = numbers[2:7].tolist()
    if ab * ab > aa * bb + 1e-9:
        raise ValueError("judge: covariance: expected one, got other numbers")
    if size > 0.0 and count < 1.0:
        raise ValueError(f"judge: count: expected one from 1 for a size of {size:g}, got {count:g}")
    if not bool((numbers[_POSITIVE] <= numbers[_WEIGHT] * (1.0 + 1e-6)).all()):
        raise ValueError("judge: knots: expected shares of at most 1, got others")
    since, n, wrong, cut_n, cut_wrong = numbers[-5:].tolist()
    if not (bool((np.floor(numbers[-6:]) == numbers[-6:]).all()) and n <= since):
        raise ValueError("judge: drift: expected whole numbers of samples, got others")
    if not (wrong <= n and cut_n <= n and cut_wrong <= min(wrong, cut_n)):
        raise ValueError("judge: drift: expected parts of what was counted, got more")


def report(numbers: NDArray[np.float64]) -> dict[str, Any]:
    """What a judge's state has to tell, by the names that `stats` has for it."""
    judge = Judge(0.0)
    judge.restore(numbers)
    told: dict[str, Any] = dict(rates(judge._balance.counts))
    told.update({f"recent_{name}": r for name, r in rates(judge._balance.recent).items()})
    told["recent_auc"] = judge._balance.auc
    told["recent_calibration_error"] = judge._calibration.error
    told["drifts"] = judge.drifts
    told["samples_since_drift"] = judge._drift.last
    return told


SIZE = len(Judge(0.0).dump())

# Where in a dump the knots lie.
_POSITIVE, _WEIGHT = slice(7, 24), slice(24, 41)
# The parts of a dump: where they lie, and from what to what. Sums over the recent past are of ten
# thousand samples at most, times the gain, times an importance.
_PARTS: dict[str, tuple[slice, float, float]] = {
    "slope, intercept": (slice(0, 2), -1e50, 1e50),
    "covariance": (slice(2, 5), -2.0, 2.0),
    "count": (slice(5, 6), 0.0, 1e3 + 1.0),
    "size": (slice(6, 7), 0.0, 1e300),
    "knots": (_POSITIVE, 0.0, 1e4),
    "knots' weights": (_WEIGHT, 1.0, 1e4),
    "gain": (slice(41, 42), 1.0, 1.001 * LARGEST_GAIN),
    "bins": (slice(42, 87), 0.0, 1e110),
    "counts": (slice(87, 95), 0.0, 1e100),
    "area's gain": (slice(95, 96), 1.0, 1.001 * LARGEST_GAIN),
    "area's histograms": (slice(96, SIZE - 6), 0.0, 1e200),
    "drift": (slice(SIZE - 6, SIZE), 0.0, 2.0**53),
}
# The names of a report.
JUDGED = tuple(report(Judge(0.0).dump()))
