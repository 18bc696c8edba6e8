"""Several labels a sample: the experts of `multiclass`, a set of truths, a running threshold.

A sample has a set T of labels, which may be empty. Scores s_rk, the experts and their rows are
those of `onlinesvm.model.rules.multiclass`; what differs::

    u_k = Σ_r q_r·s_rk                predicted are the labels above the threshold of `threshold`
    rivals: the 16 labels of largest u_k, k ∉ T, with some s_rk > −1
    l_rk = max(0, 1 − s_rk) of each k in T, max(0, 1 + s_rk) of a rival; g_r = max_k l_rk

**Mixture.** Exponential weights, as in `onlinesvm.model.rules.mixture`, without a stack; an
expert's loss is the number of labels that it has on the wrong side of 0::

    L_r = 0.9997·L_r + h·#{k ∈ T: s_rk ≤ 0} + h·#{k ∉ T: s_rk > 0}
    q_r ∝ exp(−B·(L_r − min L)),  B = 2/(1 + √(0.1·min L))

A label of T is known from this sample on, if its importance is above 0. A row that is full of
labels which the sample updates takes no other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.data.batch import CSR
from onlinesvm.data.label_sets import LabelSets, LearnedSets
from onlinesvm.metrics.fpmath import exp
from onlinesvm.metrics.threshold import Threshold
from onlinesvm.model.rules.class_layout import N, SetLayout
from onlinesvm.model.rules.class_rows import Singles, narrow
from onlinesvm.model.rules.class_state import KNOWN
from onlinesvm.model.rules.constants import CLASS_BIRTH as BIRTH
from onlinesvm.model.rules.constants import MIXTURE_LOSS_DISCOUNT as LOSS_DISCOUNT
from onlinesvm.model.rules.constants import MIXTURE_RATE as RATE
from onlinesvm.model.rules.constants import MIXTURE_RATE_DECAY as RATE_DECAY
from onlinesvm.model.rules.constants import SET_MOST_PREDICTED as MOST_PREDICTED
from onlinesvm.model.rules.constants import SET_RIVALS as RIVALS
from onlinesvm.model.rules.multiclass import Multiclass

__all__ = ["Multilabel"]

_BIRTH = np.float32(BIRTH)


class Weights:
    """The weights of experts, by their losses."""

    def __init__(self) -> None:
        self.coefficients = [1.0 / N] * N
        self.losses = [0.0] * N

    def learn(self, wrong: list[int], h: float) -> None:
        """Learn from the number of labels that each expert had wrong."""
        self.losses = [
            loss * LOSS_DISCOUNT + h * n for loss, n in zip(self.losses, wrong, strict=True)
        ]
        least = min(self.losses)
        rate = RATE / (1.0 + math.sqrt(RATE_DECAY * least))
        shares = [exp(-rate * (loss - least)) for loss in self.losses]
        total = 0.0
        for share in shares:
            total += share
        self.coefficients = [share / total for share in shares]


class Multilabel(Multiclass):
    """The learner of several labels a sample; see the module's docstring."""

    _rivals = RIVALS

    def __init__(
        self, bias: bool, max_labels: int, max_labels_per_feature: int, layout: type[SetLayout]
    ) -> None:
        super().__init__(bias, max_labels, max_labels_per_feature, layout)
        self._mixture: Weights = Weights()  # type: ignore[assignment]
        self._threshold = Threshold()

    @property
    def threshold(self) -> float:
        """The score above which a label is predicted."""
        return self._threshold.value

    def learn(  # type: ignore[override]
        self, csr: CSR, labels: LabelSets, importances: ArrayLike
    ) -> LearnedSets:
        """Score, then learn, row by row. A row of importance 0 is scored only.

        labels: of n samples. Raises ValueError for one that is out of bounds or was dropped;
        nothing has changed then.
        """
        self._reserve_labels(labels.ids)
        indptr, indices, data = (column.tolist() for column in csr)
        margins, predicted = np.zeros(len(labels)), []
        given = np.asarray(importances).tolist()
        for i, (start, end) in enumerate(pairwise(indptr)):
            margins[i], found = self._learn_set(
                indices[start:end], data[start:end], labels.of_row(i), given[i]
            )
            predicted.append(found)
        return LearnedSets(margins, LabelSets.of(predicted))

    def _learn_set(
        self, ids: list[int], values: list[float], truth: list[int], importance: float
    ) -> tuple[float, list[int]]:
        """The margin and the predicted labels, before the sample is learned."""
        sample = self._unit(ids, values, grow=importance > 0.0)
        scores = self._scores(sample)
        mixed = self._mixed(narrow(self._mixture.coefficients), scores)
        threshold = np.float32(self._threshold.value)
        predicted = np.flatnonzero(mixed > threshold)[:MOST_PREDICTED].tolist()
        margin = self._set_margin(mixed, truth)
        if not importance > 0.0:
            return margin, predicted
        self._count(sample)
        h = self._importance.of(importance)
        scores = self._know(truth, scores)
        if (self._states == KNOWN).any():
            own = np.zeros(len(self._states), dtype=np.bool_)
            own[truth] = True
            self._learn_sets_level(scores, own, h, importance)
            if len(sample.x) or self._has_bias:
                self._update(sample, scores, truth, np.float32(h))
        return margin, predicted

    def _set_margin(self, mixed: Singles, truth: list[int]) -> float:
        birth = float(self._mixed_birth())
        others = mixed.copy()
        least = self._threshold.value if not truth else math.inf
        for k in truth:
            known = k < len(mixed) and mixed[k] > -np.inf
            least = min(least, float(mixed[k]) if known else birth)
            if k < len(others):
                others[k] = -np.inf
        other = float(others.max(initial=-np.inf))
        return least - (birth if other == -np.inf else other)

    def reserve(self, csr: CSR, labels: LabelSets, n: int = 0) -> None:  # type: ignore[override]
        """As `Multiclass.reserve`."""
        self._reserve_labels(labels.ids)

    # Files.

    def probabilities(self, scores: Singles) -> NDArray[np.float64]:
        """The probability of each label, by rows of scores, float64[n, k]."""
        return self._threshold.probabilities(scores)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"threshold": np.array(list(self._threshold.numbers()))}

    def _scalars(self) -> dict[str, float | int]:
        numbers = [
            self._importance.samples, self._importance.log2_mean, *self._bias_second.tolist(),
            *self._mixture.coefficients, *self._mixture.losses, *self._judge.numbers(),
        ]  # fmt: skip
        return dict(zip(self._layout.scalars, numbers, strict=True))

    def _restore_second_level(
        self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any], numbers: Iterator[Any]
    ) -> None:
        self._mixture.coefficients = [float(next(numbers)) for _ in range(N)]
        self._mixture.losses = [float(next(numbers)) for _ in range(N)]
        self._judge.restore(numbers)
        self._threshold.restore(iter(arrays["threshold"].tolist()))

    # Learning.

    def _know(self, truth: list[int], scores: Singles) -> Singles:
        """Know the labels; the scores with theirs."""
        for k in truth:
            if k < len(self._states) and self._states[k] == KNOWN:
                continue
            self._grow_labels(k)
            self._states[k] = KNOWN
            grown = np.full((len(self._states), N), _BIRTH, dtype=np.float32)
            grown[: len(scores)] = scores
            scores = grown
            scores[k] = _BIRTH
        return scores

    def _learn_sets_level(
        self, scores: Singles, own: NDArray[np.bool_], h: float, importance: float
    ) -> None:
        """The weights, the judges and the threshold learn by the scores before the update."""
        known = self._states == KNOWN
        mixed = self._mixed(narrow(self._mixture.coefficients), scores)
        self._threshold.learn(mixed[own], mixed[known & ~own])
        above = (scores > np.float32(0.0)) & known[:, None]
        wrong = (above != own[:, None]).sum(axis=0).tolist()
        least = [float(scores[own, r].min(initial=np.float32(np.inf))) for r in range(N)]
        most = [float(scores[known & ~own, r].max(initial=np.float32(-np.inf))) for r in range(N)]
        margins = [
            (low if low < math.inf else 0.0) - (high if high > -math.inf else BIRTH)
            for low, high in zip(least, most, strict=True)
        ]
        self._judge.learn(margins, [n > 0 for n in wrong], importance)
        self._mixture.learn(wrong, h)
