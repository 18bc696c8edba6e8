"""A head: what belongs to one label, today to the one binary decision.

`class_weight` evens out the classes. ``balanced`` multiplies an importance by n/(2·n_y): n samples
learned so far and n_y of this one's label, both counting it. A pair multiplies by the first for −1,
by the second for +1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import LearnerConfig
from onlinesvm.data.batch import CSR
from onlinesvm.kernel.contract import Kernel
from onlinesvm.metrics import monitor
from onlinesvm.metrics.progressive import TOTALS, Progressive
from onlinesvm.model.rules import layout_of
from onlinesvm.model.rules.hedge import experts

__all__ = ["ClassWeights", "Head"]


class Head:
    """A rule, the metrics of its margins, and the weights of its classes."""

    def __init__(self, kernel: Kernel, config: LearnerConfig) -> None:
        self.rule = kernel.RULES[config.rule](config, layout_of(config))
        self.metrics = kernel.Metrics(config.threshold)
        self.class_weights = ClassWeights(config.class_weight)
        self._is_hedge = config.rule == "hedge"

    def learn(
        self,
        csr: CSR,
        signs: Any,
        weights: Any,
        importances: Any,
        given: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Learn rows by `weights`, observe them by `importances`, [n] each; the margins before.

        given: the margins to observe instead.
        """
        margins = self.rule.learn(csr, signs, weights)
        self.metrics.observe(margins if given is None else given, signs, importances)
        return margins

    @property
    def bias(self) -> float:
        """The weight that every sample has; 0.0 for a learner without one."""
        return self.rule.weights(0)[1]

    @property
    def progressive(self) -> Progressive:
        """The progressive error and loss so far."""
        return Progressive(self.metrics.dump()[: len(TOTALS)])

    @property
    def drifts(self) -> int:
        """The number of drifts reported so far."""
        return int(self.metrics.dump()[monitor.DRIFTS])

    @property
    def experts(self) -> dict[str, dict[str, float | None]] | None:
        """The report of `onlinesvm.model.rules.hedge.experts`; None for another rule."""
        if not self._is_hedge:
            return None
        view = self.rule.view(0)
        view.close()
        return experts(view.scalars)

    def dump(self) -> dict[str, Any]:
        """The totals and counters of a snapshot, by the names of its fields."""
        numbers = self.metrics.dump().tolist()
        counters = {
            "monitor": numbers[len(TOTALS) :],
            "label_counts": self.class_weights.counts.tolist(),
        }
        return {"totals": numbers[: len(TOTALS)], "counters": counters}

    def restore(self, totals: list[float], counters: Mapping[str, list[float]]) -> None:
        """Restore the totals and counters of a snapshot.

        Raises KeyError for one that is missing, ValueError for numbers that cannot be such.
        """
        numbers = np.array([*totals, *counters["monitor"]], dtype=np.float64)
        counts = np.array(counters["label_counts"], dtype=np.float64)
        if counts.shape != (2,) or not bool(((counts >= 0) & (counts <= 2**53)).all()):
            raise ValueError(
                f"label_counts: expected 2 counts from 0 to 2**53, got {counts.tolist()}"
            )
        monitor.check_state(numbers)
        self.metrics.restore(numbers)
        self.class_weights.counts = counts


class ClassWeights:
    """The factors of `class_weight`.

    `counts`: samples of −1 and of +1 learned with an importance above 0, float64[2]; the caller
    replaces them once it has learned by the weights of `of`.
    """

    def __init__(self, weights: str | tuple[float, float] | None) -> None:
        self._weights = weights
        self.counts = np.zeros(2)

    def of(self, signs: Any, importances: Any) -> tuple[Any, NDArray[np.float64]]:
        """The importances to learn by, [n], and the counts after these samples.

        importances: [n], or None where all are 1; they stay as they are without class weights.
        """
        if self._weights is None:
            return importances, self.counts
        if importances is None:
            importances = np.ones(len(signs))
        importances = np.asarray(importances, dtype=np.float64)
        positive = np.asarray(signs, dtype=np.float64) > 0
        if isinstance(self._weights, tuple):
            by_sign = np.where(positive, self._weights[1], self._weights[0])
            return (importances * by_sign).tolist(), self.counts
        learned = importances > 0
        seen = [
            self.counts[0] + np.cumsum(learned & ~positive),
            self.counts[1] + np.cumsum(learned & positive),
        ]
        of_label: NDArray[np.float64] = np.where(positive, seen[1], seen[0])
        counts = np.array([seen[0][-1], seen[1][-1]]) if len(of_label) else self.counts
        # Where nothing is learned, nothing may have been seen; the importance is 0 then.
        weights = importances * ((seen[0] + seen[1]) / (2.0 * np.maximum(of_label, 1.0)))
        return weights.tolist(), counts
