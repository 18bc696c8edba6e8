"""The progress bar, on terminals that are pseudo-terminals."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import pytest

from onlinesvm import OnlineSVM
from onlinesvm.readers.reader import Reader
from onlinesvm.service.cli import progress
from onlinesvm.service.cli.progress import ProgressBar
from tests.daemons import on_a_thread
from tests.shell import DEADLINE_S, done, run, started, write

FIRST, SECOND = b"1 a:1\n" * 300, b"-1 a:1\n" * 20


class Terminal:
    """A pseudo-terminal: `text` holds the bytes written to `stream` once `closed` has been left."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 150, 0, 0))
        self.stream: TextIO = open(slave, "w", encoding="utf-8")  # noqa: SIM115
        self._written = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nobody has it open for writing any more
            while chunk := os.read(self._master, 4096):
                self._written += chunk

    def close(self) -> str:
        """Everything written to it."""
        self.stream.close()
        self._reader.join(DEADLINE_S)
        assert not self._reader.is_alive()
        os.close(self._master)
        return self._written.decode()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    if not terminal.stream.closed:
        terminal.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second passes between any two looks at the clock."""
    ticks = itertools.count(100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


def shown(text: str) -> list[tuple[str, str, str | None]]:
    """Each time the bar was drawn: samples, rate, error."""
    found = re.findall(r"([\d,]+) samples, (-?[\d,]+)/s(?:, error ([\d.]+))?", text)
    return [(samples, rate, error or None) for samples, rate, error in found]


def test_a_command_on_a_terminal(terminal: Terminal, tmp_path: Path) -> None:
    """In a process of its own, whose stdout has the outcome and nothing else."""
    file = write(tmp_path / "first.svm", FIRST)
    with started(
        "learn", "--file", tmp_path / "m", file, stderr=terminal.stream.fileno()
    ) as learning:
        assert learning.stdout is not None
        out = learning.stdout.read()
        assert learning.wait(DEADLINE_S) == 0
    assert json.loads(out)["samples"] == 300
    text = terminal.close()
    assert "first.svm 100%|" in text
    samples, rate, error = shown(text)[-1]
    assert samples == "300"
    assert int(rate.replace(",", "")) > 0
    assert error is not None and 0 < float(error) < 1
    assert text.endswith("\n")  # what comes next has a line of its own


def test_no_terminal_no_bar(tmp_path: Path) -> None:
    file = write(tmp_path / "first.svm", FIRST)
    assert done("learn", "--file", tmp_path / "m", file).err == ""
    assert "samples, " not in done("predict", "--file", tmp_path / "m", file).err


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("where", ["model", "connect"])
def test_each_file_has_its_own_rate_and_the_run_one_error(
    where: str, terminal: Terminal, tmp_path: Path
) -> None:
    """A file of one batch is drawn a second after it was opened, and again a second later."""
    files = write(tmp_path / "first.svm", FIRST), write(tmp_path / "second.svm", SECOND)
    with on_a_thread(tmp_path / "state") as endpoint:
        to = ("--connect", endpoint) if where == "connect" else ("--file", tmp_path / "m")
        learned = run("learn", *to, *files, stderr=terminal.stream)
    assert learned.code == 0
    outcome = json.loads(learned.out)
    drawn = shown(terminal.close())
    assert ("300", "150") in [(samples, rate) for samples, rate, _ in drawn]
    last = ("320", "10", f"{outcome['progressive_error']:.4f}")
    assert drawn[-1] == last
    for samples, rate, _ in drawn:  # also while a daemon has not acknowledged all
        assert 0 <= int(rate) <= int(samples)


@pytest.mark.usefixtures("clock")
def test_the_rate_leaves_out_the_samples_before_this_file(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stderr", terminal.stream)
    file = write(tmp_path / "second.svm", SECOND)
    with Reader(file) as reader, ProgressBar(reader, before=1000) as bar:
        assert sum(len(batch) for batch in reader) == 20
        bar.update(1004, lambda: 0.25)
        bar.update(1020, lambda: None, last=True)
    assert shown(terminal.close())[:2] == [("1,004", "4", "0.2500"), ("1,020", "10", None)]


def test_the_error_is_shown_only_where_it_is_known(terminal: Terminal, tmp_path: Path) -> None:
    OnlineSVM().save(tmp_path / "m")
    predicted = run("predict", "--file", tmp_path / "m", stdin=b"a:1\n", stderr=terminal.stream)
    assert (predicted.code, predicted.out) == (0, "0.0\n")
    text = terminal.close()
    assert shown(text)[-1][0] == "1" and shown(text)[-1][2] is None
    assert "stdin 4" in text  # bytes: how many there will be is not known
    assert "%" not in text


def test_a_failure_has_a_line_of_its_own(terminal: Terminal, tmp_path: Path) -> None:
    file = write(tmp_path / "bad.svm", FIRST + b"nonsense\n")
    assert run("learn", "--file", tmp_path / "m", file, stderr=terminal.stream).code == 1
    *_, last, note = terminal.close().splitlines()
    assert last.startswith(f"onlinesvm: {file}, line 301: ")
    assert note == "onlinesvm: 300 samples were learned before it; nothing was saved"


def test_no_line_is_wider_than_80_columns(terminal: Terminal, tmp_path: Path) -> None:
    """The terminal has 150."""
    file = write(tmp_path / f"{'long' * 20}.svm", FIRST * 40)
    assert run("learn", "--file", tmp_path / "m", file, stderr=terminal.stream).code == 0
    text = terminal.close()
    lines = [x for x in re.split(r"[\r\n]+", text) if not x.startswith("onlinesvm: ")]
    assert any("12,000 samples" in line for line in lines)
    assert max(map(len, lines)) < 80


def test_no_bar_is_drawn_into_typed_input(terminal: Terminal, tmp_path: Path) -> None:
    """stdin is a terminal too: a bar would be drawn over the line that is typed."""
    master, slave = pty.openpty()
    try:
        with started(
            "learn", "--file", tmp_path / "m", "-", stdin=slave, stderr=terminal.stream.fileno()
        ) as learning:
            os.write(master, b"1 a:1\n-1 b:1\n\x04")
            assert learning.wait(DEADLINE_S) == 0
    finally:
        os.close(master)
        os.close(slave)
    assert re.fullmatch(r"onlinesvm: stdin: read as svmlight .*\r\n", terminal.close())
