"""The labels of a binary model: which text stands for which side, −1 or +1.

``1`` takes the side +1; ``0`` and ``-1`` take −1. Any other label takes the free side; if both are
free, the first label seen takes −1. A label whose side is taken gets the other. Nothing is ever
flipped, and a third label is refused. With `positive`, the labels named there are +1 and all others
−1, however many there are: one class against the rest. With `closed`, its two labels alone are
taken, in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.label import Label, Written, label_of
from onlinesvm.errors import ConfigError, SampleError, SnapshotError, format_text

__all__ = ["REST", "Labels", "ThirdLabel", "label_array"]

REST = "rest"  # the name of side −1 once several labels share it

_SIDES = {b"1": 1.0, b"0": -1.0, b"-1": -1.0}


class Labels:
    """The labels seen so far, in the order of first sight, and the side of each.

    positive: the labels of side +1; empty where sides are given by first sight. ``">0"`` among them
    makes every integer above 0 positive. closed: the only two labels. Raises ConfigError for what
    cannot be.
    """

    def __init__(self, positive: Iterable[Written] = (), closed: Sequence[Written] = ()) -> None:
        self._above_zero = False
        texts = set()
        for value in positive:
            if value == ">0":
                self._above_zero = True
            else:
                texts.add(_given("positive", value).text)
        self._positive = frozenset(texts)
        self._one_vs_rest = (bool(texts) or self._above_zero) and not closed
        self._sides: dict[bytes, float] = {}  # with one against the rest, only the shown ones
        self._shown: dict[float, Written] = {}
        self._has_rest = False
        if closed:
            self._close([_given("labels", value) for value in closed])

    def _close(self, labels: list[Label]) -> None:
        if len({label.text for label in labels}) != 2 or len(labels) != 2:
            shown = ", ".join(str(label) for label in labels)
            raise ConfigError(f"labels: expected two different labels, got {shown}")
        if self._positive or self._above_zero:
            for label in labels:
                side = 1.0 if self._is_positive(label.text) else -1.0
                self._sides[label.text], self._shown[side] = side, label.written
            if len(self._shown) != 2:
                raise ConfigError("positive: expected one of the two labels")
        else:
            self.learn(labels)

    def copy(self) -> Labels:
        """Labels of the same state that share nothing with these."""
        made = Labels.__new__(Labels)
        made.__dict__.update(self.__dict__)
        made._sides, made._shown = dict(self._sides), dict(self._shown)
        return made

    def learn(self, table: Sequence[Label]) -> NDArray[np.float64]:
        """The side of each label in `table`, float64[len(table)]; new labels take theirs.

        Raises ThirdLabel for a third label; the labels then stay as they were.
        """
        if self.know(table):
            return self.find(table)
        trial = self.copy()
        sides = [trial._add(label, i) for i, label in enumerate(table)]
        self.__dict__.update(trial.__dict__)
        return np.array(sides, dtype=np.float64)

    def know(self, table: Sequence[Label]) -> bool:
        """True where `learn` would change nothing: nearly always."""
        if self._has_rest and len(self._shown) == 2:
            return True
        return all(label.text in self._sides for label in table)

    def find(self, table: Sequence[Label]) -> NDArray[np.float64]:
        """The side of each label in `table`, 0 for an unknown one; changes nothing."""
        return np.array([self._side_of(label, 0.0) for label in table], dtype=np.float64)

    def name(self, side: float) -> Written | None:
        """The label of a side as it was first written.

        Of a side without a label: the label of the other side, if that is the only one known; None
        before the first label.
        """
        if side in self._shown:
            return self._shown[side]
        return self._shown.get(-side)

    def names(self) -> tuple[Written | None, Written | None]:
        """The labels of the sides −1 and +1, None where a side has none yet."""
        return self._shown.get(-1.0), self._shown.get(1.0)

    @property
    def classes(self) -> NDArray[Any]:
        """The labels known, that of side −1 first."""
        return label_array([name for name in self.names() if name is not None])

    def pick(self, positive: NDArray[np.bool_]) -> NDArray[Any]:
        """The label of side +1 where `positive`, else that of −1, [n]; None before any is known."""
        return np.take(label_array([self.name(-1.0), self.name(1.0)]), positive.astype(np.intp))

    def _side_of(self, label: Label, unknown: float) -> float:
        if self._one_vs_rest:
            return 1.0 if self._is_positive(label.text) else -1.0
        return self._sides.get(label.text, unknown)

    def _is_positive(self, text: bytes) -> bool:
        if text in self._positive:
            return True
        return self._above_zero and text.isdigit() and text != b"0"

    def _add(self, label: Label, place: int) -> float:
        text = label.text
        if text in self._sides:
            return self._sides[text]
        if self._one_vs_rest:
            side = self._side_of(label, 0.0)
            if side in self._shown:
                if side < 0.0 and not self._has_rest:
                    self._has_rest = True
                    self._shown[side] = REST
                return side
        elif len(self._sides) == 2:
            known = " or ".join(_shown(name) for name in self.names())
            raise ThirdLabel(
                f"expected a label of this binary model, {known}, got a third label"
                f" {_shown(label.written)}",
                place,
            )
        elif self._sides:
            side = -next(iter(self._sides.values()))
        else:
            side = _SIDES.get(text, -1.0)
        self._sides[text] = side
        self._shown[side] = label.written
        return side

    def dump(self) -> list[list[Any]]:
        """The labels as plain msgpack values: [label as written, side], side −1 first.

        A text comes as its bytes, which need not be UTF-8.
        """
        return [[_stored(self._shown[side]), side] for side in sorted(self._shown)]

    def restore(self, stored: object) -> None:
        """Take the state of a dump. Raises SnapshotError for what cannot be one."""
        self._sides, self._shown, self._has_rest = {}, {}, False
        if not isinstance(stored, list) or len(stored) > 2:
            raise SnapshotError(f"labels: expected an array of at most 2, got {stored!r:.80}")
        for entry in stored:
            if not isinstance(entry, list) or len(entry) != 2 or entry[1] not in (-1.0, 1.0):
                raise SnapshotError(f"labels: expected [label, -1 or 1], got {entry!r:.80}")
            try:
                label = label_of(entry[0])
            except (TypeError, ValueError) as error:
                raise SnapshotError(f"labels: {error}") from None
            side = float(entry[1])
            if side in self._shown or label.text in self._sides:
                raise SnapshotError(f"labels: expected two different labels, got {stored!r:.80}")
            if self._one_vs_rest and side < 0.0 and label.written == REST:
                self._has_rest = True
            else:
                self._sides[label.text] = side
            self._shown[side] = label.written


class ThirdLabel(SampleError):
    """A label that a binary model has no side for. place: its place in the table."""

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place

    def placed(self, *path: int | bytes, root: str = "$") -> SampleError:
        """The error with the place of the first sample that has the label."""
        return SampleError(self.message, path, root=root)


def label_array(labels: Sequence[Written | None]) -> NDArray[Any]:
    """Labels as an array: int64, bool or text where all are of that kind, else objects."""
    kinds = {type(label) for label in labels}
    if kinds == {int} and all(-(2**63) <= label < 2**63 for label in labels):  # type: ignore[operator]
        return np.array(labels, dtype=np.int64)
    if kinds in ({bool}, {str}):
        return np.array(labels)
    made = np.empty(len(labels), dtype=object)
    made[:] = labels
    return made


def _given(name: str, value: Written) -> Label:
    try:
        return label_of(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}: {error}") from None


def _stored(label: Written) -> Written | bytes:
    return label.encode("utf-8", "surrogateescape") if isinstance(label, str) else label


def _shown(name: Written | None) -> str:
    return (
        "(none yet)" if name is None else format_text(name) if isinstance(name, str) else str(name)
    )
