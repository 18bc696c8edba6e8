"""The layout of a rule's state: its names and spans, checked before a kernel restores any of it.

A snapshot may be forged. Numbers that honest use cannot reach could overflow into nan, or mean one
thing to one kernel and another to the other, so they are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_SAMPLES", "SAMPLES", "SUM", "WEIGHT", "Layout", "Span", "check_array"]

MAX_SAMPLES = 2**53  # floats count them exactly up to here


class Span(NamedTuple):
    """Numbers from `low` to `high`: in an array float64, int64 if `whole`, float32 if `single`,
    uint8 if `byte`.
    """

    low: float
    high: float
    whole: bool = False
    single: bool = False
    byte: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numbers' type in an array."""
        if self.byte:
            return np.dtype(np.uint8)
        return np.dtype(np.int64 if self.whole else np.float32 if self.single else np.float64)


# Steps are at most importance times rate times value, each up to 1e50 (a class's weight makes the
# importance 1e56 at most), and there are at most 2**53 of them. With a value of 1e50 it cannot
# overflow.
WEIGHT = Span(-1e200, 1e200)
SAMPLES = Span(0, MAX_SAMPLES, whole=True)


# A sum of squares of importances and values.
SUM = Span(0.0, 1e300)


def _nothing_more(arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
    """Numbers within their spans are good."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays, by feature, and the scalars that a rule keeps, in the order of a view.

    related: raises ValueError for numbers that lie within their spans, but cannot belong together.
    variant: the layout of a state with these scalars, where that depends on them.
    """

    columns: Mapping[str, Span]
    scalars: Mapping[str, Span]
    related: Callable[[Mapping[str, NDArray[Any]], Mapping[str, Any]], None] = _nothing_more
    variant: Callable[[Mapping[str, Any]], Layout | None] | None = None

    def of(self, scalars: Mapping[str, Any]) -> Layout:
        """The layout of a state with these scalars. Raises ValueError for those of none."""
        return (self.variant and self.variant(scalars)) or self

    def check(self, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> None:
        """Raise ValueError unless `arrays` and `scalars` can be a rule's whole state."""
        layout = self.of(scalars)
        _check_names("arrays", arrays, layout.columns)
        _check_names("scalars", scalars, layout.scalars)
        for name, span in layout.scalars.items():
            _check_scalar(name, scalars[name], span)
        n = len(next(iter(arrays.values())))
        for name, span in layout.columns.items():
            check_array(name, arrays[name], n, span)
        layout.related(arrays, scalars)


def _check_names(kind: str, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name in wanted:
        if name not in given:
            raise ValueError(f"{kind}: expected {name}, got none")
    for name in given:
        if name not in wanted:
            raise ValueError(f"{kind}: expected only the rule's, got {str(name)[:60]!r}")


def _check_scalar(name: str, number: object, span: Span) -> None:
    kinds = (int,) if span.whole else (int, float)
    if not isinstance(number, kinds) or isinstance(number, bool):
        what = "an integer" if span.whole else "a number"
        raise ValueError(f"{name}: expected {what}, got {str(number)[:60]!r}")
    if not span.low <= number <= span.high:  # also refuses nan
        raise ValueError(
            f"{name}: expected a number from {span.low:g} to {span.high:g}, got {str(number)[:60]}"
        )


def check_array(name: str, array: NDArray[Any], n: int, span: Span) -> None:
    """Raise ValueError unless `array` has `n` numbers of `span`."""
    if array.dtype.newbyteorder("=") != span.dtype or array.shape != (n,):
        raise ValueError(
            f"{name}: expected {span.dtype}[{n}], got {array.dtype} of shape {list(array.shape)}"
        )
    if n and not (array.min() >= span.low and array.max() <= span.high):
        raise ValueError(
            f"{name}: expected numbers from {span.low:g} to {span.high:g},"
            f" got {array.min():g} to {array.max():g}"
        )
