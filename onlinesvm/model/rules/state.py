"""What the state of a rule can be: checked before any of it is taken, whatever the kernel.

A snapshot may have been made up. Numbers that honest use cannot reach could overflow into nan, or
mean one thing to one kernel and another to the other, so they are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_SAMPLES", "SAMPLES", "WEIGHT", "Span", "check_parts"]

MOST_SAMPLES = 2**53  # floats count them exactly up to here


class Span(NamedTuple):
    """Numbers from `low` to `high`: float64 in an array; int64 if `whole`, float32 if `single`."""

    low: float
    high: float
    whole: bool = False
    single: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numbers' type in an array."""
        return np.dtype(np.int64 if self.whole else np.float32 if self.single else np.float64)


# Steps are at most importance times rate times value, each up to 1e50 (a class's weight makes the
# importance 1e56 at most), and there are at most 2**53 of them. With a value of 1e50 it cannot
# overflow.
WEIGHT = Span(-1e200, 1e200)
SAMPLES = Span(0, MOST_SAMPLES, whole=True)


def check_parts(
    arrays: Mapping[str, NDArray[Any]],
    scalars: Mapping[str, Any],
    columns: Mapping[str, Span],
    numbers: Mapping[str, Span],
) -> int:
    """Check that `arrays` are `columns` and `scalars` are `numbers`, no more and no fewer, of the
    right types and within their spans. Raises ValueError that names what is not.

    Returns the length of the arrays, which is one for all.
    """
    _check_names("arrays", arrays, columns)
    _check_names("scalars", scalars, numbers)
    for name, span in numbers.items():
        _check_scalar(name, scalars[name], span)
    n = len(next(iter(arrays.values())))
    for name, span in columns.items():
        _check_array(name, arrays[name], n, span)
    return n


def _check_names(what: str, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name in wanted:
        if name not in given:
            raise ValueError(f"{what}: expected {name}, got none")
    for name in given:
        if name not in wanted:
            raise ValueError(f"{what}: expected none but the rule's, got {str(name)[:60]!r}")


def _check_scalar(name: str, number: object, span: Span) -> None:
    kinds = (int,) if span.whole else (int, float)
    if not isinstance(number, kinds) or isinstance(number, bool):
        what = "an integer" if span.whole else "a number"
        raise ValueError(f"{name}: expected {what}, got {str(number)[:60]!r}")
    if not span.low <= number <= span.high:  # also refuses nan
        raise ValueError(
            f"{name}: expected a number from {span.low:g} to {span.high:g}, got {str(number)[:60]}"
        )


def _check_array(name: str, array: NDArray[Any], n: int, span: Span) -> None:
    if array.dtype.newbyteorder("=") != span.dtype or array.shape != (n,):
        raise ValueError(
            f"{name}: expected {span.dtype}[{n}], got {array.dtype} of shape {list(array.shape)}"
        )
    if n and not (array.min() >= span.low and array.max() <= span.high):
        raise ValueError(f"{name}: expected numbers from {span.low:g} to {span.high:g}, got others")
