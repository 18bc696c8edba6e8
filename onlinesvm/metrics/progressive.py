"""Progressive validation: every learned sample is a test sample first.

Blum, Kalai and Langford (1999), "Beating the hold-out: bounds for k-fold and progressive
cross-validation". The figures are importance-weighted means over all learned samples, and over the
recent past, where each further sample discounts the ones before by 0.9999.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from onlinesvm.metrics.constants import RECENT_DISCOUNT as DISCOUNT
from onlinesvm.metrics.constants import TOTALS

__all__ = ["TOTALS", "Progressive", "observe"]


class Progressive:
    """Error and hinge loss, over all and over the recent past; None before the first sample.

    `totals`: float64[7], in the order of TOTALS; samples of importance 0 are in none of them.
    """

    def __init__(self, totals: NDArray[np.float64] | None = None) -> None:
        self.totals = np.zeros(len(TOTALS)) if totals is None else totals

    @property
    def count(self) -> int:
        """Samples learned with an importance above 0."""
        return int(self.totals[0])

    @property
    def weight(self) -> float:
        """The sum of their importances."""
        return float(self.totals[1])

    @property
    def error(self) -> float | None:
        """The share of samples on the wrong side of the model's threshold."""
        return self._mean(2, 1)

    @property
    def hinge_loss(self) -> float | None:
        """The mean of max(0, 1 − y·margin)."""
        return self._mean(3, 1)

    @property
    def recent_error(self) -> float | None:
        """`error`, each sample counting 0.9999 times the one after it."""
        return self._mean(5, 4)

    @property
    def recent_hinge_loss(self) -> float | None:
        """`hinge_loss`, each sample counting 0.9999 times the one after it."""
        return self._mean(6, 4)

    def _mean(self, total: int, weight: int) -> float | None:
        if self.totals[weight] == 0:
            return None
        return float(self.totals[total] / self.totals[weight])

    def __repr__(self) -> str:
        if self.error is None:
            return "Progressive(count=0)"
        return (
            f"Progressive(count={self.count}, error={self.error:.4f},"
            f" hinge_loss={self.hinge_loss:.4f}, recent_error={self.recent_error:.4f},"
            f" recent_hinge_loss={self.recent_hinge_loss:.4f})"
        )


def observe(
    totals: list[float],
    margins: Sequence[float],
    signs: Iterable[float],
    importances: Iterable[float],
    threshold: float,
) -> list[float]:
    """The totals after some more samples, in order, of these margins before their update.

    The predicted sign is +1 where the margin is above `threshold`.
    """
    count, weight, errors, loss, recent_weight, recent_errors, recent_loss = totals
    for margin, y, h in zip(margins, signs, importances, strict=True):
        if h > 0:
            wrong = h if (margin > threshold) != (y > 0) else 0.0
            signed = y * margin
            hinge = h * (1.0 - signed) if signed < 1.0 else 0.0
            count += 1.0
            weight += h
            errors += wrong
            loss += hinge
            recent_weight = recent_weight * DISCOUNT + h
            recent_errors = recent_errors * DISCOUNT + wrong
            recent_loss = recent_loss * DISCOUNT + hinge
    return [count, weight, errors, loss, recent_weight, recent_errors, recent_loss]
