"""How well a model predicts samples that it has not learned: exact, and weighted by importance.

    error              Σ h [wrong] / Σ h; the prediction is +1 where the margin is above `threshold`
    balanced_error     the mean of the error among +1 and the error among −1
    auc                the chance that a +1 has a larger margin than a −1, ties counting half
                       (Fawcett 2006, "An introduction to ROC analysis")
    log_loss           −Σ h ln(probability of the label) / Σ h; probabilities are cut to
                       [ε, 1 − ε], ε = 2⁻⁵²
    calibration_error  Σ over 15 bins of equal width |Σ h (y − p)| / Σ h, where y is 1 for +1
                       and 0 for −1 (Naeini, Cooper and Hauskrecht 2015)

Unlike `progressive` and `monitor` this keeps all margins: 32 bytes a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.metrics.calibration import BINS
from onlinesvm.metrics.confusion import rates

__all__ = ["HeldOut"]

Floats = NDArray[np.float64]


class HeldOut:
    """Margins and probabilities beside the labels; `report` gives the figures."""

    def __init__(self) -> None:
        self._rows: list[Floats] = []

    def count(
        self,
        margins: Floats,
        probabilities: Floats,
        labels: Sequence[float] | Floats,
        importances: Sequence[float] | Floats,
    ) -> None:
        """Add samples, float64[n] each; labels are −1 or +1, importances from 0."""
        columns = (margins, probabilities, labels, importances)
        self._rows.append(np.array([np.asarray(column, np.float64) for column in columns]))

    def report(self, threshold: float = 0.0) -> dict[str, Any]:
        """All figures; None where they have no value, as an AUC with one class has none."""
        if not self._rows:
            self._rows.append(np.empty((4, 0)))
        margins, probabilities, labels, weights = np.concatenate(self._rows, axis=1)
        positive = labels > 0
        predicted = margins > threshold

        def total(chosen: NDArray[np.bool_]) -> float:
            return float(weights[chosen].sum())

        tp, fn = total(positive & predicted), total(positive & ~predicted)
        fp, tn = total(~positive & predicted), total(~positive & ~predicted)
        whole = tp + fn + fp + tn
        if not whole > 0.0:
            figures = dict.fromkeys(("error", "log_loss", "calibration_error"))
        else:
            p = np.clip(probabilities, np.finfo(float).eps, 1.0 - np.finfo(float).eps)
            losses = -np.log(np.where(positive, p, 1.0 - p))
            figures = {
                "error": (fn + fp) / whole,
                "log_loss": float((weights * losses).sum()) / whole,
                "calibration_error": _off_calibration(probabilities, positive, weights) / whole,
            }
        return {
            "samples": len(margins),
            "importance": whole,
            "error": figures["error"],
            "balanced_error": rates([tp, fp, tn, fn])["balanced_error"],
            "auc": _auc(margins, positive, weights),
            "log_loss": figures["log_loss"],
            "calibration_error": figures["calibration_error"],
            "confusion": {
                "true_positives": tp,
                "false_negatives": fn,
                "false_positives": fp,
                "true_negatives": tn,
            },
        }


def _auc(margins: Floats, positive: NDArray[np.bool_], weights: Floats) -> float | None:
    """The area under the ROC curve; None unless both classes have weight."""
    distinct, groups = np.unique(margins, return_inverse=True)
    ups = np.bincount(groups, weights * positive, len(distinct))
    downs = np.bincount(groups, weights * ~positive, len(distinct))
    up, down = float(ups.sum()), float(downs.sum())
    if not (up > 0.0 and down > 0.0):
        return None
    # Shares: the product of two large sums may overflow.
    up_shares, down_shares = ups / up, downs / down
    below = np.cumsum(down_shares) - down_shares
    return float((up_shares * (below + down_shares / 2.0)).sum())


def _off_calibration(probabilities: Floats, positive: NDArray[np.bool_], weights: Floats) -> float:
    """Σ over the bins of |Σ h (y − p)|."""
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    off = np.bincount(bins, weights * (positive - probabilities), BINS)
    return float(np.abs(off).sum())
