"""The base of the rules: the walk over rows, views and moves of the state, and its restoring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onlinesvm.config import LearnerConfig
from onlinesvm.data.batch import CSR
from onlinesvm.model.margins import vector_of, walkable
from onlinesvm.model.rules.layout import Layout
from onlinesvm.model.view import View

__all__ = ["Arrays", "Rule", "Scalars", "check_ids", "moved", "raised"]

Arrays = dict[str, NDArray[np.generic]]
Scalars = dict[str, float | int]


class Rule(ABC):
    """A rule of the Python kernel: weights by id, and how a sample moves them.

    A rule sees samples as CSR rows. Arithmetic is float64, in the order written, so that every
    kernel gives the same bits. A subclass keeps the state of features in dicts by id, the
    attributes BY_ID, and defines the abstract methods and `bias`.
    """

    BY_ID: ClassVar[tuple[str, ...]] = ()

    bias: float | Any  # the weight that every sample has; 0.0 for a learner without one

    def __init__(self, config: LearnerConfig, layout: Layout) -> None:
        self._layout = layout
        self._has_bias = config.bias

    @classmethod
    def variant(cls, config: LearnerConfig) -> type[Rule]:
        """The class for this configuration, where a rule has several."""
        return cls

    @classmethod
    @abstractmethod
    def layout(cls, config: LearnerConfig) -> Layout:
        """The layout of the state, for both kernels."""

    @abstractmethod
    def update(
        self, ids: list[int], values: list[float], y: float, h: float, margin: float
    ) -> None:
        """Learn one sample of sign `y` and importance `h`, above 0. margin: before the update."""

    @abstractmethod
    def weight(self, id: int) -> float:
        """The weight of a feature; 0.0 for PAD."""

    @abstractmethod
    def dump(self, n: int) -> tuple[Arrays, Scalars]:
        """The state of ids 1 … n, in arrays by id from 1, and the scalars."""

    @abstractmethod
    def take(self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
        """Replace the state by a dump that was checked."""

    def enter(self, first: int, tags: bytes) -> None:  # noqa: B027 - nothing, here
        """The tags of the new features `first`, first + 1 …: their views, and OF_TEXT.

        A rule without views knows none.
        """

    def learn(self, csr: CSR, signs: ArrayLike, importances: ArrayLike) -> NDArray[np.float64]:
        """Score, then learn, row by row; the margins before each update, float64[n].

        signs: −1.0 or +1.0, [n]. importances: [n]; a row of importance 0 is scored only. Raises
        ValueError for rows that cannot be walked and for other numbers of signs or importances;
        nothing has changed then.
        """
        indptr, indices, data = (column.tolist() for column in walkable(csr))
        n = len(indptr) - 1
        given = [
            vector_of(name, values, n).tolist()
            for name, values in (("signs", signs), ("importances", importances))
        ]
        margins = []
        for (start, end), y, h in zip(pairwise(indptr), *given, strict=True):
            ids, values = indices[start:end], data[start:end]
            margin = self._margin(ids, values)
            margins.append(margin)
            if h > 0:
                self.update(ids, values, y, h, margin)
        return np.array(margins, dtype=np.float64)

    def score(self, csr: CSR) -> NDArray[np.float64]:
        """The margins of the rows, float64[n]; changes nothing.

        Raises ValueError for rows that cannot be walked.
        """
        indptr, indices, data = (column.tolist() for column in walkable(csr))
        return np.array(
            [self._margin(indices[start:end], data[start:end]) for start, end in pairwise(indptr)],
            dtype=np.float64,
        )

    def _margin(self, ids: list[int], values: list[float]) -> float:
        margin = 0.0
        for i, x in zip(ids, values, strict=True):
            margin += self.weight(i) * x
        return margin + float(self.bias)

    def weights(self, n: int) -> tuple[NDArray[np.float64], float]:
        """The weights by id, float64[n + 1], that of PAD 0.0, and the bias."""
        return np.array([0.0, *map(self.weight, range(1, n + 1))]), float(self.bias)

    def feature(self, id: int) -> tuple[float, int | None]:
        """The weight of a feature, and how many learned samples had it; None if not counted."""
        return self.weight(id), None

    def view(self, n: int) -> View:
        """The state of ids 1 … n as it is now."""
        return View(*self.dump(n))

    def restore(self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
        """Replace the state by that of a view. Raises ValueError where a part is missing or out of
        its span; nothing has changed then.
        """
        self._layout.check(arrays, scalars)
        self.take(arrays, scalars)

    def reserve(self, n: int) -> None:  # noqa: B027 - nothing, here
        """Reserve memory for the state of ids up to `n`, so that learning them cannot fail. A dict
        cannot reserve; the native rules can.

        Raises MemoryError, and nothing has changed then.
        """

    def strengths(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """The magnitude of each feature's weight, float64[n], for a prune. ids: rising ones.

        Raises ValueError for others.
        """
        check_ids(ids)
        return np.array([abs(self.weight(i)) for i in ids.tolist()], dtype=np.float64)

    def move(self, to: int, first: int, kept: NDArray[np.bool_]) -> None:
        """Move the state of the ids `first`, first + 1 … that are `kept` to ids `to`, to + 1 …; the
        others of these ids are fresh then. The ids from `to` to before `first` are fresh before.

        Raises ValueError for a `to` beyond `first`.
        """
        for name in self.BY_ID:
            moved(getattr(self, name), to, first, kept)

    def open_gap(self, first: int, n: int, gap: int) -> None:
        """Move the state of the `n` ids from `first` on up by `gap`, as a snapshot within a prune
        has them.
        """
        for name in self.BY_ID:
            raised(getattr(self, name), first, n, gap)


def check_ids(ids: NDArray[np.int32]) -> None:
    """Raise ValueError unless ids rise from 1."""
    if len(ids) and (ids[0] < 1 or bool((np.diff(ids) < 1).any())):
        raise ValueError("ids: expected rising ones from 1")


def moved(state: dict[int, Any], to: int, first: int, kept: NDArray[np.bool_]) -> None:
    """Move what a dict by id has of the ids `first`, first + 1 … to `to`, to + 1 …, if `kept`."""
    if not 0 < to <= first:
        raise ValueError(f"to: expected an id from 1 to {first}, got {to}")
    for id, stays in enumerate(kept.tolist(), first):
        found = state.pop(id, None)
        if stays:
            if found is not None:
                state[to] = found
            to += 1


def raised(state: dict[int, Any], first: int, n: int, gap: int) -> None:
    """Move what a dict by id has of the `n` ids from `first` on up by `gap`."""
    for id in range(first + n - 1, first - 1, -1):
        if id in state:
            state[id + gap] = state.pop(id)
