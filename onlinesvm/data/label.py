"""Labels as users write them: any text, integer or boolean, compared by their text.

``1``, ``"1"``, ``"+1"``, ``1.0`` and True are one label, of the text ``1``; 0, ``"0"`` and False
are another. A number that is not an integer is refused. Text that is no number is a label as it
stands, ``"007"`` too.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from onlinesvm.errors import format_text

__all__ = ["MAX_LABEL_BYTES", "Label", "Written", "label_of", "label_of_text"]

MAX_LABEL_BYTES = 256

Written = str | int | bool

_integer = re.compile(rb"([+-]?)(0|[1-9][0-9]*)").fullmatch
_number = re.compile(
    rb"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?"
).fullmatch
_looks_like_a_number = re.compile(rb"[+-]?\.?[0-9]").match


class Label(NamedTuple):
    """A label: its text, by which it is compared, and the value that the user wrote."""

    text: bytes
    written: Written

    def __str__(self) -> str:
        return str(self.written)


def label_of(value: object) -> Label:
    """The label that a Python or wire value is.

    value: str, int, bool, a float that is an integer, or a NumPy scalar of these. Raises TypeError
    for other types, ValueError for a value that is no label.

    >>> label_of(1.0).text, label_of("+1").text, label_of(True).text
    (b'1', b'1', b'1')
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return Label(b"1" if value else b"0", value)
    if isinstance(value, int):
        return _bounded(Label(b"%d" % value, value))
    if isinstance(value, float):
        if not value.is_integer():  # nan and infinity neither
            raise ValueError(f"expected a label as text, integer or boolean, got {value!r}")
        return _bounded(Label(b"%d" % int(value), int(value)))
    if isinstance(value, str):
        return label_of_text(value.encode("utf-8", "surrogateescape"))
    raise TypeError(f"expected a label as text, integer or boolean, got {type(value).__name__}")


def label_of_text(raw: bytes) -> Label:
    """The label that a text is, of a file or of a str.

    Raises ValueError for a text that is no label.
    """
    if not raw:
        raise ValueError("expected a label, got an empty text")
    label = Label(raw, raw.decode("utf-8", "surrogateescape"))
    if not _looks_like_a_number(raw):
        return _bounded(label)
    integer = _integer(raw)
    if integer is not None:
        sign = b"-" if integer[1] == b"-" and integer[2] != b"0" else b""
        return _bounded(label._replace(text=sign + integer[2]))
    if len(raw) > MAX_LABEL_BYTES or _number(raw) is None:
        return _bounded(label)
    number = Decimal(raw.decode("ascii"))
    if number != number.to_integral_value():
        raise ValueError(f"expected a label as text or an integer, got {format_text(raw)}")
    return _bounded(label._replace(text=b"%d" % int(number)))


def _bounded(label: Label) -> Label:
    if len(label.text) > MAX_LABEL_BYTES:
        raise ValueError(
            f"expected a label of at most {MAX_LABEL_BYTES} bytes, got {len(label.text)}"
        )
    return label
