"""The log's health: why learning is refused, and the way back after a failed fsync."""

from __future__ import annotations

import logging
import math
from concurrent.futures import Future

from onlinesvm.service.errors import NotDurable
from onlinesvm.service.server.snapshotter import RETRY_S, Snapshotter, Written
from onlinesvm.service.storage.log import Log

__all__ = ["LogHealth"]

log = logging.getLogger(__name__)

CHECK_S = 1.0


class LogHealth:
    """Watches the log. `error` says why learning is refused; None while it is not.

    After a failed fsync, what was logged may be lost in memory alone. Learning goes on in a new
    segment once a snapshot holds everything. On a full disk, a snapshot makes room.
    """

    def __init__(self, writer: Log, snapshotter: Snapshotter) -> None:
        self.error: str | None = None
        self._log = writer
        self._snapshotter = snapshotter
        self._snapshot: Future[Written] | None = None  # the one that makes learning possible again
        self._retry_at = 0.0
        self._check_at = 0.0

    def note(self, error: Exception | None) -> None:
        """Keep the outcome of a write, and log it when it changes."""
        text = None if error is None else str(error) or "out of memory"
        if text == self.error:
            return
        self.error = text
        if text is not None:
            log.error("learning is refused: %s", text)
        else:
            log.info("learning goes on")

    def tick(self, now: float) -> float:
        """Do what is due at `now` (time.monotonic()); when something is due next."""
        if now >= self._check_at:
            self._check_at = now + CHECK_S
            self._log.check()
            if self._log.is_disk_full:
                self._snapshotter.make_room(now)
        failure = self._log.failure
        if failure is None:
            return math.inf
        self.note(NotDurable(f"the log could not be made durable ({failure})"))
        if self._snapshot is None:
            if now >= self._retry_at:
                self._recover(now)
        elif self._snapshot.done():
            self._take(self._snapshot, now)
        is_waiting = self._snapshot is None and self._log.failure is not None
        return self._retry_at if is_waiting else math.inf

    def _recover(self, now: float) -> None:
        self._retry_at = now + RETRY_S
        try:
            self._log.begin_anew()
        except OSError as error:
            log.error("no new segment of the log: %s", error.strerror or error)
        else:
            self._snapshot = self._snapshotter.ask()

    def _take(self, snapshot: Future[Written], now: float) -> None:
        self._snapshot = None
        if snapshot.exception() is None:
            self._log.clear()
            self.note(None)
        else:
            self._retry_at = now + RETRY_S
