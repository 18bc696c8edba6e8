"""Snapshots: when they are due, how they are written beside the loop, and their figures."""

from __future__ import annotations

import errno
import logging
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from onlinesvm.service.errors import NotDurable
from onlinesvm.service.server.background import Background
from onlinesvm.service.server.changes import Changes
from onlinesvm.service.server.disk_space import RETRY_S, DiskSpace
from onlinesvm.service.server.registry import Hosted, Registry
from onlinesvm.service.server.released import Released
from onlinesvm.service.server.snapshot_queue import SnapshotQueue
from onlinesvm.service.server.snapshot_round import Damaged, Job, Round, Written
from onlinesvm.service.server.turnstile import Turnstile
from onlinesvm.service.storage.recovery import Started
from onlinesvm.service.storage.snapshots import StoredSnapshot
from onlinesvm.service.storage.stored_model import StoredModel

__all__ = ["Schedule", "Snapshotter"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a snapshot is due: `every_s` seconds after a change, or when the log since the last
    exceeds the larger of `log_bytes` and `log_snapshots` times the size of the snapshots.
    """

    every_s: float = 300.0
    log_bytes: int = 2**30
    log_snapshots: int = 4

    def is_long(self, log_bytes: int, snapshot_bytes: int) -> bool:
        """Whether `log_bytes` since snapshots of `snapshot_bytes` call for the next."""
        return log_bytes > max(self.log_bytes, self.log_snapshots * snapshot_bytes)


class Snapshotter:
    """Writes the snapshots of all models, some at a time, beside the loop.

    load: begins to load a model for its snapshot; `loaded` is called when that has ended.
    turnstile: small snapshots pass it. Owned by the loop's thread.
    """

    def __init__(
        self,
        registry: Registry,
        started: Started,
        changes: Changes,
        schedule: Schedule,
        wake: Callable[[], None],
        load: Callable[[StoredModel], None],
        turnstile: Turnstile,
    ) -> None:
        self.changes = changes
        self._registry = registry
        self._started = started
        self._disk = DiskSpace(started.log, started.snapshots)
        self._schedule = schedule
        self._worker = Background(self._begin, self._end, wake)
        self._turnstile = turnstile
        self._queue = SnapshotQueue(registry, load)
        self._writing: dict[bytes, Job] = {}
        self._errors: dict[bytes, str] = {}  # why the last attempt failed, by id
        self._released = Released(started.removed)
        self._round: Round | None = None  # the last that began
        self._makes_room = False  # whether the round under way does
        self._retry_at = 0.0  # after a round that failed: when what is superfluous is removed
        self._is_finished = False

    @property
    def is_running(self) -> bool:
        """True while anything is written or removed, or was and its outcome was not taken yet."""
        return self._worker.is_running

    def is_current(self, hosted: Hosted) -> bool:
        """True where the newest snapshot of a model holds every entry that was applied."""
        _, stored = hosted.learning
        return stored not in self.changes and stored.id not in self._writing

    @property
    def log_bytes(self) -> int:
        """Bytes in the log that the newest snapshots lack."""
        return self._started.log.bytes - self.changes.since

    @property
    def removed(self) -> int:
        """The LSN up to which the log was removed."""
        return self._released.removed

    # Asking.

    def request(self, hosted: Hosted, *, first: bool = False) -> Future[Written]:
        """A snapshot of everything that a model has learned so far: one under way if nothing came
        since it began. first: before all others that wait.
        """
        self._worker.collect()  # one that has failed already is not joined
        state, stored = hosted.learning
        job = self._writing.get(stored.id)
        if job is not None and job.lsn == state.position.lsn:
            return job.asked
        return self._ask(stored, first=first)

    def ask(self) -> Future[None]:
        """A snapshot of every model in memory that was changed; done when all are written."""
        outcome: Future[None] = Future()
        asked = [
            self._ask(change.stored)
            for change in self.changes
            if self._registry.find(change.stored.name) is not None
        ]
        asked += [job.asked for job in self._writing.values()]
        left = len(asked)

        def done(each: Future[Written]) -> None:
            nonlocal left
            left -= 1
            if outcome.done():
                return
            if (error := each.exception()) is not None:
                outcome.set_exception(error)
            elif not left:
                outcome.set_result(None)

        for each in asked:
            each.add_done_callback(done)
        if not asked:
            outcome.set_result(None)
        return outcome

    def _ask(self, stored: StoredModel, *, first: bool = False) -> Future[Written]:
        asked = self._queue.ask(stored, first=first)
        if self._queue.is_due and not self._worker.is_running:
            self._launch()
        return asked

    def loaded(self, stored: StoredModel) -> None:
        """Go on with a model that was loaded, or could not be."""
        self._queue.loaded(stored)
        if self._queue.is_due and not self._worker.is_running:
            self._launch()

    def not_loaded(self, stored: StoredModel, error: Exception) -> None:
        """Try again later with a model that could not be loaded."""
        if self._queue.fail(stored, error):
            self._fail(stored, error)

    # Rounds.

    def _launch(self) -> None:
        """Begin a round; those who have asked are answered from the worker."""

        def answer(ended: Future[Round]) -> None:
            if ended.exception() is None:
                for job in ended.result().jobs:
                    job.answer()

        self._worker.ask().add_done_callback(answer)

    def _begin(self) -> Callable[[], Round]:
        """The next round. Its snapshots hold everything up to now."""
        self._round = round_ = Round([], self._released.take(), None, self.changes.lsn)
        asked = self._queue.take()
        try:
            self._prepare(round_, asked)
        except Exception as error:
            for hosted, outcome in asked:
                self._refuse(hosted, outcome, error)
            raise  # to `_end`, which fails the rest
        return lambda: round_.run(
            self._started.snapshots, self._disk, self._released, self._turnstile
        )

    def _prepare(self, round_: Round, asked: list[tuple[Hosted, Future[Written]]]) -> None:
        """Move what was `asked` for into a round."""
        log_ = self._started.log
        self._makes_room = self._disk.is_full or self._is_short()
        if self._makes_room:
            round_.frugal = self.changes.held
        while asked:
            self._add(round_, *asked.pop(0))
        if round_.jobs:
            self.changes.log_bytes = log_.bytes
            log_.roll()  # the segments so far go with the snapshots that hold them

    def _add(self, round_: Round, hosted: Hosted, asked: Future[Written]) -> None:
        state, stored = hosted.learning
        try:
            view = state.view(self._started.folder)
        except Exception as error:  # no memory for a copy: an outcome like any other
            self._refuse(hosted, asked, error)
            return
        job = Job(hosted, view, state.position.lsn, asked)
        round_.jobs.append(job)
        self._writing[stored.id] = job
        self.changes.begin(stored)

    def _refuse(self, hosted: Hosted, asked: Future[Written], error: Exception) -> None:
        self._fail(hosted.learning[1], error)
        asked.set_exception(error)

    def _end(self, ended: Future[Round]) -> None:
        """Take the outcome of a round."""
        self._makes_room = False
        round_, self._round = self._round, None
        assert round_ is not None
        if (failure := ended.exception()) is not None:
            self._fail_round(round_, failure)
        for job in round_.jobs:
            _, stored = job.hosted.learning
            self._writing.pop(stored.id, None)
            if self._registry.stored(job.hosted.name) is not stored:
                continue  # it was dropped meanwhile
            if job.written is None:
                assert job.error is not None
                self._fail(stored, job.error)
                continue
            if stored.newest is None or job.written.stored.lsn > stored.newest.lsn:
                self._disk.has_grown()
            self._errors.pop(stored.id, None)
            stored.take(job.written.stored)
            if job.written.was_verified:
                stored.older = 0
            self.changes.end(stored, is_verified=job.written.was_verified)
            log.info("snapshot %s (%d bytes)", job.written.stored.path, job.written.stored.size)
        if round_.jobs:
            self._released.has_changed = True
        if round_.frugal is not None and round_.is_verified and not self.changes:
            self._disk.drop_segment(round_.lsn)
        for damaged in round_.damaged:
            self._replace(damaged)
        self._go_on()

    def _fail_round(self, round_: Round, failure: BaseException) -> None:
        """Fail the snapshots of a round that an unexpected error has ended; the rest waits."""
        log.error("a round of snapshots failed: %r", failure, exc_info=failure)
        self._retry_at = time.monotonic() + RETRY_S
        if round_.release is not None:
            self._released.put_back(round_.release)
        round_.fail(failure)
        for job in round_.jobs:
            job.answer()

    def _replace(self, damaged: Damaged) -> None:
        """Write a snapshot anew that can no longer be read; the log is kept until then."""
        self._released.has_changed = True
        stored, newest, reason = damaged
        if self._registry.stored(stored.name) is stored and stored.newest is newest:
            log.error("a snapshot can no longer be read, and is written anew: %s", reason)
            self.changes.keep_on(stored)
            stored.newest = newest._replace(digest="")
            self._ask(stored)

    def _fail(self, stored: StoredModel, error: BaseException) -> None:
        self._errors[stored.id] = str(error) or type(error).__name__
        self.changes.fail(stored, time.monotonic() + RETRY_S)
        log.error("the snapshot of model %s failed: %s", stored.name, self._errors[stored.id])

    def _go_on(self) -> None:
        """Begin the next round if there is something to do."""
        has_work = self._queue.is_due
        if time.monotonic() >= self._retry_at:
            self._released.look(self.changes, is_idle=not self._queue)
            has_work |= self._released.is_due or self._started.snapshots.has_dropped
        if has_work:
            self._launch()

    def forget(self, stored: StoredModel) -> None:
        """Forget why the snapshot of a model failed that was dropped."""
        self._errors.pop(stored.id, None)

    # The clock.

    def collect(self) -> None:
        """Take the outcome of a round that has ended."""
        self._worker.collect()

    def tick(self, now: float) -> float:
        """Begin what is due at `now` (time.monotonic()); when the next is due."""
        self.collect()
        if self._is_finished:
            return math.inf
        for stored in self.changes.due(now):
            self._ask(stored)
        if self._is_log_long() and (oldest := self.changes.oldest) is not None:
            self._ask(oldest.stored)
        if not self._worker.is_running:
            self._go_on()
        return self.changes.next_due

    def _is_log_long(self) -> bool:
        oldest = self.changes.oldest
        return (
            oldest is not None
            and not self._worker.is_running
            and oldest.stored.id not in self._errors  # it is tried again when it is due
            and self._schedule.is_long(self.log_bytes, self.changes.snapshot_bytes)
        )

    def _is_short(self) -> bool:
        return self._disk.is_short(self.changes.snapshot_bytes, self.log_bytes)

    def make_room(self, now: float) -> None:
        """On a full disk: ask for snapshots that make room, every few seconds at most."""
        if self._worker.is_running or not self._disk.may_try(now):
            return
        changed = [change.stored for change in self.changes]
        for stored in changed or [h.learning[1] for h in self._registry]:
            self._ask(stored)

    def hold_back(self) -> NotDurable | None:
        """Why nothing may be learned now: room is being made on a disk that is nearly full."""
        self._worker.collect()  # what it brings may be the room that is missing
        if not self._is_short():
            return None
        if not self._errors:
            self._disk.has_grown()  # so has the log: each snapshot makes room
        self.make_room(time.monotonic())
        if self._worker.is_running and self._makes_room:
            return NotDurable(f"{os.strerror(errno.ENOSPC)}; room is being made on the disk")
        return None

    def report(self, hosted: Hosted) -> dict[str, Any]:
        """The figures of a stats reply."""
        self._worker.collect()
        _, stored = hosted.learning
        newest = stored.newest
        return {
            "snapshot_position": newest.position if newest else None,
            "snapshot_age_s": _age_of(newest) if newest else None,
            "snapshot_path": newest.path if newest else None,
            "snapshot_error": self._errors.get(stored.id),
            "log_bytes": self.log_bytes,
        }

    # The end.

    def finish(self) -> None:
        """Wait for the round under way and what was asked for first; nothing is due any more."""
        self._is_finished = True
        self._queue.refuse(urgent=False)
        self._worker.finish()
        self._queue.refuse(urgent=True)


def _age_of(newest: StoredSnapshot) -> float | None:
    """The age of a snapshot in seconds; None where its file is gone."""
    try:
        return max(0.0, time.time() - os.stat(newest.path).st_mtime)
    except OSError:
        return None
