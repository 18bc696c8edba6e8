"""Data frames: names from columns, values from cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onlinesvm.data.frames import NamedRows, is_frame, named_rows
from onlinesvm.errors import SampleError

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pytest.importorskip("narwhals")

CELLS: dict[str, list[Any]] = {
    "b": [1, 0, 3], "a": [1.5, 2.0, 0.0], "t": ["x", "y", "x"], "z": [True, False, True],
}  # fmt: skip


def dicts(rows: NamedRows) -> list[dict[bytes, float]]:
    found = []
    for i in range(len(rows.indptr) - 1):
        part = slice(int(rows.indptr[i]), int(rows.indptr[i + 1]))
        names = [rows.names[j] for j in rows.columns[part]]
        found.append(dict(zip(names, rows.data[part].tolist(), strict=True)))
    return found


@pytest.mark.parametrize("library", [pandas, polars], ids=["pandas", "polars"])
def test_columns_become_features_of_their_names(library: Any) -> None:
    frame = library.DataFrame(CELLS)
    assert is_frame(frame)
    assert dicts(named_rows(frame)) == [
        {b"a": 1.5, b"b": 1.0, b"t=x": 1.0, b"z": 1.0},
        {b"a": 2.0, b"t=y": 1.0},
        {b"b": 3.0, b"t=x": 1.0, b"z": 1.0},
    ]


@pytest.mark.parametrize("library", [pandas, polars], ids=["pandas", "polars"])
def test_reordered_columns_give_the_same_rows(library: Any) -> None:
    frame = library.DataFrame(CELLS)
    rows, again = named_rows(frame), named_rows(frame[["z", "t", "a", "b"]])
    assert rows.names == again.names
    for one, other in zip(rows[:3], again[:3], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint64", "float16", "float32", ">f8", ">i4", "Int64", "Float32", "boolean"]
)
def test_dtypes_of_numbers(dtype: str) -> None:
    frame = pandas.DataFrame({"a": pandas.Series([1, 0, 1]).astype(dtype)})
    assert dicts(named_rows(frame)) == [{b"a": 1.0}, {}, {b"a": 1.0}]


def test_categories_are_texts() -> None:
    frame = pandas.DataFrame({"c": pandas.Categorical(["u", "v", "u"])})
    assert dicts(named_rows(frame)) == [{b"c=u": 1.0}, {b"c=v": 1.0}, {b"c=u": 1.0}]


@pytest.mark.parametrize(
    ("cells", "error", "text"),
    [
        ({"a": [1.0, np.nan]}, SampleError, r'expected a .*number, got .* at X\[1\]\["a"\]'),
        ({"a": [1.0, np.inf]}, SampleError, r'expected a finite number, got inf at X\[1\]\["a"\]'),
        ({"t": ["x", None]}, SampleError, r'expected a text, got a null at X\[1\]\["t"\]'),
        ({"s": ["x", "\ud800"]}, SampleError, r"UTF-8 can hold, got '\\ud800' at X\[1\]\[\"s\"\]"),
        ({"\ud800": [1.0]}, ValueError, r"names of columns that UTF-8 can hold, got '\\ud800'"),
        ({"o": ["x", b"y"]}, TypeError, r'got bytes at X\[1\]\["o"\]'),
        ({"c": [1j, 2j]}, TypeError, 'in column "c"'),
    ],
)
def test_faults_name_row_and_column(
    cells: dict[str, list[Any]], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        named_rows(pandas.DataFrame(cells))


def test_a_null_in_a_nullable_column() -> None:
    texts = pandas.DataFrame({"a": pandas.array(["x", None], dtype="string")})
    with pytest.raises(SampleError, match=r'expected a text, got a null at X\[1\]\["a"\]'):
        named_rows(texts)
    frame = pandas.DataFrame({"a": pandas.array([1, None], dtype="Int64")})
    with pytest.raises(SampleError, match=r'expected a number, got a null at X\[1\]\["a"\]'):
        named_rows(frame)


def test_a_name_that_comes_twice() -> None:
    with pytest.raises(ValueError, match='expected columns of different names, got "a" twice'):
        named_rows(pandas.DataFrame([[1, 2]], columns=["a", "a"]))


def test_arrays_are_no_frames() -> None:
    assert not is_frame(np.zeros((2, 2)))
    assert not is_frame({"a": [1]})
