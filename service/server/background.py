"""A job that runs beside the loop: one run at a time, on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

__all__ = ["Background"]

T = TypeVar("T")


class Background(Generic[T]):
    """Runs a job again and again. The caller of `ask` gets the outcome of a run that begins later.

    `begin` returns the job of a run, and `end` takes its outcome: both on the loop's thread, the
    latter when it calls `collect`. The job itself runs on the worker, which calls `wake` last.
    """

    def __init__(
        self,
        begin: Callable[[], Callable[[], T]],
        end: Callable[[Future[T]], None],
        wake: Callable[[], None],
    ) -> None:
        self._begin = begin
        self._end = end
        self._wake = wake
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="onlinesvm")
        self._running: Future[T] | None = None
        self._next: Future[T] | None = None  # shared by all who ask during a run

    @property
    def is_running(self) -> bool:
        """True while a run is under way, or has ended and was not collected."""
        return self._running is not None

    def ask(self, *, join: bool = False) -> Future[T]:
        """The outcome of the next run; with `join`, that of a run under way if there is one."""
        if self._running is None:
            return self._launch(Future())
        if join:
            return self._running
        self._next = self._next or Future()
        return self._next

    def _launch(self, outcome: Future[T]) -> Future[T]:
        self._running = outcome
        try:
            self._worker.submit(self._run, self._begin(), outcome)
        except Exception as error:  # no memory for a copy: an outcome like any other
            outcome.set_exception(error)
            self._wake()
        return outcome

    def _run(self, job: Callable[[], T], outcome: Future[T]) -> None:
        try:
            result = job()
        except BaseException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)
        # After the outcome is set: the loop must not look and sleep again in between.
        self._wake()

    def collect(self) -> None:
        """Take the outcome of a run that has ended, and begin the next if it was asked for."""
        if self._running is None or not self._running.done():
            return
        ended, self._running = self._running, None
        self._end(ended)
        if self._next is not None and self._running is None:  # `end` may have begun one
            outcome, self._next = self._next, None
            self._launch(outcome)

    def finish(self) -> None:
        """Wait for everything that was asked for, and end the worker."""
        while self._running is not None:
            wait([self._running])
            self.collect()
        self._worker.shutdown()
