"""A round of snapshots: what is written beside the loop, and what that makes superfluous."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from onlinesvm.errors import SnapshotError
from onlinesvm.service.server.disk_space import DiskSpace
from onlinesvm.service.server.registry import Hosted
from onlinesvm.service.server.released import Release, Released
from onlinesvm.service.server.turnstile import SMALL_BYTES, Turnstile
from onlinesvm.service.storage.snapshots import Snapshots, StoredSnapshot
from onlinesvm.service.storage.stored_model import StoredModel
from onlinesvm.snapshot.view import ModelView

__all__ = ["ROUND", "Damaged", "Job", "Round", "Written"]

ROUND = 16  # snapshots; each has an open view, which costs learning a little


class Written(NamedTuple):
    """The outcome of a snapshot. was_verified: whether it was read back once more."""

    stored: StoredSnapshot
    was_verified: bool = False


class Damaged(NamedTuple):
    """A model, its newest snapshot, and why that cannot be read."""

    stored: StoredModel
    newest: StoredSnapshot
    reason: str


@dataclass(slots=True)
class Job:
    """A snapshot of a round, and its outcome: `written` or `error`.

    was_verified: whether the one before was read back, on a disk that is short.
    """

    hosted: Hosted
    view: ModelView
    lsn: int
    asked: Future[Written]
    was_verified: bool = False
    written: Written | None = None
    error: BaseException | None = None

    def answer(self) -> None:
        """Give the outcome to those who have asked for it."""
        if self.written is not None:
            self.asked.set_result(self.written)
        else:
            self.asked.set_exception(self.error or RuntimeError("the snapshot was not written"))


@dataclass(slots=True)
class Round:
    """Work for the worker: snapshots, then what they make superfluous.

    frugal: make room first, with the newest snapshots, up to entry `held`. lsn: that of the last
    entry when it began. damaged: newest snapshots that could not be read back once more.
    """

    jobs: list[Job]
    release: Release | None
    frugal: int | None
    lsn: int
    damaged: list[Damaged] = field(default_factory=list)

    @property
    def is_verified(self) -> bool:
        """True if there are snapshots, and all of them need none beside them."""
        written = [job.written is not None and job.written.was_verified for job in self.jobs]
        return bool(written) and all(written)

    def fail(self, error: BaseException) -> None:
        """Fail the snapshots that were not written: `error` has ended the round."""
        for job in self.jobs:
            if job.written is None and job.error is None:
                job.error = error
                job.view.close()

    def run(
        self, snapshots: Snapshots, disk: DiskSpace, released: Released, turnstile: Turnstile
    ) -> Round:
        """Write and remove. Runs on the worker."""
        if self.release is not None:
            self._remove(self.release, snapshots, released)
        if self.frugal is not None:
            for job in self.jobs:
                newest = job.hosted.learning[1].newest
                job.was_verified = newest is not None and disk.make_room(newest)
            if self.jobs and all(job.was_verified for job in self.jobs):
                released.remove(snapshots, Release(self.frugal, self.frugal))
        for job in self.jobs:
            try:
                job.written = self._write(job, snapshots, disk, turnstile)
            except Exception as error:
                job.error = error
        # A model of this round may be dropped at any time: until here its snapshots are refused.
        if snapshots.has_dropped:
            snapshots.remove_dropped()
        return self

    def _remove(self, release: Release, snapshots: Snapshots, released: Released) -> None:
        """Remove log that nobody needs, once the newest snapshots that it needs were read back."""
        for stored in release.alone:
            newest = stored.newest
            assert newest is not None
            try:
                snapshots.verify(newest)
            except (OSError, SnapshotError, MemoryError) as error:
                self.damaged.append(Damaged(stored, newest, str(error) or "out of memory"))
        if not self.damaged:
            released.remove(snapshots, release)

    def _write(
        self, job: Job, snapshots: Snapshots, disk: DiskSpace, turnstile: Turnstile
    ) -> Written:
        newest = job.hosted.learning[1].newest
        with contextlib.closing(job.view):
            if newest is not None and newest.lsn == job.lsn and newest.digest:
                return Written(newest, job.was_verified)  # it holds everything already
            taken = job.view.snapshot()
            size = sum(array.nbytes for array in taken.all_arrays().values())
            with turnstile.turn() if size < SMALL_BYTES else contextlib.nullcontext():
                stored = snapshots.write(taken)
        return Written(stored, self.frugal is not None and disk.make_room(stored))
