"""Pairs from files: JSON lines, and svmlight by query."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.errors import ConfigError, FormatError
from onlinesvm.readers.pairs import PairReader
from tests.logs import scratch


def read(text: str, folder: Path, **options: Any) -> list[list[Any]]:
    """The pairs in a file, as a learn request has them."""
    path = folder / "pairs"
    path.write_text(text)
    with PairReader(path, **{"limits": Limits(), **options}) as reader:
        return [pair for batch in reader for pair in msgpack.unpackb(batch.learned)]


QUERIES = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 3)), max_size=14
)  # whether a new query begins, and the grade


@given(lines=QUERIES, most=st.integers(1, 40))
def test_a_query_makes_all_pairs_of_unequal_grades_up_to_the_most(
    lines: list[tuple[int, int]], most: int
) -> None:
    queries: list[list[tuple[int, str]]] = [[]]
    text = ""
    for i, (is_new, grade) in enumerate(lines):
        if is_new:
            queries.append([])
        queries[-1].append((grade, f"f{i}"))
        text += f"{grade} qid:{len(queries)} f{i}:1\n"
    expected = []
    for items in queries:
        every = [
            [[max(items[i], items[j])[1]], [min(items[i], items[j])[1]]]
            for j in range(len(items))
            for i in range(j)
            if items[i][0] != items[j][0]
        ]
        if len(every) > most:
            every = [every[k * len(every) // most] for k in range(most)]
        expected += every
    with scratch() as folder:
        assert read(text, folder, max_pairs_per_query=most, batch_samples=3) == expected


def test_json_lines_have_two_items_each(tmp_path: Path) -> None:
    model = OnlineSVM(task="ranking")
    text = (
        '{"better": ["a"], "worse": {"b": 1.5, "c": 0}}\n\n'
        '{"better": "clear text", "worse": {"from": "ann"}, "importance": 2, "id": 7}\n'
    )
    assert read(text, tmp_path, extractor=model.extractor) == [
        [["a"], {"b": 1.5}],
        ["clear text", {"from": "ann"}, 2.0],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 qid:1 a:1\nx qid:1 b:1\n", "line 2: expected a grade, a number, got "),
        ("1 a:1\n", "line 1: expected qid:N, the number of the query, got none"),
        ("1 qid: a:1\n", "line 1: expected qid:N"),
        ("1 qid:1 a:b\n", "line 1: expected a number"),
        ("1 qid:1 a:1e60\n", "line 1: expected .*1e60"),
        ('{"better": ["a"]}\n', 'line 1: expected the keys "better" and "worse", got "better"'),
        ('{"better": 1, "worse": ["a"]}\n', "line 1: expected features as an array"),
        ('\n{"better": ["a"], "worse": ["b"], "importance": -1}\n', "line 2: expected an import"),
    ],
)
def test_a_bad_line_is_named_or_skipped(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(text, tmp_path)
    path = tmp_path / "pairs"
    with PairReader(path, limits=Limits(), skip_bad=True) as reader:
        assert list(reader) == []
    assert reader.skipped == 1 and message.partition(":")[0] in str(reader.first_skipped)


def test_other_formats_and_bounds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="format: expected json or svmlight for pairs, got 'vw'"):
        read("", tmp_path, format="vw")
    with pytest.raises(ConfigError, match="max_pairs_per_query: expected an integer from 1, got 0"):
        read("", tmp_path, max_pairs_per_query=0)
    assert read("", tmp_path) == []


def test_a_query_of_too_many_items_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onlinesvm.readers.pairs.MOST_ITEMS", 2)
    with pytest.raises(FormatError, match="line 3: expected at most 2 items a query, got more"):
        read("1 qid:1 a:1\n2 qid:1 b:1\n3 qid:1 c:1\n", tmp_path)
