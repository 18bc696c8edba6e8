"""The leader: validates, plans and applies the learn requests of a turn.

A turn is planned whole: its valid requests go into the log, in parts, before the first of them is
applied. Then each is applied in its place, once its part is in the log.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from numpy import float64
from numpy.typing import NDArray

from onlinesvm.data.batch import BatchColumns
from onlinesvm.errors import OnlineSVMError
from onlinesvm.model.labels import Labels
from onlinesvm.model.model import sided
from onlinesvm.service.errors import NotDurable
from onlinesvm.service.protocol import Request, RequestError
from onlinesvm.service.server.registry import Hosted, Registry
from onlinesvm.service.storage.entry import Entry, Kind
from onlinesvm.service.storage.log import Log, Written
from onlinesvm.service.storage.producers import Turn

__all__ = ["PART_BYTES", "Fatal", "Leader", "Learned", "Plan", "Planned"]

log = logging.getLogger(__name__)

# Below this, handing a part to the thread takes longer than writing it.
PART_BYTES = 2**20

Part = Future[Written]  # of a turn; fails with NotDurable or MemoryError where it is not in the log
Refusal = NotDurable | MemoryError


class Fatal(OnlineSVMError):
    """The model no longer equals what the log says; only a new start makes them equal."""


@dataclass(slots=True)
class Plan:
    """How a valid learn request will be carried out.

    first: the request of the same turn that this one repeats. part, index: the part of the turn
    that it is written in, and its place there; None where there is nothing to write. refusal: why
    it is not written.
    """

    hosted: Hosted
    batch: BatchColumns
    is_duplicate: bool = False
    first: Plan | None = None
    part: Part | None = None
    index: int = 0
    refusal: Refusal | None = None


Planned = Plan | Exception | None  # an error answers the request; None: nothing to plan


class Learned(NamedTuple):
    """The outcome of a learn request; `margins` is None for one that was applied before."""

    samples: int
    position: int
    margins: NDArray[float64] | None


class Leader:
    """Learns. Owns the log's writer; owned by the loop's thread.

    hold_back: returns why nothing may be learned now, or None. note: called with the outcome of
    each write: None, or why it failed.
    """

    def __init__(
        self,
        registry: Registry,
        log: Log,
        *,
        hold_back: Callable[[], NotDurable | None] = lambda: None,
        note: Callable[[Refusal | None], None] = lambda error: None,
        part_bytes: float = PART_BYTES,
    ) -> None:
        self._registry = registry
        self._writer = _Writer(log)
        self._hold_back = hold_back
        self._note = note
        # Under `always` a turn is made durable at once, so it is written at once.
        self._part_bytes = math.inf if log.fsync == "always" else part_bytes

    def plan(self, requests: Sequence[Request]) -> list[Planned]:
        """The plan of each learn request of a turn, the error that answers it, or None.

        When this returns, all that will be learned is in the log, or on its way there.
        """
        self._writer.settle()
        turn = _Turn(self._writer, self._part_bytes, self._hold_back())
        plans: list[Planned] = []
        for request in requests:
            try:
                plans.append(self._plan_one(request, turn))
            except Exception as error:  # answers this request, and stops no other
                plans.append(error)
        turn.write(more=False)
        return plans

    def _plan_one(self, request: Request, turn: _Turn) -> Plan | None:
        if request.op == "resume":
            hosted = self._registry.get(request.model, request.id)
            hosted.producers.own(request.producer, request.peer)
        if request.op != "learn":
            return None
        hosted = self._registry.get(request.model, request.id)
        model = hosted.model
        batch = model.kernel.decode(request.body, model.limits, labelled=True)
        labels = sided(turn.labels_of(hosted), batch)
        plan = turn.duplicate_of(request, hosted, batch) if request.producer else None
        if plan is None:
            turn.labels[hosted.name] = labels
            plan = Plan(hosted, batch)
            turn.add(request, plan)
        return plan

    def apply(self, request: Request, plan: Plan) -> Learned:
        """Learn a request as planned, once it is in the log.

        Raises NotDurable or MemoryError where it is not, and nothing of it was applied; Fatal where
        the log and the model no longer agree.
        """
        hosted, model, samples = plan.hosted, plan.hosted.model, len(plan.batch)
        refusal = self._refusal_of(plan if plan.first is None else plan.first)
        if refusal is not None:
            raise refusal
        if plan.is_duplicate:
            return Learned(samples, model.position, None)
        drifts = model.drifts
        try:
            margins = model.learn_batch(plan.batch)
        except Exception as error:
            raise Fatal(
                f"a request that is in the log could not be applied ({error!r}); start again"
            ) from error
        if model.drifts > drifts:
            recent = model.progressive.recent_error
            log.warning("drift: the error rose, by position %d; now %.4f", model.position, recent)
        if request.producer:
            hosted.producers.note(request.producer, request.sequence, samples)
        if plan.part is not None and hosted.state is not None:
            hosted.state.reached(plan.part.result(), plan.index)
        return Learned(samples, model.position, margins)

    def _refusal_of(self, plan: Plan) -> Refusal | None:
        """Why nothing of a valid request is in the log; None where all of it is.

        Waits until that is known. Raises Fatal where the writer has failed unexpectedly.
        """
        if plan.refusal is None and plan.part is None:
            return None  # applied before, or without anything to write
        if plan.refusal is None and plan.part is not None:
            error = plan.part.exception()
            if error is not None and not isinstance(error, NotDurable | MemoryError):
                raise Fatal(f"the log's writer failed ({error!r}); start again") from error
            plan.refusal = error
        self._note(plan.refusal)
        return plan.refusal

    def settle(self) -> None:
        """Wait until everything planned is in the log, or is known not to be."""
        self._writer.settle()

    def close(self) -> None:
        """End the writer's thread; may be called again."""
        self._writer.close()


