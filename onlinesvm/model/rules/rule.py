"""What the rules share: a record of numbers a feature, by id, and the walk over the rows.

A rule sees samples as CSR rows. Arithmetic is float64, in the order written here, so that every
kernel gives the same bits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import LearnerConfig
from onlinesvm.data.batch import CSR
from onlinesvm.model.rules.base import Arrays, Rule, Scalars
from onlinesvm.model.rules.state import WEIGHT, Span, check_parts

__all__ = ["SUM", "Record", "RecordRule"]

# A sum of squares of importances and values.
SUM = Span(0.0, 1e300)

Record = list[float]


class RecordRule(Rule):
    """A rule that keeps a list of numbers a feature, the weight first; the bias has one too.

    A subclass names the numbers in COLUMNS, gives a newborn's in FRESH, where they can lie in
    SPANS, its scalars in SCALARS (attributes by the same names, less the underscore), and defines
    `update`.
    """

    BY_ID = ("_records",)
    COLUMNS: ClassVar[tuple[str, ...]] = ("weights",)
    FRESH: ClassVar[tuple[float, ...]] = (0.0,)
    SPANS: ClassVar[tuple[Span, ...]] = (WEIGHT,)
    SCALARS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: LearnerConfig) -> None:
        self._records: dict[int, Record] = {}
        # The bias is the weight of a feature that every sample has, with value 1, last.
        self._bias: Record = list(self.FRESH)
        self._has_bias = config.bias

    @abstractmethod
    def update(self, row: list[tuple[Record, float]], y: float, h: float, margin: float) -> None:
        """Learn one sample: the records and values of its features, the bias's last.

        h: importance, above 0. margin: as the model stood.
        """

    @property
    def bias(self) -> float:
        """The bias; 0.0 for a learner without one."""
        return self._bias[0]

    def learn(
        self, csr: CSR, labels: Iterable[float], importances: Iterable[float]
    ) -> NDArray[np.float64]:
        """Score, then learn, row by row; the margins before each update, float64[n].

        A row of importance 0 is scored only.
        """
        indptr, indices, data = (column.tolist() for column in csr)
        margins = []
        for start, end, y, h in zip(indptr, indptr[1:], labels, importances, strict=False):
            ids, values = indices[start:end], data[start:end]
            margin = self._margin(ids, values)
            margins.append(margin)
            if h > 0:
                row = [
                    (self._records.setdefault(i, list(self.FRESH)), x)
                    for i, x in zip(ids, values, strict=True)
                ]
                if self._has_bias:
                    row.append((self._bias, 1.0))
                self.update(row, y, h, margin)
        return np.array(margins, dtype=np.float64)

    def score(self, csr: CSR) -> NDArray[np.float64]:
        """The margins of the rows, float64[n]; changes nothing."""
        indptr, indices, data = (column.tolist() for column in csr)
        return np.array(
            [self._margin(indices[start:end], data[start:end]) for start, end in pairwise(indptr)],
            dtype=np.float64,
        )

    def _margin(self, ids: list[int], values: list[float]) -> float:
        margin = 0.0
        for i, x in zip(ids, values, strict=True):
            margin += self.weight(i) * x
        return margin + self.bias

    def weight(self, id: int) -> float:
        """The weight of a feature; 0.0 for PAD."""
        record = self._records.get(id)
        return 0.0 if record is None else record[0]

    def seen(self, id: int) -> int | None:
        """None: this rule does not count how many samples had a feature."""
        return None

    def weights(self, n: int) -> NDArray[np.float64]:
        """The weights of ids 1 … n, float64[n]."""
        return np.array([self.weight(i) for i in range(1, n + 1)], dtype=np.float64)

    def dump(self, n: int) -> tuple[Arrays, Scalars]:
        """The state of ids 1 … n, in arrays by id from 1, and the scalars."""
        records = [self._records.get(i, self.FRESH) for i in range(1, n + 1)]
        arrays: Arrays = {
            name: np.array([record[k] for record in records], dtype=np.float64)
            for k, name in enumerate(self.COLUMNS)
        }
        scalars: Scalars = {"bias": self._bias[0]}
        for name, value in zip(self.COLUMNS[1:], self._bias[1:], strict=True):
            scalars[f"bias_{name}"] = value
        for name in self.SCALARS:
            scalars[name] = getattr(self, f"_{name}")
        return arrays, scalars

    @classmethod
    def check_state(cls, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
        """Raise ValueError unless these are parts that a dump can have."""
        columns = dict(zip(cls.COLUMNS, cls.SPANS, strict=True))
        numbers = {
            "bias" if k == 0 else f"bias_{name}": columns[name]
            for k, name in enumerate(cls.COLUMNS)
        }
        numbers.update(dict.fromkeys(cls.SCALARS, SUM))
        check_parts(arrays, scalars, columns, numbers)

    def restore(
        self, arrays: Mapping[str, NDArray[np.generic]], scalars: Mapping[str, Any]
    ) -> None:
        """Take the state of a dump. Raises ValueError where a part is missing or cannot be one;
        nothing has changed then.
        """
        self.check_state(arrays, scalars)
        columns = [arrays[name].tolist() for name in self.COLUMNS]
        self._records = {i: list(row) for i, row in enumerate(zip(*columns, strict=True), 1)}
        names = ("bias", *(f"bias_{name}" for name in self.COLUMNS[1:]))
        self._bias = [float(scalars[name]) for name in names]
        for name in self.SCALARS:
            setattr(self, f"_{name}", float(scalars[name]))
