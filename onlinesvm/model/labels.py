"""The labels of a binary model: which text stands for which side, −1 or +1.

``1`` takes the side +1; ``0`` and ``-1`` take −1. Any other label takes the free side; if both are
free, the first label seen takes −1. A label whose side is taken gets the other. Nothing is ever
flipped, and a third label is refused. With `positive`, the labels named there are +1 and all others
−1, however many there are: one class against the rest. With `closed`, its two labels alone are
taken, in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.label import AnyLabel, Key, Label, LabelSet, Written, label_of, packable
from onlinesvm.errors import ConfigError, SampleError, SnapshotError, format_text

__all__ = ["ABOVE_ZERO", "REST", "Labels", "RefusedLabel", "label_array", "one_expected", "shown"]

ABOVE_ZERO = ">0"  # among `positive`: every integer above 0
REST = "rest"  # the name of side −1 once several labels share it

# Ends the message about a third label.
_MORE = "; other labels need a model of their own, of --task multiclass if more than two"

_SIDES = {b"1": 1.0, b"0": -1.0, b"-1": -1.0}


class Labelled(Protocol):
    """Samples with labels: batches and rows of matrices."""

    @property
    def label_table(self) -> list[AnyLabel]: ...
    @property
    def label_ids(self) -> Any: ...


class Labels:
    """The labels seen so far, and the side of each.

    positive: the labels of side +1; empty where sides are given by first sight. closed: the only
    two labels. Raises ConfigError for a `closed` that is not two labels, one of each side.
    """

    def __init__(self, positive: Iterable[Written] = (), closed: Sequence[Written] = ()) -> None:
        given = tuple(positive)
        self._positive = {label_of(value).text for value in given if value != ABOVE_ZERO}
        self._above_zero = ABOVE_ZERO in given
        # Sides that several labels may share, and their names then.
        self._shared = {-1.0: REST, 1.0: ",".join(map(str, given))} if given and not closed else {}
        self._sides: dict[Key, float] = {}  # of the labels that alone have a side
        self._names: dict[float, Written] = {}
        self._is_closed = bool(closed)
        for value in closed:
            label = label_of(value)
            side = self._chosen(label.text) if given else self._free(label.text)
            self._sides[label.text], self._names[side] = side, label.written
        if closed and not len(closed) == len(self._names) == 2:
            raise ConfigError(
                "labels: expected two labels, one of each side, got"
                f" {' and '.join(shown(value) for value in closed)}"
            )

    takes_sets = False

    def copy(self) -> Labels:
        """Labels of the same state that share nothing with these."""
        made = Labels.__new__(Labels)
        made.__dict__.update(self.__dict__)
        made._sides, made._names = dict(self._sides), dict(self._names)
        return made

    def learn(self, table: Sequence[AnyLabel]) -> None:
        """Take the labels of `table`, each of which may be new.

        Raises RefusedLabel for one that has no side; the labels then stay as they were.
        """
        trial = self.copy()
        for place, label in enumerate(table):
            if isinstance(label, LabelSet):
                raise RefusedLabel(one_expected(label), place)
            trial._add(label, place)
        self.__dict__.update(trial.__dict__)

    def know(self, table: Sequence[AnyLabel]) -> bool:
        """True where `learn` would change nothing: nearly always."""
        for label in table:
            if label.text not in self._sides:
                if not self._shared or isinstance(label, LabelSet):
                    return False
                side = self._chosen(label.text)
                if self._names.get(side) != self._shared[side]:
                    return False
        return True

    def find(self, table: Sequence[AnyLabel]) -> NDArray[np.float64]:
        """The side of each label in `table`, 0 for an unknown one; changes nothing."""
        if self._shared:
            sides = [0.0 if isinstance(x, LabelSet) else self._chosen(x.text) for x in table]
        else:
            sides = [self._sides.get(x.text, 0.0) for x in table]
        return np.array(sides, dtype=np.float64)

    def truths_of(self, rows: Labelled) -> NDArray[np.float64]:
        """The side of each sample's label, float64[n], 0 for an unknown one."""
        return self.find(rows.label_table).take(np.asarray(rows.label_ids, np.int32))

    def name(self, side: float) -> Written | None:
        """The label of a side as it was first written.

        Of a side without a label: that of the other side; None before the first label.
        """
        return self._names.get(side, self._names.get(-side))

    def names(self) -> tuple[Written | None, Written | None]:
        """The labels of the sides −1 and +1, None where a side has none yet."""
        return self._names.get(-1.0), self._names.get(1.0)

    @property
    def classes(self) -> NDArray[Any]:
        """The labels known, that of side −1 first."""
        return label_array([name for name in self.names() if name is not None])

    def pick(self, positive: NDArray[np.bool_]) -> NDArray[Any]:
        """The label of side +1 where `positive`, else that of −1, [n]; None before any is known."""
        return np.take(label_array([self.name(-1.0), self.name(1.0)]), positive.astype(np.intp))

    def expected(self) -> str:
        """The labels known, for a message."""
        return " or ".join(shown(name) for name in self.names() if name is not None)

    def _chosen(self, text: bytes) -> float:
        """The side that `positive` gives a label."""
        is_positive = text in self._positive or (
            # "007" is a text, not an integer
            self._above_zero and text.isdigit() and not text.startswith(b"0")
        )
        return 1.0 if is_positive else -1.0

    def _free(self, text: bytes) -> float:
        """The side that a new label takes; at most one is taken."""
        return -next(iter(self._names)) if self._names else _SIDES.get(text, -1.0)

    def _add(self, label: Label, place: int) -> None:
        text = label.text
        if text in self._sides:
            return
        if self._shared:
            side = self._chosen(text)
            if side in self._names:  # of another label
                self._names[side] = self._shared[side]
                self._sides = {known: at for known, at in self._sides.items() if at != side}
                return
        elif len(self._names) == 2:
            raise RefusedLabel(
                f"expected one of the model's two labels, {self.expected()}, got"
                f" {shown(label.written)}{_MORE}",
                place,
            )
        else:
            side = self._free(text)
        self._sides[text], self._names[side] = side, label.written

    def join(self, stored: object) -> None:
        """Take those of another dump too, of labels that began as these did.

        Raises SnapshotError for what cannot be one, ConfigError for a label whose side another one
        has; nothing has changed then.
        """
        other, made = self.copy(), self.copy()
        other.restore(stored)
        for side, name in sorted(other._names.items()):
            text = label_of(name).text
            mine = made._names.get(side)
            if mine is not None and label_of(mine).text == text:
                continue
            is_refused = mine is not None or made._sides.get(text, side) != side
            if is_refused and not made._shared:
                raise ConfigError(
                    f"labels: expected the two of the others, {made.expected()}, got"
                    f" {other.expected()}; name both, --labels, or --task multiclass for more"
                )
            if is_refused:
                made._names[side] = made._shared[side]
                made._sides = {known: at for known, at in made._sides.items() if at != side}
                continue
            made._names[side] = name
            if text in other._sides:
                made._sides[text] = side
        self.__dict__.update(made.__dict__)

    def dump(self) -> list[list[Any]]:
        """The labels as plain msgpack values: [label as written, side], side −1 first."""
        return [[packable(self._names[side]), side] for side in sorted(self._names)]

    def restore(self, stored: object) -> None:
        """Take the state of a dump. Raises SnapshotError for what cannot be one."""
        if not isinstance(stored, list) or len(stored) > 2:
            raise SnapshotError(f"labels: expected an array of at most 2, got {stored!r:.80}")
        sides: dict[Key, float] = {}
        names: dict[float, Written] = {}
        for entry in stored:
            if not isinstance(entry, list) or len(entry) != 2 or entry[1] not in (-1.0, 1.0):
                raise SnapshotError(f"labels: expected [label, -1 or 1], got {entry!r:.80}")
            try:
                label = label_of(entry[0])
            except (TypeError, ValueError) as error:
                raise SnapshotError(f"labels: {error}") from None
            side = float(entry[1])
            if side in names or label.text in sides:
                raise SnapshotError(f"labels: expected two different labels, got {stored!r:.80}")
            names[side] = label.written
            if self._shared.get(side) != label.written:
                if self._shared and self._chosen(label.text) != side:
                    raise SnapshotError(f"labels: expected the sides of `positive`, got {side}")
                sides[label.text] = side
        if self._is_closed and sides != self._sides:
            raise SnapshotError(f"labels: expected {self.expected()}, got {stored!r:.80}")
        self._sides, self._names = sides, names


