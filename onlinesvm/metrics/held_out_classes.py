"""How well a model of many classes predicts samples that it has not learned: exact, and weighted
by importance.

    error              Σ h [another label was predicted] / Σ h
    balanced_error     1 − the mean recall of the labels that the samples have
    macro_f1           the mean F1 of these
    calibration_error  of the predicted label's probability p, over 15 bins of equal width:
                       Σ |Σ h ([right] − p)| / Σ h
    confusion          of the 50 labels of largest weight, Σ h by label and prediction; the last row
                       and column are all others, and predictions of none

Unlike `classes` this keeps all samples: 24 bytes each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.metrics.calibration import BINS
from onlinesvm.metrics.classes import FREQUENT

__all__ = ["HeldOutClasses"]


class HeldOutClasses:
    """Labels and predictions, as ids from 0; `report` gives the figures."""

    def __init__(self) -> None:
        self._pairs: list[NDArray[np.int32]] = []
        self._rows: list[NDArray[np.float64]] = []

    def count(
        self,
        labels: NDArray[np.int32],
        predicted: NDArray[np.int32],
        probabilities: NDArray[np.float64],
        importances: NDArray[np.float64],
    ) -> None:
        """Add samples, [n] each: their labels, the predicted ones, −1 for none, and these' own
        probabilities.
        """
        self._pairs.append(np.array([labels, predicted], dtype=np.int32))
        self._rows.append(np.array([probabilities, importances], dtype=np.float64))

    def report(self) -> tuple[dict[str, Any], list[int]]:
        """All figures, None where they have no value, and the labels of the confusion."""
        labels, predicted = np.concatenate([np.empty((2, 0), np.int32), *self._pairs], axis=1)
        p, h = np.concatenate([np.empty((2, 0)), *self._rows], axis=1)
        k = int(max(labels.max(initial=-1), predicted.max(initial=-1))) + 1
        right, some = labels == predicted, predicted >= 0
        have = np.bincount(labels, h, k)
        taken = np.bincount(predicted[some], h[some], k)
        both = np.bincount(labels[right], h[right], k)
        seen, whole = have > 0.0, float(h.sum())
        figures: dict[str, Any] = dict.fromkeys(
            ("error", "balanced_error", "macro_f1", "calibration_error")
        )
        if whole > 0.0:
            bins = np.minimum((p * BINS).astype(np.int64), BINS - 1)
            off = np.bincount(bins, h * (right - p), BINS)
            figures = {
                "error": float(h[~right].sum()) / whole,
                "balanced_error": 1.0 - float((both[seen] / have[seen]).mean()),
                "macro_f1": float((2.0 * both[seen] / (have[seen] + taken[seen])).mean()),
                "calibration_error": float(np.abs(off).sum()) / whole,
            }
        order = np.argsort(-have, kind="stable")
        frequent = np.sort(order[seen[order]][:FREQUENT])
        places = np.full(k + 1, len(frequent))  # the last: none predicted
        places[frequent] = np.arange(len(frequent))
        m = len(frequent) + 1
        cells = np.bincount(places[labels] * m + places[predicted], h, m * m).reshape(m, m)
        return {
            "samples": len(h), "importance": whole, **figures, "confusion": cells.tolist(),
        }, frequent.tolist()  # fmt: skip
