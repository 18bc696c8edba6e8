"""The command line for the tests: in this process, and in processes of its own."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from unittest.mock import patch

from onlinesvm.service.cli.main import main, parser
from onlinesvm.service.cli.parser import Parser
from onlinesvm.version import __version__
from tests.daemons import HOUSE

DEADLINE_S = 30.0
COMMAND = [sys.executable, "-W", "error", "-m", "onlinesvm"]


class Outcome(NamedTuple):
    """The outcome of a command: exit code, stdout, and stderr but for the formats found out."""

    code: int
    out: str
    err: str


def outcome_of(code: int, out: str, err: str) -> Outcome:
    """The outcome of a command that wrote `err`."""
    lines = [line for line in err.splitlines(keepends=True) if ": read as " not in line]
    return Outcome(code, out, "".join(lines))


def commands() -> dict[str, Parser]:
    """Each command by name, and its parser."""
    actions = parser()._actions
    (found,) = (action for action in actions if isinstance(action, argparse._SubParsersAction))
    return {name: added.fill() for name, added in found.choices.items()}


def run(*arguments: object, stdin: bytes = b"", stderr: TextIO | None = None) -> Outcome:
    """Run a command in this process; what goes to a `stderr` that is given is not reported."""
    streams = [io.TextIOWrapper(io.BytesIO(given), "utf-8") for given in (stdin, b"", b"")]
    with (
        patch("sys.stdin", streams[0]),
        patch("sys.stdout", streams[1]),
        patch("sys.stderr", stderr or streams[2]),
    ):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit:  # as argparse ends it
            assert isinstance(exit.code, int)
            code = exit.code
    texts = []
    for stream in streams[1:]:
        stream.flush()
        stream.seek(0)
        texts.append(stream.read())
    return outcome_of(code, *texts)


def done(*arguments: object, stdin: bytes = b"") -> Outcome:
    """Run a command in this process; it is to succeed."""
    outcome = run(*arguments, stdin=stdin)
    assert outcome.code == 0, outcome
    return outcome


def assert_failed(outcome: Outcome, *texts: str, code: int = 1) -> None:
    """A clear line on stderr, and the notes to it, that have the `texts`; nothing on stdout."""
    assert (outcome.code, outcome.out) == (code, ""), outcome
    lines = outcome.err.splitlines()
    assert lines and all(line.startswith("onlinesvm: ") for line in lines), outcome.err
    assert len(lines) <= 2, outcome.err
    for text in texts:
        assert text in outcome.err, outcome.err


def _environment() -> dict[str, str]:
    """Streams are buffered, as they are for a user, whatever the tests run under."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def shell(script: str, *arguments: object, **options: Any) -> Outcome:
    """Run a line of sh, in which ``$@`` is the command with its `arguments`, in its own process."""
    ended = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *COMMAND, *map(str, arguments)],
        cwd=HOUSE,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        **options,
    )
    return outcome_of(ended.returncode, ended.stdout, ended.stderr)


@contextlib.contextmanager
def started(*arguments: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process of its own, its streams pipes; killed at the end if it still runs."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        **{
            "cwd": HOUSE,
            "env": _environment(),
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        },
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def ended(process: subprocess.Popen[bytes]) -> Outcome:
    """The outcome of a process of `started` that is about to end by itself."""
    code = process.wait(DEADLINE_S)
    texts = [pipe.read().decode() for pipe in (process.stdout, process.stderr) if pipe is not None]
    return outcome_of(code, *texts)


def start_lines(process: subprocess.Popen[bytes]) -> tuple[list[str], str]:
    """The lines of a daemon's start, and its endpoint; the log may have more before."""
    assert process.stderr is not None
    start = rf"onlinesvm {re.escape(__version__)} \w+ at (tcp://127.0.0.1:\d+): "
    lines: list[str] = []
    endpoint = ""
    while line := process.stderr.readline().decode():
        lines.append(line.rstrip())
        if found := re.match(start, line):
            endpoint = found[1]
        if line == "ready\n":
            return lines, endpoint
    raise AssertionError(lines)


def svmlight(rows: Sequence[tuple[int, dict[int, float]]]) -> bytes:
    """Samples as (label, features) in svmlight's format."""
    return b"".join(
        b"%d %s\n" % (label, b" ".join(b"%d:%r" % item for item in features.items()))
        for label, features in rows
    )


def write(path: Path, text: bytes) -> Path:
    path.write_bytes(text)
    return path
