"""Data frames as rows of named columns: pandas, polars, and what else narwhals knows.

A column's name is the feature's name. Numbers and booleans are its value; a text becomes the
feature ``column=text`` of value 1; a null or a NaN is refused, with its row and column. Within a
row, features stand in the order of their columns' names, so that reordered columns give the same
bits.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onlinesvm.errors import SampleError

__all__ = ["NamedRows", "is_frame", "named_rows"]

_LIBRARIES = ("pandas", "polars", "pyarrow", "modin", "cudf")


class NamedRows(NamedTuple):
    """Rows of a sparse matrix whose columns have names.

    indptr: int64[n + 1]. columns: int64[nnz], places in `names`. data: float64[nnz].
    names: list[bytes].
    """

    indptr: NDArray[np.int64]
    columns: NDArray[np.int64]
    data: NDArray[np.float64]
    names: list[bytes]

    def samples(self) -> Iterator[dict[bytes, float]]:
        """The rows as mappings from name to value, in the order of the columns' names."""
        for start, end in pairwise(self.indptr.tolist()):
            row: dict[bytes, float] = {}
            values = self.data[start:end].tolist()
            for j, value in zip(self.columns[start:end].tolist(), values, strict=True):
                name = self.names[j]
                # The text "x" in a column "t" and a column "t=x" are one feature.
                row[name] = row[name] + value if name in row else value
            yield row


def is_frame(X: Any) -> bool:  # noqa: N803
    """True if `X` is a data frame of a library that is loaded. Imports nothing."""
    module = type(X).__module__.partition(".")[0]
    return module in _LIBRARIES and module in sys.modules and hasattr(type(X), "columns")


def named_rows(X: Any) -> NamedRows:  # noqa: N803
    """The rows of a data frame, zeros left out.

    Raises ImportError without narwhals, TypeError for a column of another type than numbers,
    booleans and text, SampleError for a null, a NaN or an infinite number, ValueError for a name
    that comes twice.
    """
    if hasattr(X, "collect"):
        raise TypeError(
            f"expected a frame in memory, got a {type(X).__name__}: call collect() on it"
        )
    try:
        import narwhals.stable.v1 as nw
    except ImportError as error:
        raise ImportError(
            f"data frames need narwhals: pip install 'onlinesvm[frames]' ({error})"
        ) from None
    titles = sorted((_title(name), j) for j, name in enumerate(_columns_of(X)))
    for (title, _), (following, _) in pairwise(titles):
        if title == following:
            raise ValueError(f'expected columns of different names, got "{title}" twice')
    frame = nw.from_native(X, eager_only=True)
    n = len(frame)
    names: list[bytes] = []
    values = np.empty((n, len(titles)))
    places = np.empty((n, len(titles)), dtype=np.int64)
    for j, (title, place) in enumerate(titles):
        column = frame[:, place]
        if _is_text(column, nw):
            places[:, j] = _texts(column, title, names)
            values[:, j] = 1.0
        else:
            places[:, j] = len(names)
            names.append(_bytes(title))
            values[:, j] = _numbers(column, title, nw)
    kept = values != 0.0
    indptr = np.concatenate(([0], np.cumsum(kept.sum(axis=1), dtype=np.int64)))
    return NamedRows(indptr, places[kept], values[kept], names)


def _columns_of(X: Any) -> Any:  # noqa: N803
    """The names of the columns; pyarrow has these under another name."""
    return X.column_names if hasattr(X, "column_names") else X.columns


def _title(name: object) -> str:
    """The name of a column. Raises TypeError for one of several levels, ValueError for one that is
    no text of UTF-8.
    """
    if isinstance(name, tuple):
        raise TypeError(f"expected columns of one name each, got {name!r}: join the levels")
    title = str(name)
    try:
        _bytes(title)
    except UnicodeEncodeError:
        raise ValueError(
            f"expected names of columns that UTF-8 can hold, got {title[:40]!a}"
        ) from None
    return title


def _is_text(column: Any, nw: Any) -> bool:
    return column.dtype in (nw.String, nw.Categorical, nw.Enum, nw.Object)


def _texts(column: Any, title: str, names: list[bytes]) -> NDArray[np.int64]:
    """The place in `names` of each row's ``column=text``; new ones are added."""
    places: dict[str, int] = {}
    found = np.empty(len(column), dtype=np.int64)
    nulls = column.is_null().to_numpy()
    if nulls.any():
        raise SampleError(
            "expected a text, got a null", (int(nulls.argmax()), _bytes(title)), root="X"
        )
    for i, text in enumerate(column.to_list()):
        if not isinstance(text, str):
            raise TypeError(
                f"expected columns of numbers, booleans or text, got {type(text).__name__}"
                f' at X[{i}]["{title}"]'
            )
        place = places.get(text)
        if place is None:
            place = places[text] = len(names)
            try:
                names.append(_bytes(f"{title}={text}"))
            except UnicodeEncodeError:
                raise SampleError(
                    f"expected text that UTF-8 can hold, got {text[:40]!a}",
                    (i, _bytes(title)),
                    root="X",
                ) from None
        found[i] = place
    return found


def _numbers(column: Any, title: str, nw: Any) -> NDArray[np.float64]:
    given = np.asarray(column.to_native()) if column.dtype == nw.Unknown else None
    if given is not None and given.dtype.kind in "iuf":  # big-endian: narwhals has no name for it
        return _finite(given.astype(np.float64), title)
    if not (column.dtype.is_numeric() or column.dtype == nw.Boolean):
        raise TypeError(
            f'expected columns of numbers, booleans or text, got {column.dtype} in column "{title}"'
        )
    nulls = column.is_null().to_numpy()
    if nulls.any():
        raise SampleError(
            "expected a number, got a null", (int(nulls.argmax()), _bytes(title)), root="X"
        )
    return _finite(np.asarray(column.cast(nw.Float64).to_numpy(), dtype=np.float64), title)


def _finite(numbers: NDArray[np.float64], title: str) -> NDArray[np.float64]:
    """`numbers`, if all are finite. Raises SampleError."""
    bad = ~np.isfinite(numbers)
    if bad.any():
        i = int(bad.argmax())
        raise SampleError(
            f"expected a finite number, got {numbers[i]}", (i, _bytes(title)), root="X"
        )
    return numbers


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
