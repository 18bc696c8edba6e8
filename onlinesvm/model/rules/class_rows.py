"""A feature of the learner of many classes: its scale, second order and row of weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onlinesvm.model.rules.class_layout import N
from onlinesvm.model.rules.constants import CLASS_MOST_COEFFICIENT as MOST_COEFFICIENT
from onlinesvm.model.rules.constants import HEDGE_LEAST_SQUARE as LEAST_SQUARE

__all__ = ["FRESH", "Feature", "Ids", "Singles", "dot", "narrow"]

Singles = NDArray[np.float32]
Ids = NDArray[np.int32]

FRESH = np.array([1.0, LEAST_SQUARE, LEAST_SQUARE, LEAST_SQUARE], dtype=np.float32)


class Feature:
    """A feature's scale (`s2`, `age`, `run`), how often it was `seen`, S and the G (`second`), a
    row of labels and their experts' weights, and its `tag`, the view and OF_TEXT.
    """

    __slots__ = ("age", "labels", "run", "s2", "second", "seen", "tag", "weights")

    def __init__(self, tag: int = 0) -> None:
        self.tag = tag
        self.s2, self.age, self.run, self.seen = 0.0, 0, 0, 0
        self.second = FRESH.copy()
        self.labels = np.empty(0, dtype=np.int32)
        self.weights = np.empty((0, N), dtype=np.float32)

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Drop the other entries of the row."""
        self.labels, self.weights = self.labels[kept], self.weights[kept]

    def move(self, updated: Ids, moves: Singles, c: Singles, most: int) -> None:
        """Add `moves` to the weights of the `updated` labels, entering those that are new.

        At `most` labels a new one takes the place of the weakest by the coefficients `c`, one of
        those that are not updated; where all are, it is left out.
        """
        entered = []
        for label, move in zip(updated.tolist(), moves, strict=True):
            place = np.flatnonzero(self.labels == label)
            if len(place):
                self.weights[place[0]] += move
            else:
                entered.append((label, move))
        for label, move in entered:
            if len(self.labels) < most:
                self.labels = np.append(self.labels, np.int32(label))
                self.weights = np.concatenate([self.weights, move[None]])
                continue
            weights = np.abs(dot(c, self.weights))
            weights[np.isin(self.labels, updated)] = np.inf
            weakest = int(weights.argmin())
            if weights[weakest] == np.inf:
                continue
            self.labels[weakest], self.weights[weakest] = label, move


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
