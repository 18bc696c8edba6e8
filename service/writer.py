"""The turns of the loop on their way into the journal, large ones in parts and beside the loop."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from onlinesvm.service.journal import Entry, Journal

__all__ = ["Part", "Writer"]

# Below this, handing a part to the thread takes longer than writing it.
PART_BYTES = 2**20

Part = Future[None]  # of a turn; done when it is in the journal, with NotDurable where it is not


class Writer:
    """Gathers the records of a turn, and writes them in parts of about `part_bytes`.

    While a thread writes a part, the loop validates the requests of the next and applies those of
    the one before: copying some megabytes into the system's cache takes as long as learning them. A
    turn that stays below one part is written in place by `end`. Once a part could not be written,
    no later one of that turn is: a record never follows one that is missing.

    Until `settle` returns the journal is the writer's alone.
    """

    def __init__(self, journal: Journal, *, part_bytes: int = PART_BYTES) -> None:
        self._journal = journal
        self._part_bytes = part_bytes
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="onlinesvm-journal")
        self._entries: list[Entry] = []
        self._bytes = 0
        self._part = Part()
        self._last: Part | None = None  # the last of this turn that was handed to the thread

    def add(self, entry: Entry) -> Part:
        """Have `entry` written; the part of the turn that it goes with."""
        part = self._part
        self._entries.append(entry)
        self._bytes += len(entry.body)
        if self._bytes >= self._part_bytes and self._journal.fsync != "always":
            self._hand_over()
        return part

    def end(self) -> None:
        """The turn has no more entries."""
        if self._entries and self._last is None:
            _write(self._journal, self._take(), None)
        elif self._entries:
            self._hand_over()

    def settle(self) -> None:
        """Wait until all that was handed over is written, or is known not to be."""
        last, self._last = self._last, None
        if last is not None:
            last.exception()

    def _take(self) -> tuple[Part, list[Entry]]:
        taken = self._part, self._entries
        self._part, self._entries, self._bytes = Part(), [], 0
        return taken

    def _hand_over(self) -> None:
        taken = self._take()
        self._worker.submit(_write, self._journal, taken, self._last)
        self._last = taken[0]

    def close(self) -> None:
        """End the thread; may be called again."""
        self._worker.shutdown()


def _write(journal: Journal, taken: tuple[Part, Sequence[Entry]], before: Part | None) -> None:
    """Write a part, unless the one `before` it in the turn could not be."""
    part, entries = taken
    try:
        error = before.exception() if before is not None else None
        if error is not None:
            raise error
        journal.append(entries, continues=before is not None)
    except Exception as error:
        part.set_exception(error)
    else:
        part.set_result(None)
