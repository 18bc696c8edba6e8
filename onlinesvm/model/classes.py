"""The head of many classes: the learner, its metrics, the best labels of a sample, explanations.

Labels are ids from 0, in the order in which the model first saw them; names belong to the layer
above. Rows are over feature ids.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.batch import CSR
from onlinesvm.kernel.contract import Kernel
from onlinesvm.metrics import monitor
from onlinesvm.metrics.classes import ClassMetrics
from onlinesvm.metrics.progressive import TOTALS, Progressive
from onlinesvm.metrics.sets import SetMetrics
from onlinesvm.model.given import Given, fresh_score, packed
from onlinesvm.model.label_weights import LabelWeights
from onlinesvm.model.rules.class_layout import EXPERTS, ClassLayout
from onlinesvm.model.rules.constants import CLASS_BIRTH as BIRTH
from onlinesvm.model.rules.hedge import experts
from onlinesvm.model.rules.scale import counted
from onlinesvm.model.rules.unit import Norms, idf, view_of
from onlinesvm.model.view import View

__all__ = ["ClassExplanation", "ClassHead", "Part"]

KNOWN = 1
_CELLS = 2**20  # scores that are made at once
SMALLEST = float(np.nextafter(0.0, 1.0))

Snapshot = tuple[dict[str, NDArray[Any]], dict[str, float | int]]


class Part(NamedTuple):
    """A feature's part in a score: ``weight·value`` is its `contribution`.

    value: of the sample as it came. seen: the number of learned samples that had the feature.
    known: false for a feature that no sample had.
    """

    id: int
    value: float
    weight: float
    contribution: float
    seen: int
    known: bool


class ClassExplanation(NamedTuple):
    """A label's score, or the lead of one over another, and its parts in the order of the sample.

    bias: what no feature adds, the score of a new label included. The sum of all parts differs from
    the score by the rounding of float32.
    """

    score: float
    bias: float
    parts: list[Part]


class ClassHead:
    """A learner of many classes and its metrics.

    `progressive` goes by a sample's margin, the score of its label less the best other one's.
    """

    layout: type[ClassLayout] = ClassLayout
    metrics_of_labels: type[ClassMetrics] | type[SetMetrics] = ClassMetrics
    has_stack = True

    def __init__(
        self,
        kernel: Kernel,
        bias: bool,
        max_labels: int,
        max_labels_per_feature: int,
        class_weight: str | None = None,
    ) -> None:
        self.rule = self._learner(kernel, bias, max_labels, max_labels_per_feature)
        self.has_bias = bias
        self.metrics = kernel.Metrics(0.0)
        self.by_label: Any = self.metrics_of_labels()
        self.class_weights = LabelWeights(class_weight)

    @staticmethod
    def _learner(kernel: Kernel, bias: bool, max_labels: int, row: int) -> Any:
        return kernel.Multiclass(bias, max_labels, row, ClassLayout)

    # Learning.

    def learn(
        self, csr: CSR, labels: Any, weights: Any, importances: Any, given: Given | None = None
    ) -> Any:
        """Learn rows by `weights`, observe them by `importances`, [n] each; margins, float64[n].
        given: observe them by what predicting gave.

        Raises ValueError for a label that is out of bounds or was dropped, MemoryError; nothing has
        changed then.
        """
        truths = np.ascontiguousarray(labels, dtype=np.int32)
        learned = self.rule.learn(csr, truths, weights)
        seen = learned if given is None else given.of_labels(truths, self._known)
        right = seen.predicted == truths
        # Right is what was predicted, also where scores are equal or a label is new.
        margins = np.where(right, np.maximum(seen.margins, SMALLEST), np.minimum(seen.margins, 0.0))
        importances = np.asarray(importances, dtype=np.float64)
        self.metrics.observe(margins, np.ones(len(margins)), importances)
        self.by_label.observe(truths, seen.predicted, seen.confidences, importances)
        return learned.margins

    @property
    def _known(self) -> NDArray[np.bool_]:
        return np.asarray(self.rule.states == KNOWN)

    def drop(self, label: int) -> None:
        """Drop a known label; its weights count as absent. Raises ValueError for another."""
        self.rule.drop(label)
        self.by_label.drop(label)
        self.class_weights.drop(label)

    # Scoring.

    def _pieces(self, csr: CSR) -> Iterator[CSR]:
        n = len(csr.indptr) - 1
        step = max(1, _CELLS // max(1, len(self.rule.states)))
        for first in range(0, n, step):
            yield csr.rows(first, min(n, first + step))

    def top(
        self, csr: CSR, n: int, *, probability: bool = False
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """The best `n` labels of each row, all for 0, and their scores, float32, or their
        probabilities, float64, best first, [rows, m] each.

        m: the smaller of n and the number of known labels. Of equal scores the lower label is
        first.
        """
        known = np.flatnonzero(self.rule.states == KNOWN)
        m = min(n, len(known)) if n else len(known)
        kind = np.float64 if probability else np.float32
        labels, scores = [np.empty((0, m), np.int32)], [np.empty((0, m), kind)]
        for piece in self._pieces(csr):
            every = self.rule.score(piece)
            found: NDArray[Any] = every[:, known]
            if m == 1:
                order = found.argmax(axis=1)[:, None]
            else:
                order = np.argsort(-found, axis=1, kind="stable")[:, :m]
            labels.append(known[order].astype(np.int32))
            if probability:
                found = self.rule.probabilities(every)[:, known]
            scores.append(np.take_along_axis(found, order, axis=1))
        return np.concatenate(labels), np.concatenate(scores)

    def score(self, csr: CSR) -> NDArray[np.float32]:
        """The scores of all labels, float32[rows, k], −∞ of those that are not known."""
        scores: NDArray[np.float32] = self.rule.score(csr)
        return scores

    def probabilities(self, csr: CSR) -> NDArray[np.float64]:
        """The probabilities of all labels, float64[rows, k]; the predicted one's is the largest."""
        parts = [self.rule.probabilities(self.rule.score(piece)) for piece in self._pieces(csr)]
        return np.concatenate([np.empty((0, len(self.rule.states))), *parts])

    def give(self, csr: CSR) -> list[bytes]:
        """What predicting gives the rows, for their metrics once their labels come."""
        fresh = fresh_score(self.rule.coefficients)
        return [
            part
            for piece in self._pieces(csr)
            for part in self._give(self.rule.score(piece), fresh)
        ]

    def _give(self, scores: NDArray[np.float32], fresh: float) -> list[bytes]:
        shares = self.rule.probabilities(scores).max(axis=1, initial=0.0)
        return packed(shares.tolist(), scores, fresh, thresholds=False)

    # Explanations.

    def explain(self, csr: CSR, label: int, other: int | None = None) -> ClassExplanation:
        """The parts of the score of `label` on the first row, or of its lead over `other`.

        Raises ValueError for a label that is not known.
        """
        states = self.rule.states
        for k in (label,) if other is None else (label, other):
            if not (0 <= k < len(states) and states[k] == KNOWN):
                raise ValueError(f"label: expected a known one, got {k}")
        scores = self.rule.score(csr.rows(0, 1))[0].tolist()
        c, texts = self.rule.coefficients, self.rule.texts
        elements = list(zip(csr.indices.tolist(), csr.data.tolist(), strict=True))
        elements = elements[: int(csr.indptr[1])]
        features = [self.rule.feature(id) if id > 0 else None for id, _ in elements]
        norms, factors = Norms(), []  # factors: of each value, what it is multiplied by
        for (id, value), feature in zip(elements, features, strict=True):
            s2, age, run, seen, tag = feature[2] if feature else (0.0, 0, 0, 0, -id)
            if value:
                scale = math.sqrt(counted(s2, age, run, value)[0])
                factors.append((idf(tag, seen, texts) / scale, view_of(tag)))
                norms.add(view_of(tag), value * factors[-1][0])
            else:
                factors.append((0.0, view_of(tag)))
        inverses, x = norms.inverses(self.has_bias)
        bias = self._weight(self.rule.feature(0), c, label, other) * x
        parts = []
        for (id, value), feature, (factor, view) in zip(elements, features, factors, strict=True):
            weight, seen = 0.0, 0
            if feature is not None:
                weight = self._weight(feature, c, label, other) * (factor * inverses[view])
                seen = feature[2][3]
            parts.append(Part(max(id, 0), value, weight, weight * value, seen, seen > 0))
        if other is None:
            return ClassExplanation(scores[label], float(c.sum()) * BIRTH + bias, parts)
        return ClassExplanation(scores[label] - scores[other], bias, parts)

    @staticmethod
    def _weight(feature: Any, c: NDArray[np.float64], label: int, other: int | None) -> float:
        labels, weights, _ = feature

        def of(k: int | None) -> float:
            place = np.flatnonzero(labels == k)
            return float(c @ weights[place[0]].astype(np.float64)) if len(place) else 0.0

        return of(label) - (0.0 if other is None else of(other))

    # Reports.

    @property
    def progressive(self) -> Progressive:
        """The progressive error and loss so far."""
        return Progressive(self.metrics.dump()[: len(TOTALS)])

    @property
    def drifts(self) -> int:
        """The number of drifts reported so far."""
        return int(self.metrics.dump()[monitor.DRIFTS])

    @property
    def experts(self) -> dict[str, dict[str, float | None]]:
        """Each expert's weight, errors and losses, and those of a stack over them."""
        view = self.rule.view(0)
        view.close()
        return experts(view.scalars, (*EXPERTS, "stack") if self.has_stack else EXPERTS)

    @property
    def metrics_report(self) -> dict[str, Any]:
        """`report`, `drifts` and `samples_since_drift`."""
        figures = monitor.report(self.metrics.dump())
        drift = {name: figures[name] for name in ("drifts", "samples_since_drift")}
        return {**self.report(), **drift}

    def report(self) -> dict[str, float | None]:
        """`balanced_error`, `macro_f1`, `recent_…` and `recent_calibration_error`; of several
        labels a sample `micro_f1`, `macro_f1` and `recent_…`.
        """
        report: dict[str, float | None] = self.by_label.report()
        return report

    # Files.

    def snapshot(self, n: int) -> Snapshot:
        """Arrays and scalars of the whole state, of feature ids 1 … n."""
        view = self.rule.view(n)
        arrays = view.arrays()
        arrays |= self.by_label.dump(len(arrays["label_states"]))
        arrays["label_counts"] = self.class_weights.counts.copy()
        arrays["progressive"] = self.metrics.dump()
        return arrays, dict(view.scalars)

    def dump(self) -> dict[str, Any]:
        """The totals and counters of a snapshot: the numbers of `metrics`."""
        numbers = self.metrics.dump().tolist()
        return {"totals": numbers[: len(TOTALS)], "counters": {"monitor": numbers[len(TOTALS) :]}}

    def view(self, n: int, labels: Mapping[str, NDArray[Any]]) -> View:
        """The rest of the state of a snapshot, as it is now, and the arrays of `labels`."""
        arrays, scalars = self.snapshot(n)
        del arrays["progressive"]  # among the totals and counters
        return View({**arrays, **labels}, scalars)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, float | int]
    ) -> None:
        """Replace the state by a snapshot.

        Raises ValueError where a part is missing or cannot be; nothing has changed then.
        """
        rest = dict(arrays)
        names = (*self.layout.arrays, *self.layout.of_views)
        learner = {name: rest.pop(name) for name in names if name in rest}
        numbers = rest.pop("progressive", None)
        if numbers is None:
            raise ValueError("progressive: expected an array, got none")
        monitor.check_state(numbers)
        counts = rest.pop("label_counts", None)
        if counts is None or counts.dtype.kind != "i" or counts.ndim != 1:
            raise ValueError("label_counts: expected an array of integers")
        if len(counts) > len(learner.get("label_states", ())) or (counts < 0).any():
            raise ValueError("label_counts: expected counts from 0, one a label")
        by_label = self.metrics_of_labels()
        by_label.restore(rest, len(learner.get("label_states", ())))
        self.rule.restore(learner, scalars)
        self.metrics.restore(numbers)
        self.by_label = by_label
        self.class_weights.counts = counts.astype(np.int64)
