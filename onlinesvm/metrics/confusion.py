"""Errors by class, and the area under the ROC curve, however rare one class is.

Mistakes by class, weighted by importance, over all and over the recent past (each sample counting
0.9999 times the one after it), and the recent area under the ROC curve in constant memory: a
histogram of the margins of each class over 128 bins of the scaled margin z, evenly spaced in
z/(1 + |z|). Pairs within one bin count half, as ties do (Fawcett 2006, "An introduction to ROC
analysis", section 7).
"""

from __future__ import annotations

from collections.abc import Iterator

from onlinesvm.metrics.calibration import index
from onlinesvm.metrics.constants import AUC_BINS as BINS
from onlinesvm.metrics.constants import LARGEST_GAIN
from onlinesvm.metrics.constants import RECENT_DISCOUNT as DISCOUNT
from onlinesvm.metrics.constants import RECENT_GROWTH as GROWTH

__all__ = ["Confusion", "rates"]


class Confusion:
    """Counts of right and wrong by class; `counts` and `recent`: true and false positives, true
    and false negatives.
    """

    def __init__(self) -> None:
        self.counts = [0.0] * 4
        self.recent = [0.0] * 4
        self._gain = 1.0
        self._positive = [0.0] * BINS
        self._negative = [0.0] * BINS

    def learn(self, z: float, predicted: bool, y: float, h: float) -> None:
        """Count a sample of scaled margin z."""
        k = (0 if y > 0.0 else 1) if predicted else (3 if y > 0.0 else 2)
        self.counts[k] += h
        for j in range(4):
            self.recent[j] *= DISCOUNT
        self.recent[k] += h
        if self._gain > LARGEST_GAIN:
            self._positive = [number / self._gain for number in self._positive]
            self._negative = [number / self._gain for number in self._negative]
            self._gain = 1.0
        at = (z / (1.0 + abs(z)) + 1.0) * (BINS / 2)
        histogram = self._positive if y > 0.0 else self._negative
        histogram[index(at, BINS - 1)] += self._gain * h
        self._gain *= GROWTH

    @property
    def auc(self) -> float | None:
        """The recent area under the ROC curve; None until both classes were seen."""
        positive = negative = area = 0.0
        for p, n in zip(self._positive, self._negative, strict=True):
            # In units of all of one class: the product of two large sums may overflow.
            positive += p
            negative += n
        if not (positive > 0.0 and negative > 0.0):
            return None
        below = 0.0
        for p, n in zip(self._positive, self._negative, strict=True):
            share = n / negative
            area += (p / positive) * (below + share / 2.0)
            below += share
        return area

    def numbers(self) -> Iterator[float]:
        """The state."""
        yield from (*self.counts, *self.recent, self._gain, *self._positive, *self._negative)

    def restore(self, numbers: Iterator[float]) -> None:
        """Replace the state by the next of `numbers`."""
        self.counts = [next(numbers) for _ in range(4)]
        self.recent = [next(numbers) for _ in range(4)]
        self._gain = next(numbers)
        self._positive = [next(numbers) for _ in range(BINS)]
        self._negative = [next(numbers) for _ in range(BINS)]


def rates(counts: list[float]) -> dict[str, float | None]:
    """Balanced error, precision, recall and F1 of true and false positives, true and false
    negatives; None where there is nothing to divide by.
    """
    tp, fp, tn, fn = counts

    def share(part: float, rest: float) -> float | None:
        return part / (part + rest) if part + rest > 0.0 else None

    missed, alarmed = share(fn, tp), share(fp, tn)
    balanced = None if missed is None or alarmed is None else (missed + alarmed) / 2.0
    return {
        "balanced_error": balanced,
        "precision": share(tp, fp),
        "recall": share(tp, fn),
        "f1": share(tp, (fp + fn) / 2.0),
    }
