"""A file that grows and is rotated: each line is read once, in order, from any cursor."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm.service.ingest import file_tail
from onlinesvm.service.ingest.file_tail import FileTail
from onlinesvm.service.ingest.rotation import Place
from onlinesvm.service.ingest.source import BadEntry, SourceError
from tests.logs import scratch


class Tail:
    """A source, what was read of it, and what it said."""

    def __init__(self, path: Path, cursor: bytes | None = None, **options: Any) -> None:
        self.said: list[str] = []
        keys = {"follow": True, "accept_loss": False, "max_line_bytes": 2**20, "grace_s": 0.0}
        self.source = FileTail(str(path), say=self.said.append, **{**keys, **options})
        self.lines: list[Any] = []
        self.cursors: list[bytes] = []
        try:
            self.source.open(cursor)
        except BaseException:
            self.source.close()
            raise

    def read(self) -> list[Any]:
        """All lines there are."""
        found: list[Any] = []
        while (entries := self.source.read(0.0)).values:
            assert len(entries.values) == len(entries.cursors)
            found += entries.values
            self.cursors += [entries.cursors[i] for i in range(len(entries.cursors))]
            assert list(entries.cursors[:]) == self.cursors[-len(entries.values) :]
        self.lines += found
        return found

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()


class Log:
    """A log that is written and rotated; `lines` are all that it ever had."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "app.jsonl"
        self.lines: list[bytes] = []
        self.path.touch()

    def write(self, n: int, *, blank: bool = False) -> None:
        with self.path.open("ab") as file:
            for _ in range(n):
                line = b'{"n": %d}' % len(self.lines)
                self.lines.append(line)
                file.write(line + b"\n" + b" \n\n" * blank)

    def shift(self) -> Path:
        """Make room for PATH.1."""
        n = 1
        while Path(f"{self.path}.{n}").exists():
            n += 1
        for at in range(n, 1, -1):
            Path(f"{self.path}.{at - 1}").rename(f"{self.path}.{at}")
        return Path(f"{self.path}.1")

    def rename(self) -> None:
        self.path.rename(self.shift())
        self.path.touch()

    def copy_and_truncate(self) -> None:
        if self.path.stat().st_size:
            shutil.copy2(self.path, self.shift())
            os.truncate(self.path, 0)

    @property
    def is_rotated(self) -> bool:
        return Path(f"{self.path}.1").exists()

    def has(self, cursor: bytes | None) -> bool:
        """True if the file that is written has the place of a cursor."""
        with self.path.open("rb") as file:
            return cursor is not None and Place.unpack(cursor).is_in(file.fileno())

    def drop_oldest(self) -> None:
        n = 1
        while Path(f"{self.path}.{n + 1}").exists():
            n += 1
        Path(f"{self.path}.{n}").unlink(missing_ok=True)


STEPS = st.lists(
    st.sampled_from(
        ["write", "write", "write", "blank", "rename", "copy", "read", "read", "restart", "drop"]
    ),
    max_size=40,
)


@settings(deadline=None)
@given(steps=STEPS, small=st.booleans(), data=st.data())
def test_each_line_is_read_once_through_rotations_and_restarts(
    steps: list[str], small: bool, data: st.DataObject
) -> None:
    """A restart goes on after any line that was read."""
    with scratch() as folder, pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(file_tail, "_BLOCK_BYTES", 7)
        log = Log(folder)
        cursor: bytes | None = None
        learned: list[bytes] = []  # up to that cursor
        tail = Tail(log.path)
        for step in [*steps, "read", "restart", "read"]:
            if step in ("write", "blank"):
                log.write(data.draw(st.integers(1, 5)), blank=step == "blank")
            elif step == "rename":
                log.rename()
            elif step == "copy":
                tail.read()  # so that its place is in what the copy has
                log.copy_and_truncate()
            elif step == "drop":
                if log.has(cursor):
                    tail.read()  # it may be reading the one that goes
                    log.drop_oldest()
            elif step == "read":
                tail.read()
                assert [*learned, *tail.lines] == log.lines
            else:
                kept = data.draw(st.integers(0, len(tail.lines)))
                if kept:
                    learned, cursor = [*learned, *tail.lines[:kept]], tail.cursors[kept - 1]
                tail.source.close()
                if cursor is None and log.is_rotated:
                    return  # without a cursor it begins with the file, not with those before it
                tail = Tail(log.path, cursor)
        tail.source.close()
        assert tail.said == []


def test_a_line_counts_once_it_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\nb")
    with Tail(path) as tail:
        assert tail.read() == [b"a"]
        with path.open("ab") as file:
            file.write(b"c\r\nd")
        assert tail.read() == [b"bc\r"]
        assert not tail.source.is_ended
    with Tail(path, follow=False) as tail:
        assert tail.read() == [b"a", b"bc\r", b"d"]  # all there will be
        assert tail.source.is_ended
        cursor = tail.cursors[-1]
    with path.open("ab") as file:
        file.write(b"\ne\n")
    with Tail(path, cursor, follow=False) as tail:
        assert tail.read() == [b"e"]


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")
    with Tail(path, follow=False) as tail:
        assert tail.read() == [b"a", b"\xef\xbb\xbfb"]