def one_expected(labels: LabelSet) -> str:
    """The error of several labels for a model of one."""
    listed = ", ".join(shown(name) for name in labels.written[:_SHOWN])
    return (
        f"expected one label, got {len(labels.labels)} in an array ({listed}); a model of several"
        " labels a sample is created with task multilabel (--task multilabel)"
    )


_SHOWN = 4


class RefusedLabel(SampleError):
    """A label that a model does not take. place: its place in the table."""

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place

    def placed(self, *path: int | bytes, root: str = "$") -> SampleError:
        """The error with the place of the first sample that has the label."""
        return SampleError(self.message, path, root=root)


def label_array(labels: Sequence[Written | None]) -> NDArray[Any]:
    """Labels as an array: int64, bool or text where all are of that kind, else objects."""
    kinds = {type(label) for label in labels}
    if kinds == {float}:  # scores of a ranking, which has no labels
        return np.array(labels)
    if kinds == {int} and all(-(2**63) <= label < 2**63 for label in labels):  # type: ignore[operator]
        return np.array(labels, dtype=np.int64)
    if kinds in ({bool}, {str}):
        return np.array(labels)
    made = np.empty(len(labels), dtype=object)
    made[:] = labels
    return made


def shown(label: Written | tuple[Written, ...]) -> str:
    """A label, or a set of labels, for a message."""
    if isinstance(label, tuple):
        return f"[{', '.join(map(shown, label[:_SHOWN]))}]"
    return format_text(label) if isinstance(label, str) else str(label)
