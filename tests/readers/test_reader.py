"""Files → batches: blocks, gzip, stdin, bad lines, line numbers."""

import gzip
import io
import json
import os
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onlinesvm.config import Limits
from onlinesvm.data.batch import BatchColumns
from onlinesvm.errors import ConfigError, FormatError
from onlinesvm.kernel.contract import Kernel
from onlinesvm.readers import reader as formats
from onlinesvm.readers.labels import Labels
from onlinesvm.readers.parsing import Room
from onlinesvm.readers.reader import NAMES, Reader
from onlinesvm.readers.svmlight import SvmlightParser
from tests.columns import labels_of

FILES = {
    "svmlight": b"+1 a:1 b:2.5\n\n-1 # none\n0 c:3\n",
    "vw": b"1 |n a b:2.5\n\n-1 0.5 |\n0 'tag | c:3\n",
    "json": b'{"label":1,"features":["a","b"]}\n\n{"label":-1,"features":{}}\n'
    b'{"label":0,"features":{"c":3},"importance":2}\n',
    "text": b"1\ta b\n\n-1\t\n0\tc d\n",
    "fasttext": b"__label__1 a b\n\n__label__-1\n__label__0 c d\n",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats") / "input"


@pytest.fixture(scope="module", autouse=True)
def _reading_for(kernel: Kernel) -> Iterator[None]:
    """Readers read for each kernel in turn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONLINESVM_KERNEL", kernel.NAME)
        yield


def columns(batch: BatchColumns) -> tuple[list[Any], ...]:
    return (
        labels_of(batch), list(batch.importances), list(batch.indptr), list(batch.names),
        list(batch.values),
    )  # fmt: skip


class Reading:
    """Everything that came of reading a file to its end or its error."""

    def __init__(self, path: Path, content: bytes | None = None, **options: Any) -> None:
        if content is not None:
            path.write_bytes(content)
        self.batches: list[tuple[list[Any], ...]] = []
        self.error: tuple[str, int] | None = None
        with Reader(path, **options) as reader:
            try:
                for batch in reader:
                    assert len(batch) > 0
                    self.batches.append(columns(batch))
                    assert reader.samples == sum(len(batch[0]) for batch in self.batches)
            except FormatError as error:
                assert error.source == str(path)
                assert error.line == reader.lines
                self.error = (error.message, error.line)
            else:
                assert reader.bytes_read == reader.total_bytes == path.stat().st_size
        self.format, self.lines, self.skipped = reader.format, reader.lines, reader.skipped
        self.labels = [label for batch in self.batches for label in batch[0]]
        self.names = [name for batch in self.batches for name in batch[3]]

    def samples(self) -> dict[str, Any]:
        """All but which samples came in one batch."""
        return vars(self) | {
            "batches": [
                (label, importance, names[start:end], values[start:end])
                for labels, importances, indptr, names, values in self.batches
                for label, importance, (start, end) in zip(
                    labels, importances, pairwise(indptr), strict=True
                )
            ]
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reading) and self.samples() == other.samples()


# Whole files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FILES)
def test_the_format_is_found_out(place: Path, kind: str) -> None:
    found = Reading(place, FILES[kind])
    assert found.format == kind
    assert found.error is None
    assert found.labels == [b"1", b"-1", b"0"]
    assert found.lines == 4
    assert found == Reading(place, format=kind)


def test_a_format_that_is_given_is_not_found_out(place: Path) -> None:
    assert Reading(place, b"1\t| a\tb\n", format="vw").names == [b"a", b"b"]
    assert Reading(place, b'1 {"a:1\n', format="svmlight").names == [b'{"a']


GUESS = " (read as svmlight; --format names another)"


def test_a_guess_is_named_in_every_error(place: Path) -> None:
    for content, at in ((b"1 abc:d\n1 a:1\n", 1), (b"1 a:1\nhello you\n", 2)):
        message, line = Reading(place, content).error or ("", 0)
        assert message.endswith(GUESS)
        assert line == at
        message, line = Reading(place, content, format="svmlight").error or ("", 0)
        assert message
        assert "read as" not in message
        with Reader(place, skip_bad=True) as reader:
            assert len(next(iter(reader))) == 1
            assert str(reader.first_skipped).endswith(GUESS)


def test_a_file_of_no_known_format_is_refused_with_the_formats(place: Path) -> None:
    for skip_bad in (False, True):
        message, line = Reading(place, b"\n# x\nhello world\n", skip_bad=skip_bad).error or ("", 0)
        assert message.startswith('expected a line of a known format, got "hello world"; the')
        assert message.endswith("; --format names one")
        assert all(f"{name} (" in message for name in NAMES)
        assert line == 3


def test_the_message_names_source_line_and_fault(place: Path) -> None:
    place.write_bytes(b"1 a:1\n1 abc\n")
    with Reader(place) as reader, pytest.raises(FormatError) as caught:
        list(reader)
    assert str(caught.value) == f'{place}, line 2: expected id:value, got "abc"{GUESS}'


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n \n\t\n", b"\xef\xbb\xbf", b"\n  "])
def test_an_input_without_samples_gives_no_batch(place: Path, content: bytes) -> None:
    found = Reading(place, content)
    assert found.batches == []
    assert found.error is None
    assert found.format is None
    assert found.lines == len(content.removeprefix(b"\xef\xbb\xbf").splitlines())


@pytest.mark.parametrize("kind", FILES)
def test_line_ends_byte_order_mark_and_missing_last_newline(place: Path, kind: str) -> None:
    plain = Reading(place, FILES[kind])
    assert plain == Reading(place, FILES[kind].replace(b"\n", b"\r\n"))
    assert plain == Reading(place, b"\xef\xbb\xbf" + FILES[kind])
    assert plain == Reading(place, FILES[kind].removesuffix(b"\n"))


@pytest.mark.parametrize("kind", FILES)
def test_gzip_by_its_first_bytes_whatever_the_name(tmp_path: Path, place: Path, kind: str) -> None:
    plain = Reading(place, FILES[kind])
    for name in ("data.gz", "data"):
        assert plain == Reading(tmp_path / name, gzip.compress(FILES[kind]))


def test_gzip_members_and_padding(place: Path) -> None:
    first, second = b"1 a:1\n-1 b", b":1\n1 c:1\n"
    packed = gzip.compress(first) + gzip.compress(b"") + gzip.compress(second) + b"\0" * 100
    for block_bytes in (1, 7, 2**20):
        found = Reading(place, packed, _block_bytes=block_bytes)
        assert found.names == [b"a", b"b", b"c"]


def test_batches_are_full(place: Path) -> None:
    found = Reading(place, b"1 a:1 b:1\n" * 10, batch_samples=4)
    assert [len(batch[0]) for batch in found.batches] == [4, 4, 2]
    assert found.batches[2][2] == [0, 2, 4]


def test_batches_of_wide_samples_end_early(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_BATCH_FEATURES", 5)
    found = Reading(place, b"1 a:1 b:1\n" * 7)
    assert [len(batch[0]) for batch in found.batches] == [3, 3, 1]


def test_batches_of_long_names_end_early(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_BATCH_NAME_BYTES", 12)
    found = Reading(place, b"1 |ns a b:0 |x yz\n" * 5)
    assert [len(batch[0]) for batch in found.batches] == [2, 2, 1]


def test_a_batch_ends_where_a_block_ends(place: Path) -> None:
    found = Reading(place, b"1 a:1 b:1\n" * 10, batch_samples=4, _block_bytes=60)
    assert [len(batch[0]) for batch in found.batches] == [4, 2, 4]


def test_labels_to_predict(place: Path) -> None:
    found = Reading(place, b"a:1\n1 b:1\n?? c:1\n", labelled=False)
    assert found.labels == [None, b"1", b"??"]
    assert found.names == [b"a", b"b", b"c"]


def test_labels_of_any_text(place: Path) -> None:
    found = Reading(place, b"spam\ta\nham\tb\nscam\tc\n")
    assert found.labels == [b"spam", b"ham", b"scam"]
    found = Reading(place, b"0 a:1\n-.5 a:1\n7 a:1\n", positive=[">0"])
    assert found.labels == [b"0", b"-1", b"7"]


@pytest.mark.parametrize("kind", FILES)
def test_only_labels_are_read_where_no_more_is_wanted(place: Path, kind: str) -> None:
    place.write_bytes(FILES[kind])
    with Reader(place) as whole, Reader(place, only_labels=True) as labels:
        read, only = next(iter(whole)), next(iter(labels))
    assert labels_of(only) == labels_of(read)
    assert (list(only.names), list(only.indptr)) == ([], [0, 0, 0, 0])


@pytest.mark.parametrize(
    ("kind", "content"),
    [("svmlight", b"+1 a:x\n-1 :2 # none\n"), ("vw", b"1 | a:x\n-1 0.5 |n :2\n")],
)
def test_where_only_labels_are_read_faults_of_features_pass(
    place: Path, kind: str, content: bytes
) -> None:
    place.write_bytes(content)
    with Reader(place, format=kind, only_labels=True) as reader:
        assert [labels_of(batch) for batch in reader] == [[b"1", b"-1"]]
    place.write_bytes(content + b"a:1\n")
    with (
        pytest.raises(FormatError, match="before the features"),
        Reader(place, only_labels=True) as reader,
    ):
        list(reader)


@pytest.mark.parametrize("block_bytes", [1, 9, 2**18])
@pytest.mark.parametrize("kind", FILES)
def test_the_line_of_a_sample(place: Path, kind: str, block_bytes: int) -> None:
    content = FILES[kind].replace(b"\n", b"\n\n1 }\n", 1) + FILES[kind]
    place.write_bytes(content)
    lines: list[int] = []
    with Reader(place, format=kind, skip_bad=True, _block_bytes=block_bytes) as reader:
        for batch in reader:
            lines += [reader.line_of(i) for i in range(len(batch))]
    assert lines == [1, 5, 6, 7, 9, 10]


def test_a_reader_reads_once_and_goes_on_where_it_stopped(place: Path) -> None:
    place.write_bytes(b"1 a:1\n1 b:1\n")
    with Reader(place, batch_samples=1) as reader:
        for batch in reader:
            assert batch.names == [b"a"]
            break
        assert [batch.names for batch in reader] == [[b"b"]]
        assert list(reader) == []


def test_a_closed_reader_gives_nothing_more(place: Path) -> None:
    place.write_bytes(b"1 a:1\n1 b:1\n")
    reader = Reader(place, batch_samples=1)
    assert next(iter(reader)).names == [b"a"]
    reader.close()
    assert list(reader) == []


# The same whatever the blocks -----------------------------------------------------------------

LINES = st.lists(
    st.sampled_from(
        [
            b"1 a:1",
            b"-1 b:2 c:1",
            b"0",
            b"",
            b"  ",
            b"1 a:1\r",
            b"# x",
            b"bad 1",
            b"1 " + b"x:1 " * 9,
        ]
    ),
    max_size=12,
)
SHORT = Limits(max_message_bytes=20)


@given(LINES, st.integers(1, 64), st.integers(1, 4), st.booleans(), st.booleans(), st.booleans())
@example([b"{" * 21, b"1 a:1"], 1, 1, True, False, False)
def test_any_block_size_reads_the_same(
    place: Path,
    lines: list[bytes],
    block_bytes: int,
    batch_samples: int,
    skip_bad: bool,
    ends: bool,
    packed: bool,
) -> None:
    content = b"\n".join(lines) + b"\n" * ends
    options: dict[str, Any] = {
        "limits": SHORT,
        "batch_samples": batch_samples,
        "skip_bad": skip_bad,
    }
    options["format"] = "svmlight"
    whole = Reading(place, content, **options)
    content = gzip.compress(content, mtime=0) if packed else content
    assert Reading(place, content, _block_bytes=block_bytes, **options) == whole

    bad = [i for i, line in enumerate(lines, 1) if line == b"bad 1" or len(line) > 20]
    if skip_bad:
        assert whole.error is None
        assert whole.skipped == len(bad)
        assert whole.lines == len(content_lines(lines, ends))
    else:
        assert whole.skipped == 0
        assert (whole.error and whole.error[1]) == (bad[0] if bad else None)
    seen = lines if skip_bad or not bad else lines[: bad[0] - 1]
    good = [line for line in seen if line[:1] in (b"1", b"-", b"0") and len(line) <= 20]
    assert whole.labels == [line.split(b" ")[0].strip() for line in good]


def content_lines(lines: list[bytes], ends: bool) -> list[bytes]:
    """Every line counts, except an empty last one without an end."""
    return lines[:-1] if lines and not lines[-1] and not ends else lines or [b""] * ends


@pytest.mark.parametrize("kind", FILES)
def test_every_block_size_for_every_format(place: Path, kind: str) -> None:
    whole = Reading(place, FILES[kind])
    for block_bytes in range(1, len(FILES[kind]) + 2):
        assert Reading(place, _block_bytes=block_bytes) == whole


def test_a_block_is_parsed_up_to_its_first_bad_line(kernel: Kernel) -> None:
    parser, room = SvmlightParser(Labels(), Limits()), Room(2, 100, 100)
    block = b"1 a:1\n\n1 _\n1 b:1\n1 c:1\n1 d:1"
    first = kernel.parse_block(parser, block, 0, room)
    assert first.batch.names == [b"a"]
    assert (first.end, first.lines, list(first.skipped)) == (11, 3, [])
    assert str(first.fault).startswith("expected id:value")
    second = kernel.parse_block(parser, block, first.end, room)
    assert second.batch.names == [b"b", b"c"]
    assert (second.end, second.lines, second.fault) == (23, 2, None)  # full
    third = kernel.parse_block(parser, block, second.end, room)
    assert third.batch.names == [b"d"]
    assert (third.end, third.lines, third.fault) == (len(block), 1, None)
    passed = kernel.parse_block(parser, block, 0, room, skip_bad=True)
    assert passed.batch.names == [b"a", b"b"]
    assert (passed.end, passed.lines, passed.fault, passed.ids) == (17, 4, None, None)
    assert list(passed.skipped) == [1]
    assert passed.first_fault is not None
    assert passed.first_fault[0] == 3


# Bad lines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FILES)
def test_the_samples_before_a_bad_line_come_first(place: Path, kind: str) -> None:
    content = FILES[kind] + b"1 }\n" + FILES[kind]
    found = Reading(place, content)
    assert found.labels == [b"1", b"-1", b"0"]
    assert found.error is not None
    assert found.error[1] == 5


@pytest.mark.parametrize("kind", FILES)
def test_bad_lines_are_skipped_and_counted(place: Path, kind: str) -> None:
    found = Reading(place, FILES[kind] + b"1 }\n\n1 }\r\n" + FILES[kind], skip_bad=True)
    assert found.labels == [b"1", b"-1", b"0"] * 2
    assert found.skipped == 2
    assert found.lines == 11
    assert found.error is None


@pytest.mark.parametrize("block_bytes", [1, 6, 13, 2**20])
@pytest.mark.parametrize("batch_samples", [1, 2, 100])
def test_samples_and_bad_lines_join_to_the_input(
    place: Path, block_bytes: int, batch_samples: int
) -> None:
    """An id a sample and a gap a bad line, in the order of the lines."""
    lines = [b"?", b"1 'a| x", b"?", b"?", b"1 'b| x", b"", b"?", b"1 c| x", b"1 | x", b"?", b"?"]
    place.write_bytes(b"\n".join(lines))
    joined: list[bytes] = []
    with Reader(
        place, format="vw", skip_bad=True, ids=True, batch_samples=batch_samples,
        _block_bytes=block_bytes,
    ) as reader:  # fmt: skip
        for batch in reader:
            assert reader.ids is not None
            assert len(reader.ids) == len(batch)
            for i, id in enumerate(reader.ids):
                joined += [b"-"] * reader.gaps.get(i, 0) + [id]
            assert max(reader.gaps, default=0) < len(batch)
        joined += [b"-"] * reader.gaps.get(0, 0)
        assert reader.skipped == 6
        assert reader.first_skipped is not None
        assert reader.first_skipped.line == 1
    assert joined == [b"-", b"a", b"-", b"-", b"b", b"-", b"c", b"", b"-", b"-"]


def test_ids_are_kept_only_if_asked_for(place: Path) -> None:
    place.write_bytes(b"1 'a| x\n")
    with Reader(place) as reader:
        next(iter(reader))
        assert reader.ids is None


def test_a_line_above_the_bound(place: Path) -> None:
    longest, longer = b"1 " + b"x" * 16 + b":1", b"1 " + b"x" * 17 + b":1"
    for block_bytes in (1, 5, 2**20):
        options: dict[str, Any] = {"limits": SHORT, "_block_bytes": block_bytes}
        assert Reading(place, longest, **options).error is None
        found = Reading(place, b"1 a:1\n" + longer + b"\n1 b:1\n", **options)
        assert found.names == [b"a"]
        assert found.error == ("expected at most 20 bytes a line, got more" + GUESS, 2)
        skipped = Reading(
            place, b"1 a:1\n" + longer + b"\n1 b:1\n" + longer, skip_bad=True, **options
        )
        assert skipped.names == [b"a", b"b"]
        assert (skipped.skipped, skipped.lines) == (2, 4)


def test_a_line_without_end_takes_no_memory(place: Path) -> None:
    """64 MiB of one line in a small gzip file, refused or passed over in a few blocks' memory."""
    with gzip.open(place, "wb", compresslevel=1) as file:
        file.write(b"1 a:1\n")
        for _ in range(64):
            file.write(b"x" * 2**20)
        file.write(b"\n1 b:1\n")
    options: dict[str, Any] = {"limits": Limits(max_message_bytes=2**20), "_block_bytes": 2**18}
    tracemalloc.start()
    try:
        refused = Reading(place, **options)
        passed = Reading(place, skip_bad=True, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.error == (f"expected at most {2**20} bytes a line, got more{GUESS}", 2)
    assert passed.names == [b"a", b"b"]
    assert peak < 8 * 2**20


@pytest.mark.parametrize("format", [None, "svmlight"])
@pytest.mark.parametrize("ahead", [False, True])
def test_a_line_without_end_is_refused_before_its_end(
    place: Path, format: str | None, ahead: bool
) -> None:
    options: dict[str, Any] = {"limits": SHORT, "format": format, "ahead": ahead}
    for start in (b"", b"1 a:1\n", b"# a comment\n"):
        place.write_bytes(start)
        with place.open("r+b") as file:
            file.truncate(2**30)
        with Reader(place, **options) as reader:
            with pytest.raises(FormatError, match="expected at most 20 bytes a line, got more"):
                list(reader)
            assert reader.bytes_read <= 2**26
    with (
        Reader("/dev/zero", **options) as reader,
        pytest.raises(FormatError, match="expected at most 20 bytes a line, got more"),
    ):
        list(reader)


def test_memory_does_not_grow_with_the_input(place: Path) -> None:
    def peak(lines: int) -> int:
        with gzip.open(place, "wb", compresslevel=1) as file:
            file.write(b"1 a:1 b:1 c:0.5\n" * lines)
        tracemalloc.start()
        try:
            with Reader(place, _block_bytes=2**14) as reader:
                assert sum(len(batch) for batch in reader) == lines
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(40_000) < 1.5 * peak(4_000)


# Damaged and missing files --------------------------------------------------------------------


def test_a_gzip_file_cut_at_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "data.gz"
    content = b"".join(b"1 f%d:%d\n" % (i, i * i) for i in range(1, 30))
    packed = gzip.compress(content, mtime=0)
    whole = Reading(path, packed).names
    for cut in range(len(packed)):
        found = Reading(path, packed[:cut], skip_bad=True, _block_bytes=50)
        assert found.error is not None
        assert found.error[0].startswith("expected a ")
        assert found.names == whole[: len(found.names)]
        assert found.error[1] == len(found.names) + 1
    message = "expected a whole gzip file, got one that ends early"
    assert Reading(path, packed[:-1]).error == (message, 30)


def test_a_gzip_file_with_any_byte_changed(tmp_path: Path) -> None:
    path = tmp_path / "data.gz"
    packed = gzip.compress(b"1 a:1\n-1 b:2\n" * 5, mtime=0)
    whole = Reading(path, packed)
    for i in range(len(packed)):
        found = Reading(path, packed[:i] + bytes([packed[i] ^ 0x55]) + packed[i + 1 :])
        # The header says also when and where the file was made; that may change.
        assert found.error is not None or found == whole
    garbage = Reading(path, packed + b"garbage").error
    assert garbage is not None
    assert garbage[0].startswith("expected a whole gzip file, got a damaged one: ")
    assert garbage[1] == 11


def test_a_gzip_name_without_gzip_content(tmp_path: Path) -> None:
    found = Reading(tmp_path / "data.svm.gz", b"1 a:1\n")
    assert found.error == ('expected a gzip file, as its name says, got "1 a:1\\n"', 1)


def test_missing_files_and_folders_are_oserrors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Reader(tmp_path / "nothing.svm")
    with pytest.raises(IsADirectoryError):
        Reader(tmp_path)


def test_wrong_arguments(place: Path) -> None:
    with pytest.raises(ConfigError, match=f"format: expected one of {', '.join(NAMES)}, got"):
        Reader(place, format="xml")
    with pytest.raises(ConfigError, match="batch_samples: expected at least 1, got 0"):
        Reader(place, batch_samples=0)
    with pytest.raises(ConfigError, match="label_column: expected one with the format csv, got no"):
        Reader(place, format="csv")
    with pytest.raises(ConfigError, match="label_column: expected the format csv with it, got 'v"):
        Reader(place, format="vw", label_column="y")


# stdin ----------------------------------------------------------------------------------------


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pipe to stdin: the file descriptor to write to."""
    reading, writing = os.pipe()
    with io.TextIOWrapper(io.BufferedReader(io.FileIO(reading))) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield writing


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_stdin(piped: int, pack: Any) -> None:
    os.write(piped, pack(FILES["svmlight"] + b"bad 1\n"))
    os.close(piped)
    with Reader("-") as reader:
        assert reader.total_bytes is None
        assert labels_of(next(iter(reader))) == [b"1", b"-1", b"0"]
        with pytest.raises(FormatError, match=r"^stdin, line 5: expected id:value"):
            next(iter(reader))
    assert not sys.stdin.closed


def _flushed(text: bytes) -> bytes:
    """A gzip member that goes on: its header, and `text` flushed."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize("pack", [bytes, _flushed])
def test_a_line_from_a_pipe_does_not_wait_for_the_block(piped: int, pack: Any) -> None:
    late = threading.Event()

    def close() -> None:
        late.set()
        os.close(piped)

    deadline = threading.Timer(20, close)
    deadline.start()
    os.write(piped, pack(b"1 a:1\n"))
    with Reader("-", batch_samples=1) as reader:
        assert next(iter(reader)).names == [b"a"]
    assert not late.is_set()
    deadline.cancel()
    os.close(piped)


# The first bytes of files written as a user would ---------------------------------------------


def test_json_lines_as_python_writes_them(place: Path) -> None:
    rows = [(1, {"größe": 2.5, "5": 1}), (-1, {}), (1, {"a b": -3})]
    lines = [json.dumps({"label": label, "features": features}) for label, features in rows]
    found = Reading(place, "\n".join(lines).encode())
    assert found.labels == [b"1", b"-1", b"1"]
    assert found.names == ["größe".encode(), b"5", b"a b"]
