"""Tables with a header: their columns, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onlinesvm.errors import FormatError
from onlinesvm.readers.jsonl import Keys
from onlinesvm.readers.reader import Reader
from tests.columns import labels_of

TABLE = b"name,label,age,height\nann,1,31,1.5\nbob,0,,.5\n"
SAMPLES = [(b"1", {b"age": 31.0, b"height": 1.5}), (b"0", {b"height": 0.5})]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def read(
    path: Path, content: bytes, **options: Any
) -> list[tuple[bytes | None, dict[bytes, float]]]:
    path.write_bytes(content)
    found = []
    options.setdefault("keys", Keys(id="name"))
    options.setdefault("label_column", "label")
    with Reader(path, **options) as reader:
        for batch in reader:
            features = list(zip(batch.names, batch.values, strict=True))
            for i, label in enumerate(labels_of(batch)):
                found.append((label, dict(features[batch.indptr[i] : batch.indptr[i + 1]])))
    return found


@pytest.mark.parametrize("block_bytes", [1, 7, 2**18])
def test_columns_are_features(path: Path, block_bytes: int) -> None:
    options: dict[str, Any] = {"_block_bytes": block_bytes}
    assert read(path, TABLE, **options) == SAMPLES
    assert read(path, TABLE.replace(b"\n", b"\r\n"), **options) == SAMPLES
    assert read(path, b"\xef\xbb\xbf# made by us\n\n" + TABLE, **options) == SAMPLES
    assert read(path, TABLE.replace(b",", b"\t"), **options) == SAMPLES
    quoted = b'"name","label","age","height"\n"a,n",1,"31",1.5\n"b""ob",0,,.5\n'
    assert read(path, quoted, **options) == SAMPLES


def test_a_tab_separates_in_files_named_so(tmp_path: Path) -> None:
    content = b"label\n1\n0\n"
    assert read(tmp_path / "t.tsv", content) == [(b"1", {}), (b"0", {})]
    named = b"label\ta,b\n1\t5\n"
    assert read(tmp_path / "t.tsv", named) == [(b"1", {b"a,b": 5.0})]


def test_ids_are_a_column(path: Path) -> None:
    path.write_bytes(TABLE.replace(b"ann", b"a\xff"))
    with Reader(path, ids=True, keys=Keys(id="name"), label_column="label") as reader:
        next(iter(reader))
        assert reader.ids == [b"a\xff", b"bob"]


def test_a_header_of_many_columns_is_read_in_time_linear_in_them(path: Path) -> None:
    header = b",".join((b"label", *(b"%d" % i for i in range(500_000))))
    row = b"1,2" + b"," * 499_999
    assert read(path, header + b"\n" + row + b"\n") == [(b"1", {b"0": 2.0})]


def test_without_a_column_of_labels_all_are_features(path: Path) -> None:
    content = b"age,height\n31,1.5\n"
    assert read(path, content, labelled=False) == [(None, SAMPLES[0][1])]
    assert read(path, content, labelled=False, label_column=None, format="csv") == [
        (None, SAMPLES[0][1])
    ]
    with Reader(path, labelled=False, label_column="label") as reader:
        reader.begin()
        assert list(reader.notes) == ['no column "label": the samples have no labels']


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", 'line 1: expected a column "label" of labels (--label-column names it), '
         'got "a", "b"'),
        (b"\na,b,c,d,e,f,g,h,i\n", 'line 2: expected a column "label" of labels (--label-column '
         'names it), got "a", "b", "c", "d", "e", "f", "g", "h", …'),
        (b",label\n0,1\n", "line 1: expected a name for every column, got none for column 1 of 2"
         " (pandas leaves its index out by: to_csv(index=False))"),
        (b"label,a,a\n", 'line 1: expected each column once, got "a" twice'),
        (b'label,"a\n', 'line 1: expected cells separated by ",", each quote closed on its line,'
         " got a fault: unexpected end of data"),
        (b'label,a\n1,2\n1,"3\n4"\n', 'line 3: expected cells separated by ",", each quote'
         " closed on its line, got a fault: unexpected end of data"),
        (b"label,city\n1,Rome\n", 'line 2: expected a number, got "Rome" in the column "city"'
         " (text is not read as a feature yet)"),
        (b"label,a\n1,2\n1\n", "line 3: expected 2 cells, as in the header, got 1"),
    ],
)  # fmt: skip
def test_faults(path: Path, content: bytes, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(path, content)
    assert str(caught.value) == f"{path}, {message}"


def test_a_header_cannot_be_skipped(path: Path) -> None:
    with pytest.raises(FormatError, match="line 1: expected a column"):
        read(path, b"a,b\n1,2\n", skip_bad=True)


def test_a_table_without_lines_has_no_samples(path: Path) -> None:
    assert read(path, b"label,a\n") == []
    assert read(path, b"") == []