class _Turn:
    """A turn of the loop while it is planned.

    refusal: why no more of it is written. labels: by model, with those of the requests so far.
    """

    def __init__(self, writer: _Writer, part_bytes: float, refusal: Refusal | None) -> None:
        self._writer = writer
        self._part_bytes = part_bytes
        self._refusal = refusal
        self.labels: dict[str, Labels] = {}
        self._sequences: dict[str, Turn] = {}
        self._numbered: dict[tuple[str, bytes, int], Plan] = {}
        self._batches: dict[str, list[BatchColumns]] = {}  # of the whole turn, by model
        self._part: list[tuple[Request, Plan]] = []
        self._size = 0

    def labels_of(self, hosted: Hosted) -> Labels:
        """The labels that a model will have once the requests so far are applied."""
        return self.labels.get(hosted.name, hosted.model.labels)

    def duplicate_of(self, request: Request, hosted: Hosted, batch: BatchColumns) -> Plan | None:
        """The plan of a numbered request that was applied before, or will be in this turn.

        None where it is the next of its producer. Raises RequestError if it is neither.
        """
        producers = hosted.producers
        if not producers.is_owner(request.producer, request.peer):
            raise RequestError(
                "SEQUENCE_GAP",
                "another connection has asked to resume this producer; ask to resume it first",
                None,
                request.id,
            )
        sequences = self._sequences.setdefault(hosted.name, Turn(producers))
        expected = sequences.last_sequence(request.producer) + 1
        if request.sequence > expected:
            raise RequestError(
                "SEQUENCE_GAP",
                f"expected sequence {expected}, got {request.sequence}",
                None,
                request.id,
            )
        if request.sequence == expected:
            sequences.plan(request.producer, request.sequence)
            return None
        first = self._numbered.get((hosted.name, request.producer, request.sequence))
        return Plan(hosted, batch, is_duplicate=True, first=first)

    def add(self, request: Request, plan: Plan) -> None:
        """Have a request written, unless it is refused already; full parts at once."""
        if request.producer:
            self._numbered[plan.hosted.name, request.producer, request.sequence] = plan
        if self._refusal is not None:
            plan.refusal = self._refusal
            return
        self._batches.setdefault(plan.hosted.name, []).append(plan.batch)
        self._part.append((request, plan))
        self._size += len(request.body)
        if self._size >= self._part_bytes:
            self.write(more=True)

    def write(self, *, more: bool) -> None:
        """Hand the part over to the writer; `more` may follow.

        First memory is reserved to learn it and all before it. Where there is none, it is refused.
        """
        part, self._part, self._size = self._part, [], 0
        models = {plan.hosted.name: plan.hosted.model for _, plan in part}
        try:
            for name, model in models.items():
                model.reserve(self._batches[name])
        except MemoryError as error:
            self._refusal = error
            for _, plan in part:
                plan.refusal = error
            return
        # A request without samples and without a number changes nothing.
        written = [(r, plan) for r, plan in part if len(plan.batch) or r.producer]
        if not written:
            return
        entries = [Entry(Kind.LEARN, plan.hosted.model.id, r.header, r.body) for r, plan in written]
        future = self._writer.write(entries, more=more)
        for index, (_, plan) in enumerate(written):
            plan.part, plan.index = future, index


class _Writer:
    """Writes the entries of a turn; where they are many, in parts and on a thread.

    While the thread writes a part, the loop validates the requests of the next and applies those of
    the one before: copying some megabytes into the system's cache takes as long as learning them.
    After a part that could not be written, no later one of that turn is written: an entry never
    follows one that is missing.

    Until `settle` returns, the thread alone uses the log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="onlinesvm-log")
        self._last: Part | None = None  # the last of this turn that was handed to the thread

    def write(self, entries: Sequence[Entry], *, more: bool) -> Part:
        """Have a part of the turn written; `more` may follow. A turn of one part is written here
        and now.
        """
        part, before = Part(), self._last
        if before is None and not more:
            _write(self._log, entries, part, None)
        else:
            self._worker.submit(_write, self._log, entries, part, before)
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


def _write(log: Log, entries: Sequence[Entry], part: Part, before: Part | None) -> None:
    """Write a part, unless the one `before` it in the turn could not be."""
    try:
        error = before.exception() if before is not None else None
        if error is not None:
            raise error
        written = log.append(entries)
    except Exception as error:
        part.set_exception(error)
    else:
        part.set_result(written)
