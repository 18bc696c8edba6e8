"""A call on a thread of its own, beside what the caller does."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Beside"]


class Beside:
    """Calls `work` on a thread of its own; `wait` for its end, `check` that it did not fail.

    is_short: the work is done before a thread has begun, so it is done at once.
    """

    def __init__(self, work: Callable[[], object], *, is_short: bool = False) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="onlinesvm-beside")
        if is_short:
            self._run()
        else:
            self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def wait(self) -> None:
        """Return once the work is at its end."""
        if self._thread.ident is not None:
            self._thread.join()

    def check(self) -> None:
        """Return once the work is at its end; raise what it raised."""
        self.wait()
        if self._error is not None:
            raise self._error
