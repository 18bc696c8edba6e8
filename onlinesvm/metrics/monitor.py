"""The metrics of the progressive margins: totals, calibration, confusion and drift."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.metrics.calibration import Calibration
from onlinesvm.metrics.confusion import Confusion, rates
from onlinesvm.metrics.constants import LARGEST_GAIN
from onlinesvm.metrics.drift import Drift
from onlinesvm.metrics.progressive import TOTALS, observe

__all__ = [
    "DRIFTS", "NAMES", "PARTS", "SIZE", "Metrics", "check_state", "confusion", "reliability",
    "report",
]  # fmt: skip


class Metrics:
    """The Python kernel's. The predicted sign is +1 where the margin is above `threshold`."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._totals = [0.0] * len(TOTALS)
        self._calibration, self._confusion, self._drift = Calibration(), Confusion(), Drift()

    def reserve(self) -> None:
        """Memory to observe in, so that it cannot fail. Raises MemoryError."""

    def observe(
        self, margins: NDArray[np.float64], signs: ArrayLike, importances: ArrayLike
    ) -> NDArray[np.float64]:
        """Count samples in order, by the margins before they were learned.

        Returns the probability of +1 that each had, float64[n]. A sample of importance 0 is not
        counted. Raises ValueError for another number of signs or importances than of margins.
        """
        given = np.asarray(signs).tolist(), np.asarray(importances).tolist()
        for name, column in zip(("signs", "importances"), given, strict=True):
            if len(column) != len(margins):
                raise ValueError(f"{name}: expected {len(margins)} elements, got {len(column)}")
        self._totals = observe(self._totals, margins.tolist(), *given, self._threshold)
        probabilities = []
        for margin, y, h in zip(margins.tolist(), *given, strict=True):
            if h > 0.0:
                predicted = margin > self._threshold
                z = self._calibration.scaled(margin)
                probabilities.append(self._calibration.learn(margin, y))
                self._confusion.learn(z, predicted, y, h)
                self._drift.learn(predicted != (y > 0.0))
            else:
                probabilities.append(self._calibration.probability(margin))
        return np.array(probabilities, dtype=np.float64)

    def probabilities(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of +1 of samples with these margins, float64[n]; changes nothing."""
        of = self._calibration.probability
        return np.array([of(margin) for margin in margins.tolist()], dtype=np.float64)

    def dump(self) -> NDArray[np.float64]:
        """The state, float64[SIZE]: first the progressive totals, last the drift."""
        parts = (self._calibration, self._confusion, self._drift)
        return np.array([*self._totals, *(number for part in parts for number in part.numbers())])

    def restore(self, numbers: NDArray[np.float64]) -> None:
        """Replace the state by a dump that `check_state` accepts. Raises ValueError for another
        number of numbers.
        """
        if numbers.shape != (SIZE,):
            raise ValueError(f"metrics: expected {SIZE} numbers, got {numbers.size}")
        given = iter(numbers.tolist())
        self._totals = [next(given) for _ in TOTALS]
        for part in (self._calibration, self._confusion, self._drift):
            part.restore(given)


def check_state(numbers: NDArray[np.float64]) -> None:
    """Raise ValueError unless `numbers` can be a dump."""
    if numbers.shape != (SIZE,):
        raise ValueError(f"metrics: expected {SIZE} numbers, got {numbers.size}")
    totals, numbers = numbers[: len(TOTALS)], numbers[len(TOTALS) :]
    if not bool((totals >= 0.0).all() and np.isfinite(totals).all()):
        raise ValueError("metrics: totals: expected finite numbers from 0")
    if not bool(((numbers >= _LOW) & (numbers <= _HIGH)).all()):  # nan neither
        _refuse(numbers)
    if numbers[0] != np.floor(numbers[0]):
        raise ValueError(f"metrics: samples: expected a whole number, got {numbers[0]:g}")
    for name, part in (("covariance", _COVARIANCE), ("information", _INFORMATION)):
        aa, ab, bb = numbers[part].tolist()
        if ab * ab > aa * bb + 1e-9:
            raise ValueError(
                f"metrics: {name}: expected a positive matrix, got {aa:g}, {ab:g}, {bb:g}"
            )
    count, size = numbers[_MEAN].tolist()
    if size > 0.0 and count < 1.0:
        raise ValueError(
            f"metrics: count: expected one from 1 for a size of {size:g}, got {count:g}"
        )
    share = float((numbers[_POSITIVE] / numbers[_WEIGHT]).max())
    if not share <= 1.0 + 1e-6:
        raise ValueError(f"metrics: knots: expected shares of at most 1, got {share:g}")
    if bool((np.diff(numbers[_MAP]) < 0.0).any()):
        raise ValueError(f"metrics: map: expected it to rise, got {numbers[_MAP].tolist()}")
    drift = numbers[-6:]
    if not bool((np.floor(drift) == drift).all()):
        raise ValueError(f"metrics: drift: expected whole numbers of samples, got {drift.tolist()}")
    _, since, n, wrong, cut_n, cut_wrong = drift.tolist()
    if not (n <= since and wrong <= n and cut_n <= n and cut_wrong <= min(wrong, cut_n)):
        raise ValueError(
            f"metrics: drift: expected parts of the {since:g} samples, got {n:g}, {wrong:g},"
            f" {cut_n:g}, {cut_wrong:g}"
        )


def _refuse(numbers: NDArray[np.float64]) -> NoReturn:
    """Raise ValueError for the first part that is out of its bounds."""
    for name, (part, low, high) in PARTS.items():
        if not bool(((numbers[part] >= low) & (numbers[part] <= high)).all()):
            raise ValueError(
                f"metrics: {name}: expected numbers from {low:g} to {high:g},"
                f" got {numbers[part].min():g} to {numbers[part].max():g}"
            )
    raise AssertionError("expected a part out of its bounds")


def report(numbers: NDArray[np.float64]) -> dict[str, Any]:
    """The figures of a dump, by the names that `stats` has for them; None where unknown."""
    metrics = Metrics(0.0)
    metrics.restore(numbers)
    figures: dict[str, Any] = dict(rates(metrics._confusion.counts))
    recent = rates(metrics._confusion.recent)
    figures.update({f"recent_{name}": rate for name, rate in recent.items()})
    figures["recent_auc"] = metrics._confusion.auc
    figures["recent_calibration_error"] = metrics._calibration.error
    figures["drifts"] = int(metrics._drift.count)
    figures["samples_since_drift"] = metrics._drift.last
    return figures


def reliability(numbers: NDArray[np.float64]) -> list[list[float]]:
    """The bins of a dump's calibration; see `Calibration.reliability`."""
    metrics = Metrics(0.0)
    metrics.restore(numbers)
    return metrics._calibration.reliability


def confusion(numbers: NDArray[np.float64]) -> list[list[float]]:
    """The recent weights of a dump's samples by side, −1 first, and predicted side, [2, 2]."""
    metrics = Metrics(0.0)
    metrics.restore(numbers)
    tp, fp, tn, fn = metrics._confusion.recent
    return [[tn, fp], [fn, tp]]


SIZE = len(Metrics(0.0).dump())
DRIFTS = SIZE - 6  # where in a dump the number of drifts lies

# Where in a dump, less the totals, these lie.
_COVARIANCE, _MEAN, _INFORMATION = slice(3, 6), slice(6, 8), slice(10, 13)
_POSITIVE, _WEIGHT, _MAP = slice(14, 31), slice(31, 48), slice(48, 65)
# The parts: where they lie, and from what to what. Sums over the recent past are of ten
# thousand samples at most, times the gain, times an importance.
PARTS: dict[str, tuple[slice, float, float]] = {
    "samples": (slice(0, 1), 0.0, 2.0**53),
    "slope": (slice(1, 2), 0.0, 1e50),
    "intercept": (slice(2, 3), -1e50, 1e50),
    "variances": (slice(3, 6, 2), 1e-5, 2.0),
    "covariance": (slice(4, 5), -2.0, 2.0),
    "count": (slice(6, 7), 0.0, 1e3 + 10.0),
    "size": (slice(7, 8), 0.0, 1e300),
    "gradient": (slice(8, 10), -64.0, 64.0),
    "variance of the information": (slice(10, 13, 2), 0.0, 128.0),
    "information": (_INFORMATION, -128.0, 128.0),
    "group's size": (slice(13, 14), 0.0, 1e300),
    "knots": (_POSITIVE, 0.0, 1e4),
    "knots' weights": (_WEIGHT, 1.0, 1e4),
    "map": (_MAP, 0.0, 1.0),
    "gain": (slice(65, 66), 1.0, 1.001 * LARGEST_GAIN),
    "bins": (slice(66, 111), 0.0, 1e110),
    "counts": (slice(111, 119), 0.0, 1e100),
    "area's gain": (slice(119, 120), 1.0, 1.001 * LARGEST_GAIN),
    "area's histograms": (slice(120, SIZE - len(TOTALS) - 6), 0.0, 1e200),
    "drift": (slice(SIZE - len(TOTALS) - 6, None), 0.0, 2.0**53),
}


def _bounds() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the largest that each number of all parts may be."""
    low, high = np.full(SIZE - len(TOTALS), -np.inf), np.full(SIZE - len(TOTALS), np.inf)
    for part, least, most in PARTS.values():
        low[part] = np.maximum(low[part], least)
        high[part] = np.minimum(high[part], most)
    return low, high


_LOW, _HIGH = _bounds()
# The names of a report.
NAMES = tuple(report(Metrics(0.0).dump()))
