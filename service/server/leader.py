"""The leader: validates and plans the learn requests of a turn, and has them written.

A turn is planned whole: its valid requests go into the log, in parts, before the first of them is
applied. Then each plan is carried out in its place, once its part is in the log.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import cast

import msgpack

from onlinesvm.data.batch import BatchColumns
from onlinesvm.data.label import packable
from onlinesvm.model.class_labels import AnyLabels, ClassLabels
from onlinesvm.model.model import sided
from onlinesvm.service.errors import NotDurable
from onlinesvm.service.protocol import Request, RequestError
from onlinesvm.service.server.plan import Plan, Planned, Refusal
from onlinesvm.service.server.registry import Hosted, Registry, check_many
from onlinesvm.service.server.writer import Part, Writer
from onlinesvm.service.storage.entry import Entry, Kind
from onlinesvm.service.storage.log import Log
from onlinesvm.service.storage.producers import Turn

__all__ = ["PART_BYTES", "Leader"]

log = logging.getLogger(__name__)

# Below this, handing a part to the thread takes longer than writing it.
PART_BYTES = 2**20


class Leader:
    """Plans what is learned. Owns the log's writer; owned by the loop's thread."""

    def __init__(self, registry: Registry, log: Log, *, part_bytes: float = PART_BYTES) -> None:
        self._registry = registry
        self._writer = Writer(log)
        # Under `always` a turn is made durable at once, so it is written at once.
        self._part_bytes = math.inf if log.fsync == "always" else part_bytes
        self._turn: _Turn | None = None  # the last that had anything to write
        self._watched: dict[str, Hosted] = {}  # learned since the last look for a drift

    def plan(self, requests: Sequence[Request], refusal: Refusal | None = None) -> list[Planned]:
        """The plan of each learn request of a turn, the error that answers it, or None.

        When this returns, all that will be learned is in the log, or on its way there. `refusal`:
        why nothing may be written now.
        """
        self._writer.settle()
        self.report_drifts()
        turn = _Turn(self._writer, self._part_bytes, refusal)
        plans: list[Planned] = []
        for request in requests:
            try:
                plans.append(self._plan_one(request, turn))
            except Exception as error:  # answers this request, and stops no other
                plans.append(error)
        turn.write(more=False)
        if turn.hosted:
            self._turn = turn
            self._watched.update(turn.hosted)
        return plans

    def _plan_one(self, request: Request, turn: _Turn) -> Plan | None:
        if request.op == "resume":
            hosted = self._registry.get(request.model, request.id)
            hosted.producers.own(request.producer, request.peer)
        if request.op == "drop_label":
            return self._plan_drop(request, turn)
        if request.op != "learn":
            return None
        hosted = self._registry.get(request.model, request.id)
        model = hosted.model
        batch = model.kernel.decode(request.body, model.limits, labelled=True)
        labels = sided(turn.labels_of(hosted), batch)
        plan = turn.duplicate_of(request, hosted, batch) if request.producer else None
        if plan is None:
            turn.labels[hosted.name] = labels
            plan = Plan(request, hosted, batch)
            turn.add(plan)
        return plan

    def _plan_drop(self, request: Request, turn: _Turn) -> Plan:
        hosted = self._registry.get(request.model, request.id)
        check_many(hosted.model, request)
        labels = cast(ClassLabels, turn.labels_of(hosted)).copy()
        id = labels.id_of(request.label)
        name = labels.name(id)
        labels.drop(id)
        turn.labels[hosted.name] = labels
        plan = Plan(request, hosted, dropped=name)
        turn.add(plan)
        return plan

    @property
    def refusal(self) -> Refusal | None:
        """Why the last turn was not written, or not all of it; None where it was."""
        return None if self._turn is None else self._turn.refusal

    def clear(self) -> None:
        """Forget why the last turn was not written: the next can be."""
        self._turn = None

    def report_drifts(self) -> None:
        """Log the drifts of the models that have learned since the last call."""
        for hosted in self._watched.values():
            model, known = hosted.model, hosted.drifts
            hosted.drifts = model.drifts
            if hosted.drifts > known:
                log.warning(
                    "drift: the error rose, by position %d; now %.4f",
                    model.position, model.progressive.recent_error,
                )  # fmt: skip
        self._watched.clear()

    def settle(self) -> None:
        """Wait until everything planned is in the log, or is known not to be."""
        self._writer.settle()

    def close(self) -> None:
        """End the writer's thread; may be called again."""
        self._writer.close()


class _Turn:
    """A turn of the loop while it is planned.

    hosted: the models that it changes, by name. labels: of each, with those of the requests so far.
    """

    def __init__(self, writer: Writer, part_bytes: float, refusal: Refusal | None) -> None:
        self._writer = writer
        self._part_bytes = part_bytes
        self._refusal = refusal
        self._last: Part | None = None
        self.labels: dict[str, AnyLabels] = {}
        self._sequences: dict[str, Turn] = {}
        self._numbered: dict[tuple[str, bytes, int], Plan] = {}
        self.hosted: dict[str, Hosted] = {}
        self._batches: dict[str, list[BatchColumns]] = {}  # of the whole turn, by model
        self._part: list[Plan] = []
        self._size = 0

    @property
    def refusal(self) -> Refusal | None:
        """Why not all of it is in the log; None where it is. Waits until that is known."""
        if self._refusal is not None or self._last is None:
            return self._refusal
        error = self._last.wait()  # the first that fails fails all after it
        return error if isinstance(error, NotDurable | MemoryError) else None

    def labels_of(self, hosted: Hosted) -> AnyLabels:
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
        return Plan(request, hosted, batch, is_duplicate=True, first=first)

    def add(self, plan: Plan) -> None:
        """Have a request written, unless it is refused already; full parts at once."""
        request, name = plan.request, plan.hosted.name
        if request.producer:
            self._numbered[name, request.producer, request.sequence] = plan
        if name not in self.hosted:
            self.hosted[name] = plan.hosted
            self._batches[name] = []
        if self._refusal is not None:
            plan.refusal = self._refusal
            return
        if plan.batch is not None:
            self._batches[name].append(plan.batch)
        self._part.append(plan)
        self._size += len(request.body)
        if self._size >= self._part_bytes:
            self.write(more=True)

    def write(self, *, more: bool) -> None:
        """Hand the part over to the writer; `more` may follow.

        First memory is reserved to learn it and all before it. Where there is none, it is refused.
        """
        plans, self._part, self._size = self._part, [], 0
        try:
            for name, hosted in self.hosted.items():
                hosted.model.reserve(self._batches[name])
        except MemoryError as error:
            self._refusal = error
            for plan in plans:
                plan.refusal = error
            return
        entries: list[Entry] = []
        part = Part()
        for plan in plans:
            request, model = plan.request, plan.hosted.model.id
            if plan.batch is None:
                plan.part, plan.index = part, len(entries)
                header = msgpack.packb({"label": packable(plan.dropped)})
                entries.append(Entry(Kind.DROP_LABEL, model, header))
            # A request without samples and without a number changes nothing.
            elif len(plan.batch) or request.producer:
                plan.part, plan.index = part, len(entries)
                entries.append(Entry(Kind.LEARN, model, request.header, request.body))
        if entries:
            self._writer.write(entries, part, more=more)
            self._last = part
