"""The parts of a line that formats share: numbers, importances, values, names.

A number is decimal, as the C library and the formats' own programs write it: an optional sign,
digits with at most one point anywhere among them, an optional exponent (``5``, ``.5``, ``5.``,
``-1e-3``). It rounds as Python's `float` does. ``nan``, ``inf``, hexadecimal numbers and ``1_000``
are refused. JSON lines follow JSON's own grammar instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from onlinesvm.config import MIN_MAGNITUDE, Limits
from onlinesvm.data.bounds import UNBOUNDED, Bounds
from onlinesvm.errors import format_text

__all__ = [
    "LineError",
    "Values",
    "check_name",
    "drop_zeros",
    "read_importance",
    "read_number",
    "read_value",
    "too_many_features",
]

_number = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch


class LineError(ValueError):
    """A fault of one line, in words; the Reader knows the file and the line's number.

    Never leaves the package: the Reader raises FormatError instead.
    """


def read_number(text: bytes) -> float | None:
    """`text` as a number, None where it is not one. One that is too large reads as infinite."""
    return float(text) if _number(text) else None


def read_importance(text: bytes, bounds: Bounds) -> float:
    """`text` as an importance within `bounds`. Raises LineError."""
    number = read_number(text)
    fitting = None if number is None else bounds.fit_importance(number)
    if fitting is None:
        raise LineError(f"expected {bounds.expected_importance}, got {format_text(text)}")
    return fitting if fitting >= MIN_MAGNITUDE else 0.0


class Values(dict[bytes, float]):
    """Text → value, read at first sight and remembered: files repeat the same few numbers.

    A lookup raises LineError for text that is not a number or beyond `bounds`, unless they clip;
    too small reads as 0.0.
    """

    # Bounds on the memory: so many numbers, and none longer (long ones seldom come again).
    _MAX_REMEMBERED = 16_384
    _MAX_TEXT_BYTES = 12

    def __init__(self, bounds: Bounds = UNBOUNDED) -> None:
        super().__init__()
        self._bounds = bounds

    def __missing__(self, text: bytes) -> float:
        read = read_number(text)
        if read is None:
            raise LineError(f"expected a number, got {format_text(text)}")
        number = self._bounds.fit_value(read)
        if number is None:
            raise LineError(f"expected {self._bounds.expected_value}, got {format_text(text)}")
        if -MIN_MAGNITUDE < number < MIN_MAGNITUDE:
            number = 0.0
        if len(text) <= self._MAX_TEXT_BYTES:
            if len(self) >= self._MAX_REMEMBERED:
                self.clear()
            self[text] = number
        return number


def read_value(values: Values, text: bytes, word: bytes) -> float:
    """``values[text]``; the LineError shows `word`, in which `text` stands."""
    try:
        return values[text]
    except LineError as error:
        raise LineError(f"{error} in {format_text(word)}") from None


def check_name(name: bytes, limits: Limits) -> None:
    """Raise LineError for a name that is too long."""
    if len(name) > limits.max_name_bytes:
        raise LineError(
            f"expected at most {limits.max_name_bytes} bytes a feature name, got {len(name)}"
        )


def too_many_features(count: int, limits: Limits) -> LineError:
    """The error for a sample of `count` features."""
    return LineError(
        f"expected at most {limits.max_features_per_sample} features a sample, got {count}"
    )


def drop_zeros(
    names: Sequence[bytes], values: Sequence[float]
) -> tuple[Sequence[bytes], Sequence[float]]:
    """`names` and `values` without those of value 0, which is the same as absent."""
    if 0.0 not in values:
        return names, values
    kept = [value != 0.0 for value in values]
    return (
        [name for name, keep in zip(names, kept, strict=True) if keep],
        [value for value in values if value != 0.0],
    )
