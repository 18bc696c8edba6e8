"""Normalized, adaptive, importance-invariant gradient steps: what Vowpal Wabbit runs by default.

Ross, Mineiro and Langford (2013), "Normalized online learning", algorithm 2 (NAG), with the hinge
loss and the closed-form step of Karampatziakis and Langford (2011), "Online importance weight aware
updates", table 1 (hinge). s_i is the largest |x_i| so far, N a running sum, T that of h::

    where |x_i| > s_i:  w_i ·= s_i/|x_i|,  s_i = |x_i|
    N += h·Σ x_i²/s_i²          T += h
    when y·p < 1, p the margin clipped to [−1, 1]:
        G_i += h·x_i²
        k    = √(T/N)·Σ x_i²/(s_i·√G_i)
        step = min(eta0·h, (1 − y·p)/k)
        w_i += step·y·√(T/N)·x_i/(s_i·√G_i)

The step is the limit of h infinitely small ones: it stops where the signed margin reaches 1.
Departure from the paper: the margin that is returned is that of the model as it stands, before the
weights are rescaled; the update goes by the one after. The bias is a feature of value 1.
"""

from __future__ import annotations

import math
from typing import ClassVar

from onlinesvm.config import LearnerConfig
from onlinesvm.model.rules.layout import SUM, WEIGHT, Layout, Span
from onlinesvm.model.rules.records import Record, RecordRule

__all__ = ["Nag"]


class Nag(RecordRule):
    """Indifferent to the scale of each feature, and to a sample split into importances."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("weights", "squares", "scales")
    FRESH: ClassVar[tuple[float, ...]] = (0.0, 0.0, 0.0)
    SPANS: ClassVar[tuple[Span, ...]] = (WEIGHT, SUM, Span(0.0, 1e50))
    SCALARS: ClassVar[tuple[str, ...]] = ("norms", "importance")

    def __init__(self, config: LearnerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self._eta0 = config.number("eta0")
        self._norms = 0.0
        self._importance = 0.0

    def update_records(
        self, row: list[tuple[Record, float]], y: float, h: float, margin: float
    ) -> None:
        p = norm = 0.0
        for record, x in row:
            size = abs(x)
            if size > record[2]:
                record[0] *= record[2] / size
                record[2] = size
            if size > 0.0:
                ratio = x / record[2]
                norm += ratio * ratio
            p += record[0] * x
        self._norms += h * norm
        self._importance += h
        loss = 1.0 - y * min(1.0, max(-1.0, p))
        if not (loss > 0.0 and norm > 0.0):
            return
        average = math.sqrt(self._importance / self._norms)
        reach = 0.0
        for record, x in row:
            if x != 0.0:
                record[1] += h * (x * x)
                reach += (x / record[2]) * (x / math.sqrt(record[1]))
        reach *= average
        limit = self._eta0 * h
        step = limit if limit * reach < loss else loss / reach
        step = (step * y) * average
        for record, x in row:
            if x != 0.0:
                record[0] += step * ((x / math.sqrt(record[1])) / record[2])
