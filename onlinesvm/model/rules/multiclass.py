"""Many classes: one-vs-rest experts that share one second-order state a feature, and a mixture.

An expert r has a weight w_irk for each feature i and label k. x is the unit sample of
`onlinesvm.model.rules.hedge`: values over their features' scales, the bias a feature of value 1,
divided by the norm. Scales count the sample at hand, also where it is only scored::

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
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.data.batch import CSR
from onlinesvm.data.learned import Learned
from onlinesvm.metrics.constants import RECENT_DISCOUNT as JUDGED_DISCOUNT
from onlinesvm.metrics.fpmath import exp2, log2
from onlinesvm.metrics.temperature import Temperature
from onlinesvm.model.rules.class_layout import N, ClassLayout
from onlinesvm.model.rules.class_mixture import ClassMixture
from onlinesvm.model.rules.constants import CLASS_BIRTH as BIRTH
from onlinesvm.model.rules.constants import CLASS_MOST_AROW_LOSS as MOST_AROW_LOSS
from onlinesvm.model.rules.constants import CLASS_MOST_COEFFICIENT as MOST_COEFFICIENT
from onlinesvm.model.rules.constants import CLASS_MOST_LOSS as MOST_LOSS
from onlinesvm.model.rules.constants import CLASS_RIVALS as RIVALS
from onlinesvm.model.rules.constants import HEDGE_AROW_R as AROW_R
from onlinesvm.model.rules.constants import HEDGE_ETA_FAST, HEDGE_ETA_FASTEST, HEDGE_ETA_SLOW
from onlinesvm.model.rules.constants import HEDGE_IMPORTANCE_MEMORY as IMPORTANCE_MEMORY
from onlinesvm.model.rules.constants import HEDGE_LEAST_IMPORTANCE as LEAST_IMPORTANCE
from onlinesvm.model.rules.constants import HEDGE_LEAST_SQUARE as LEAST_SQUARE
from onlinesvm.model.rules.constants import HEDGE_LEAST_VARIANCE as LEAST_VARIANCE
from onlinesvm.model.rules.constants import HEDGE_MOST_IMPORTANCE as MOST_IMPORTANCE
from onlinesvm.model.rules.scale import counted
from onlinesvm.model.view import View

__all__ = ["Multiclass"]

Singles = NDArray[np.float32]
Ids = NDArray[np.int32]

NEVER, KNOWN, DROPPED = 0, 1, 2  # the states of a label

_FRESH = np.array([1.0, LEAST_SQUARE, LEAST_SQUARE, LEAST_SQUARE], dtype=np.float32)
_MOST = np.array([MOST_AROW_LOSS, MOST_LOSS, MOST_LOSS, MOST_LOSS], dtype=np.float32)
_ETAS = (HEDGE_ETA_SLOW, HEDGE_ETA_FAST, HEDGE_ETA_FASTEST)
_ONE, _BIRTH = np.float32(1.0), np.float32(BIRTH)


class _Feature:
    """What is known of a feature: its scale (`s2`, `age`, `run`), how often it was `seen`, S and the
    three G (`second`), and a row of labels and their experts' weights.
    """

    __slots__ = ("age", "labels", "run", "s2", "second", "seen", "weights")

    def __init__(self) -> None:
        self.s2, self.age, self.run, self.seen = 0.0, 0, 0, 0
        self.second = _FRESH.copy()
        self.labels = np.empty(0, dtype=np.int32)
        self.weights = np.empty((0, N), dtype=np.float32)

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Drop the other entries of the row."""
        self.labels, self.weights = self.labels[kept], self.weights[kept]


class _Sample(NamedTuple):
    """The unit sample: features and values, in order; the bias's value; the scales that count it."""

    features: list[_Feature]
    x: Singles
    bias: np.float32
    scales: list[tuple[float, int, int]]


def dot(coefficients: Singles, rows: Singles) -> Singles:
    """Σ_r c_r·rows_kr by k, r in order."""
    c = coefficients
    total: Singles = c[0] * rows[:, 0]
    for r in range(1, N):
        total = total + c[r] * rows[:, r]
    return total


def narrow(coefficients: list[float]) -> Singles:
    """As float32, cut so that no score overflows."""
    cut = [min(MOST_COEFFICIENT, max(-MOST_COEFFICIENT, c)) for c in coefficients]
    return np.array(cut, dtype=np.float32)


