"""Samples in columns: batches of names, rows over ids.

Every sample walks one way: bytes, objects or a matrix → batch → lookup → CSR → rule or scorer →
margins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.label import AnyLabel, Key

__all__ = ["CSR", "Batch", "BatchColumns", "Features", "Name", "stacked"]

Name = str | bytes | int
Value = float | str | bytes | bool | Iterable[Name] | None  # of a record's field
_NONE: Mapping[int, tuple[bytes, ...]] = MappingProxyType({})

Features = Mapping[Name, Value] | Iterable[Name]  # a text too: a str


class BatchColumns(Protocol):
    """A decoded batch of either kernel: samples in columns, validated.

    Sample i has the features ``indptr[i]:indptr[i + 1]`` of `names` and `values`. Zeros are gone;
    duplicates are still there (the lookup sums them, where it knows them by id). Its label is
    ``label_table[label_ids[i]]``; the table holds each label once, in order of first sight. −1 is
    the place of no label: of a sample to predict. `tags` has the view of each feature, and OF_TEXT;
    it is empty where all are 0. `cut` counts texts that were longer than a text may be. `records`
    has, by the number of its sample, each record that was left packed, for another process: that
    sample has no features here.
    """

    @property
    def label_table(self) -> list[AnyLabel]: ...
    @property
    def label_ids(self) -> Any: ...
    @property
    def importances(self) -> Sequence[float]: ...
    @property
    def indptr(self) -> Sequence[int]: ...
    @property
    def names(self) -> Sequence[bytes]: ...
    @property
    def values(self) -> Sequence[float]: ...
    @property
    def tags(self) -> Sequence[int]: ...
    @property
    def cut(self) -> int: ...
    @property
    def records(self) -> Mapping[int, bytes]: ...
    def part(self, first: int, stop: int) -> BatchColumns:
        """Samples `first` to `stop`, that one not, as a batch; its table has the labels up to them.

        Raises ValueError for samples that there are not.
        """

    def __len__(self) -> int: ...


@dataclass(slots=True)
class Batch:
    """The Python kernel's batch: plain lists, one element a sample or a feature.

    importances: finite, ≥ 0. tags: the features' views, and OF_TEXT (`onlinesvm.text.constants`);
    empty where all are 0. marks: of the features that are categories, or crosses of two, of fields
    that are crossed: these one or two fields.
    """

    label_table: list[AnyLabel] = field(default_factory=list)
    label_ids: list[int] = field(default_factory=list)
    importances: list[float] = field(default_factory=list)
    indptr: list[int] = field(default_factory=lambda: [0])
    names: list[bytes] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)
    cut: int = 0
    records: dict[int, bytes] = field(default_factory=dict)
    marks: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    _places: dict[Key, int] = field(default_factory=dict)  # of labels, by text

    def __len__(self) -> int:
        return len(self.importances)

    def append(
        self,
        label: AnyLabel | None,
        importance: float,
        names: Iterable[bytes],
        values: Iterable[float],
        tags: Iterable[int] = (),
        marks: Mapping[int, tuple[bytes, ...]] = _NONE,
    ) -> None:
        """Add one sample whose names and values were validated, zeros dropped."""
        before = len(self.names)
        place = -1
        if label is not None:
            place = self._places.setdefault(label.text, len(self.label_table))
            if place == len(self.label_table):
                self.label_table.append(label)
        self.label_ids.append(place)
        self.importances.append(importance)
        self.names.extend(names)
        self.values.extend(values)
        tags = list(tags)
        if self.tags or any(tags):
            self.tags.extend([0] * (before - len(self.tags)))
            self.tags.extend(tags or [0] * (len(self.names) - before))
        self.marks.update({before + j: fields for j, fields in marks.items()})
        self.indptr.append(len(self.names))

    def part(self, first: int, stop: int) -> Batch:
        """See BatchColumns.part."""
        if not 0 <= first <= stop <= len(self):
            raise ValueError(f"expected samples of {len(self)}, got {first} to {stop}")
        start, end = self.indptr[first], self.indptr[stop]
        known = max(self.label_ids[:stop], default=-1) + 1
        return Batch(
            self.label_table[:known],
            self.label_ids[first:stop],
            self.importances[first:stop],
            [place - start for place in self.indptr[first : stop + 1]],
            self.names[start:end],
            self.values[start:end],
            self.tags[start:end],
            self.cut if stop == len(self) else 0,
            {i - first: record for i, record in self.records.items() if first <= i < stop},
            {j - start: fields for j, fields in self.marks.items() if start <= j < end},
        )

    def drop_features(self) -> None:
        """Leave the samples without features."""
        self.names, self.values, self.tags, self.marks = [], [], [], {}
        self.indptr = [0] * (len(self) + 1)

    def features(self, i: int) -> Iterator[tuple[bytes, float]]:
        """The names and values of sample `i`."""
        start, end = self.indptr[i], self.indptr[i + 1]
        return zip(self.names[start:end], self.values[start:end], strict=True)


class CSR(NamedTuple):
    """Samples as rows of a sparse matrix over feature ids, as scipy.sparse has them.

    indptr: int64[n + 1]. indices: int32[nnz], feature ids, 0 = PAD. data: float64[nnz].
    The stored order within a row is the order of summation.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: NDArray[np.float64]

    def rows(self, first: int, stop: int) -> CSR:
        """Rows `first` to `stop`, that one not."""
        start, end = int(self.indptr[first]), int(self.indptr[stop])
        indptr = self.indptr[first : stop + 1] - start
        return CSR(indptr, self.indices[start:end], self.data[start:end])


def stacked(parts: Sequence[CSR]) -> CSR:
    """Rows, those of each part after those of the one before."""
    lengths = [np.diff(part.indptr) for part in parts]
    indptr = np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64)
    indices = np.concatenate([part.indices for part in parts])
    return CSR(indptr, indices, np.concatenate([part.data for part in parts]))
