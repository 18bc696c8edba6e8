"""Metrics of several labels a sample: how well each label is predicted, and all together.

By label, weighted by importance, over all and over the recent past (each sample counting 0.9999
times the one after it): samples that have it, that were predicted to, and both. From these::

    micro-F1   2·Σ both/(Σ have + Σ predicted)         of all labels together
    macro-F1   mean of 2·both/(have + predicted)       over the labels that were seen

NumPy alone, in order: however samples are batched, the bits are the same. Recent sums let the
summand grow; sum and gain are divided by the gain at the end of a period of 1,024 samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.label_sets import LabelSets
from onlinesvm.metrics.classes import LabelFigures, rates
from onlinesvm.metrics.constants import LARGEST_GAIN
from onlinesvm.metrics.constants import RECENT_GROWTH as GROWTH

__all__ = ["SetMetrics"]

PERIOD = 1024
_FIGURES = 6  # have, predicted, both; the recent ones


class SetMetrics:
    """Counts samples by their labels and the predicted ones; labels are ids from 0."""

    def __init__(self) -> None:
        self._figures = np.zeros((_FIGURES, 0))  # a column a label
        self._gain = 1.0
        self._counted = 0  # samples of the period

    def observe(
        self, labels: LabelSets, predicted: LabelSets, importances: NDArray[np.float64]
    ) -> None:
        """Count samples in order. A sample of importance 0 is not counted."""
        places = np.flatnonzero(importances > 0.0)
        if len(places) < len(labels):
            labels, predicted = labels.take(places), predicted.take(places)
            importances = importances[places]
        first = 0
        while first < len(labels):
            now = slice(first, min(len(labels), first + PERIOD - self._counted))
            self._count(labels[now], predicted[now], importances[now])
            first = now.stop
            if self._counted == PERIOD:
                self._end_period()

    def _count(
        self, labels: LabelSets, predicted: LabelSets, importances: NDArray[np.float64]
    ) -> None:
        most = max(labels.ids.max(initial=-1), predicted.ids.max(initial=-1))
        self._grow(int(most) + 1)
        gains = np.full(len(labels) + 1, GROWTH)
        gains[0] = self._gain
        gains = np.multiply.accumulate(gains)
        self._gain, gains = float(gains[-1]), gains[:-1]
        rows, guessed = labels.rows, predicted.rows
        width = self._figures.shape[1]
        right = np.isin(guessed * width + predicted.ids, rows * width + labels.ids)
        for row, weights in ((0, importances), (3, importances * gains)):
            np.add.at(self._figures[row], labels.ids, weights[rows])
            np.add.at(self._figures[row + 1], predicted.ids, weights[guessed])
            np.add.at(self._figures[row + 2], predicted.ids[right], weights[guessed[right]])
        self._counted += len(labels)

    def _grow(self, n: int) -> None:
        more = n - self._figures.shape[1]
        if more > 0:
            self._figures = np.pad(self._figures, ((0, 0), (0, more + n // 2)))

    def _end_period(self) -> None:
        self._counted = 0
        if self._gain > LARGEST_GAIN:
            self._figures[3:] /= self._gain
            self._gain = 1.0

    def drop(self, label: int) -> None:
        """Forget the samples of a label."""
        if label < self._figures.shape[1]:
            self._figures[:, label] = 0.0

    # Reports.

    def report(self) -> dict[str, float | None]:
        """`micro_f1` and `macro_f1`, over all and ``recent_``; None where unknown."""
        figures: dict[str, float | None] = {}
        for start, prefix in ((0, ""), (3, "recent_")):
            have, predicted, both = self._figures[start : start + 3]
            seen = have > 0.0
            some = seen | (predicted > 0.0)  # sums depend on how many zeros are between
            all_of = float(have[some].sum()) + float(predicted[some].sum())
            f1 = 2.0 * both[seen] / (have[seen] + predicted[seen])
            figures[f"{prefix}micro_f1"] = (
                2.0 * float(both[some].sum()) / all_of if all_of > 0.0 else None
            )
            figures[f"{prefix}macro_f1"] = float(f1.mean()) if seen.any() else None
        return figures

    def label(self, label: int) -> LabelFigures:
        """The figures of one label; `confused_with` is None."""
        numbers = [0.0] * _FIGURES
        if 0 <= label < self._figures.shape[1]:
            numbers = self._figures[:, label].tolist()
        return LabelFigures(numbers[0], *rates(*numbers[:3]), *rates(*numbers[3:]), None)

    # Files.

    def dump(self, labels: int) -> dict[str, NDArray[Any]]:
        """The state, of ids below `labels`."""
        self._grow(labels)
        return {
            "label_figures": self._figures[:, :labels].reshape(-1).copy(),
            "label_gain": np.array([self._gain, self._counted]),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]], labels: int) -> None:
        """Replace the state by a dump. Raises ValueError for what cannot be one."""
        given = []
        for name, size in (("label_figures", _FIGURES * labels), ("label_gain", 2)):
            array = arrays.get(name)
            if array is None or array.shape != (size,) or array.dtype.kind != "f":
                found = "none" if array is None else f"{array.dtype} of shape {list(array.shape)}"
                raise ValueError(f"{name}: expected float64[{size}], got {found}")
            if size and not (array.min() >= 0.0 and array.max() <= 1e250):
                raise ValueError(
                    f"{name}: expected numbers from 0 to 1e+250, got"
                    f" {array.min():g} to {array.max():g}"
                )
            given.append(array.astype(np.float64))
        figures, (gain, counted) = given[0], given[1].tolist()
        if not (1.0 <= gain <= 2.0 * LARGEST_GAIN and 0 <= counted < PERIOD and counted % 1 == 0):
            raise ValueError(f"label_gain: expected a gain and a count, got {gain:g}, {counted:g}")
        self._figures = figures.reshape(_FIGURES, labels)
        self._gain, self._counted = gain, int(counted)
