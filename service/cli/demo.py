"""The demo: the main job on real input, with nothing to download.

The Python files of this machine's own standard library are streamed, line by line, through a real
daemon in its own process. The label is whether a line is prose (of a comment or a docstring) or
code; the marks that would give it away (``#``, quotes) are taken off first. The lines are sent as
they are: the model makes the features, and shows the words of a line that it goes by.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onlinesvm.service.cli.parser import Parser
from onlinesvm.service.cli.shading import Shading, has_colours
from onlinesvm.service.client.client import Client
from onlinesvm.service.errors import ServiceError

__all__ = ["add_demo", "demo", "lines_of", "show"]

_ROWS = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000)
_FOR_SECONDS = 25.0
_MIXED_LINES = 10_000
_START_S = 20.0
_EXAMPLES = (
    "Return the number of bytes that were written to the file.",
    "return len(self._buffer) - offset",
    "This method is not thread-safe; callers must hold the lock.",
    "for name, value in sorted(items.items()):",
    "if the list is empty, None is returned",
    "if not items: return None",
)
# The ends of lines in Python source; str.splitlines has others, form feeds among them.
_NEW_LINE = re.compile(r"\r\n|\r|\n")


def lines_of(source: str) -> Iterator[tuple[str, str]]:
    """The lines of a Python file as (text, label): prose or code.

    Lines of strings that are no docstrings, and lines without a word, are left out. Raises
    SyntaxError or ValueError for a text that is not Python.
    """
    docstrings: set[int] = set()
    strings: set[int] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old escapes in the files, nothing of ours
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and _is_text(node.value):
            docstrings |= _lines_over(node)
        elif isinstance(node, ast.expr) and _is_text(node) and len(_lines_over(node)) > 1:
            strings |= _lines_over(node)
    for number, line in enumerate(_NEW_LINE.split(source), 1):
        text = line.strip()
        if number in docstrings:
            text, label = re.sub(r"^[rRuU]?['\"]{1,3}|['\"]{1,3}$", "", text), "prose"
        elif number in strings:
            continue
        elif text.startswith("#"):
            text, label = text.lstrip("#!: "), "prose"
        else:
            label = "code"
        if re.search(r"\w", text):
            yield text, label


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _lines_over(node: ast.expr | ast.stmt) -> set[int]:
    return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def _library_lines(mixed_lines: int) -> Iterator[tuple[str, str]]:
    """The lines of the standard library, in a fixed order, mixed by `mixed_lines` at a time."""
    files = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    files = [path for path in files if "site-packages" not in path.parts]
    order = random.Random(1)
    order.shuffle(files)
    mixed: list[tuple[str, str]] = []
    for path in files:
        try:
            mixed.extend(lines_of(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, SyntaxError, RecursionError):
            continue  # a file made to be wrong, for Python's own tests
        order.shuffle(mixed)
        while len(mixed) > mixed_lines:
            yield mixed.pop()
    yield from mixed


class _Process:
    """A daemon in its own process; `endpoint` is where it serves."""

    def __init__(self, *flags: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "onlinesvm", "serve", "--bind", "tcp://127.0.0.1:*",
             *flags],
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )  # fmt: skip
        assert self._process.stderr is not None
        self.lines: list[str] = []  # that it printed when it started
        self.endpoint = ""
        for line in self._process.stderr:
            self.lines.append(line.rstrip())
            if found := re.match(r"onlinesvm \S+ \w+ at (\S+): ", line):
                self.endpoint = found[1]
            elif line == "ready\n" and self.endpoint:
                return
        self._process.communicate()
        last = self.lines[-1] if self.lines else "it printed nothing"
        raise ServiceError(f"the daemon did not start: {last}")

    def stop(self) -> int:
        """End it as an operator would; its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.communicate(timeout=_START_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        return self._process.returncode


def _say(text: str = "") -> None:
    print(text, flush=True)


def add_demo(parser: Parser) -> None:
    """Add the arguments of `demo`."""
    parser.usage = "onlinesvm demo [LINE ...]"
    parser.epilog = (
        'example:\n  onlinesvm demo\n  onlinesvm demo "return the first match" "x = f(y)"'
    )
    parser.add_argument(
        "lines", nargs="*", metavar="LINE", help="a line to predict: prose or code?"
    )


def demo(arguments: argparse.Namespace) -> None:
    """Show the main job from start to clean stop."""
    show(arguments.lines)


def show(lines: list[str], *, rows: Sequence[int] = _ROWS, mixed_lines: int = _MIXED_LINES) -> None:
    """Run the demo with `lines` to predict: samples up to the last of `rows`, a row at each.

    Raises ServiceError where what it shows does not hold.
    """
    with tempfile.TemporaryDirectory(prefix="onlinesvm-demo-") as state:
        _say("A daemon that learns, in a process of its own:")
        learner = _Process("--state", state)
        _say("\n  ".join([f"  $ onlinesvm serve --state {state}", *learner.lines]) + "\n")
        follower = None
        try:
            with Client(learner.endpoint) as client:
                _stream(client, rows, mixed_lines)
                follower = _show_follower(client, state, lines)
        finally:
            codes = [process.stop() for process in (learner, follower) if process]
        _say(f"Stopped with SIGTERM: exit codes {', '.join(map(str, codes))}.")
        if any(codes):
            raise ServiceError("a daemon did not stop cleanly")


def _stream(client: Client, rows: Sequence[int], mixed_lines: int) -> None:
    _say("Streaming Python's own library to it: is a line prose, or code?\n")
    _say("    samples   samples/s   features   error so far   error of these")
    labels: list[str] = []
    wrong = 0

    def count(start: int, margins: NDArray[np.float64]) -> None:
        nonlocal wrong
        second = "code" if labels[0] == "prose" else "prose"  # the label of side +1
        expected = np.array(labels[start : start + len(margins)]) == second
        wrong += int(np.count_nonzero((margins > 0) != expected))

    started = shown_at = time.monotonic()
    shown = shown_wrong = 0
    with client.stream(on_margins=count) as stream:
        for text, label in _library_lines(mixed_lines):
            if not labels:  # the first lines take a while to be found
                started = shown_at = time.monotonic()
            labels.append(label)
            stream.learn(text, label)
            late = len(labels) % 1000 == 0 and time.monotonic() - started > _FOR_SECONDS
            if len(labels) in rows or late:
                stream.flush()
                now, samples = time.monotonic(), len(labels) - shown
                error = (wrong - shown_wrong) / samples
                _say(
                    f"  {len(labels):9,} {samples / (now - shown_at):11,.0f}"
                    f" {client.stats()['features']:10,} {wrong / len(labels):14.2%}"
                    f"   {error:7.2%} {'█' * round(error * 150)}"
                )
                shown, shown_wrong, shown_at = len(labels), wrong, now
                if late or len(labels) == rows[-1]:
                    break
    if not labels:
        raise ServiceError("this Python has no library in source, so there is nothing to show")
    prose = labels.count("prose") / len(labels)
    _say("\nEach line was predicted before it was learned; always guessing the more")
    _say(f"frequent label would err {min(prose, 1 - prose):.2%} of the time.\n")


def _show_follower(client: Client, state: str, lines: list[str]) -> _Process:
    saved = client.snapshot()
    _say(f"A snapshot of {saved['position']:,} samples, {saved['size']:,} bytes:")
    _say(f"  {saved['path']}\n  digest {saved['digest'][:16]}…\n")
    follower = _Process("--follow", state, "--reload-every-s", "1")
    try:
        _say(f"A reader of that folder, at {follower.endpoint}. Both predict:\n")
        with Client(follower.endpoint) as reader:
            _compare(client, reader, [*_EXAMPLES, *lines])
            last = [*_EXAMPLES, *lines][-1]
            label = "code" if client.predict_one(last) == "prose" else "prose"
            _say("\nThe learner learns the opposite of the last line, 20 times; a new snapshot:")
            client.learn([(last, label)] * 20)
            saved = client.snapshot()
            reloaded = reader.reload()
            _say(f"  the reader reloaded: position {reloaded['position']:,}\n")
            if reloaded["position"] != saved["position"]:
                raise ServiceError("the reader did not reload the new snapshot")
            _compare(client, reader, [*_EXAMPLES, *lines][-1:])
            _say()
    except BaseException:
        follower.stop()
        raise
    return follower


def _compare(client: Client, reader: Client, lines: list[str]) -> None:
    """Show what both predict for `lines`, bit for bit the same, and why."""
    down, up = client.stats()["labels"]
    shading = Shading(up, down, has_colours(sys.stdout))
    _say(f"  {shading.legend()}")
    for explanation in client.explain(lines):
        _say(f"  {explanation.margin:+7.2f}  {explanation.label:5}  {shading.texts(explanation)}")
    margins = client.decision_function(lines)
    if margins.tobytes() != reader.decision_function(lines).tobytes():
        raise ServiceError("the reader predicts otherwise than the leader")
    _say("  The reader's margins are the same, bit for bit.")
