"""Adaptive gradient steps.

Duchi, Hazan and Singer (2011), "Adaptive subgradient methods for online learning and stochastic
optimization", the diagonal version (figure 1, composite mirror descent without a regularizer). When
y·m < 1 the subgradient of h·max(0, 1 − y·m) is g_i = −(h·y)·x_i, and::

    G_i  = forgetting·G_i + g_i²
    w_i += eta0·(h·y)·x_i / √G_i

`forgetting` below 1 is no part of the paper: each of a feature's own updates then discounts its
earlier ones, so that the rates do not die out under drift (as in Tieleman and Hinton's RMSProp).
"""

from __future__ import annotations

import math
from typing import ClassVar

from onlinesvm.config import LearnerConfig
from onlinesvm.model.rules.layout import SUM, WEIGHT, Layout, Span
from onlinesvm.model.rules.records import Record, RecordRule

__all__ = ["Adagrad"]


class Adagrad(RecordRule):
    """A rate of its own for every weight: rare features learn fast, frequent ones calm down."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("weights", "squares")
    FRESH: ClassVar[tuple[float, ...]] = (0.0, 0.0)
    SPANS: ClassVar[tuple[Span, ...]] = (WEIGHT, SUM)

    def __init__(self, config: LearnerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self._eta0 = config.number("eta0")
        self._forgetting = config.number("forgetting")

    def update_records(
        self, row: list[tuple[Record, float]], y: float, h: float, margin: float
    ) -> None:
        if not y * margin < 1.0:
            return
        for record, x in row:
            gradient = h * x
            if gradient != 0.0:
                square = self._forgetting * record[1] + gradient * gradient
                record[1] = square
                record[0] += (self._eta0 * y) * (gradient / math.sqrt(square))
