"""Importances that even out the classes, `class_weight`.

``balanced`` multiplies an importance by n/(2·n_y): n samples learned so far and n_y of this one's
label, both counting it. A pair multiplies by the first for −1, by the second for +1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClassWeights"]


class ClassWeights:
    """`counts`: samples of −1 and of +1 learned with an importance above 0, float64[2]; set by who
    has learned by what `of` gave.
    """

    def __init__(self, weights: str | tuple[float, float] | None) -> None:
        self._weights = weights
        self.counts = np.zeros(2)

    def of(self, labels: Any, importances: Any) -> tuple[Any, NDArray[np.float64]]:
        """The importances to learn by, float64[n], and the counts once these are learned.

        Without importances, all are 1; without weights, they stay as they are.
        """
        if self._weights is None:
            return importances, self.counts
        if importances is None:
            importances = np.ones(len(labels))
        importances = np.asarray(importances, dtype=np.float64)
        positive = np.asarray(labels, dtype=np.float64) > 0
        if isinstance(self._weights, tuple):
            by_label = np.where(positive, self._weights[1], self._weights[0])
            return (importances * by_label).tolist(), self.counts
        learned = importances > 0
        seen = [
            self.counts[0] + np.cumsum(learned & ~positive),
            self.counts[1] + np.cumsum(learned & positive),
        ]
        own: NDArray[np.float64] = np.where(positive, seen[1], seen[0])
        counts = np.array([seen[0][-1], seen[1][-1]]) if len(own) else self.counts
        # Where nothing is learned, nothing may have been seen; the importance is 0 then.
        weights = importances * ((seen[0] + seen[1]) / (2.0 * np.maximum(own, 1.0)))
        return weights.tolist(), counts
