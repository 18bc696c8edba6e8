"""The writer: puts the entries of a turn into the log; many of them in parts, on a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from onlinesvm.service.server.slices import Slices, finish
from onlinesvm.service.storage.entry import Entry
from onlinesvm.service.storage.log import Log, Written

__all__ = ["Part", "Writer"]

# Below this, handing a part to the thread takes longer than writing it.
SMALL_BYTES = 2**20


class Part:
    """Some entries of a turn, written at once, maybe by another thread."""

    __slots__ = ("_call", "_done", "_error", "_written")

    def __init__(self) -> None:
        self._written: Written | None = None
        self._error: Exception | None = None
        self._done = threading.Event()
        self._call: Callable[[], None] | None = None

    def finish(self, written: Written | None, error: Exception | None) -> None:
        """Note where it was written, or why it was not."""
        self._written, self._error = written, error
        self._done.set()
        if self._call is not None:
            self._call()

    @property
    def is_done(self) -> bool:
        """True once it is known whether it is in the log."""
        return self._done.is_set()

    def call_when_done(self, call: Callable[[], None]) -> None:
        """Have `call` called once it is known; where it is known already too, maybe twice."""
        self._call = call
        if self._done.is_set():
            call()

    def wait(self, timeout_s: float | None = None) -> Exception | None:
        """Why it is not in the log, None where it is; waits until that is known."""
        if self._written is None:
            self._done.wait(timeout_s)
        return self._error

    @property
    def written(self) -> Written:
        """Where a part that is in the log was written."""
        assert self._written is not None
        return self._written


class Writer:
    """Writes the entries of a turn, in parts: small ones here and now, others on a thread.

    While the thread writes a part, the loop validates the requests of the next and applies those of
    the one before: copying some megabytes into the system's cache takes as long as learning them,
    and a disk may take longer. Where each write waits for the disk, the thread does all of them.
    After a part that could not be written, no later one of that turn is written: an entry never
    follows one that is missing.

    Until `settle` returns, or `settled` ends, the thread alone uses the log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._small = 0 if log.fsync == "always" else SMALL_BYTES
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="onlinesvm-log")
        self._last: Part | None = None  # the last of this turn that was handed to the thread

    def write(self, entries: Sequence[Entry], part: Part, size: int, *, more: bool) -> None:
        """Have a `part` of the turn written, of about `size` bytes; `more` may follow."""
        before = self._last
        if before is None and not more and size < self._small:
            _write(self._log, entries, part, None)
        else:
            self._worker.submit(_write, self._log, entries, part, before)
            self._last = part

    def settled(self) -> Slices[None]:
        """Wait, in slices, until all that was handed over is written, or is known not to be."""
        while self._last is not None and not self._last.is_done:
            yield self._last
        self._last = None

    def settle(self) -> None:
        """Wait until then."""
        finish(self.settled())

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
