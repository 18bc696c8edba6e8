"""Many classes: one-vs-rest experts that share one second-order state a feature, and a mixture.

An expert r has a weight w_irk for each feature i and label k. x is the sample of
`onlinesvm.model.rules.unit`: values over their features' scales, the bias a feature of value 1,
divided by the norm of their view. Scales count the sample at hand, also where it is only scored::

    s_rk = −1 + Σ_i w_irk·x_i         a label starts at −1: one that no feature knows costs nothing
    u_k  = Σ_r c_r·s_rk               predicted is the label of the largest; of equal ones the lower

**Experts.** With truth y, and rivals: the 4 labels of largest u_k, k ≠ y, among those of which some
expert's score is above −1 (c as it is after this sample), losses are::

    l_ry = max(0, 1 − s_ry)           l_rk = max(0, 1 + s_rk) of a rival        cut at 2 for r ≥ 1
    g_r  = max_k l_rk

    0  AROW, r = 0.1     v = Σ S_i·x_i²,  β = 1/(v + r/h),  w_ik ±= β·l_k·S_i·x_i
                         then once, if g_0 > 0:  S_i −= β·(S_i·x_i)²
    1  adaptive, 0.25    G_i += h·g²·x_i² once,  ρ = Σ x_i²/√G_i
    2  adaptive, 4           w_ik ±= η·h·l_k/(1 + η·h·ρ)·x_i/√G_i
    3  adaptive, 64

The rules are those of the hedge's experts of these names; S and G are a feature's, not a weight's,
and move once a sample: moved once a label they shrink too fast. `class_mixture` gives c.

**Labels** are ids from 0. A label is known from its first learned sample of importance above 0 on;
that sample moves weights if another label is known. A dropped label is as if it had never been; its
id cannot be learned again. A feature holds the weights of `max_labels_per_feature` labels: a new
one then takes the place of the one of smallest |Σ_r c_r·w_r| (of equal ones the earliest) among
those that this sample does not update. The bias is not bounded.

**State** and arithmetic of scores and updates are float32, each sum in the order of the features,
the bias last; scales, norms and all that belongs to no feature are float64.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from onlinesvm.data.batch import CSR
from onlinesvm.data.learned import Learned
from onlinesvm.model.rules.class_layout import N
from onlinesvm.model.rules.class_rows import Feature, Singles, dot, narrow
from onlinesvm.model.rules.class_state import KNOWN, ClassState
from onlinesvm.model.rules.constants import CLASS_BIRTH as BIRTH
from onlinesvm.model.rules.constants import CLASS_MOST_AROW_LOSS as MOST_AROW_LOSS
from onlinesvm.model.rules.constants import CLASS_MOST_LOSS as MOST_LOSS
from onlinesvm.model.rules.constants import CLASS_RIVALS as RIVALS
from onlinesvm.model.rules.constants import HEDGE_AROW_R as AROW_R
from onlinesvm.model.rules.constants import HEDGE_ETA_FAST, HEDGE_ETA_FASTEST, HEDGE_ETA_SLOW
from onlinesvm.model.rules.constants import HEDGE_LEAST_VARIANCE as LEAST_VARIANCE
from onlinesvm.model.rules.scale import counted
from onlinesvm.model.rules.unit import Norms, idf, view_of
from onlinesvm.text.constants import OF_TEXT

__all__ = ["Multiclass", "Sample"]

_MOST = np.array([MOST_AROW_LOSS, MOST_LOSS, MOST_LOSS, MOST_LOSS], dtype=np.float32)
_ETAS = (HEDGE_ETA_SLOW, HEDGE_ETA_FAST, HEDGE_ETA_FASTEST)
_ONE, _BIRTH = np.float32(1.0), np.float32(BIRTH)


class Sample(NamedTuple):
    """The unit sample: features and values in order, the bias's value, scales that count it."""

    features: list[Feature]
    x: Singles
    bias: np.float32
    scales: list[tuple[float, int, int]]


