"""Spans of files: every line in one of them, once, and read as in the whole file."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.errors import ConfigError, FormatError
from onlinesvm.readers.reader import Reader
from onlinesvm.readers.spans import SpanBlocks, can_be_cut, lines_before, offset_of_line
from onlinesvm.readers.tokens import LineError


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spans") / "lines"


def joined(blocks: SpanBlocks) -> bytes:
    parts = list(blocks)
    blocks.close()
    assert not any(isinstance(part, LineError) for part in parts)
    return b"".join(part for part in parts if isinstance(part, bytes))


@given(
    text=st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r\n", b"12345"])).map(b"".join),
    cuts=st.lists(st.integers(0, 60), max_size=5).map(sorted),
    block_bytes=st.integers(1, 9),
)
def test_every_line_lies_in_one_span_however_the_file_is_cut(
    file: Path, text: bytes, cuts: list[int], block_bytes: int
) -> None:
    file.write_bytes(text)
    spans = [*pairwise([0, *cuts, 2**40])]
    parts = [SpanBlocks(file, *span, max_line_bytes=100, block_bytes=block_bytes) for span in spans]
    found = [joined(part) for part in parts]
    assert b"".join(found) == text
    for (start, end), part, lines in zip(spans, parts, found, strict=True):
        if lines:
            assert start <= part.first < end
            assert text[part.first :].startswith(lines)
            assert part.first == 0 or text[part.first - 1 : part.first] == b"\n"
            assert lines_before(file, part.first) == text[: part.first].count(b"\n")


@given(text=st.lists(st.sampled_from([b"\n", b"a"])).map(b"".join), line=st.integers(1, 9))
def test_the_offset_of_a_line_is_after_the_lines_before(file: Path, text: bytes, line: int) -> None:
    file.write_bytes(text)
    lines = text.splitlines(keepends=True)
    assert offset_of_line(file, line) == len(b"".join(lines[: line - 1]))


@given(cut=st.integers(0, 60))
def test_a_table_has_its_header_in_every_span(file: Path, cut: int) -> None:
    table = b"label,len\nspam,1\nham,22\nspam,333\nham,4\n"
    file.write_bytes(table)
    found = []
    for span in ((0, cut), (cut, 2**40)):
        with Reader(file, label_column="label", span=span) as reader:
            for batch in reader:
                labels = [str(batch.label_table[i]) for i in batch.label_ids]
                found += list(zip(labels, batch.values, strict=True))
    assert found == [("spam", 1.0), ("ham", 22.0), ("spam", 333.0), ("ham", 4.0)]


def test_the_format_is_that_of_the_start_of_the_file(file: Path) -> None:
    file.write_bytes(b"1 a:1\n" * 3 + b"0 |\n")  # the last line alone would be VW's
    with Reader(file, span=(18, 22)) as reader, pytest.raises(FormatError, match="line 4"):
        list(reader)
    assert reader.format == "svmlight"


def test_bad_lines_have_their_number_in_the_file(file: Path) -> None:
    file.write_bytes(b"1 a:1\n0 b:1\nx\n1 a:x\n")
    with Reader(file, span=(6, 99), skip_bad=True) as reader:
        assert sum(map(len, reader)) == 2
    assert reader.first_skipped is not None
    assert (reader.first_skipped.line, reader.skipped) == (4, 1)


def test_a_byte_order_mark_belongs_to_no_line(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf1 a:1\n")
    with Reader(file, span=(0, 99)) as reader:
        (batch,) = reader
    assert str(batch.label_table[0]) == "1"


@pytest.mark.parametrize(
    "text",
    [gzip.compress(b"1 a:1\n"), b"BZh9", "1 a:1\n".encode("utf-16"), b"1 a:1\r0 b:1\r"],
    ids=["gzip", "bzip2", "UTF-16", "carriage returns"],
)
def test_a_file_that_cannot_be_cut_is_refused(file: Path, text: bytes) -> None:
    file.write_bytes(text)
    assert not can_be_cut(file)
    with pytest.raises(ConfigError, match="span: expected a plain text file of UTF-8, got"):
        SpanBlocks(file, 0, 9, max_line_bytes=9)
