"""The labels of a multiclass model: ids from 0 in order of first sight.

An id is never used again: a dropped label leaves its place, and a later sample with its name brings
a new label. `max_labels` counts dropped ones too, so that labels that come and go cannot grow
without end. With `closed`, these labels alone are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.label import (
    MAX_LABEL_BYTES,
    AnyLabel,
    Key,
    Label,
    LabelSet,
    Written,
    label_of,
    packed,
)
from onlinesvm.data.label_sets import LabelSets
from onlinesvm.errors import ConfigError, SampleError, SnapshotError
from onlinesvm.model.labels import Labelled, Labels, RefusedLabel, label_array, one_expected, shown

__all__ = ["AnyLabels", "ClassLabels", "SetLabels", "labels_in"]

_SHOWN = 8
_MOST_PACKED = MAX_LABEL_BYTES + 5  # bytes of a label and of its head


class ClassLabels:
    """The labels seen so far. max_labels: may be set at any time; it refuses new labels only."""

    takes_sets = False

    def __init__(self, closed: Sequence[Written] = (), max_labels: int = 2**24) -> None:
        self.max_labels = max_labels
        self._ids: dict[Key, int] = {}
        self._names: list[Written | None] = []  # None: dropped
        for value in closed:
            label = label_of(value)
            self._ids[label.text] = len(self._names)
            self._names.append(label.written)
        if len(self._names) > max_labels:
            raise ConfigError(f"labels: expected at most {max_labels}, got {len(self._names)}")
        self._is_closed = bool(closed)

    def copy(self) -> Self:
        """Labels of the same state that share nothing with these."""
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._ids, made._names = dict(self._ids), list(self._names)
        return made

    def __len__(self) -> int:
        """The number of ids, those of dropped labels too."""
        return len(self._names)

    def know(self, table: Sequence[AnyLabel]) -> bool:
        """True where `learn` would change nothing: nearly always."""
        return all(label.text in self._ids for label in table)

    def learn(self, table: Sequence[AnyLabel]) -> None:
        """Take the labels of `table`, each of which may be new.

        Raises RefusedLabel for a set, and one that is not taken; the labels then stay as they were.
        """
        new: dict[Key, Written] = {}
        for place, label in enumerate(table):
            if isinstance(label, LabelSet):
                raise RefusedLabel(one_expected(label), place)
            if label.text in self._ids:
                continue
            if self._is_closed:
                raise RefusedLabel(
                    f"expected one of the model's labels, {self.expected()},"
                    f" got {shown(label.written)}",
                    place,
                )
            if len(self._names) + len(new) >= self.max_labels:
                raise RefusedLabel(
                    f"expected a label that is known, as the model has had {self.max_labels}"
                    f" labels (max_labels), got {shown(label.written)}",
                    place,
                )
            new[label.text] = label.written
        for text, written in new.items():
            self._ids[text] = len(self._names)
            self._names.append(written)

    def find(self, table: Sequence[AnyLabel]) -> NDArray[np.int32]:
        """The id of each label in `table`, int32, −1 for an unknown one; changes nothing."""
        return np.array([self._ids.get(label.text, -1) for label in table], dtype=np.int32)

    def truths_of(self, rows: Labelled) -> NDArray[np.int32]:
        """The id of each sample's label, int32[n], −1 for an unknown one."""
        return self.find(rows.label_table).take(np.asarray(rows.label_ids, np.int32))

    def id_of(self, value: object) -> int:
        """The id of a label as a user writes it. Raises SampleError for one that is not known."""
        try:
            label = label_of(value)
        except (TypeError, ValueError) as error:
            raise SampleError(str(error), root="label") from None
        if label.text not in self._ids:
            raise SampleError(
                f"expected a label of the model, {self.expected()}, got {shown(label.written)}",
                root="label",
            )
        return self._ids[label.text]

    def name(self, id: float) -> Written | None:
        """The label of an id as it was first written; None where there is none."""
        return self._names[int(id)] if 0 <= id < len(self._names) else None

    def names(self) -> list[Written]:
        """The labels, by id, without dropped ones."""
        return [name for name in self._names if name is not None]

    @property
    def ids(self) -> NDArray[np.int32]:
        """The ids of `names`, int32, rising."""
        there = [i for i, name in enumerate(self._names) if name is not None]
        return np.array(there, dtype=np.int32)

    @property
    def classes(self) -> NDArray[Any]:
        """The labels, by id, without dropped ones."""
        return label_array(self.names())

    def pick(self, ids: NDArray[Any]) -> NDArray[Any]:
        """The labels of `ids`; None for −1."""
        table = label_array([*self.names(), None] if -1 in ids else self.names())
        places = np.searchsorted(self.ids, ids)
        return table.take(np.where(ids < 0, len(table) - 1, places))

    def expected(self) -> str:
        """The first labels, for a message."""
        names = self.names()
        listed = ", ".join(shown(name) for name in names[:_SHOWN])
        return (f"{listed}, …" if len(names) > _SHOWN else listed) or "(it has none yet)"

    def drop(self, id: int) -> None:
        """Forget the label of an id that has one."""
        self._ids = {text: known for text, known in self._ids.items() if known != id}
        self._names[id] = None

    # Files.

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state as arrays: the labels as msgpack has them, end to end, and the length of each,
        0 of a dropped one.
        """
        parts = [b"" if name is None else packed(label_of(name)) for name in self._names]
        return {
            "label_lengths": np.array([len(part) for part in parts], dtype=np.int32),
            "label_names": np.frombuffer(b"".join(parts), dtype=np.uint8),
        }

    def restore(self, lengths: NDArray[Any], names: NDArray[Any]) -> None:
        """Take the state of a dump. Raises SnapshotError for what cannot be one."""
        sized = lengths.dtype.kind == "i" and lengths.ndim == 1 and names.dtype == np.uint8
        if not sized or (lengths.size and not 0 <= lengths.min() <= lengths.max() <= _MOST_PACKED):
            raise SnapshotError(f"labels: expected lengths from 0 to {_MOST_PACKED}, and bytes")
        ends = np.cumsum(lengths, dtype=np.int64).tolist()
        if (ends[-1] if ends else 0) != len(names):
            raise SnapshotError(f"labels: expected {ends[-1] if ends else 0} bytes of names")
        raw, start = names.tobytes(), 0
        ids: dict[Key, int] = {}
        found: list[Written | None] = []
        for end in ends:
            if end == start:
                found.append(None)
                continue
            try:
                label = label_of(msgpack.unpackb(raw[start:end], max_ext_len=0))
            except (msgpack.UnpackException, TypeError, ValueError) as error:
                raise SnapshotError(f"labels: {error}") from None
            if label.text in ids:
                raise SnapshotError(f"labels: expected each once, got {shown(label.written)} twice")
            ids[label.text] = len(found)
            found.append(label.written)
            start = end
        if self._is_closed:
            own = list(self._names)
            for name, mine in zip(found, own, strict=False):
                if name is not None and name != mine:
                    raise SnapshotError(f"labels: expected {self.expected()}, got {name!r}")
            if len(found) != len(own):
                raise SnapshotError(f"labels: expected {len(own)}, got {len(found)}")
        self._ids, self._names = ids, found


class SetLabels(ClassLabels):
    """The labels of a multilabel model: samples have sets of them."""

    takes_sets = True

    def know(self, table: Sequence[AnyLabel]) -> bool:
        """True where `learn` would change nothing: nearly always."""
        return all(super(SetLabels, self).know(labels_in(entry)) for entry in table)

    def learn(self, table: Sequence[AnyLabel]) -> None:
        """Take the labels of `table`, each of which may be new.

        Raises RefusedLabel for the place of one that is not taken; the labels then stay as they
        were.
        """
        trial = self.copy()
        for place, entry in enumerate(table):
            try:
                super(SetLabels, trial).learn(labels_in(entry))
            except RefusedLabel as error:
                raise RefusedLabel(error.message, place) from None
        self._ids, self._names = trial._ids, trial._names

    def pick_sets(self, sets: LabelSets) -> NDArray[Any]:
        """The labels of each set, [n] of tuples."""
        made = np.empty(len(sets), dtype=object)
        names = [self.name(id) for id in sets.ids.tolist()]
        ends = sets.starts.tolist()
        made[:] = [None] * len(sets)
        for i, (start, end) in enumerate(pairwise(ends)):
            made[i] = tuple(names[start:end])
        return made

    def truths_of(self, rows: Labelled) -> LabelSets:  # type: ignore[override]
        """The ids of each sample's labels in the order of their texts, −1 for an unknown one.

        The order in which they were written must not count: a table has each set once.
        """
        ordered = (sorted(labels_in(entry), key=_text) for entry in rows.label_table)
        sets = [self.find(labels).tolist() for labels in ordered]
        chosen = np.asarray(rows.label_ids, np.int32).tolist()
        return LabelSets.of([sets[id] if id >= 0 else [] for id in chosen])


def _text(label: Label) -> Key:
    return label.text


def labels_in(entry: AnyLabel) -> tuple[Label, ...]:
    """The labels of one entry of a table."""
    return entry.labels if isinstance(entry, LabelSet) else (entry,)


AnyLabels = Labels | ClassLabels