class Multiclass(ClassState):
    """The learner of many classes; see the module's docstring.

    Samples are rows over ids, distinct within a row; an unknown feature is the negative of its tag.
    """

    _rivals = RIVALS  # that a sample updates

    # Scoring.

    def _unit(self, ids: list[int], values: list[float], grow: bool) -> Sample:
        """The unit sample. grow: make state for new features; else they count in the norm alone, as
        unknown ones do.
        """
        features, scaled, scales = [], [], []
        norms = Norms()
        for i, value in zip(ids, values, strict=True):
            if value == 0.0:
                continue
            feature = self._features.get(i)
            if feature is None:
                feature = Feature(-min(i, 0))
                if grow and i > 0:
                    self._features[i] = feature
            scale = counted(feature.s2, feature.age, feature.run, value)
            x = value / math.sqrt(scale[0]) * idf(feature.tag, feature.seen, self._texts)
            norms.add(view_of(feature.tag), x)
            if i > 0 and (grow or feature.seen):
                features.append(feature)
                scaled.append(x)
                scales.append(scale)
        inverses, bias = norms.inverses(self._has_bias)
        pairs = zip(features, scaled, strict=True)
        unit = np.array([x * inverses[view_of(f.tag)] for f, x in pairs], dtype=np.float32)
        return Sample(features, unit, np.float32(bias), scales)

    def _count(self, sample: Sample) -> None:
        """Count a sample into its features."""
        for feature, scale in zip(sample.features, sample.scales, strict=True):
            feature.s2, feature.age, feature.run = scale
            feature.seen += 1
        for tag in {feature.tag for feature in sample.features if feature.tag >= OF_TEXT}:
            self._texts[view_of(tag)] += 1

    def _scores(self, sample: Sample) -> Singles:
        """The experts' scores by label, float32[k, 4]."""
        scores = np.full((len(self._states), N), _BIRTH, dtype=np.float32)
        for feature, x in zip(sample.features, sample.x, strict=True):
            scores[feature.labels] += feature.weights * x
        scores += self._bias * sample.bias
        return scores

    def _mixed(self, coefficients: Singles, scores: Singles) -> Singles:
        """u by label, −∞ of those that are not known."""
        known = self._states == KNOWN
        return np.where(known, dot(coefficients, scores), np.float32(-np.inf))

    def score(self, csr: CSR) -> Singles:
        """The scores u of the rows, float32[n, k], −∞ of labels that are not known."""
        indptr, indices, data = (column.tolist() for column in csr)
        made = np.empty((len(indptr) - 1, len(self._states)), dtype=np.float32)
        c = narrow(self._mixture.coefficients)
        for i, (start, end) in enumerate(pairwise(indptr)):
            sample = self._unit(indices[start:end], data[start:end], grow=False)
            made[i] = self._mixed(c, self._scores(sample))
        return made

    # Learning.

    def learn(self, csr: CSR, labels: ArrayLike, importances: ArrayLike) -> Learned:
        """Score, then learn, row by row. A row of importance 0 is scored only.

        labels: int32[n]. Raises ValueError for one that is out of bounds or was dropped; nothing
        has changed then.
        """
        truths = np.asarray(labels, dtype=np.int32)
        self._reserve_labels(truths)
        indptr, indices, data = (column.tolist() for column in csr)
        n = len(indptr) - 1
        learned = Learned(np.zeros(n), np.full(n, -1, dtype=np.int32), np.zeros(n))
        given = truths.tolist(), np.asarray(importances).tolist()
        for i, (start, end, y, h) in enumerate(zip(indptr, indptr[1:], *given, strict=False)):
            found = self._learn_row(indices[start:end], data[start:end], y, h)
            learned.margins[i], learned.predicted[i], learned.confidences[i] = found
        return learned

    def _learn_row(
        self, ids: list[int], values: list[float], y: int, importance: float
    ) -> tuple[float, int, float]:
        """The margin, the predicted label and its probability, before the sample is learned."""
        sample = self._unit(ids, values, grow=importance > 0.0)
        scores = self._scores(sample)
        mixed = self._mixed(narrow(self._mixture.coefficients), scores)
        fresh = not (y < len(self._states) and self._states[y] == KNOWN)
        birth = float(self._mixed_birth())
        others = mixed.copy()
        if not fresh:
            others[y] = -np.inf
        other = float(others.max(initial=-np.inf))
        margin = (birth if fresh else float(mixed[y])) - (birth if other == -np.inf else other)
        best, confidence = -1, 0.0
        if (self._states == KNOWN).any():
            best = int(mixed.argmax())
            confidence = self._temperature.confidence(mixed, best)
        if importance > 0.0:
            self._count(sample)
            h = self._importance.of(importance)
            if fresh:
                self._grow_labels(y)
                self._states[y] = KNOWN
                grown = np.full((len(self._states), N), _BIRTH, dtype=np.float32)
                grown[: len(scores)] = scores
                scores = grown
                scores[y] = _BIRTH
            if np.count_nonzero(self._states == KNOWN) > 1 and (len(sample.x) or self._has_bias):
                if not fresh:
                    self._learn_second_level(scores, mixed, best, y, margin, h, importance)
                self._update(sample, scores, [y], np.float32(h))
        return margin, best, confidence

    def _mixed_birth(self) -> np.float32:
        birth = np.full((1, N), _BIRTH, dtype=np.float32)
        return np.float32(dot(narrow(self._mixture.coefficients), birth)[0])

    def _learn_second_level(
        self,
        scores: Singles,
        mixed: Singles,
        best: int,
        y: int,
        margin: float,
        h: float,
        importance: float,
    ) -> None:
        """The mixture, the judges and the temperature learn by the scores before the update."""
        others = self._states == KNOWN
        others[y] = False
        strongest = scores[others].max(axis=0)
        own = [float(scores[y, r]) - float(strongest[r]) for r in range(N)]
        stacked = dot(narrow(self._mixture.stack()), scores)
        rivals = np.where(others, stacked, np.float32(-np.inf))
        rival = int(rivals.argmax())
        against = [float(scores[y, r]) - float(scores[rival, r]) for r in range(N)]
        stack_wrong = not float(stacked[y]) > float(stacked[rival])
        lead = float(stacked[y]) - float(stacked[rival])
        wrong = self._mixture.learn_classes(own, against, stack_wrong, h)
        self._judge.learn([*own, lead], wrong, importance)
        self._temperature.learn(mixed, best, y, margin)

    def _update(self, sample: Sample, scores: Singles, truth: list[int], h: np.float32) -> None:
        """The experts' step on the labels of a sample and their rivals."""
        c = narrow(self._mixture.coefficients)
        mixed = self._mixed(c, scores)
        mixed[truth] = -np.inf
        mixed[~(scores > _BIRTH).any(axis=1)] = -np.inf
        order = np.argsort(-mixed, kind="stable")[: self._rivals]
        updated = np.array([*truth, *order[mixed[order] > -np.inf].tolist()], dtype=np.int32)
        signs = np.full((len(updated), 1), -1.0, dtype=np.float32)
        signs[: len(truth)] = 1.0
        losses = np.minimum(_MOST, np.maximum(np.float32(0.0), _ONE - signs * scores[updated]))
        largest = losses.max(axis=0, initial=np.float32(0.0))
        if not largest.any():
            return
        moving = losses.any(axis=1)
        updated, steps = updated[moving], (signs * losses)[moving]

        x = np.append(sample.x, sample.bias) if self._has_bias else sample.x
        square = x * x
        gradient = (h * largest) * largest
        gradient[0] = 0.0
        second = np.array([feature.second for feature in sample.features], dtype=np.float32)
        second = second.reshape(-1, N)
        if self._has_bias:
            second = np.concatenate([second, self._bias_second[None]])
        second = second + gradient * square[:, None]
        direction = second.copy()
        direction[:, 1:] = _ONE / np.sqrt(second[:, 1:])
        reach = _sum(direction * square[:, None])
        direction = direction * x[:, None]
        beta = _ONE / (reach[0] + np.float32(AROW_R) / h)
        rates = [beta]
        for r, eta in enumerate(_ETAS, 1):
            rate = np.float32(eta) * h
            rates.append(rate / (_ONE + rate * reach[r]))
        steps = steps * np.array(rates, dtype=np.float32)
        if largest[0] > 0.0:
            spread = direction[:, 0]
            shrunk = second[:, 0] - (beta * spread) * spread
            second[:, 0] = np.maximum(np.float32(LEAST_VARIANCE), shrunk)
        for k, feature in enumerate(sample.features):
            feature.second = second[k]
            feature.move(updated, steps * direction[k], c, self._most)
        if self._has_bias:
            self._bias_second = second[-1]
            self._bias[updated] += steps * direction[-1]


def _sum(rows: Singles) -> Singles:
    """The sum of the rows in order, from 0."""
    first = np.zeros((1, rows.shape[1]), dtype=np.float32)
    total: Singles = np.add.accumulate(np.concatenate([first, rows]), axis=0)[-1]
    return total
