"""Results on stdout, notes on stderr, and errors of the system with the file that had them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator

__all__ = ["naming", "note", "one_line", "plural", "write"]


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
    """`text`, control characters escaped as in JSON."""
    return text if text.isprintable() else json.dumps(text, ensure_ascii=False)[1:-1]


def plural(n: int, noun: str) -> str:
    """``1 sample``, ``2,000 samples``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
