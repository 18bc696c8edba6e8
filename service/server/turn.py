"""A turn of the loop while it is planned: its changes, in parts, on their way into the log."""

from __future__ import annotations

from onlinesvm.data.pieces import Decoded
from onlinesvm.model.class_labels import AnyLabels
from onlinesvm.service.errors import NotDurable
from onlinesvm.service.protocol import Request, RequestError
from onlinesvm.service.server.changes import Changes
from onlinesvm.service.server.plan import Change, Create, Drop, DropLabel, Own, Plan, Refusal
from onlinesvm.service.server.registry import Hosted, Registry
from onlinesvm.service.server.slices import Slices
from onlinesvm.service.server.writer import Part, Writer
from onlinesvm.service.storage.entry import Entry
from onlinesvm.service.storage.producers import Producers, Turn

__all__ = ["PlannedTurn"]


class PlannedTurn:
    """A turn of the loop while it is planned.

    hosted: the models that learn, by name. created, dropped, limited: what the turn does to models,
    by name; a model that is created and dropped is in neither. labels: of each model whose
    labels it changes, those after the requests so far. labelled: the keys whose held samples are
    learned, by the id of their model.
    """

    def __init__(
        self, writer: Writer, registry: Registry, part_bytes: float, refusal: Refusal | None
    ) -> None:
        self._writer = writer
        self._registry = registry
        self._part_bytes = part_bytes
        self._refusal = refusal
        self._last: Part | None = None
        self._sequences: dict[Producers, Turn] = {}
        self._numbered: dict[tuple[Producers, bytes, int], Plan] = {}
        self.hosted: dict[str, Hosted] = {}
        self.created: dict[str, Create] = {}
        self.dropped: set[str] = set()
        self.limited: set[str] = set()
        self.labels: dict[str, AnyLabels] = {}
        self.labelled: dict[bytes, set[bytes]] = {}
        self.has_changes = False
        self._batches: dict[str, list[Decoded]] = {}  # of the whole turn, by model
        self._part: list[Change] = []
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

    def duplicate_of(
        self, request: Request, hosted: Hosted, batch: Decoded, changes: Changes
    ) -> Plan | None:
        """The plan of a numbered request that was applied before, or will be in this turn.

        None where it is the next of its producer. Raises RequestError if it is neither.
        """
        producers = hosted.producers
        self.check_user(request, hosted)
        if not producers.may_send(request.producer, request.peer):
            raise RequestError(
                "SEQUENCE_GAP",
                "another connection has asked to resume this producer; ask to resume it first",
                None,
                request.id,
            )
        sequences = self._sequences_of(hosted)
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
        first = self._numbered.get((producers, request.producer, request.sequence))
        return Plan(request, hosted, batch, changes, is_duplicate=True, first=first)

    def _sequences_of(self, hosted: Hosted) -> Turn:
        producers = hosted.producers
        return self._sequences.setdefault(producers, Turn(producers))

    def check_user(self, request: Request, hosted: Hosted) -> None:
        """Raise RequestError if the producer of a request belongs to another user."""
        user = request.permit.name
        if user and self._sequences_of(hosted).user_of(request.producer) not in ("", user):
            raise RequestError(
                "FORBIDDEN",
                f"expected a producer that belongs to {user} or to nobody yet, got another user's",
                None,
                request.id,
            )

    def claim(
        self, request: Request, hosted: Hosted, changes: Changes, max_producers: int
    ) -> Own | None:
        """Have a producer claimed for the user of a request, who may have `max_producers`; None
        where it is the user's already, or where there are no users.
        """
        user, producer = request.permit.name, request.producer
        sequences = self._sequences_of(hosted)
        if not user or not producer or sequences.user_of(producer):
            return None
        forgotten = sequences.claim(producer, user, max_producers)
        own = Own(hosted, changes, producer, user, forgotten)
        self.add(own)
        return own

    def create(self, made: Create) -> None:
        """Have a creation written."""
        self.created[made.hosted.name] = made
        self.add(made)

    def drop(self, drop: Drop) -> None:
        """Have the end of a model written; nothing of the turn is learned by it afterwards."""
        name = drop.stored.name
        if name in self._registry:
            self.dropped.add(name)
        self.hosted.pop(name, None)
        self.limited.discard(name)
        self.labels.pop(name, None)
        self.add(drop)

    def drop_label(self, drop: DropLabel, labels: AnyLabels) -> None:
        """Have the end of a label written; `labels` are those that stay."""
        self.labels[drop.hosted.name] = labels
        self.add(drop)

    def learn(self, plan: Plan) -> None:
        """Have a learn request written."""
        request = plan.request
        if request.producer:
            key = plan.hosted.producers, request.producer, request.sequence
            self._numbered[key] = plan
        self.teach(plan, plan.hosted, plan.batch)

    def teach(self, change: Change, hosted: Hosted, batch: Decoded) -> None:
        """Have a change written that makes a model learn `batch`."""
        name = hosted.name
        if name not in self.hosted:
            self.hosted[name] = hosted
            self._batches[name] = []
        if self._refusal is None:
            self._batches[name].append(batch)
        self.add(change)

    def add(self, change: Change) -> None:
        """Have a change written with the part at hand, unless the turn is refused already."""
        self.has_changes = True
        if self._refusal is not None:
            change.refusal = self._refusal
            return
        self._part.append(change)
        self._size += change.size

    @property
    def is_full(self) -> bool:
        """True where the part at hand is to be written."""
        return self._size >= self._part_bytes

    def write(self, *, more: bool) -> Slices[None]:
        """Hand the part over to the writer; `more` may follow.

        First memory is reserved to learn it and all before it. Where there is none, it is refused.
        """
        changes, size, self._part, self._size = self._part, self._size, [], 0
        try:
            for name, hosted in self.hosted.items():
                for _ in hosted.model.reserving(self._batches[name]):
                    yield None
        except MemoryError as error:
            self._refusal = error
            for change in changes:
                change.refusal = error
            return
        entries: list[Entry] = []
        part = Part()
        for change in changes:
            entry = change.entry()
            if entry is not None:
                change.part, change.index = part, len(entries)
                entries.append(entry)
        if entries:
            self._writer.write(entries, part, size, more=more)
            self._last = part
