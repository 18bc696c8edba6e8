"""The head of several labels a sample: the learner, its metrics, the labels of a sample.

Labels are ids from 0, as in `onlinesvm.model.classes`, whose scores, explanations and files it has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.batch import CSR
from onlinesvm.data.label_sets import LabelSets
from onlinesvm.kernel.contract import Kernel, KernelMultilabel
from onlinesvm.metrics.sets import SetMetrics
from onlinesvm.model.classes import SMALLEST, ClassHead
from onlinesvm.model.given import Given, packed
from onlinesvm.model.rules.class_layout import SetLayout

__all__ = ["SetHead"]


class SetHead(ClassHead):
    """A learner of several labels a sample and its metrics.

    `progressive` counts a sample as right where exactly its labels were predicted; its margin is
    the least score of its labels less the best other one's.
    """

    rule: KernelMultilabel
    by_label: SetMetrics
    layout = SetLayout
    metrics_of_labels = SetMetrics
    has_stack = False

    @staticmethod
    def _learner(kernel: Kernel, bias: bool, max_labels: int, row: int) -> KernelMultilabel:
        return kernel.Multilabel(bias, max_labels, row, SetLayout)

    def learn(
        self,
        csr: CSR,
        labels: LabelSets,
        weights: Any,
        importances: Any,
        given: Given | None = None,
    ) -> Any:
        """Learn rows by `weights`, observe them by `importances`, [n] each; margins, float64[n].
        given: observe them by what predicting gave.

        Raises ValueError for a label that is out of bounds or was dropped, MemoryError; nothing has
        changed then.
        """
        learned = self.rule.learn(csr, labels, weights)
        margins, predicted = learned if given is None else given.of_sets(labels, self._known)
        pairs = zip(labels.lists(), predicted.lists(), strict=True)
        right = np.array([set(a) == set(b) for a, b in pairs], dtype=bool)
        margins = np.where(right, np.maximum(margins, SMALLEST), np.minimum(margins, 0.0))
        importances = np.asarray(importances, dtype=np.float64)
        self.metrics.observe(margins, np.ones(len(margins)), importances)
        self.by_label.observe(labels, predicted, importances)
        return learned.margins

    def _give(self, scores: NDArray[np.float32], fresh: float) -> list[bytes]:
        return packed([self.rule.threshold] * len(scores), scores, fresh, thresholds=True)

    def sets(self, csr: CSR, *, probability: bool = False) -> tuple[LabelSets, NDArray[Any]]:
        """The labels of each row whose scores are above the threshold, best first, and their
        scores, float32, or probabilities, float64, one an id. Of equal scores the lower is first.
        """
        parts, scores = [], [np.empty(0, np.float64 if probability else np.float32)]
        threshold = np.float32(self.rule.threshold)
        for piece in self._pieces(csr):
            every = self.rule.score(piece)
            shown = self.rule.probabilities(every) if probability else every
            order = np.argsort(-every, axis=1, kind="stable")
            counts = (every > threshold).sum(axis=1).tolist()
            best = [row[:n] for row, n in zip(order, counts, strict=True)]
            parts.append(LabelSets.of([row.tolist() for row in best]))
            scores += [row[ids] for row, ids in zip(shown, best, strict=True)]
        return LabelSets.joined(parts), np.concatenate(scores)
