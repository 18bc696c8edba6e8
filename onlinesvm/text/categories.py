"""How many values of each category a lookup has entered: what bounds the crosses of categories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onlinesvm.text.constants import CROSS_FIELDS, CROSS_MOST, FIELD_BYTES

__all__ = ["CountedFields", "check_categories"]

_MOST_VALUES = 2**31
_DATE_BYTES = 8  # of .hour and the like, after the field's name


class CountedFields:
    """The fields whose categories are crossed, and how many values of each were entered.

    A cross a=x&b=y is a feature of its sample only while values(a)·values(b) is at most CROSS_MOST,
    as they stand before the sample. The first CROSS_FIELDS fields are counted; those of others are
    not crossed.
    """

    def __init__(self, counted: Iterable[tuple[bytes, int]] = ()) -> None:
        self._values = dict(counted)

    def add(self, field: bytes) -> None:
        """Count one more value of a field."""
        if field in self._values or len(self._values) < CROSS_FIELDS:
            self._values[field] = self._values.get(field, 0) + 1

    def cross(self, a: bytes, b: bytes) -> bool:
        """True while two fields are crossed."""
        if len(self._values) == CROSS_FIELDS and not {a, b} <= self._values.keys():
            return False
        return self._values.get(a, 0) * self._values.get(b, 0) <= CROSS_MOST

    def items(self) -> list[tuple[bytes, int]]:
        """Each field and its values, in order of first sight."""
        return list(self._values.items())


def check_categories(given: Any) -> list[tuple[bytes, int]]:
    """`given`, the items of CountedFields, perhaps as a snapshot has them. Raises ValueError for
    what cannot be such.
    """
    found: dict[bytes, int] = {}
    pairs = given if isinstance(given, list | tuple) else None
    if pairs is None or len(pairs) > CROSS_FIELDS:
        raise ValueError(f"categories: expected an array of at most {CROSS_FIELDS} fields")
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError("categories: expected [field, values] each, got another entry")
        field, values = pair
        if not isinstance(field, bytes) or len(field) > FIELD_BYTES + _DATE_BYTES:
            raise ValueError(
                f"categories: expected a field's name as bytes, got {str(field)[:60]!r}"
            )
        if type(values) is not int or not 1 <= values <= _MOST_VALUES:
            raise ValueError(
                f"categories: expected a number of values from 1 to {_MOST_VALUES}, got"
                f" {str(values)[:60]!r}"
            )
        if field in found:
            raise ValueError(f"categories: expected distinct fields, got {field[:60]!r} twice")
        found[field] = values
    return list(found.items())
