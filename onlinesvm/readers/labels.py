"""The label of a line, read from its text: the one place where files get labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onlinesvm.data.label import (
    AnyLabel,
    Written,
    any_label_of,
    label_of,
    label_of_text,
    set_of,
)
from onlinesvm.errors import format_text
from onlinesvm.readers.tokens import LineError, read_number

__all__ = ["Labels"]


class Labels:
    """Label text → label, as `onlinesvm.data.label` says.

    positive: the labels of side +1. With ``">0"`` among them labels are numbers, and one that is no
    integer stands for 1 or −1, by its sign.

    labelled: True makes a label that is missing or unreadable a LineError; False reads it as None.

    sets: True reads a text as the set of the labels between its commas.

    numeric is True where ``">0"`` was among `positive`; `positive` holds the other texts.
    """

    def __init__(
        self, positive: Iterable[Written] = (), *, labelled: bool = True, sets: bool = False
    ) -> None:
        given = [positive] if isinstance(positive, str | int) else list(positive)
        self.labelled = labelled
        self.sets = sets
        self.numeric = ">0" in given
        self.positive = {label_of(value).text for value in given if value != ">0"}
        self._known: dict[bytes, AnyLabel] = {}  # few: those read last

    def read(self, text: bytes) -> AnyLabel | None:
        """The label, or set of labels, `text`; an empty one is missing."""
        label = self._known.get(text)
        if label is not None:
            return label
        if not text:
            return self.missing("expected a label, got none")
        try:
            label = self._label(text)
        except ValueError as error:
            return self._unreadable(error)
        if label is None:
            return self.missing(
                f"expected a number as label, for --positive '>0', got {format_text(text)}"
            )
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[text] = label
        return label

    def of_text(self, text: bytes) -> AnyLabel:
        """The label, or set of labels, that a text which is not empty is. Raises ValueError."""
        if not self.sets:
            return label_of_text(text)
        return set_of(label_of_text(part.strip()) for part in text.split(b","))

    def read_all(self, texts: list[bytes]) -> AnyLabel | None:
        """The set of the labels `texts`."""
        try:
            return set_of(label_of_text(text) for text in texts)
        except ValueError as error:
            return self._unreadable(error)

    def value(self, value: Written | float | list[Any]) -> AnyLabel | None:
        """The label that a JSON value is; an array is a set of labels."""
        if isinstance(value, str) and (self.numeric or not value):
            return self.read(value.encode("utf-8", "surrogateescape"))
        if self.numeric and isinstance(value, float) and not value.is_integer() and value == value:
            value = 1 if value > 0 else -1
        try:
            return any_label_of(value)
        except (TypeError, ValueError) as error:
            return self._unreadable(error)

    def _label(self, text: bytes) -> AnyLabel | None:
        if not self.numeric:
            return self.of_text(text)
        number = read_number(text)
        if number is None:
            label = label_of_text(text)
            return label if label.text in self.positive else None
        if number.is_integer():
            return label_of_text(text)
        return label_of_text(b"1" if number > 0 else b"-1")

    def _unreadable(self, error: Exception) -> AnyLabel | None:
        hint = "" if self.sets else " (--positive '>0' reads numbers by their sign)"
        return self.missing(f"{error}{hint}")

    def missing(self, message: str) -> AnyLabel | None:
        """None where labels are optional. Raises LineError(message) where they are not."""
        if self.labelled:
            raise LineError(message)
        return None


_MOST_KNOWN = 64
