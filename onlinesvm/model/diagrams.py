"""Diagrams of how well a model predicts: calibration and confusion of the recent past.

Each sample counts 0.9999 times the one after it.
"""

from __future__ import annotations

from typing import Any

from onlinesvm.data.label import Written
from onlinesvm.metrics import monitor
from onlinesvm.model.model import Model

__all__ = ["confusion", "reliability"]


def reliability(model: Model) -> list[list[float]] | None:
    """Of each bin of predicted probabilities with a sample: its weight, the mean probability, and
    the share of samples for which it came true.

    Of a binary model the probability of side +1, of many classes that of the predicted label. None
    for a ranking and for sets of labels, whose probabilities are not followed.
    """
    if model.is_ranking or model.is_multilabel:
        return None
    if model.is_multiclass:
        bins: list[list[float]] = model.many[0].by_label.reliability()
        return bins
    return monitor.reliability(model.head.metrics.dump())


def confusion(model: Model) -> tuple[list[Written | None], list[list[float]]] | None:
    """Labels and the weights of samples by label and prediction, [n, n]: of a binary model both; of
    many classes the most frequent, and one row and column more for all others.

    None for a ranking, and for sets of labels.
    """
    if model.is_ranking or model.is_multilabel:
        return None
    if model.is_multiclass:
        names, weights = model.confusion()
        return names, weights.tolist()
    labels: Any = model.binary[1].names()
    return list(labels), monitor.confusion(model.head.metrics.dump())
