"""The base of the rules that keep a record of a few numbers a feature."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import LearnerConfig
from onlinesvm.model.rules.layout import SUM, WEIGHT, Layout, Span
from onlinesvm.model.rules.rule import Arrays, Rule, Scalars

__all__ = ["Record", "RecordRule"]

Record = list[float]


class RecordRule(Rule):
    """A rule that keeps a list of numbers a feature, the weight first; the bias has one too.

    A subclass names the numbers in COLUMNS, gives those of a new feature in FRESH, their spans in
    SPANS, its scalars in SCALARS (attributes by the same names, with an underscore), and defines
    `update_records`.
    """

    BY_ID = ("_records",)
    COLUMNS: ClassVar[tuple[str, ...]] = ("weights",)
    FRESH: ClassVar[tuple[float, ...]] = (0.0,)
    SPANS: ClassVar[tuple[Span, ...]] = (WEIGHT,)
    SCALARS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: LearnerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self._records: dict[int, Record] = {}
        # The bias is the weight of a feature that every sample has, with value 1, last.
        self._bias: Record = list(self.FRESH)

    @classmethod
    def layout(cls, config: LearnerConfig) -> Layout:
        columns = dict(zip(cls.COLUMNS, cls.SPANS, strict=True))
        scalars = {name: columns[column] for name, column in cls._biases().items()}
        return Layout(columns, {**scalars, **dict.fromkeys(cls.SCALARS, SUM)})

    @classmethod
    def _biases(cls) -> dict[str, str]:
        """The scalars of the bias's record, and the columns that they belong to."""
        return {f"bias_{name}" if k else "bias": name for k, name in enumerate(cls.COLUMNS)}

    @abstractmethod
    def update_records(
        self, row: list[tuple[Record, float]], y: float, h: float, margin: float
    ) -> None:
        """Learn one sample: the records and values of its features, the bias's last.

        h: importance, above 0. margin: before the update.
        """

    def update(
        self, ids: list[int], values: list[float], y: float, h: float, margin: float
    ) -> None:
        row = [
            (self._records.setdefault(i, list(self.FRESH)), x)
            for i, x in zip(ids, values, strict=True)
        ]
        if self._has_bias:
            row.append((self._bias, 1.0))
        self.update_records(row, y, h, margin)

    @property
    def bias(self) -> float:  # type: ignore[override]
        """The bias; 0.0 for a learner without one."""
        return self._bias[0]

    def weight(self, id: int) -> float:
        record = self._records.get(id)
        return 0.0 if record is None else record[0]

    def dump(self, n: int) -> tuple[Arrays, Scalars]:
        records = [self._records.get(i, self.FRESH) for i in range(1, n + 1)]
        arrays: Arrays = {
            name: np.array([record[k] for record in records], dtype=np.float64)
            for k, name in enumerate(self.COLUMNS)
        }
        scalars: Scalars = dict(zip(self._biases(), self._bias, strict=True))
        scalars.update({name: getattr(self, f"_{name}") for name in self.SCALARS})
        return arrays, scalars

    def take(self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
        columns = [arrays[name].tolist() for name in self.COLUMNS]
        self._records = {i: list(row) for i, row in enumerate(zip(*columns, strict=True), 1)}
        self._bias = [float(scalars[name]) for name in self._biases()]
        for name in self.SCALARS:
            setattr(self, f"_{name}", float(scalars[name]))
