"""Passive-aggressive rules.

Crammer, Dekel, Keshet, Shalev-Shwartz and Singer (2006), "Online passive-aggressive algorithms",
figure 1. With l = 1 − y·m above 0 and q = ‖x‖² (the bias, if any, a feature of value 1)::

    w_i += (tau·y)·x_i
    PA-I    tau = min(C·h, l/q)
    PA-II   tau = l/(q + 1/(2·C·h))

The papers have no importance h: here it multiplies C, the weight of the loss in the objective that
each step solves (equations 6 and 7).
"""

from __future__ import annotations

from onlinesvm.config import LearnerConfig
from onlinesvm.model.rules.layout import Layout
from onlinesvm.model.rules.records import Record, RecordRule

__all__ = ["PassiveAggressive1", "PassiveAggressive2"]


class PassiveAggressive1(RecordRule):
    """PA-I: the smallest step that reaches a signed margin of 1, but at most C·h."""

    def __init__(self, config: LearnerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self._c = config.number("C")

    def update_records(
        self, row: list[tuple[Record, float]], y: float, h: float, margin: float
    ) -> None:
        loss = 1.0 - y * margin
        if not loss > 0.0:
            return
        q = 0.0
        for _, x in row:
            q += x * x
        if q > 0.0:
            step = self.tau(loss, q, h) * y
            for record, x in row:
                record[0] += step * x

    def tau(self, loss: float, q: float, h: float) -> float:
        """The length of the step."""
        limit = self._c * h
        # Not loss/q first: that may overflow where the cap does not.
        return limit if loss > limit * q else loss / q


class PassiveAggressive2(PassiveAggressive1):
    """PA-II: the loss is squared, so the step shrinks smoothly instead of being capped."""

    def tau(self, loss: float, q: float, h: float) -> float:
        return loss / (q + 1.0 / (2.0 * (self._c * h)))
