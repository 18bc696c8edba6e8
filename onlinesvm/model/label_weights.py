"""The weights of many classes: importances by label.

``balanced`` multiplies an importance by n/(k·n_y): n samples learned so far, k labels among them,
n_y of this one's label, all counting it. A map multiplies by the label's number, 1 where it has
none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LabelWeights"]


class LabelWeights:
    """The factors of labels, ids from 0.

    `counts`: samples of each label that were learned with an importance above 0, int64[k]; the
    caller replaces them once it has learned by the weights of `of`.
    """

    def __init__(self, weights: str | Mapping[int, float] | None) -> None:
        self._weights = weights
        self.counts = np.zeros(0, dtype=np.int64)

    def of(self, labels: Any, importances: ArrayLike) -> tuple[Any, NDArray[np.int64]]:
        """The importances to learn by, float64[n], and the counts after these samples."""
        given = np.asarray(importances, dtype=np.float64)
        if self._weights is None or not len(given):
            return given, self.counts
        truths = np.asarray(labels, dtype=np.int32)
        if not isinstance(self._weights, str):
            factors = self._weights
            return given * [factors.get(label, 1.0) for label in truths.tolist()], self.counts
        counts = self.counts
        largest = int(truths[given > 0.0].max(initial=-1))
        counts = np.pad(counts, (0, max(0, largest + 1 - len(counts))))
        total, labels_seen = int(counts.sum()), int(np.count_nonzero(counts))
        weights = given.tolist()
        for i, label in enumerate(truths.tolist()):
            if weights[i] > 0.0:
                labels_seen += not counts[label]
                counts[label] += 1
                total += 1
                weights[i] *= total / (labels_seen * int(counts[label]))
        return np.array(weights), counts

    def drop(self, label: int) -> None:
        """Forget the samples of a label."""
        if label < len(self.counts):
            self.counts[label] = 0
