"""The snapshots that are asked for: of models in memory, and of those that are loaded first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

from onlinesvm.service.errors import NotDurable
from onlinesvm.service.server.registry import Hosted, Registry
from onlinesvm.service.server.snapshot_round import ROUND, Written
from onlinesvm.service.storage.snapshots import DroppedModel
from onlinesvm.service.storage.stored_model import StoredModel

__all__ = ["SnapshotQueue"]

_Asked = tuple[StoredModel, Future[Written]]


class SnapshotQueue:
    """The snapshots that are asked for, in order; each model's once. Some models at a time are
    loaded for theirs.

    load: begins to load a model; `loaded` is called when that has ended. Owned by the loop's
    thread.
    """

    def __init__(self, registry: Registry, load: Callable[[StoredModel], None]) -> None:
        self._registry = registry
        self._load = load
        self._ready: OrderedDict[bytes, _Asked] = OrderedDict()
        self._away: OrderedDict[bytes, _Asked] = OrderedDict()
        self._loading: dict[bytes, _Asked] = {}
        self._urgent: set[bytes] = set()  # of the ready ones

    def __bool__(self) -> bool:
        return bool(self._ready or self._away or self._loading)

    @property
    def is_due(self) -> bool:
        """True if the next round begins: with as many as there may be, or all that can be had."""
        is_full = len(self._ready) >= ROUND or not self._loading
        return bool(self._ready) and (is_full or bool(self._urgent))

    def ask(self, stored: StoredModel, *, first: bool = False) -> Future[Written]:
        """A snapshot of a model, before all others if `first`; its outcome."""
        id = stored.id
        found = self._ready.get(id) or self._loading.get(id) or self._away.pop(id, None)
        asked = found or (stored, Future())
        if self._is_in_memory(stored):
            self._ready.setdefault(id, asked)
            if first:
                self._ready.move_to_end(id, last=False)
                self._urgent.add(id)
        elif id not in self._ready and id not in self._loading:
            self._away[id] = asked
        self._load_some()
        return asked[1]

    def _is_in_memory(self, stored: StoredModel) -> bool:
        hosted = self._registry.find(stored.name)
        return hosted is not None and hosted.stored is stored

    def _load_some(self) -> None:
        while self._away and len(self._loading) < ROUND:
            id, asked = self._away.popitem(last=False)
            self._loading[id] = asked
            self._load(asked[0])

    def loaded(self, stored: StoredModel) -> None:
        """Go on with a model that was loaded, or could not be."""
        asked = self._loading.pop(stored.id, None) or self._away.pop(stored.id, None)
        if asked is not None:
            self._ready.setdefault(stored.id, asked)
            self._load_some()

    def fail(self, stored: StoredModel, error: Exception) -> bool:
        """Refuse the snapshot of a model that could not be loaded; whether it was asked for."""
        asked = self._loading.pop(stored.id, None) or self._away.pop(stored.id, None)
        if asked is None:
            return False
        asked[1].set_exception(error)
        self._load_some()
        return True

    def take(self) -> list[tuple[Hosted, Future[Written]]]:
        """The models of the next round. Those that were dropped or are damaged get an error; those
        that have left the memory meanwhile are loaded again.
        """
        taken: list[tuple[Hosted, Future[Written]]] = []
        while self._ready and len(taken) < ROUND:
            id, (stored, asked) = self._ready.popitem(last=False)
            self._urgent.discard(id)
            hosted = self._registry.find(stored.name)
            if hosted is not None and hosted.stored is stored:
                taken.append((hosted, asked))
            elif self._registry.stored(stored.name) is not stored:
                asked.set_exception(DroppedModel(f"model {stored.name} was dropped"))
            elif stored.damage is not None:
                asked.set_exception(NotDurable(stored.damage))
            else:
                self._away[id] = stored, asked
        self._load_some()
        return taken

    def refuse(self, *, urgent: bool) -> None:
        """The daemon stops: have no model loaded any more, and, with `urgent`, refuse all."""
        waiting = [*self._away.items(), *self._loading.items()]
        waiting += [
            (id, asked) for id, asked in self._ready.items() if urgent or id not in self._urgent
        ]
        for id, (_, asked) in waiting:
            asked.set_exception(NotDurable("the daemon stops"))
            self._ready.pop(id, None)
        self._away.clear()
        self._loading.clear()
