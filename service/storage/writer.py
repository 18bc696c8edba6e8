"""The turns of the loop on their way into the journal, large ones in parts and beside the loop."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from onlinesvm.service.storage.log import Entry, Journal

__all__ = ["Part", "Writer"]

# Below this, handing a part to the thread takes longer than writing it.
PART_BYTES = 2**20

Part = Future[None]  # of a turn; done when it is in the journal, with NotDurable where it is not


class Writer:
    """Writes the records of a turn, where they are many in parts and on a thread.

    While the thread writes a part, the loop validates the requests of the next and applies those of
    the one before: copying some megabytes into the system's cache takes as long as learning them.
    Once a part could not be written, no later one of that turn is: a record never follows one that
    is missing.

    Until `settle` returns the journal is the writer's alone.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="onlinesvm-journal")
        self._last: Part | None = None  # the last of this turn that was handed to the thread

    def write(self, entries: Sequence[Entry], *, more: bool) -> Part:
        """Have a part of the turn written; `more` may follow. A turn in one part is written here
        and now.
        """
        part, before = Part(), self._last
        if before is None and not more:
            _write(self._journal, entries, part, None)
        else:
            self._worker.submit(_write, self._journal, entries, part, before)
            self._last = part
        return part

    def settle(self) -> None:
        """Wait until all that was handed over is written, or is known not to be."""
        last, self._last = self._last, None
        if last is not None:
            last.exception()

    def close(self) -> None:
        """End the thread; may be called again."""
        self._worker.shutdown()


def _write(journal: Journal, entries: Sequence[Entry], part: Part, before: Part | None) -> None:
    """Write a part, unless the one `before` it in the turn could not be."""
    try:
        error = before.exception() if before is not None else None
        if error is not None:
            raise error
        journal.append(entries, continues=before is not None)
    except Exception as error:
        part.set_exception(error)
    else:
        part.set_result(None)
