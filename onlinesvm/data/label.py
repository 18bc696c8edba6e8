"""Labels as users write them: any text, integer or boolean, compared by their text.

``1``, ``"1"``, ``"+1"``, ``1.0`` and True are one label, of the text ``1``; 0, ``"0"`` and False
are another. A number that is not an integer is refused. Text that is no number is a label as it
stands, ``"007"`` too; it need not be UTF-8. An integer beyond 64 bits is shown as text.

An array of labels is a LabelSet: what a sample of a multilabel model has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.constants import MAX_LABEL_BYTES, MOST_IN_SET
from onlinesvm.errors import format_text

__all__ = [
    "MAX_LABEL_BYTES", "MOST_IN_SET", "AnyLabel", "Key", "Label", "LabelSet", "Written",
    "any_label_of", "joined", "label_of", "label_of_packed", "label_of_text", "packable", "packed",
    "set_of",
]  # fmt: skip

_MOST_BITS = 4 * MAX_LABEL_BYTES

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


class LabelSet(NamedTuple):
    """The labels of one sample, distinct: their texts, sorted, and the labels as they came."""

    text: tuple[bytes, ...]
    labels: tuple[Label, ...]

    @property
    def written(self) -> tuple[Written, ...]:
        """The values that the user wrote."""
        return tuple(label.written for label in self.labels)

    def __str__(self) -> str:
        return ",".join(map(str, self.labels))


AnyLabel = Label | LabelSet
Key = bytes | tuple[bytes, ...]  # the text of one


def set_of(labels: Iterable[Label]) -> LabelSet:
    """The set of these labels. Raises ValueError for too many."""
    distinct: dict[bytes, Label] = {}
    for label in labels:
        distinct.setdefault(label.text, label)
    if len(distinct) > MOST_IN_SET:
        raise ValueError(f"expected at most {MOST_IN_SET} labels a sample, got {len(distinct)}")
    return LabelSet(tuple(sorted(distinct)), tuple(distinct.values()))


def any_label_of(value: object) -> AnyLabel:
    """The label that a value is, or the set of labels that an array is.

    Raises as `label_of` does.
    """
    if isinstance(value, list):
        if len(value) > MOST_IN_SET:
            raise ValueError(f"expected at most {MOST_IN_SET} labels a sample, got {len(value)}")
        return set_of(map(label_of, value))
    return label_of(value)


def label_of(value: object) -> Label:
    """The label that a Python or wire value is.

    value: str (or its bytes), int, bool, a float that is an integer, or a NumPy scalar of these.
    Raises TypeError for other types, ValueError for a value that is no label.

    >>> label_of(1.0).text, label_of("+1").text, label_of(True).text
    (b'1', b'1', b'1')
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return Label(b"1" if value else b"0", value)
    if isinstance(value, int):
        return _of_int(value)
    if isinstance(value, float):
        if not value.is_integer():  # nan and infinity neither
            raise ValueError(f"expected a label as text, integer or boolean, got {value!r}")
        return _of_int(int(value))
    if isinstance(value, str):
        return _of_text(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, bytes):
        return _of_text(value)
    raise TypeError(f"expected a label as text, integer or boolean, got {type(value).__name__}")


def _of_int(value: int) -> Label:
    if value.bit_length() > _MOST_BITS:  # its decimal digits would take long
        raise ValueError(
            f"expected a label of at most {MAX_LABEL_BYTES} bytes, got an integer of"
            f" {value.bit_length()} bits"
        )
    text = b"%d" % value
    return _bounded(Label(text, value if -(2**63) <= value < 2**64 else text.decode()))


def label_of_text(raw: bytes) -> Label:
    """The label that a text in a file is: an integer is one, as a file has no other integers.

    Raises ValueError for a text that is no label.
    """
    label = _of_text(raw)
    if label.text == raw and not _looks_like_a_number(raw):
        return label
    return _of_int(int(label.text)) if _integer(label.text) else label


def _of_text(raw: bytes) -> Label:
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
    from decimal import Decimal  # for such labels alone

    number = Decimal(raw.decode("ascii"))
    if number != number.to_integral_value():
        raise ValueError(f"expected a label as text, integer or boolean, got {format_text(raw)}")
    return _bounded(label._replace(text=b"%d" % int(number)))


@lru_cache(maxsize=1024)
def label_of_packed(raw: bytes) -> AnyLabel:
    """The label, or the set of labels, that a msgpack object is. Raises ValueError for another."""
    return any_label_of(msgpack.unpackb(raw, raw=True))


def packable(written: Written | None) -> Written | bytes | None:
    """A label as msgpack takes it, as it was written: a text that is not UTF-8 as its bytes."""
    if not isinstance(written, str):
        return written
    raw = written.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def packed(label: AnyLabel) -> bytes:
    """A label, or an array of labels, as a msgpack object, as it was written."""
    if isinstance(label, LabelSet):
        raw: bytes = msgpack.packb([packable(one) for one in label.written])
        return raw
    raw = msgpack.packb(packable(label.written))
    return raw


def joined(
    labels: list[AnyLabel], ids: NDArray[np.int32], *, ordered: bool = False
) -> tuple[list[AnyLabel], NDArray[np.int32]]:
    """`labels` with those of equal text made one, in the order in which samples have them.

    ids: int32[n], the place in `labels` of each sample's, −1 without one. ordered: each is some
    sample's, and they are in that order. Returns the table and the places in it.
    """
    if len({label.text for label in labels}) == len(labels) and (ordered or _is_pair(labels, ids)):
        return labels, ids
    used, first = np.unique(ids, return_index=True)
    table: list[AnyLabel] = []
    places: dict[Key, int] = {}
    moved = np.full(len(labels) + 1, -1, dtype=np.int32)  # the last is −1's
    for id in used[np.argsort(first)].tolist():
        if id >= 0:
            label = labels[id]
            if label.text not in places:
                places[label.text] = len(table)
                table.append(label)
            moved[id] = places[label.text]
    return table, moved[ids]


def _is_pair(labels: list[AnyLabel], ids: NDArray[np.int32]) -> bool:
    """True for one or two labels that samples have, in this order: nearly always."""
    if not 1 <= len(labels) <= 2 or not len(ids) or ids[0] != 0:
        return not labels
    return len(labels) == 1 or bool((ids == 1).any())


def _bounded(label: Label) -> Label:
    if len(label.text) > MAX_LABEL_BYTES:
        raise ValueError(
            f"expected a label of at most {MAX_LABEL_BYTES} bytes, got {len(label.text)}"
        )
    return label
