"""The writer: puts the entries of a turn into the log; many of them in parts, on a thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from onlinesvm.service.storage.entry import Entry
from onlinesvm.service.storage.log import Log, Written

__all__ = ["Part", "Writer"]


class Part:
    """Some entries of a turn, written at once, maybe by another thread."""

    __slots__ = ("_done", "_error", "_written")

    def __init__(self) -> None:
        self._written: Written | None = None
        self._error: Exception | None = None
        self._done = threading.Event()

    def finish(self, written: Written | None, error: Exception | None) -> None:
        """Note where it was written, or why it was not."""
        self._written, self._error = written, error
        self._done.set()

    def wait(self) -> Exception | None:
        """Why it is not in the log, None where it is; waits until that is known."""
        if self._written is None:
            self._done.wait()
        return self._error

    @property
    def written(self) -> Written:
        """Where a part that is in the log was written."""
        assert self._written is not None
        return self._written


class Writer:
    """Writes the entries of a turn; where they are many, in parts and on a thread.

    While the thread writes a part, the loop validates the requests of the next and applies those of
    the one before: copying some megabytes into the system's cache takes as long as learning them.
    After a part that could not be written, no later one of that turn is written: an entry never
    follows one that is missing.

    Until `settle` returns, the thread alone uses the log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="onlinesvm-log")
        self._last: Part | None = None  # the last of this turn that was handed to the thread

    def write(self, entries: Sequence[Entry], part: Part, *, more: bool) -> None:
        """Have a `part` of the turn written; `more` may follow. A turn of one part is written here
        and now.
        """
        before = self._last
        if before is None and not more:
            _write(self._log, entries, part, None)
        else:
            self._worker.submit(_write, self._log, entries, part, before)
            self._last = part

    def settle(self) -> None:
        """Wait until all that was handed over is written, or is known not to be."""
        last, self._last = self._last, None
        if last is not None:
            last.wait()

    def close(self) -> None:
        """End the thread; may be called again."""
        self._worker.shutdown()


def _write(log: Log, entries: Sequence[Entry], part: Part, before: Part | None) -> None:
    """Write a part, unless the one `before` it in the turn could not be."""
    try:
        error = before.wait() if before is not None else None
        if error is not None:
            raise error
        written = log.append(entries)
    except Exception as error:
        part.finish(None, error)
    else:
        part.finish(written, None)
