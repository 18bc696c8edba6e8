"""Learn held samples by lines of keys and labels."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from onlinesvm.data.label import label_of_text
from onlinesvm.errors import FormatError, format_text
from onlinesvm.service.cli.output import naming, write
from onlinesvm.service.cli.parser import Parser
from onlinesvm.service.cli.run import files_of
from onlinesvm.service.cli.target import add_daemon, client_of
from onlinesvm.service.client.client import Client
from onlinesvm.service.errors import RequestRefused
from onlinesvm.service.storage.held import Outcome

__all__ = ["add_label", "label"]

_AT_ONCE = 1000

Row = tuple[Any, ...]


def add_label(parser: Parser) -> None:
    """Add the flags of `label`."""
    parser.usage = "onlinesvm label [FLAGS] [FILE ...]"
    parser.epilog = (
        "example:\n"
        "  onlinesvm label clicks.txt\n"
        "  echo 'visit-17 1' | onlinesvm label\n\n"
        "A line is KEY LABEL or KEY LABEL IMPORTANCE, with a TAB or spaces between;\n"
        "the keys are those of predict --hold."
    )
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="a file of keys and labels; - is stdin"
    )
    add_daemon(parser)


def label(arguments: argparse.Namespace) -> None:
    """Send the labels of all files; print what they came to as a JSON object.

    After an error too, where some were sent.
    """
    outcomes: Counter[str] = Counter()
    try:
        with client_of(arguments) as client:
            rows = chain.from_iterable(map(_rows, files_of(arguments)))
            for part in _batched(rows):
                for answered in _send(client, part):
                    outcomes.update(answered)
    except BaseException:
        if outcomes:
            _print(outcomes)
        raise
    _print(outcomes)


def _print(outcomes: Counter[str]) -> None:
    write(json.dumps({outcome: outcomes[outcome] for outcome in Outcome}) + "\n")


def _batched(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while part := list(islice(rows, _AT_ONCE)):
        yield part


def _send(client: Client, rows: list[Row]) -> Iterator[list[str]]:
    """Send labels, in halves where their samples are too large for one request; the outcomes of
    each request.
    """
    try:
        yield client.label(rows)
        return
    except RequestRefused as error:
        if error.code != "TOO_LARGE" or len(rows) == 1:
            raise
    middle = len(rows) // 2
    yield from _send(client, rows[:middle])
    yield from _send(client, rows[middle:])


def _rows(source: str) -> Iterator[Row]:
    """The labels in a file. Raises FormatError, OSError."""
    name = "stdin" if source == "-" else source
    with naming(name):
        file = sys.stdin.buffer if source == "-" else open(source, "rb")  # noqa: SIM115
        with file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _row(line, name, number)


def _row(line: bytes, source: str, number: int) -> Row:
    line = line.rstrip(b"\r\n")
    parts = line.split(b"\t") if b"\t" in line else line.split()
    if not 2 <= len(parts) <= 3 or not parts[0]:
        raise FormatError(
            "expected a key, a label, and perhaps an importance, with a TAB or spaces between,"
            f" got {format_text(line)}",
            source, number,
        )  # fmt: skip
    try:
        value = label_of_text(parts[1]).written
    except ValueError as error:
        raise FormatError(str(error), source, number) from None
    try:
        return parts[0], value, *map(float, parts[2:])
    except ValueError:
        got = format_text(parts[2])
        text = f"expected an importance as a number, got {got}"
        raise FormatError(text, source, number) from None
