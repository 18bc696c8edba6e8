"""Adaptive regularization of weight vectors, with a diagonal covariance.

Crammer, Kulesza and Dredze (2009), "Adaptive regularization of weight vectors", figure 1. With
l = 1 − y·m above 0 and v = Σ S_i·x_i² (equation 7's x'Σx, the bias a feature of value 1)::

    beta = 1/(v + r/h)
    w_i += ((l·beta)·y)·S_i·x_i
    S_i -= beta·(S_i·x_i)²            S starts at 1

The diagonal is the paper's section 6 practice. It has no importance h: here h divides r, as h
repeated losses do in the objective (equation 4).
"""

from __future__ import annotations

from typing import ClassVar

from onlinesvm.config import LearnerConfig
from onlinesvm.model.rules.constants import AROW_LEAST_VARIANCE as LEAST_VARIANCE
from onlinesvm.model.rules.layout import WEIGHT, Layout, Span
from onlinesvm.model.rules.records import Record, RecordRule

__all__ = ["Arow"]


class Arow(RecordRule):
    """Each weight has a variance S_i that shrinks as it is learned: a sure weight moves less."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("weights", "variances")
    FRESH: ClassVar[tuple[float, ...]] = (0.0, 1.0)
    SPANS: ClassVar[tuple[Span, ...]] = (WEIGHT, Span(LEAST_VARIANCE, 1.0))

    def __init__(self, config: LearnerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self._r = config.number("r")

    def update_records(
        self, row: list[tuple[Record, float]], y: float, h: float, margin: float
    ) -> None:
        loss = 1.0 - y * margin
        if not loss > 0.0:
            return
        v = 0.0
        for record, x in row:
            v += record[1] * (x * x)
        beta = 1.0 / (v + self._r / h)
        step = (loss * beta) * y
        for record, x in row:
            spread = record[1] * x
            record[0] += step * spread
            record[1] -= (beta * spread) * spread
            if record[1] < LEAST_VARIANCE:  # by rounding, where one feature makes up all of v
                record[1] = LEAST_VARIANCE
