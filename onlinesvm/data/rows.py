"""Rows of matrices and data frames as samples: the one rule of every entry point.

    2-D array of numbers, sparse matrix   a row is a sample, column j the feature ``str(j)``
    data frame                            a row is a sample, a column's name the feature
    1-D array of numbers                  refused
    iterable of numbers alone             refused as a sample's features, in lists of lists too
    any other iterable                    names: text, bytes, integers among them

A matrix or frame of one row may stand for one sample. On the wire, in JSON and in files there are
no matrices, and an integer is always a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from onlinesvm.data.batch import Features
from onlinesvm.data.frames import is_frame, named_rows
from onlinesvm.data.matrix import array_of, columns_of, is_matrix
from onlinesvm.errors import Path, SampleError, format_path

__all__ = ["TWO_WAYS", "is_rows", "names_of_array", "one_row", "rows_of", "samples_of"]

TWO_WAYS = 'for the rows of a matrix give np.array(rows); for names give ["5", "7"] or {5: 1, 7: 1}'


def is_rows(given: Any) -> bool:
    """True for a matrix or a data frame, False for one sample or an iterable of them."""
    return is_matrix(given) or is_frame(given)


def samples_of(given: Any) -> Iterable[Features]:
    """`given` as samples: the rows of a matrix or frame as mappings, anything else as it is.

    Raises TypeError for a bare text and a 1-D array of numbers, else as `columns_of` and
    `named_rows` do, before the first sample.
    """
    if isinstance(given, str | bytes | bytearray | memoryview):
        raise TypeError(f"expected an iterable of samples, got a bare {type(given).__name__}")
    if is_rows(given):
        return rows_of(given)
    array = array_of(given)
    if array is not None and (array.ndim != 1 or array.dtype.kind not in "OSUT"):
        if array.ndim == 2 and array.dtype.kind in "OSUT":
            rows: Iterable[Features] = array.tolist()
            return rows
        raise TypeError(
            f"expected samples or a matrix [n, m], got an array of {array.dtype} of shape"
            f" {array.shape} ({TWO_WAYS})"
        )
    if not hasattr(given, "__iter__"):
        raise TypeError(
            f"expected an iterable of samples, a matrix or a frame, got {type(given).__name__}"
        )
    samples: Iterable[Features] = given
    return samples


def rows_of(given: Any) -> Iterator[dict[bytes, float]]:
    """The rows of a matrix or frame as mappings from name to value, zeros left out."""
    if is_frame(given):
        return named_rows(given).samples()
    columns = columns_of(given, None)
    return (_summed(columns.features(i)) for i in range(columns.samples))


def one_row(given: Any, path: Path) -> dict[bytes, float]:
    """The only row of a matrix or frame, as the features at `path`.

    Raises ValueError for another number of rows, else as `rows_of` does.
    """
    shape = given.shape
    if shape[0] != 1:
        raise ValueError(
            f"expected one sample, got {shape[0]} rows of shape {tuple(shape)} at"
            f" {format_path(path)} (a matrix of one row, X[i : i + 1], may stand for a sample)"
        )
    try:
        return next(rows_of(given))
    except SampleError as error:  # in row 0, which is the sample
        raise type(error)(error.message, (*path, *error.path[1:])) from None


def names_of_array(given: Any, path: Path) -> list[Any] | None:
    """The names in an array of texts; None for anything but an array.

    Raises TypeError for an array of numbers or of another number of dimensions.
    """
    array = array_of(given)
    if array is None:
        return None
    names: list[Any] = array.tolist() if array.ndim == 1 else []
    is_names = array.ndim == 1 and array.dtype.kind in "OSUT"
    if not isinstance(given, np.ndarray):  # a series: a row of a frame has values, not names
        is_names = is_names and all(isinstance(name, str | bytes) for name in names)
    if is_names:
        return names
    hint = "row.to_dict() has names and values" if hasattr(given, "to_dict") else TWO_WAYS
    raise TypeError(
        "expected features as an iterable of names or a mapping from name to value, got"
        f" {_shown(given, array)} at {format_path(path)} ({hint})"
    )


def _shown(given: Any, array: Any) -> str:
    kind = "an array" if isinstance(given, np.ndarray) else f"a {type(given).__name__}"
    return f"{kind} of {array.dtype} of shape {array.shape}"


def _summed(row: Iterable[tuple[bytes, float]]) -> dict[bytes, float]:
    """`row` as a mapping; a name that comes again is summed at the place of the first."""
    made: dict[bytes, float] = {}
    for name, value in row:
        made[name] = made[name] + value if name in made else value
    return made
