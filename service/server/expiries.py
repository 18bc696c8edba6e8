"""When the time of held samples is up, of all models, whether or not they are in memory."""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Callable

from onlinesvm.service.errors import NotDurable
from onlinesvm.service.server.leader import Leader
from onlinesvm.service.server.plan import Refusal
from onlinesvm.service.server.registry import Hosted, Registry
from onlinesvm.service.storage.stored_model import StoredModel

__all__ = ["Expiries"]

log = logging.getLogger(__name__)

_AT_ONCE = 16  # models; a piece of each leaves before requests go on
_RETRY_MS = 1000
_STALE = 64  # of the heap; so many may stay beyond as many as there are models


class Expiries:
    """Lets samples leave as their time comes. Owned by the loop's thread.

    load: asks for a model that has to be loaded first, unless there is no room; `note` is called
    with it. refusal: why nothing may be written now.
    """

    def __init__(
        self,
        registry: Registry,
        leader: Leader,
        load: Callable[[StoredModel], None],
        refusal: Callable[[], Refusal | None],
    ) -> None:
        self._registry = registry
        self._leader = leader
        self._load = load
        self._refusal = refusal
        self._queue: list[tuple[int, bytes]] = []  # a heap of times and ids; later ones are stale
        self._queued: dict[bytes, tuple[int, StoredModel]] = {}  # the earliest of each model

    def note(self, stored: StoredModel) -> None:
        """Note the next expiry of a model."""
        if stored.next_expiry:
            self._put(stored, stored.next_expiry)

    def _put(self, stored: StoredModel, at: int) -> None:
        queued = self._queued.get(stored.id)
        if queued is None or at < queued[0] or queued[1] is not stored:
            self._queued[stored.id] = at, stored
            heapq.heappush(self._queue, (at, stored.id))
            self._shrink()

    def forget(self, stored: StoredModel) -> None:
        """Forget a model that was dropped."""
        if self._queued.pop(stored.id, None) is not None:
            self._shrink()

    def _shrink(self) -> None:
        """Remove what is stale once it is most of the heap."""
        if len(self._queue) > _STALE + 2 * len(self._queued):
            self._queue = [(at, id) for id, (at, _) in self._queued.items()]
            heapq.heapify(self._queue)

    def tick(self, now: float) -> tuple[float, list[Hosted]]:
        """Let samples leave whose time is up. When the next is due, as `now` (time.monotonic()),
        and the models that have changed.
        """
        clock = self._leader.clock()
        found = [self._expire(stored, clock) for stored in self._take_due(clock)]
        due = self._queue[0][0] - clock if self._queue else math.inf
        return now + max(0.0, due / 1000), [hosted for hosted in found if hosted is not None]

    def _take_due(self, clock: int) -> list[StoredModel]:
        """Some of the models whose time has come."""
        taken: list[StoredModel] = []
        while self._queue and self._queue[0][0] <= clock and len(taken) < _AT_ONCE:
            at, id = heapq.heappop(self._queue)
            queued = self._queued.get(id)
            if queued is not None and queued[0] == at:
                del self._queued[id]
                taken.append(queued[1])
        return taken

    def _expire(self, stored: StoredModel, clock: int) -> Hosted | None:
        """Let some samples of a model leave; the model if it has changed."""
        if self._registry.stored(stored.name) is not stored or stored.damage is not None:
            return None
        if stored.next_expiry > clock:
            self.note(stored)
            return None
        if not stored.next_expiry:
            return None
        hosted = self._registry.find(stored.name)
        if hosted is None:
            self._put(stored, clock + _RETRY_MS)  # sooner, once it is loaded
            self._load(stored)
            return None
        try:
            self._leader.expire(hosted, self._refusal())
        except (NotDurable, MemoryError) as error:
            log.warning("held samples of model %s stay: %s", stored.name, error or "out of memory")
            self._put(stored, clock + _RETRY_MS)
            return None
        self.note(stored)
        return hosted
