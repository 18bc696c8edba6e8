"""The format of a file, by its first lines."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from onlinesvm.config import Limits
from onlinesvm.errors import FormatError
from onlinesvm.readers.detect import detect
from onlinesvm.readers.reader import Reader
from onlinesvm.readers.tokens import LineError
from tests.columns import labels_of

UNKNOWN = "unknown"


def known(text: bytes, *, labelled: bool) -> str:
    try:
        return detect(text.split(b"\n"), labelled=labelled)
    except LineError:
        return UNKNOWN


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"+1\t1:0.5\t7:1", "svmlight"),
        (b"1 a:1 # x\ty", "svmlight"),
        (b"1 a:1 # x | y", "svmlight"),
        (b"1 qid:3 a:1", "svmlight"),
        (b"spam a:1", "svmlight"),
        (b"a:1 b:2", "svmlight"),
        (b"1 a:x b:2", "svmlight"),
        (b"1 a:nan", "svmlight"),
        (b"1\n-1\n1 a:1", "svmlight"),
        (b"1 a:1\n1 abc", "svmlight"),
        (b"1 a|b:1 c:1\n1 d:1\n1 e:1", "svmlight"),
        (b"1\t|n a", "vw"),
        (b"1\t0.5 'tag|n a", "vw"),
        (b"| free prize", "vw"),
        (b"1 | a:1", "vw"),
        (b"1 |n:2 a:1", "vw"),
        (b"spam|", "vw"),
        (b' {"a":"\t|"}', "json"),
        (b"{", "json"),
        (b"[", "json"),
        (b'[ {"label":1}', "json"),
        (b"spam\tNow | here", "text"),
        (b"spam\tat 10:30", "text"),
        (b"[spam]\ttext", "text"),
        (b"\t1 a:1", "text"),
        (b"1\tone, two\n0\tthree", "text"),
        (b"1\t2:3\n0\tat 5\n1\tin 7", "text"),
        (b"__label__x 1 a:1", "fasttext"),
        (b"__label__x | text", "fasttext"),
    ],
)
def test_a_line_says_its_format(text: bytes, kind: str) -> None:
    assert known(text, labelled=True) == kind
    assert known(text, labelled=False) == kind


@pytest.mark.parametrize(
    "text",
    [
        b'{\n  "label": 1,\n  "id": 7,\n  "features": [\n    "a"\n  ]\n}',
        b'{"id": 7,\n "x": 1,\n "label": 1,\n "features": ["a"]}',
        b'[{\n  "label": 1,\n  "features": [\n    "a",\n    "b"\n  ]\n}]',
        b"  [\r\n  a free word\n  another one\n",
    ],
)
def test_json_over_several_lines_is_json_and_no_text(text: bytes) -> None:
    assert known(text, labelled=True) == known(text, labelled=False) == "json"


@pytest.mark.parametrize("text", [b"{a} text, of braces\nb c\nd e", b"[a] text,\nb c\nd e"])
def test_text_may_begin_with_a_brace(text: bytes) -> None:
    assert known(text, labelled=False) == "text"


@pytest.mark.parametrize(
    "text",
    [
        b"free", b"free prize", b"see http://a.b/c", b"Note: this", b"Free, prize, now",
        b"free\nprize",
        b"dear Bob, come\nat, 5", b"3, 4\nfoo, 5\nbar, 6",
        b"it is 10:30\nas I said\nbefore | after\nthis and that", b"-- ?",
    ],
)  # fmt: skip
def test_text_without_labels_is_read_only_where_labels_are_optional(text: bytes) -> None:
    assert known(text, labelled=True) != "text"
    assert known(text, labelled=False) == "text"


@pytest.mark.parametrize("text", [b"1", b"-1\n+1", b"5.", b" 7 "])
def test_bare_numbers_are_of_no_format(text: bytes) -> None:
    """Labels without features, or texts?"""
    assert known(text, labelled=True) == UNKNOWN
    assert known(text, labelled=False) == UNKNOWN


@pytest.mark.parametrize(
    "text",
    [b"y,a\n1,0.5\n0,2", b"1,0.5,3", b"1\t0.5\t3\n0\t1\t", b"y\ta\tb\n1\t2\t3",
     b"y,len,colour\nspam,3,red\nham,5,blue"],  # most cells are text, one column is numbers
)  # fmt: skip
def test_a_table_is_refused_with_the_flag_that_reads_it(text: bytes) -> None:
    with pytest.raises(LineError, match=r"got a table's, .*: --label-column NAME reads it"):
        detect(text.split(b"\n"), labelled=True)
    with pytest.raises(LineError, match="--format csv reads it, with --label-column NAME for"):
        detect(text.split(b"\n"), labelled=False)


def test_a_long_line_is_known_by_its_start() -> None:
    assert detect([b"1 " + b"name:1 " * 100_000], labelled=True) == "svmlight"
    assert detect([b"1 | " + b"x" * 100_000], labelled=True) == "vw"
    assert detect([b"spam\t" + b"x" * 100_000], labelled=True) == "text"


# Files ----------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "input"


def names(path: Path, content: bytes, **options: object) -> list[bytes]:
    path.write_bytes(content)
    with Reader(path, **options) as reader:  # type: ignore[arg-type]
        return [name for batch in reader for name in batch.names]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"# c\n1 a:1\n", [b"a"]),
        (b"# c\n\n# d\n1 | a\n", [b"a"]),
        (b"# c\n1\ta\n", [b"a"]),
        (b"#x\ta\n1\tb\n", [b"a", b"b"]),
        (b'# c\n{"label":1,"features":["a"]}\n', [b"a"]),
        (b"# c\n__label__1 a\n", [b"a"]),
    ],
)
def test_lines_of_comment_before_the_first_sample_are_passed_over(
    path: Path, content: bytes, found: list[bytes]
) -> None:
    for block_bytes in (1, 5, 2**18):
        assert names(path, content, labelled=False, _block_bytes=block_bytes) == found


def test_texts_that_begin_with_a_hash_are_samples(path: Path) -> None:
    found = names(path, b"#free prize\nnow\n", labelled=False, format="text")
    assert found == [b"free", b"prize", b"now"]
    with pytest.raises(FormatError, match="--format text reads them"):
        names(path, b"#free prize\n", labelled=False)


def test_later_lines_of_comment_are_errors_where_the_format_has_none(path: Path) -> None:
    with pytest.raises(FormatError, match=r'line 2: expected "\|" before the features'):
        names(path, b"1 | a\n# c\n")


@pytest.mark.parametrize("header", [b"label\ttext", b"Class\tmessage", b"y\tx", b"target\t"])
def test_a_header_of_labelled_text_is_no_sample(path: Path, header: bytes) -> None:
    content = b"\n" + header + b"\n1\ta\n0\tb\n"
    for block_bytes in (1, 5, 2**18):
        assert names(path, content, labelled=False, _block_bytes=block_bytes) == [b"a", b"b"]
        assert names(path, content, format="text", _block_bytes=block_bytes) == [b"a", b"b"]
    with Reader(path) as reader:
        assert labels_of(next(iter(reader))) == [b"1", b"0"]
        assert list(reader) == []
        assert reader.lines == 4
        assert reader.notes[0] == "read as text (label<TAB>text)"
        assert reader.notes[1].startswith("line 2, ")
        assert reader.notes[1].endswith(", is a header and no sample")


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (b"y\ta\nn\tb\ny\tc\n", {"positive": "n"}),
        (b"y\ta\nn\tb\n", {"positive": "y"}),
        (b"label\ta\n", {"positive": "x"}),
        (b"spam\ta\nham\tb\n", {"positive": "x"}),
    ],
)
def test_a_first_sample_is_no_header(path: Path, content: bytes, options: dict[str, str]) -> None:
    assert len(names(path, content, **options)) == content.count(b"\n")


@pytest.mark.parametrize("blank", [b"\n", b"# c\n", b"#" + b"x" * 999 + b"\n"])
def test_the_first_sample_may_come_late(path: Path, blank: bytes) -> None:
    for sample in (b"1 | a\n", b"1\ta\n", b"1 a:1\n"):
        path.write_bytes(blank * 300 + sample)
        with Reader(path, _block_bytes=2**12) as reader:
            (batch,) = reader
            assert list(batch.names) == [b"a"]
            assert reader.lines == 301


def test_a_file_without_a_sample_is_not_held_in_memory(path: Path) -> None:
    path.write_bytes(b"\n" * 2**25)
    with pytest.raises(FormatError, match="expected a sample in the first 16 MiB, got none"):
        names(path, b"\n" * 2**25)


# Pipes ----------------------------------------------------------------------------------------


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pipe to stdin: the file descriptor to write to. It is closed at the deadline."""
    reading, writing = os.pipe()
    deadline = threading.Timer(20, os.close, [writing])
    deadline.start()
    with io.TextIOWrapper(io.BufferedReader(io.FileIO(reading))) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield writing
    assert deadline.is_alive()
    deadline.cancel()
    os.close(writing)


