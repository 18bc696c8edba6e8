"""The labels of a binary model: which text stands for which side, −1 or +1.

``1`` takes the side +1; ``0`` and ``-1`` take −1. Any other label takes the free side; if both are
free, the first label seen takes −1. A label whose side is taken gets the other. Nothing is ever
flipped, and a third label is refused. With `positive`, the labels named there are +1 and all others
−1, however many there are: one class against the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.label import Label, Written, label_of
from onlinesvm.errors import SampleError, SnapshotError, format_text

__all__ = ["REST", "Labels"]

REST = "rest"  # the name of side −1 once several labels share it

_SIDES = {b"1": 1.0, b"0": -1.0, b"-1": -1.0}


class Labels:
    """The labels seen so far, in the order of first sight, and the side of each.

    positive: the labels of side +1; empty where sides are given by first sight. ``">0"`` among them
    makes every integer above 0 positive.
    """

    def __init__(self, positive: Iterable[Written] = ()) -> None:
        self._above_zero = False
        texts = set()
        for value in positive:
            if value == ">0":
                self._above_zero = True
            else:
                texts.add(label_of(value).text)
        self._positive = frozenset(texts)
        self._one_vs_rest = bool(texts) or self._above_zero
        self._sides: dict[bytes, float] = {}  # with one against the rest, only the shown ones
        self._shown: dict[float, Written] = {}
        self._has_rest = False

    def copy(self) -> Labels:
        """Labels of the same state that share nothing with these."""
        made = Labels.__new__(Labels)
        made.__dict__.update(self.__dict__)
        made._sides, made._shown = dict(self._sides), dict(self._shown)
        return made

    def learn(self, table: Sequence[Label], first: Sequence[int] = ()) -> NDArray[np.float64]:
        """The side of each label in `table`, float64[len(table)]; new labels take theirs.

        first: where in its batch each label first stands, for the message. Raises SampleError for a
        third label; the labels then stay as they were.
        """
        if all(label.text in self._sides for label in table):  # nearly always
            return np.array([self._sides[label.text] for label in table], dtype=np.float64)
        trial = self.copy()
        sides = [
            trial._add(label, first[i] if i < len(first) else None) for i, label in enumerate(table)
        ]
        self.__dict__.update(trial.__dict__)
        return np.array(sides, dtype=np.float64)

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

    def _side_of(self, label: Label, unknown: float) -> float:
        if self._one_vs_rest:
            return 1.0 if self._is_positive(label.text) else -1.0
        return self._sides.get(label.text, unknown)

    def _is_positive(self, text: bytes) -> bool:
        if text in self._positive:
            return True
        return self._above_zero and text.isdigit() and text != b"0"

    def _add(self, label: Label, sample: int | None) -> float:
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
            raise SampleError(
                f"expected a label of this binary model, {known}, got a third label"
                f" {_shown(label.written)}",
                () if sample is None else (sample, 0),
            )
        elif self._sides:
            side = -next(iter(self._sides.values()))
        else:
            side = _SIDES.get(text, -1.0)
        self._sides[text] = side
        self._shown[side] = label.written
        return side

    def dump(self) -> list[list[Written | float]]:
        """The labels as plain msgpack values: [label as written, side] in order of first sight."""
        if self._has_rest:
            return [[self._shown[side], side] for side in sorted(self._shown)]
        return [[self._shown[side], side] for side in self._sides.values()]

    def restore(self, stored: object) -> None:
        """Take the state of a dump. Raises SnapshotError for what cannot be one."""
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
            if self._one_vs_rest and side < 0.0 and entry[0] == REST:
                self._has_rest = True
            else:
                self._sides[label.text] = side
            self._shown[side] = entry[0]


def _shown(name: Written | None) -> str:
    return (
        "(none yet)" if name is None else format_text(name) if isinstance(name, str) else str(name)
    )
