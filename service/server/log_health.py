"""The log's health: why learning is refused, and the way back after a failed fsync."""

from __future__ import annotations

import logging
import math
from concurrent.futures import Future

from onlinesvm.service.server.disk_space import RETRY_S
from onlinesvm.service.server.leader import Leader
from onlinesvm.service.server.snapshotter import Snapshotter
from onlinesvm.service.storage.log import Log

__all__ = ["LogHealth"]

log = logging.getLogger(__name__)

CHECK_S = 1.0


class LogHealth:
    """Watches the log and what the leader writes to it.

    After a failed fsync, what was logged may be lost in memory alone. Learning goes on in a new
    segment once a snapshot holds everything. On a full disk, a snapshot makes room.
    """

    def __init__(self, writer: Log, leader: Leader, snapshotter: Snapshotter) -> None:
        self._error: str | None = None
        self._log = writer
        self._leader = leader
        self._snapshotter = snapshotter
        self._snapshot: Future[None] | None = None  # the one that makes learning possible again
        self._retry_at = 0.0
        self._check_at = 0.0

    @property
    def error(self) -> str | None:
        """Why learning is refused; None while it is not."""
        self._look()
        return self._error

    def _look(self) -> None:
        """Keep the outcome of the last turn, and log it when it changes."""
        failure, refusal = self._log.failure, self._leader.refusal
        text: str | None
        if failure is not None:
            text = f"the log could not be made durable ({failure})"
        else:
            text = None if refusal is None else str(refusal) or "out of memory"
        if text == self._error:
            return
        self._error = text
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
        self._look()
        if self._log.failure is None:
            return math.inf
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

    def _take(self, snapshot: Future[None], now: float) -> None:
        self._snapshot = None
        if snapshot.exception() is None:
            self._log.clear()
            self._leader.clear()
            self._look()
        else:
            self._retry_at = now + RETRY_S
