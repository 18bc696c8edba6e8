"""Metrics of many classes: errors by label, which label is taken for which, calibration.

By label, weighted by importance, over all and over the recent past (each sample counting 0.9999
times the one after it): samples that have it, that were predicted to, and both. From these::

    recall    both/have      balanced error  1 − mean recall of the labels that were seen
    precision both/predicted     macro-F1    mean of 2·both/(have + predicted)

A label's `most confused with` is the majority vote of Boyer and Moore (1981) over the labels that
were predicted in its place: one candidate and one number a label. The confusion matrix of the
recent past has the 50 most frequent labels and one row and column for all others; every 1,024
samples labels that have become a quarter more frequent take the places of others.

The calibration error is that of the predicted label's probability, over 15 bins, as in
`onlinesvm.metrics.calibration`.

NumPy alone, in order: however samples are batched, the bits are the same. Recent sums let the
summand grow; sum and gain are divided by the gain at the end of a period of 1,024 samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onlinesvm.metrics.calibration import shares
from onlinesvm.metrics.constants import CALIBRATION_BINS as BINS
from onlinesvm.metrics.constants import LARGEST_GAIN
from onlinesvm.metrics.constants import RECENT_GROWTH as GROWTH

__all__ = ["FREQUENT", "ClassMetrics", "LabelFigures", "rates"]

Numbers = NDArray[np.float64]

FREQUENT = 50  # labels with a row of their own; FREQUENT itself is the row of all others
PERIOD = 1024
_FIGURES = 6  # have, predicted, both; the recent ones
_LEAD = 1.25  # that many times as frequent is a label that takes another one's place


class LabelFigures(NamedTuple):
    """Of one label; None where there is nothing to divide by, or nothing it was confused with."""

    weight: float
    recall: float | None
    precision: float | None
    f1: float | None
    recent_recall: float | None
    recent_precision: float | None
    recent_f1: float | None
    confused_with: int | None


class ClassMetrics:
    """Counts samples by their label and the predicted one; labels are ids from 0."""

    def __init__(self) -> None:
        self._figures = np.zeros((_FIGURES, 0))  # a column a label
        self._rivals = np.zeros(0, dtype=np.int32)
        self._votes = np.zeros(0)
        self._slots = np.zeros(0, dtype=np.int8)  # by label
        self._frequent = np.full(FREQUENT, -1, dtype=np.int32)  # by slot
        self._cells = np.zeros((FREQUENT + 1) ** 2)
        self._bins = np.zeros(3 * BINS)
        self._gain = 1.0
        self._counted = 0  # samples of the period

    def observe(
        self,
        labels: NDArray[np.int32],
        predicted: NDArray[np.int32],
        confidences: Numbers,
        importances: Numbers,
    ) -> None:
        """Count samples in order; −1 was predicted where no label was known.

        A sample of importance 0 is not counted.
        """
        places = np.flatnonzero(importances > 0.0)
        while len(places):
            now, places = np.split(places, [PERIOD - self._counted])
            self._count(labels[now], predicted[now], confidences[now], importances[now])
            if self._counted == PERIOD:
                self._end_period()

    def _count(
        self,
        labels: NDArray[np.int32],
        predicted: NDArray[np.int32],
        confidences: Numbers,
        importances: Numbers,
    ) -> None:
        self._grow(int(max(labels.max(), predicted.max())) + 1)
        self._give_slots(np.stack([labels, predicted], axis=1).ravel())
        gains = np.full(len(labels) + 1, GROWTH)
        gains[0] = self._gain
        gains = np.multiply.accumulate(gains)
        self._gain, gains = float(gains[-1]), gains[:-1]
        right, known = labels == predicted, predicted >= 0
        for row, weights in ((0, importances), (3, importances * gains)):
            np.add.at(self._figures[row], labels, weights)
            np.add.at(self._figures[row + 1], predicted[known], weights[known])
            np.add.at(self._figures[row + 2], labels[right], weights[right])
        taken = np.where(known, self._slots[np.where(known, predicted, 0)], FREQUENT)
        cells = self._slots[labels].astype(np.intp) * (FREQUENT + 1) + taken
        np.add.at(self._cells, cells, importances * gains)
        bins = 3 * np.minimum(BINS - 1, (confidences * BINS).astype(np.intp))
        np.add.at(self._bins, bins, gains)
        np.add.at(self._bins, bins + 1, gains * confidences)
        np.add.at(self._bins, bins + 2, gains * right)
        wrong = np.flatnonzero(known & ~right)
        for label, taken_for, weight in zip(
            labels[wrong].tolist(), predicted[wrong].tolist(), importances[wrong].tolist(),
            strict=True,
        ):  # fmt: skip
            self._vote(label, taken_for, weight)
        self._counted += len(labels)

    def _grow(self, n: int) -> None:
        more = n - len(self._rivals)
        if more > 0:
            more += n // 2
            self._figures = np.pad(self._figures, ((0, 0), (0, more)))
            self._rivals = np.pad(self._rivals, (0, more), constant_values=-1)
            self._votes = np.pad(self._votes, (0, more))
            self._slots = np.pad(self._slots, (0, more), constant_values=FREQUENT)

    def _give_slots(self, labels: NDArray[np.int32]) -> None:
        """Free slots are given to labels as they come."""
        free = np.flatnonzero(self._frequent < 0)
        if not (len(free) and (self._slots[labels] == FREQUENT).any()):
            return
        found, first = np.unique(labels, return_index=True)
        found = found[np.argsort(first)]
        found = found[found >= 0]
        found = found[self._slots[found] == FREQUENT][: len(free)]
        self._slots[found] = free[: len(found)]
        self._frequent[free[: len(found)]] = found

    def _vote(self, label: int, taken_for: int, weight: float) -> None:
        if self._rivals[label] == taken_for:
            self._votes[label] += weight
        elif self._votes[label] >= weight:
            self._votes[label] -= weight
        else:
            self._rivals[label], self._votes[label] = taken_for, weight - self._votes[label]

    def _end_period(self) -> None:
        self._counted = 0
        recent = self._figures[3]
        held = np.where(self._frequent < 0, -1.0, recent[self._frequent]) if recent.size else None
        if held is not None:
            leaving = np.argsort(held, kind="stable")
            others = np.where(self._slots == FREQUENT, recent, -1.0)
            entering = np.argsort(-others, kind="stable")[:FREQUENT]
            better = others[entering] > _LEAD * held[leaving[: len(entering)]]
            better &= others[entering] > 0.0
            for slot, label in zip(leaving[: len(entering)][better], entering[better], strict=True):
                self._free(int(slot))
                self._slots[label], self._frequent[slot] = slot, label
        if self._gain > LARGEST_GAIN:
            for sums in (self._figures[3:], self._cells, self._bins):
                sums /= self._gain
            self._gain = 1.0

    def _free(self, slot: int) -> None:
        """Count what the slot's label has in its row and column for the others."""
        cells = self._cells.reshape(FREQUENT + 1, FREQUENT + 1)
        cells[FREQUENT] += cells[slot]
        cells[slot] = 0.0
        cells[:, FREQUENT] += cells[:, slot]
        cells[:, slot] = 0.0
        if self._frequent[slot] >= 0:
            self._slots[self._frequent[slot]] = FREQUENT
        self._frequent[slot] = -1

    def drop(self, label: int) -> None:
        """Forget the samples of a label; where it was predicted, that stays a mistake."""
        if label >= len(self._rivals):
            return
        self._figures[:, label] = 0.0
        self._rivals[label], self._votes[label] = -1, 0.0
        self._votes[self._rivals == label] = 0.0
        self._rivals[self._rivals == label] = -1
        slot = int(self._slots[label])
        if slot < FREQUENT:
            self._cells.reshape(FREQUENT + 1, FREQUENT + 1)[slot] = 0.0
            self._free(slot)

    # Reports.

    def report(self) -> dict[str, float | None]:
        """`balanced_error`, `macro_f1`, over all and ``recent_``; `recent_calibration_error`. None
        where unknown.
        """
        figures: dict[str, float | None] = {}
        for start, prefix in ((0, ""), (3, "recent_")):
            have, predicted, both = self._figures[start : start + 3]
            seen = have > 0.0
            recall = both[seen] / have[seen]
            f1 = 2.0 * both[seen] / (have[seen] + predicted[seen])
            figures[f"{prefix}balanced_error"] = 1.0 - float(recall.mean()) if seen.any() else None
            figures[f"{prefix}macro_f1"] = float(f1.mean()) if seen.any() else None
        bins = self._bins.reshape(BINS, 3)
        weight = float(bins[:, 0].sum())
        off = float(np.abs(bins[:, 1] - bins[:, 2]).sum())
        figures["recent_calibration_error"] = off / weight if weight > 0.0 else None
        return figures

    def label(self, label: int) -> LabelFigures:
        """The figures of one label."""
        numbers, rival = [0.0] * _FIGURES, -1
        if 0 <= label < len(self._rivals):
            numbers, rival = self._figures[:, label].tolist(), int(self._rivals[label])
        recall, precision, f1 = rates(*numbers[:3])
        recent_recall, recent_precision, recent_f1 = rates(*numbers[3:])
        return LabelFigures(
            numbers[0],
            recall,
            precision,
            f1,
            recent_recall,
            recent_precision,
            recent_f1,
            rival if rival >= 0 else None,
        )

    def reliability(self) -> list[list[float]]:
        """Of each bin of the predicted label's probability: weight, mean probability, share of
        right predictions.
        """
        return shares(self._bins.tolist(), self._gain)

    def confusion(self) -> tuple[list[int], Numbers]:
        """The frequent labels, and the recent weights of samples by label and prediction, [n + 1,
        n + 1], the last of both for all others.
        """
        order = np.argsort(np.where(self._frequent < 0, 2**31 - 1, self._frequent), kind="stable")
        there = order[self._frequent[order] >= 0]
        slots = np.append(there, FREQUENT)
        cells = self._cells.reshape(FREQUENT + 1, FREQUENT + 1) / self._gain
        return self._frequent[there].tolist(), cells[np.ix_(slots, slots)]

    # Files.

    def dump(self, labels: int) -> dict[str, NDArray[Any]]:
        """The state, of ids below `labels`."""
        self._grow(labels)
        return {
            "label_figures": self._figures[:, :labels].reshape(-1).copy(),
            "label_rivals": self._rivals[:labels].copy(),
            "label_votes": self._votes[:labels].copy(),
            "frequent_labels": self._frequent.copy(),
            "confusion": self._cells.copy(),
            "reliability": np.concatenate([self._bins, [self._gain, self._counted]]),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]], labels: int) -> None:
        """Replace the state by a dump. Raises ValueError for what cannot be one."""
        sizes = {
            "label_figures": (_FIGURES * labels, np.float64), "label_rivals": (labels, np.int32),
            "label_votes": (labels, np.float64), "frequent_labels": (FREQUENT, np.int32),
            "confusion": ((FREQUENT + 1) ** 2, np.float64),
            "reliability": (3 * BINS + 2, np.float64),
        }  # fmt: skip
        given = {}
        for name, (size, dtype) in sizes.items():
            array = arrays.get(name)
            if array is None or array.shape != (size,) or array.dtype.newbyteorder("=") != dtype:
                found = "none" if array is None else f"{array.dtype} of shape {list(array.shape)}"
                raise ValueError(f"{name}: expected {np.dtype(dtype)}[{size}], got {found}")
            given[name] = array.astype(dtype)
            whole = np.issubdtype(dtype, np.integer)
            low, high = (-1.0, labels - 1.0) if whole else (0.0, 1e250)
            if size and not (array.min() >= low and array.max() <= high):
                raise ValueError(
                    f"{name}: expected numbers from {low:g} to {high:g},"
                    f" got {array.min():g} to {array.max():g}"
                )
        gain, counted = given["reliability"][-2:].tolist()
        if not (1.0 <= gain <= 2.0 * LARGEST_GAIN and 0 <= counted < PERIOD and counted % 1 == 0):
            raise ValueError(f"reliability: expected a gain and a count, got {gain:g}, {counted:g}")
        there = given["frequent_labels"][given["frequent_labels"] >= 0]
        if len(np.unique(there)) != len(there):
            raise ValueError("frequent_labels: expected distinct labels, got one twice")
        self.__init__()  # type: ignore[misc]
        self._grow(labels)
        self._figures[:, :labels] = given["label_figures"].reshape(_FIGURES, labels)
        self._rivals[:labels], self._votes[:labels] = given["label_rivals"], given["label_votes"]
        self._frequent = given["frequent_labels"]
        self._slots[there] = np.flatnonzero(self._frequent >= 0)
        self._cells, self._bins = given["confusion"], given["reliability"][:-2]
        self._gain, self._counted = gain, int(counted)


def rates(
    have: float, predicted: float, both: float
) -> tuple[float | None, float | None, float | None]:
    """Recall, precision and F1."""
    return (
        both / have if have > 0.0 else None,
        both / predicted if predicted > 0.0 else None,
        2.0 * both / (have + predicted) if have + predicted > 0.0 else None,
    )
