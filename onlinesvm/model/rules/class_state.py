"""The state of the learner of many classes: labels, features, and the way in and out of files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.data.batch import CSR
from onlinesvm.metrics.temperature import Temperature
from onlinesvm.model.rules.class_figures import Judge, RelativeImportance
from onlinesvm.model.rules.class_layout import ClassLayout, N
from onlinesvm.model.rules.class_mixture import ClassMixture
from onlinesvm.model.rules.class_rows import FRESH, Feature, Ids, Singles, dot, narrow
from onlinesvm.model.rules.rule import check_ids, moved, raised
from onlinesvm.model.view import View
from onlinesvm.text.constants import VIEWS

__all__ = ["DROPPED", "KNOWN", "ClassState"]

KNOWN, DROPPED = 1, 2  # the states of a label; 0: never learned


class ClassState:
    """The state of the learner of many classes. layout: `class_layout.ClassLayout`."""

    def __init__(
        self, bias: bool, max_labels: int, max_labels_per_feature: int, layout: type[ClassLayout]
    ) -> None:
        layout.check_bounds(max_labels, max_labels_per_feature)
        self.max_labels = max_labels
        self._most = max_labels_per_feature
        self._layout = layout
        self._has_bias = bias
        self._features: dict[int, Feature] = {}
        self._plain = True  # all tags are 0
        self._texts = [0] * VIEWS  # samples that had a text's feature of the view
        self._states = np.zeros(0, dtype=np.uint8)  # of the labels
        self._bias = np.zeros((0, N), dtype=np.float32)
        self._bias_second = FRESH.copy()
        self._mixture = ClassMixture(N)
        self._temperature = Temperature()
        self._importance = RelativeImportance()
        self._judge = Judge()

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

    # The features.

    def enter(self, first: int, tags: bytes) -> None:
        """The tags of the new features from id `first` on, as `Lookup.entered` gives them."""
        for id, tag in enumerate(tags, first):
            if tag:
                self._features[id] = Feature(tag)
                self._plain = False

    @property
    def texts(self) -> tuple[int, ...]:
        """Of each view, how many learned samples had a text's feature of it."""
        return tuple(self._texts)

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """The factors of the experts' scores, float64[4]."""
        return narrow(self._mixture.coefficients).astype(np.float64)

    def feature(self, id: int) -> tuple[Ids, Singles, tuple[float, int, int, int, int]]:
        """The labels that a feature knows, their experts' weights, float32[m, 4], on unit samples;
        its mean square, age, run, how often it was seen, and its tag. PAD is the bias.
        """
        if id == 0:
            known = np.flatnonzero(self._states == KNOWN).astype(np.int32)
            return known, self._bias[known], (1.0, 0, 0, 0, 0)
        feature = self._features.get(id) or Feature()
        counts = (feature.s2, feature.age, feature.run, feature.seen, feature.tag)
        return feature.labels.copy(), feature.weights.copy(), counts

    def probabilities(self, scores: Singles) -> NDArray[np.float64]:
        """The probabilities of rows of scores, float64[n, k]."""
        return self._temperature.probabilities(scores)

    # Memory and files.

    def reserve(self, csr: CSR, labels: ArrayLike, n: int = 0) -> None:
        """Reserve the memory that learning these rows can need, so that it cannot fail.

        PAD stands for any feature that will be new; ids go up to `n` then.

        A dict cannot reserve; the native kernel does.
        Raises ValueError as `learn` does, MemoryError; nothing has changed then.
        """
        self._reserve_labels(np.asarray(labels, dtype=np.int32))

    def strengths(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """The largest magnitude of a label's weight of each feature, on samples as they come,
        float64[n]. See `onlinesvm.model.rules.rule.Rule.strengths`.
        """
        check_ids(ids)
        c = narrow(self._mixture.coefficients)
        return np.array([self._strength(i, c) for i in ids.tolist()], dtype=np.float64)

    def move(self, to: int, first: int, kept: NDArray[np.bool_]) -> None:
        """Move the state of features. See `onlinesvm.model.rules.rule.Rule.move`."""
        moved(self._features, to, first, kept)

    def open_gap(self, first: int, n: int, gap: int) -> None:
        """Move the state of features up. See `onlinesvm.model.rules.rule.Rule.open_gap`."""
        raised(self._features, first, n, gap)

    def _strength(self, id: int, c: Singles) -> float:
        feature = self._features.get(id)
        if feature is None or not feature.s2 > 0.0:
            return 0.0
        largest = float(np.abs(dot(c, feature.weights)).max(initial=np.float32(0.0)))
        return largest / math.sqrt(feature.s2)

    def view(self, n: int) -> View:
        """The state of ids 1 … n and of all labels as it is now; `class_layout` names its parts."""
        fresh = Feature()
        features = [self._features.get(i, fresh) for i in range(1, n + 1)]
        second = np.array([f.second for f in features], dtype=np.float32).reshape(n, N)
        weights = np.concatenate([fresh.weights, *(f.weights for f in features)])
        arrays: dict[str, NDArray[Any]] = {
            "mean_squares": np.array([f.s2 for f in features], dtype=np.float64),
            "ages": np.array([f.age for f in features], dtype=np.int64),
            "runs": np.array([f.run for f in features], dtype=np.int64),
            "seen": np.array([f.seen for f in features], dtype=np.int64),
            "second_orders": second.reshape(-1),
            "row_lengths": np.array([len(f.labels) for f in features], dtype=np.int32),
            "row_labels": np.concatenate([fresh.labels, *(f.labels for f in features)]),
            "row_weights": weights.reshape(-1),
            "label_states": self._states.copy(),
            "bias_weights": self._bias.reshape(-1).copy(),
        }
        if not self._plain:
            arrays["views"] = np.array([f.tag for f in features], dtype=np.uint8)
            arrays["view_samples"] = np.array(self._texts, dtype=np.int64)
        return View(arrays | self._arrays(), self._scalars())

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of a view beside those of features and labels."""
        return {}

    def _scalars(self) -> dict[str, float | int]:
        numbers = [
            self._importance.samples, self._importance.log2_mean, *self._bias_second.tolist(),
            *self._mixture.dump().values(), *self._judge.numbers(), *self._temperature.numbers(),
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
        plain = "views" not in arrays
        tags = [0] * len(ends) if plain else arrays["views"].tolist()
        columns = zip(*(arrays[name].tolist() for name in names), ends, tags, strict=True)
        for i, (s2, age, run, seen, end, tag) in enumerate(columns):
            feature = Feature(tag)
            feature.s2, feature.age, feature.run, feature.seen = s2, age, run, seen
            feature.second = second[i]
            feature.labels, feature.weights = labels[start:end].copy(), weights[start:end].copy()
            features[i + 1], start = feature, end
        self._features, self._plain = features, plain
        self._texts = [0] * VIEWS if plain else arrays["view_samples"].tolist()
        self._states = arrays["label_states"].astype(np.uint8)
        self._bias = arrays["bias_weights"].astype(np.float32).reshape(-1, N)
        numbers = iter([scalars[name] for name in self._layout.scalars])
        self._importance.samples = int(next(numbers))
        self._importance.log2_mean = float(next(numbers))
        self._bias_second = np.array([next(numbers) for _ in range(N)], dtype=np.float32)
        self._restore_second_level(arrays, scalars, numbers)

    def _restore_second_level(
        self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any], numbers: Iterator[Any]
    ) -> None:
        """Replace the state over the experts; `numbers` are the rest of `scalars`."""
        self._mixture.restore(scalars)
        for _ in self._mixture.dump():
            next(numbers)
        self._judge.restore(numbers)
        self._temperature.restore(map(float, numbers))
