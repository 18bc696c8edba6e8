"""Results on stdout, notes on stderr, and errors of the system with the file that had them."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterator

__all__ = ["BYTES_AS_GIVEN", "naming", "note", "one_line", "plural", "write"]

# Errors of encoding on stdout: a byte that was no UTF-8 is written as that byte, so that ids and
# labels come back as they were read; other characters that the encoding lacks as their escapes.
BYTES_AS_GIVEN = "onlinesvm-bytes-as-given"
_JOINERS = "\u200c\u200d"  # within words and emoji
_split_at_bytes = re.compile("([\udc80-\udcff]+)").split


def _bytes_as_given(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        error.end = error.start + 1  # the next character may be of the other kind
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)


codecs.register_error(BYTES_AS_GIVEN, _bytes_as_given)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name `path` in an OSError of the system that names no file, or a temporary one."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if type(error).__module__ != "builtins" or not error.strerror:
            raise  # one of ours, which says all
        if error.filename is not None and not str(error.filename).endswith(".tmp"):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def write(text: str) -> None:
    """Print results. Flushed at once: a batch is large, or all that a slow pipe has given yet."""
    with naming("stdout"):
        sys.stdout.write(text)
        sys.stdout.flush()


def note(text: str) -> None:
    """Print a line for a human."""
    print(f"onlinesvm: {text}", file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """`text`, characters that steer a terminal or turn its direction escaped as in JSON; bytes that
    are not UTF-8 stay.
    """
    if text.isprintable():
        return text
    return "".join(
        part if i % 2 else "".join(map(_escaped, part))
        for i, part in enumerate(_split_at_bytes(text))
    )


def _escaped(character: str) -> str:
    plain = character.isprintable() and character not in '"\\'
    if plain or character in _JOINERS or unicodedata.category(character) == "Zs":
        return character
    return json.dumps(character)[1:-1]


def plural(n: int, noun: str) -> str:
    """``1 sample``, ``2,000 samples``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
