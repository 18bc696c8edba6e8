"""A model that learns: every turn of the loop is in the journal before it is in the model."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from onlinesvm.data.batch import BatchColumns
from onlinesvm.data.codec import encode_margins
from onlinesvm.errors import BodyError, SampleError, SnapshotError
from onlinesvm.service.errors import NotDurable
from onlinesvm.service.protocol import Request, RequestError, request_error_of
from onlinesvm.service.server.background import Errand
from onlinesvm.service.server.handlers import Answer, Fatal, Reply, Serving
from onlinesvm.service.storage.log import Entry
from onlinesvm.service.storage.producers import Turn
from onlinesvm.service.storage.state_dir import Store
from onlinesvm.service.storage.writer import PART_BYTES, Part, Writer
from onlinesvm.snapshot.writer import Saved
from onlinesvm.svm import OnlineSVM

__all__ = ["Learning"]

log = logging.getLogger(__name__)

# A snapshot is due when the journal since the last exceeds the larger of these.
JOURNAL_BYTES = 2**30
JOURNAL_SNAPSHOTS = 4
RETRY_S = 5.0
CHECK_S = 1.0


@dataclass(slots=True)
class _Plan:
    """What is to be done with a valid learn request."""

    batch: BatchColumns
    is_duplicate: bool
    part: Part | None = None  # what it is in, on its way into the journal
    refusal: NotDurable | MemoryError | None = None


class Learning(Serving):
    """A model that learns, and its state folder.

    `saved` is the snapshot that the model came from.
    """

    mode = "learner"

    def __init__(
        self,
        model: OnlineSVM,
        store: Store,
        saved: Saved,
        *,
        snapshot_every_s: float,
        journal_bytes: int = JOURNAL_BYTES,
        part_bytes: int = PART_BYTES,
    ) -> None:
        super().__init__()
        self._model = model
        self._store = store
        self._journal = store.journal
        self._journal.wake = lambda: self.wake()
        self._writer = Writer(self._journal)
        # Under `always` a turn is made durable at once, so it is written at once.
        self._part_bytes = math.inf if self._journal.fsync == "always" else part_bytes
        self._producers = store.producers
        self._saved = saved
        self._saved_at = Path(saved.path).stat().st_mtime
        self._snapshot_every_s = snapshot_every_s
        self._journal_bytes = journal_bytes
        self._due = time.monotonic() + snapshot_every_s
        self._writing = Errand(self._begin_snapshot, self._end_snapshot, lambda: self.wake())
        self._writing_position = saved.position
        # What the journal had when the last snapshot, and the one under way, was begun.
        self._saved_bytes = self._writing_bytes = 0
        # The end of the journal of which the last snapshot, and the one under way, has all.
        self._saved_end: tuple[int, ...] | None = None
        self._writing_end: tuple[int, ...] | None = None
        self._unapplied = 0  # requests of this turn that are, or will be, in the journal alone
        self._refused: Exception | None = None  # why some of this turn were refused
        self._snapshot_error: str | None = None
        self._journal_error: str | None = None
        # After a failed fsync: the snapshot that makes learning possible again, and when to try.
        self._mending: Future[Saved] | None = None
        self._check_at = 0.0
        # On a full disk: the run under way is to make room, and when the next may.
        self._is_making_room = False
        self._is_verified = False  # its snapshot was read back whole
        self._room_at = 0.0
        self._mend_at = 0.0

    def model(self, request: Request) -> OnlineSVM:
        return self._model

    # Learning: all of a turn is planned and on its way into the journal, then each request is
    # applied in its place, once it is there.

    def prepare(self, requests: Sequence[Request]) -> None:
        self._writer.settle()
        turn = Turn(self._producers)
        self._refused = None
        batches: list[BatchColumns] = []
        part: list[Request] = []
        size = 0
        refusal: NotDurable | MemoryError | None = self._held_back()
        for request in requests:
            if request.op == "resume":
                self._producers.own(request.producer, request.peer)
            elif request.op == "learn":
                try:
                    request.plan = plan = self._planned(request, turn)
                except Exception as error:
                    request.plan = error
                    continue
                plan.refusal = refusal
                if plan.is_duplicate or refusal is not None:
                    continue
                batches.append(plan.batch)
                part.append(request)
                size += len(request.body)
                if size >= self._part_bytes:
                    refusal = self._write(part, batches, more=True)
                    part, size = [], 0
        if part:
            self._write(part, batches, more=False)

    def _write(
        self, part: Sequence[Request], batches: Sequence[BatchColumns], *, more: bool
    ) -> MemoryError | None:
        """Have a part of the turn written, once there is memory to learn it and all before it, the
        `batches`; else why there is none, and all of it is refused.
        """
        try:
            self._model.reserve(batches)
        except MemoryError as error:
            for request in part:
                request.plan.refusal = error
            return error
        taught = [request for request in part if len(request.plan.batch) or request.producer]
        if taught:
            entries = [Entry(len(r.plan.batch), r.header, r.body) for r in taught]
            written = self._writer.write(entries, more=more)
            for request in taught:
                request.plan.part = written
            self._unapplied += len(taught)
        return None

    def _planned(self, request: Request, turn: Turn) -> _Plan:
        """What to do with a learn request. Raises RequestError, BodyError, SampleError."""
        model = self._model
        batch = model.kernel.decode(request.body, model.limits, labelled=True)
        if not request.producer:
            return _Plan(batch, is_duplicate=False)
        if not self._producers.is_owner(request.producer, request.peer):
            raise RequestError(
                "SEQUENCE_GAP",
                "another connection has asked to resume this producer; ask to resume it first",
                None,
                request.id,
            )
        expected = turn.last_sequence(request.producer) + 1
        if request.sequence > expected:
            raise RequestError(
                "SEQUENCE_GAP",
                f"expected sequence {expected}, got {request.sequence}",
                None,
                request.id,
            )
        if request.sequence == expected:
            turn.plan(request.producer, request.sequence)
        return _Plan(batch, is_duplicate=request.sequence < expected)

    def _refusal(self, request: Request, plan: _Plan) -> Exception | None:
        """Why a valid request is refused after all: nothing of it is in the journal.

        Waits until it is known. Raises Fatal where the journal's writer has failed unexpectedly.
        """
        if plan.is_duplicate:
            applied = request.sequence <= self._producers.last(request.producer).sequence
            return None if applied else self._refused  # of one that was refused in this turn
        error: BaseException | None = plan.refusal
        if plan.part is not None:
            error = plan.part.exception()
            if error is not None:
                self._unapplied -= 1
        elif error is None:
            return None  # there is nothing in it
        if error is not None and not isinstance(error, NotDurable | MemoryError):
            raise Fatal(f"the journal's writer failed ({error!r}); start again") from error
        self._note_journal(error)
        self._refused = error
        return error

    def _note_journal(self, error: Exception | None) -> None:
        """Keep what went wrong with the journal, for `stats`, and log when that changes."""
        text = None if error is None else str(error) or "out of memory"
        if text == self._journal_error:
            return
        self._journal_error = text
        if text is not None:
            log.error("learning is refused: %s", text)
        else:
            log.info("learning goes on")

    def _learn(self, request: Request) -> Answer:
        plan = request.plan
        if isinstance(plan, BodyError | SampleError):
            raise request_error_of(plan, request.id)
        if isinstance(plan, Exception):
            raise plan
        model = self._model
        samples = len(plan.batch)
        refusal = self._refusal(request, plan)
        if isinstance(refusal, NotDurable):
            raise RequestError(
                "NOT_DURABLE", f"{refusal}; nothing of it is applied", None, request.id
            )
        if refusal is not None:
            text = "out of memory; nothing of it is applied"
            raise RequestError("INTERNAL", text, None, request.id)
        if plan.is_duplicate:
            return Reply({"samples": samples, "position": model.position, "duplicate": True})
        drifts = model.drifts
        try:
            margins = model.learn_batch(plan.batch)
        except Exception as error:
            raise Fatal(
                f"a request that is in the journal could not be applied ({error!r}); start again"
            ) from error
        if model.drifts > drifts:
            recent = model.progressive.recent_error
            log.warning("drift: the error rose, by position %d; now %.4f", model.position, recent)
        if request.producer:
            self._producers.note(request.producer, request.sequence, samples)
        if plan.part is not None:
            self._unapplied -= 1
        self.figures.samples += samples
        return Reply(
            {"samples": samples, "position": model.position},
            encode_margins(margins),
        )

    def _resume(self, request: Request) -> Answer:
        return Reply(self._producers.last(request.producer)._asdict())

    # Snapshots.

    def _snapshot(self, request: Request) -> Answer:
        self._writer.settle()
        answer: Future[Reply] = Future()

        def written(future: Future[Saved]) -> None:
            error = future.exception()
            if error is not None:
                answer.set_exception(
                    RequestError("INTERNAL", f"the snapshot failed: {error}", None, request.id)
                )
                return
            saved = future.result()
            answer.set_result(Reply(dict(saved._asdict())))

        self._writing.collect()  # one that has failed already is not joined
        # One that is under way will do if nothing was learned since it began.
        same = self._writing_position == self._model.position
        self._writing.ask(join=same).add_done_callback(written)
        return answer

    def _begin_snapshot(self) -> Callable[[], Saved]:
        view = self._store.view(self._model, has_all=not self._unapplied)
        self._writing_position = view.position
        self._writing_bytes = self._journal.bytes
        self._writing_end = view.journal
        if not self._unapplied:  # else the snapshot has less than the segment before the next
            self._journal.roll()
        self._is_making_room = self._journal.is_disk_full or self._is_disk_nearly_full()
        if not self._is_making_room:
            return lambda: self._store.write(view.snapshot())
        newest = self._saved

        def frugal() -> Saved:
            # First without a new one, for which there may be no room yet.
            with contextlib.closing(view):
                self._is_verified = self._make_room(newest)
                if view.position == newest.position:
                    return newest
                saved = self._store.write(view.snapshot())
            self._is_verified = self._make_room(saved)
            return saved

        return frugal

    def _make_room(self, saved: Saved) -> bool:
        """Whether `saved` was read back whole, so that what is older could be dropped."""
        try:
            self._store.make_room(saved)
        except (OSError, SnapshotError) as error:
            log.error("no room can be made on the disk: %s", error)
            return False
        return True

    def _is_disk_nearly_full(self) -> bool:
        """Whether the journal would soon leave no room for the snapshot that makes room."""
        learned = self._journal.bytes - self._saved_bytes
        if learned < self._saved.size:
            return False  # it would take more than it makes superfluous
        try:
            disk = os.statvfs(self._journal.folder)
        except OSError:
            return False
        # By what it may have grown since the last, and once more as much.
        free: int = disk.f_bavail * disk.f_frsize
        return free < 2 * self._saved.size + learned

    def _ask_for_room(self, now: float) -> None:
        if now >= self._room_at and not self._writing.is_running:
            self._room_at = now + RETRY_S
            self._writing.ask()

    def _held_back(self) -> NotDurable | None:
        """Why nothing is learned while room is made on a disk that is nearly full."""
        if not self._is_disk_nearly_full():
            return None
        self._writing.collect()
        self._ask_for_room(time.monotonic())
        if self._writing.is_running and self._is_making_room:
            return NotDurable(f"{os.strerror(errno.ENOSPC)}; room is being made on the disk")
        return None

    def _end_snapshot(self, ended: Future[Saved]) -> None:
        error = ended.exception()
        if error is None:
            if ended.result().position > self._saved.position:
                self._room_at = 0.0  # more was made superfluous than before
            if ended.result() is not self._saved:
                self._saved_end = self._writing_end
            self._saved, self._saved_at = ended.result(), time.time()
            self._saved_bytes = self._writing_bytes
            self._snapshot_error = None
            if self._is_making_room and self._is_verified:
                self._drop_segment()
            log.info("snapshot %s (%d bytes)", self._saved.path, self._saved.size)
        else:
            self._snapshot_error = str(error) or type(error).__name__
            self._due = min(self._due, time.monotonic() + RETRY_S)
            log.error("the snapshot failed: %s", self._snapshot_error)

    def _drop_segment(self) -> None:
        """Drop the segment that the journal ends with, if the last snapshot has all of it."""
        if self._journal.end != self._saved_end:
            return
        try:
            self._journal.drop()
        except OSError as error:
            log.error("no room can be made on the disk: %s", error.strerror or error)

    def tick(self, now: float) -> float:
        self.figures.tick(now)
        self._writer.settle()
        self._writing.collect()
        if now >= self._check_at:
            self._check_at = now + CHECK_S
            self._journal.check()
            if self._journal.is_disk_full:
                self._ask_for_room(now)
        if self._journal.failure is not None:
            self._mend(self._journal.failure, now)
        if now >= self._due or self._journal_is_long():
            self._due = now + self._snapshot_every_s
            if self._model.position != self._saved.position:
                self._writing.ask(join=True)
        mends = self._journal.failure is not None and self._mending is None
        return max(0.0, (min(self._due, self._mend_at) if mends else self._due) - now)

    def _journal_is_long(self) -> bool:
        most = max(self._journal_bytes, JOURNAL_SNAPSHOTS * self._saved.size)
        return (
            self._journal.bytes - self._saved_bytes > most
            and self._snapshot_error is None  # then it is tried again when it is due
            and not self._writing.is_running
        )

    def _mend(self, failure: OSError, now: float) -> None:
        """After a failed fsync: what the journal had may be gone, so a snapshot has to hold it."""
        self._note_journal(NotDurable(f"the journal could not be made durable ({failure})"))
        if self._mending is not None and self._mending.done():
            error = self._mending.exception()
            self._mending = None
            if error is None:
                self._journal.clear()
                self._note_journal(None)
            else:
                self._mend_at = now + RETRY_S
        elif self._mending is None and now >= self._mend_at:
            self._mend_at = now + RETRY_S
            try:
                self._journal.recover()
            except OSError as error:
                log.error("no fresh segment of the journal: %s", error.strerror or error)
            else:
                self._mending = self._writing.ask()

    # Everything else.

    def _stats(self, request: Request) -> Answer:
        self._writer.settle()
        self._writing.collect()
        report = self._report(self._model)
        report.update(
            snapshot_position=self._saved.position,
            snapshot_age_s=max(0.0, time.time() - self._saved_at),
            snapshot_path=self._saved.path,
            snapshot_error=self._snapshot_error,
            fsync=self._journal.fsync,
            journal_bytes=self._journal.bytes - self._saved_bytes,
            journal_error=self._journal_error,
            producers=len(self._producers),
            refused_features=self._model.refused_features,
            prunes=self._model.pruning.prunes,
            pruned_features=self._model.pruning.features,
            longest_prune_s=self._model.pruning.longest_s,
        )
        return Reply(report)

    def _reload(self, request: Request) -> Answer:
        raise RequestError(
            "BAD_REQUEST", "expected reload at a follower, got it at a learner", None, request.id
        )

    def stop(self) -> None:
        """Write a last snapshot if anything was learned since the newest. Raises OSError."""
        self._due = math.inf
        self._writer.close()
        self._writing.finish()
        try:
            if self._model.position != self._saved.position or self._journal.failure is not None:
                self._saved = self._store.write(self._store.take(self._model))
                log.info("snapshot %s (%d bytes)", self._saved.path, self._saved.size)
        finally:
            try:
                self._journal.close()
            except OSError as error:  # the snapshot has it all
                log.warning("the journal could not be made durable: %s", error.strerror or error)
            self._store.close()