@pytest.mark.parametrize("length", [100, 2**19 - 1, 2**19, 2**19 + 1, 2**20 - 1, 2**20, 3 * 2**20])
def test_long_lines(tmp_path: Path, length: int) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file, Tail(path) as tail:
        file.write(b"a\n")
        for start in range(0, length, 100_000):
            file.write(b"x" * min(100_000, length - start))
            file.flush()
            tail.read()
        file.write(b"\nb\n")
        file.flush()
        tail.read()
        first, long, last = tail.lines
        assert (first, last) == (b"a", b"b")
        if length < 2**20:
            assert long == b"x" * length
        else:
            assert isinstance(long, BadEntry)
            assert str(long) == f"expected at most {2**20} bytes a line, got {length + 1}"
        for cursor, rest in zip(tail.cursors, ([long, last], [last], []), strict=True):
            with Tail(path, cursor) as again:
                assert list(map(str, again.read())) == list(map(str, rest))


def test_a_renamed_file_is_read_until_it_is_quiet(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "log-20261128"
    path.write_bytes(b"1\n")
    with Tail(path, grace_s=3600.0) as tail:
        assert tail.read() == [b"1"]
        path.rename(old)
        path.write_bytes(b"3\n")
        with old.open("ab") as file:  # its writer has not seen the rotation yet
            file.write(b"2\nno newline")
        assert tail.read() == [b"2"]
        tail.source._grace_s = 0.0
        assert tail.read() == [b"no newline", b"3"]


def test_a_file_that_is_renamed_just_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"1\n")
    with Tail(path) as tail:
        assert tail.read() == [b"1"]
        path.rename(tmp_path / "log-20261127")
        path.write_bytes(b"2\n")
        begin = tail.source._begin

        def late(*found: Any) -> None:
            monkeypatch.undo()
            path.rename(tmp_path / "log-20261128")
            begin(*found)
            path.write_bytes(b"3\n")

        monkeypatch.setattr(tail.source, "_begin", late)
        tail.source._grace_s = 0.0
        assert tail.read() == [b"2", b"3"]


def test_dates_and_numbers_are_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"0\n")
    with Tail(path) as tail:
        tail.read()
    for name, text in (
        ("log", b"0\n"), ("log.1", b"9\n"), ("log.2", b"8\n"), ("log.10", b"7\n"),
        ("log-20261130", b"6\n"), ("log-20261129", b"5\n"), ("log-20261128", b"0\n4\n"),
        ("log.bak", b"x\n"), ("log.1.gz", b"x\n"), ("logs", b"x\n"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(text)
    path.unlink()  # the one with the oldest date has its bytes
    path.write_bytes(b"10\n")
    with Tail(path, tail.cursors[-1]) as again:
        assert again.read() == [b"%d" % i for i in range(4, 11)]


def test_a_file_that_an_editor_wrote_anew_goes_on_where_it_was(tmp_path: Path) -> None:
    path, new = tmp_path / "log", tmp_path / "new"
    path.write_bytes(b"1\n2\n")
    with Tail(path) as tail:
        assert tail.read() == [b"1", b"2"]
        new.write_bytes(b"1\n2\n3\n")
        new.rename(path)
        assert tail.read() == [b"3"]


@pytest.mark.parametrize("how", ["removed", "truncated", "changed"])
@pytest.mark.parametrize("running", [True, False])
def test_a_file_that_is_gone_stops_it_unless_the_loss_is_accepted(
    tmp_path: Path, how: str, running: bool
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"1\n2\n3\n")
    with Tail(path) as tail:
        tail.read()
        cursor = tail.cursors[-1]
        if how == "removed":
            path.rename(tmp_path / "elsewhere")
            path.write_bytes(b"")
        elif how == "truncated":
            os.truncate(path, 2)
        else:
            path.write_bytes(b"1\n2\n4\n5\n")
        if running and how != "removed":  # its file is open, and was read to its end
            with pytest.raises(SourceError, match="it was removed, truncated or changed"):
                tail.read()
    with pytest.raises(
        SourceError, match="expected a file with the lines learned last before byte 6"
    ):
        Tail(path, cursor)
    with Tail(path, cursor, accept_loss=True) as again:
        assert again.read() == {"removed": [], "truncated": [b"1"]}.get(
            how, [b"1", b"2", b"4", b"5"]
        )
        assert "going on at the start" in again.said[0]


def test_two_files_with_the_same_bytes_are_not_guessed_between(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"1\n")
    with Tail(path) as tail:
        tail.read()
    for name in ("log.1", "log.2"):
        shutil.copy(path, tmp_path / name)
    path.unlink()
    path.write_bytes(b"x\ny\n")
    with pytest.raises(SourceError, match="got 2 that have the same bytes"):
        Tail(path, tail.cursors[-1])


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe"):
        with pytest.raises(SourceError, match="expected a file, got a folder, a pipe or a device"):
            Tail(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        Tail(tmp_path / "none", follow=False)
    with pytest.raises(SourceError, match="expected the cursor of a file, got b'1-0 1'"):
        Tail(tmp_path / "pipe", b"1-0 1")


def test_a_followed_file_may_come_later(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with Tail(path) as tail:
        assert tail.read() == []
        assert tail.said == [f"waiting: there is no file {path} yet"]
        path.write_bytes(b"1\n")
        assert tail.read() == [b"1"]


def test_the_lag_is_in_bytes_of_all_files_left(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(3)
    with Tail(log.path) as tail:
        tail.read()
        assert tail.source.lag(None).bytes == 27
        assert tail.source.lag(tail.cursors[0]).bytes == 18
        log.rename()
        log.write(2)
        assert tail.source.lag(tail.cursors[0]).bytes == 36
        assert tail.source.lag(tail.cursors[2]).bytes == 18
        assert tail.source.place(tail.cursors[0]) == f"{log.path}.1, the line that ends at byte 9"