@pytest.mark.parametrize("labelled", [True, False])
def test_a_line_that_is_too_long_is_an_error_before_its_end(piped: int, labelled: bool) -> None:
    given = b"# c\n" + b"x" * 3000
    os.write(piped, given)
    with (
        Reader("-", labelled=labelled, limits=Limits(max_message_bytes=2000)) as reader,
        pytest.raises(FormatError, match="stdin, line 2: expected at most 2000 bytes a line"),
    ):
        list(reader)


@pytest.mark.parametrize(
    ("given", "kind", "options"),
    [
        (b"1 a:1\n", "svmlight", {}),
        (b"1\n# x\n1 a:1\n", "svmlight", {}),
        (b"| a\n", "vw", {}),
        (b"a\n", "text", {}),
        (b"1\n", "text", {"format": "text"}),
        (b"label\ttext\n1\ta\n", "text", {}),
        (b"y,a\n1,2\n", "csv", {"label_column": "y"}),
        (b"B\n", "text", {}),  # as bzip2 begins
    ],
)
def test_a_pipe_is_read_no_further_than_the_first_line_that_decides(
    piped: int, given: bytes, kind: str, options: dict[str, str]
) -> None:
    os.write(piped, given)
    with Reader("-", labelled=False, **options) as reader:  # type: ignore[arg-type]
        reader.begin()
        assert reader.format == kind
        assert len(next(iter(reader))) >= 1
