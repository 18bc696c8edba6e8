"""Snapshots: when one is due, how it is written beside the loop, and its figures."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

from onlinesvm.service.errors import NotDurable
from onlinesvm.service.server.background import Background
from onlinesvm.service.server.disk_space import RETRY_S, DiskSpace
from onlinesvm.service.server.newest_snapshot import Base, NewestSnapshot
from onlinesvm.service.storage.model_state import ModelState
from onlinesvm.service.storage.recovery import Started
from onlinesvm.service.storage.snapshots import StoredSnapshot
from onlinesvm.snapshot.view import ModelView

__all__ = ["Schedule", "Snapshotter", "Written"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a snapshot is due: after `every_s` seconds, or when the log since the last exceeds the
    larger of `log_bytes` and `log_snapshots` times the size of a snapshot.
    """

    every_s: float = 300.0
    log_bytes: int = 2**30
    log_snapshots: int = 4

    def is_long(self, log_bytes: int, snapshot_bytes: int) -> bool:
        """True where `log_bytes` since a snapshot of `snapshot_bytes` call for the next."""
        return log_bytes > max(self.log_bytes, self.log_snapshots * snapshot_bytes)


class Written(NamedTuple):
    """The outcome of a run. was_verified: whether the snapshot was read back whole."""

    stored: StoredSnapshot
    was_verified: bool = False


class Snapshotter:
    """Writes the snapshots of one model, one at a time, beside the loop.

    A model that was just created has none yet. Owned by the loop's thread.
    """

    def __init__(
        self,
        state: ModelState,
        started: Started,
        schedule: Schedule,
        wake: Callable[[], None],
    ) -> None:
        self._state = state
        self._started = started
        self._disk = DiskSpace(started.log, started.snapshots)
        self._schedule = schedule
        self._worker = Background(self._begin, self._end, wake)
        self._newest = NewestSnapshot(started.stored.get(state.model.id))
        self._next_base = self._newest.base
        self._due = time.monotonic() + schedule.every_s

    @property
    def is_running(self) -> bool:
        """True while a snapshot is being written, or was and its outcome was not taken yet."""
        return self._worker.is_running

    @property
    def is_current(self) -> bool:
        """True where the newest snapshot holds every entry that was applied."""
        return self._newest.lsn_or(self._state.created) == self._state.position.lsn

    @property
    def log_bytes(self) -> int:
        """Bytes in the log since the newest snapshot."""
        return self._started.log.bytes - self._newest.base.log_bytes

    def ask(self, *, join: bool = False) -> Future[Written]:
        """A snapshot that begins from now on; with `join`, one under way will do."""
        return self._worker.ask(join=join)

    def collect(self) -> None:
        """Take the outcome of a snapshot that has been written."""
        self._worker.collect()

    def request(self) -> Future[Written]:
        """A snapshot of everything learned so far: one under way if nothing came since it began."""
        self._worker.collect()  # one that has failed already is not joined
        return self._worker.ask(join=self._next_base.lsn == self._state.position.lsn)

    def _begin(self) -> Callable[[], Written]:
        started, newest = self._started, self._newest.stored
        view = self._state.view(started.folder)
        makes_room = self._disk.is_full or self._is_short()
        lsn = self._state.position.lsn
        self._next_base = Base(lsn, started.log.bytes, makes_room)
        started.log.roll()  # the segments so far go with the snapshots that hold them
        if makes_room and newest is not None:
            return lambda: self._write_frugally(view, lsn, newest)
        return lambda: Written(started.snapshots.write(view.snapshot()))

    def _write_frugally(self, view: ModelView, lsn: int, newest: StoredSnapshot) -> Written:
        """Make room with the `newest` snapshot, then write the next and make room with that.

        Runs on the worker.
        """
        with contextlib.closing(view):
            was_verified = self._disk.make_room(newest)
            if lsn == newest.lsn:
                return Written(newest, was_verified)
            stored = self._started.snapshots.write(view.snapshot())
        return Written(stored, self._disk.make_room(stored))

    def _end(self, ended: Future[Written]) -> None:
        error = ended.exception()
        if error is not None:
            self._newest.error = str(error) or type(error).__name__
            self._due = min(self._due, time.monotonic() + RETRY_S)
            log.error("the snapshot failed: %s", self._newest.error)
            return
        stored, was_verified = ended.result()
        base = self._next_base
        if self._newest.take(stored, base):
            self._disk.has_grown()
        if base.makes_room and was_verified:
            self._disk.drop_segment(base.lsn)
        log.info("snapshot %s (%d bytes)", stored.path, stored.size)

    def tick(self, now: float) -> float:
        """Begin what is due at `now` (time.monotonic()); when the next is due."""
        self.collect()
        if now >= self._due or self._is_log_long():
            self._due = now + self._schedule.every_s
            if not self.is_current:
                self._worker.ask(join=True)
        return self._due

    def _is_log_long(self) -> bool:
        return (
            self._schedule.is_long(self.log_bytes, self._newest.size)
            and self._newest.error is None  # after an error it is tried again when it is due
            and not self._worker.is_running
        )

    def _is_short(self) -> bool:
        return self._disk.is_short(self._newest.size, self.log_bytes)

    def make_room(self, now: float) -> None:
        """On a full disk: ask for a snapshot that makes room, every few seconds at most."""
        if not self._worker.is_running and self._disk.may_try(now):
            self._worker.ask()

    def hold_back(self) -> NotDurable | None:
        """Why nothing may be learned now: room is being made on a disk that is nearly full."""
        self._worker.collect()  # what it brings may be the room that is missing
        if not self._is_short():
            return None
        if self._newest.error is None:
            self._disk.has_grown()  # so has the log: each snapshot makes room
        self.make_room(time.monotonic())
        if self._worker.is_running and self._next_base.makes_room:
            return NotDurable(f"{os.strerror(errno.ENOSPC)}; room is being made on the disk")
        return None

    def report(self) -> dict[str, Any]:
        """The figures of a stats reply."""
        self._worker.collect()
        return {**self._newest.report(), "log_bytes": self.log_bytes}

    def finish(self) -> None:
        """Wait for everything that was asked for; nothing is due any more."""
        self._due = math.inf
        self._worker.finish()

    def write_last(self) -> None:
        """Write a snapshot here and now. Raises OSError."""
        started = self._started
        stored = started.snapshots.write(self._state.view(started.folder).snapshot())
        self._newest.take(stored, Base(stored.lsn, started.log.bytes))
        log.info("snapshot %s (%d bytes)", stored.path, stored.size)