class Multiclass:
    """The learner of many classes; see the module's docstring.

    Samples are rows over ids, distinct within a row. layout: `class_layout.ClassLayout`.
    """

    def __init__(
        self, bias: bool, max_labels: int, max_labels_per_feature: int, layout: type[ClassLayout]
    ) -> None:
        layout.check_bounds(max_labels, max_labels_per_feature)
        self.max_labels = max_labels
        self._most = max_labels_per_feature
        self._layout = layout
        self._has_bias = bias
        self._features: dict[int, _Feature] = {}
        self._states = np.zeros(0, dtype=np.uint8)  # of the labels
        self._bias = np.zeros((0, N), dtype=np.float32)
        self._bias_second = _FRESH.copy()
        self._mixture = ClassMixture(N)
        self._temperature = Temperature()
        self._log_importance = 0.0
        self._samples = 0
        # Of each expert and the stack: mistakes and hinge losses, over all and recent.
        self._judged = [[0.0] * (N + 1) for _ in range(4)]
        self._judged_weights = [0.0, 0.0]

    # The labels.

    @property
    def max_labels_per_feature(self) -> int:
        """How many labels' weights a feature may hold, from the next sample on."""
        return self._most

    @max_labels_per_feature.setter
    def max_labels_per_feature(self, most: int) -> None:
        self._layout.check_bounds(self.max_labels, most)
        self._most = most

    @property
    def states(self) -> NDArray[np.uint8]:
        """Of each label id so far: 0 never learned, 1 known, 2 dropped."""
        return self._states.copy()

    def drop(self, label: int) -> None:
        """Drop a known label. Raises ValueError for another."""
        if not (0 <= label < len(self._states) and self._states[label] == KNOWN):
            raise ValueError(f"label: expected a known one, got {label}")
        self._states[label] = DROPPED
        self._bias[label] = 0.0
        for feature in self._features.values():
            feature.keep(feature.labels != label)

    # Scoring.

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """What the experts' scores are multiplied by, float64[4]."""
        return narrow(self._mixture.coefficients).astype(np.float64)

    def _unit(self, ids: list[int], values: list[float], grow: bool) -> _Sample:
        """The unit sample. grow: make state for new features; else they count in the norm alone, as
        PAD does.
        """
        features, scaled, scales = [], [], []
        norm2 = 0.0
        for i, value in zip(ids, values, strict=True):
            if value == 0.0:
                continue
            feature = self._features.get(i)
            if feature is None:
                feature = _Feature()
                if grow and i:
                    self._features[i] = feature
            scale = counted(feature.s2, feature.age, feature.run, value)
            x = value / math.sqrt(scale[0])
            norm2 += x * x
            if i and (grow or feature.seen):
                features.append(feature)
                scaled.append(x)
                scales.append(scale)
        norm2 += 1.0 if self._has_bias else 0.0
        inverse = 1.0 / math.sqrt(norm2) if norm2 > 0.0 else 0.0
        unit = np.array([x * inverse for x in scaled], dtype=np.float32)
        return _Sample(features, unit, np.float32(inverse if self._has_bias else 0.0), scales)

    def _scores(self, sample: _Sample) -> Singles:
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
        for i, (start, end) in enumerate(zip(indptr, indptr[1:], strict=False)):
            sample = self._unit(indices[start:end], data[start:end], grow=False)
            made[i] = self._mixed(c, self._scores(sample))
        return made

    def probabilities(self, scores: Singles) -> NDArray[np.float64]:
        """The probabilities of rows of scores, float64[n, k]."""
        return self._temperature.probabilities(scores)

    def feature(self, id: int) -> tuple[Ids, Singles, tuple[float, int, int, int]]:
        """The labels that a feature knows, their experts' weights on unit samples, float32[m, 4], and
        its mean square, age, run and how often it was seen. PAD is the bias.
        """
        if id == 0:
            known = np.flatnonzero(self._states == KNOWN).astype(np.int32)
            return known, self._bias[known], (1.0, 0, 0, 0)
        feature = self._features.get(id) or _Feature()
        counts = (feature.s2, feature.age, feature.run, feature.seen)
        return feature.labels.copy(), feature.weights.copy(), counts

    # Learning.

    def learn(self, csr: CSR, labels: ArrayLike, importances: ArrayLike) -> Learned:
        """Score, then learn, row by row. A row of importance 0 is scored only.

        labels: int32[n]. Raises ValueError for one that is out of bounds or was dropped; nothing has
        changed then.
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

    def _reserve_labels(self, truths: Ids) -> None:
        if not len(truths):
            return
        least, most = int(truths.min()), int(truths.max())
        if least < 0 or most >= self.max_labels:
            wrong = least if least < 0 else most
            raise ValueError(f"labels: expected ids from 0 to {self.max_labels - 1}, got {wrong}")
        there = truths[truths < len(self._states)]
        dropped = there[self._states[there] == DROPPED]
        if len(dropped):
            raise ValueError(f"labels: expected none that was dropped, got {int(dropped[0])}")

    def _grow_labels(self, label: int) -> None:
        more = label + 1 - len(self._states)
        if more > 0:
            self._states = np.concatenate([self._states, np.zeros(more, dtype=np.uint8)])
            self._bias = np.concatenate([self._bias, np.zeros((more, N), dtype=np.float32)])

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
            for feature, scale in zip(sample.features, sample.scales, strict=True):
                feature.s2, feature.age, feature.run = scale
                feature.seen += 1
            h = self._relative(importance)
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
                self._update(sample, scores, y, np.float32(h))
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
        self._judge([*own, lead], wrong, importance)
        self._temperature.learn(mixed, best, y, margin)

    def _update(self, sample: _Sample, scores: Singles, y: int, h: np.float32) -> None:
        """The experts' step on the truth and its rivals."""
        c = narrow(self._mixture.coefficients)
        mixed = self._mixed(c, scores)
        mixed[y] = -np.inf
        mixed[~(scores > _BIRTH).any(axis=1)] = -np.inf
        order = np.argsort(-mixed, kind="stable")[:RIVALS]
        updated = np.array([y, *order[mixed[order] > -np.inf].tolist()], dtype=np.int32)
        signs = np.full((len(updated), 1), -1.0, dtype=np.float32)
        signs[0] = 1.0
        losses = np.minimum(_MOST, np.maximum(np.float32(0.0), _ONE - signs * scores[updated]))
        largest = losses.max(axis=0)
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
            self._move(feature, updated, steps * direction[k], c)
        if self._has_bias:
            self._bias_second = second[-1]
            self._bias[updated] += steps * direction[-1]

    def _move(self, feature: _Feature, updated: Ids, moves: Singles, c: Singles) -> None:
        """Add `moves` to the weights of the `updated` labels, entering those that are new."""
        entered = []
        for label, move in zip(updated.tolist(), moves, strict=True):
            place = np.flatnonzero(feature.labels == label)
            if len(place):
                feature.weights[place[0]] += move
            else:
                entered.append((label, move))
        for label, move in entered:
            if len(feature.labels) < self._most:
                feature.labels = np.append(feature.labels, np.int32(label))
                feature.weights = np.concatenate([feature.weights, move[None]])
                continue
            weights = np.abs(dot(c, feature.weights))
            weights[np.isin(feature.labels, updated)] = np.inf
            place = weights.argmin()
            feature.labels[place], feature.weights[place] = label, move

    def _relative(self, importance: float) -> float:
        """The importance relative to the geometric mean of all so far, this one included."""
        self._samples += 1
        if importance == 1.0 and self._log_importance == 0.0:
            return 1.0
        rate = 1.0 / min(float(self._samples), IMPORTANCE_MEMORY)
        self._log_importance += (log2(importance) - self._log_importance) * rate
        h = importance / exp2(self._log_importance)
        return min(MOST_IMPORTANCE, max(LEAST_IMPORTANCE, h))

    def _judge(self, margins: list[float], wrong: list[bool], h: float) -> None:
        """Count each expert's mistake and hinge loss."""
        errors, losses, recent_errors, recent_losses = self._judged
        self._judged_weights[0] += h
        self._judged_weights[1] = self._judged_weights[1] * JUDGED_DISCOUNT + h
        for j, margin in enumerate(margins):
            mistake = h if wrong[j] else 0.0
            errors[j] += mistake
            recent_errors[j] = recent_errors[j] * JUDGED_DISCOUNT + mistake
            loss = h * (1.0 - margin) if margin < 1.0 else 0.0
            losses[j] += loss
            recent_losses[j] = recent_losses[j] * JUDGED_DISCOUNT + loss

    # Memory and files.

    def reserve(self, csr: CSR, labels: ArrayLike) -> None:
        """Reserve the memory that learning these rows can need, so that it cannot fail. Dicts cannot
        reserve; the native kernel does.

        Raises ValueError as `learn` does, MemoryError; nothing has changed then.
        """
        self._reserve_labels(np.asarray(labels, dtype=np.int32))

    def prune(self, n: int, keep_ids: Collection[Any], remaining: int) -> NDArray[np.bool_]:
        """Drop features until `remaining` of ids 1 … n are left, or only `keep_ids`.

        As `onlinesvm.model.rules.rule.Rule.prune`; a feature's weight is the largest magnitude of a
        label's weight on samples as they come.
        """
        c = narrow(self._mixture.coefficients)
        kept = np.ones(n, dtype=np.bool_)
        others = set(range(1, n + 1)).difference(map(int, keep_ids))
        weakest = sorted(others, key=lambda i: (self._strength(i, c), i))
        for i in weakest[: max(0, n - remaining)]:
            kept[i - 1] = False
        stay = [i for i in range(1, n + 1) if kept[i - 1]]
        state = self._features
        self._features = {k: state[i] for k, i in enumerate(stay, 1) if i in state}
        return kept

    def _strength(self, id: int, c: Singles) -> float:
        feature = self._features.get(id)
        if feature is None or not feature.s2 > 0.0:
            return 0.0
        largest = float(np.abs(dot(c, feature.weights)).max(initial=np.float32(0.0)))
        return largest / math.sqrt(feature.s2)

    def view(self, n: int) -> View:
        """The state of ids 1 … n and of all labels as it is now; `class_layout` names its parts."""
        fresh = _Feature()
        features = [self._features.get(i, fresh) for i in range(1, n + 1)]
        second = np.array([f.second for f in features], dtype=np.float32).reshape(n, N)
        arrays: dict[str, NDArray[Any]] = {
            "mean_squares": np.array([f.s2 for f in features], dtype=np.float64),
            "ages": np.array([f.age for f in features], dtype=np.int64),
            "runs": np.array([f.run for f in features], dtype=np.int64),
            "seen": np.array([f.seen for f in features], dtype=np.int64),
            "second_orders": second.reshape(-1),
            "row_lengths": np.array([len(f.labels) for f in features], dtype=np.int32),
            "row_labels": np.concatenate([fresh.labels, *(f.labels for f in features)]),
            "row_weights": np.concatenate([fresh.weights, *(f.weights for f in features)]).reshape(-1),
            "label_states": self._states.copy(),
            "bias_weights": self._bias.reshape(-1).copy(),
        }
        return View(arrays, self._scalars())

    def _scalars(self) -> dict[str, float | int]:
        numbers = [
            self._samples, self._log_importance, *self._bias_second.tolist(),
            *self._mixture.dump().values(), *self._judged_weights,
            *(figure for figures in self._judged for figure in figures),
            *self._temperature.numbers(),
        ]  # fmt: skip
        return dict(zip(self._layout.scalars, numbers, strict=True))

    def restore(self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
        """Replace the state by that of a view. Raises ValueError where a part is missing or cannot
        be; nothing has changed then.
        """
        self._layout.check(arrays, scalars, self.max_labels)
        ends = np.cumsum(arrays["row_lengths"], dtype=np.int64).tolist()
        labels = arrays["row_labels"].astype(np.int32)
        weights = arrays["row_weights"].astype(np.float32).reshape(-1, N)
        second = arrays["second_orders"].astype(np.float32).reshape(-1, N)
        names = ("mean_squares", "ages", "runs", "seen")
        features, start = {}, 0
        columns = zip(*(arrays[name].tolist() for name in names), ends, strict=True)
        for i, (s2, age, run, seen, end) in enumerate(columns):
            feature = _Feature()
            feature.s2, feature.age, feature.run, feature.seen = s2, age, run, seen
            feature.second = second[i]
            feature.labels, feature.weights = labels[start:end].copy(), weights[start:end].copy()
            features[i + 1], start = feature, end
        self._features = features
        self._states = arrays["label_states"].astype(np.uint8)
        self._bias = arrays["bias_weights"].astype(np.float32).reshape(-1, N)
        numbers = iter([scalars[name] for name in self._layout.scalars])
        self._samples, self._log_importance = int(next(numbers)), float(next(numbers))
        self._bias_second = np.array([next(numbers) for _ in range(N)], dtype=np.float32)
        self._mixture.restore(scalars)
        for _ in self._mixture.dump():
            next(numbers)
        self._judged_weights = [float(next(numbers)) for _ in range(2)]
        self._judged = [[float(next(numbers)) for _ in range(N + 1)] for _ in range(4)]
        self._temperature.restore(map(float, numbers))


def _sum(rows: Singles) -> Singles:
    """The sum of the rows in order, from 0."""
    first = np.zeros((1, rows.shape[1]), dtype=np.float32)
    total: Singles = np.add.accumulate(np.concatenate([first, rows]), axis=0)[-1]
    return total
