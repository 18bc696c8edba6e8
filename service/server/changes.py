"""The models with entries that their newest snapshots lack, and what the log keeps for them."""

from __future__ import annotations

import heapq
import math
import time
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from onlinesvm.service.storage.stored_model import StoredModel

__all__ = ["Change", "Changes"]


_EXPIRED = 1024


class Change(NamedTuple):
    """A model with entries that its newest snapshot lacks.

    lsn: that of the first. log_bytes: what the log had before it, or less. due: when its
    snapshot is (time.monotonic()).
    """

    stored: StoredModel
    lsn: int
    log_bytes: int
    due: float


class Changes:
    """The models that were changed since their newest snapshots.

    every_s: the longest time between a change and its snapshot. They are spread over the last fifth
    of it by the models' ids, so that a burst of changes makes no burst of snapshots. lsn: that of
    the last entry that was carried out. log_bytes: of the log when the last snapshot began.
    """

    def __init__(self, every_s: float, lsn: int) -> None:
        self.lsn = lsn
        self.log_bytes = 0
        self.snapshot_bytes = 0  # the newest snapshots of the models changed, in all
        self.every_s = every_s
        self._changed: dict[bytes, Change] = {}  # by id; the one changed first comes first
        self._held_by: dict[bytes, Change] = {}  # of the snapshots that are being written
        self._due: list[tuple[float, bytes]] = []  # a heap; may name models that are not changed
        self._damaged: dict[bytes, int] = {}  # the LSN up to which their entries are not needed
        # Of models with a new snapshot: what the one before needs, for as long as the next is due.
        self._kept: dict[bytes, tuple[StoredModel, float]] = {}

    def __len__(self) -> int:
        return len(self._changed)

    def __contains__(self, stored: StoredModel) -> bool:
        return stored.id in self._changed

    def __iter__(self) -> Iterator[Change]:
        return iter(list(self._changed.values()))

    def note(self, stored: StoredModel, lsn: int) -> None:
        """Note that an entry of a model was carried out."""
        self.lsn = lsn
        if stored.id not in self._changed:
            self._put(Change(stored, lsn, self.log_bytes, self._due_of(stored)))

    def add(self, stored: StoredModel, lsn: int, *, is_due: bool = False) -> None:
        """Note a model whose entries from `lsn` on a start has found."""
        due = time.monotonic() if is_due else self._due_of(stored)
        self._put(Change(stored, lsn, 0, due))

    def keep(self, stored: StoredModel, after: int) -> None:
        """Keep the entries after `after` for a damaged model, until it is repaired or dropped."""
        self._pop(stored)
        self._damaged[stored.id] = after

    def _due_of(self, stored: StoredModel) -> float:
        spread = zlib.crc32(stored.id) / 2**32
        return time.monotonic() + self.every_s * (1.0 - spread / 5)

    def _put(self, change: Change) -> None:
        stored = change.stored
        self._changed[stored.id] = change
        self.snapshot_bytes += stored.newest.size if stored.newest else 0
        heapq.heappush(self._due, (change.due, stored.id))

    def begin(self, stored: StoredModel) -> None:
        """Note that a snapshot begins that holds all entries so far."""
        change = self._pop(stored)
        if change is not None:
            self._held_by[stored.id] = change

    def _pop(self, stored: StoredModel) -> Change | None:
        change = self._changed.pop(stored.id, None)
        if change is not None:
            self.snapshot_bytes -= stored.newest.size if stored.newest else 0
        return change

    def end(self, stored: StoredModel, *, is_verified: bool) -> None:
        """Note that `stored` has a new snapshot; is_verified: which needs none beside it."""
        self._held_by.pop(stored.id, None)
        self._kept.pop(stored.id, None)
        if not is_verified:
            self.keep_on(stored)

    def keep_on(self, stored: StoredModel) -> None:
        """Keep what the snapshot before the newest needs, for as long as the next is due."""
        self._kept.pop(stored.id, None)
        self._kept[stored.id] = stored, time.monotonic() + self.every_s

    def fail(self, stored: StoredModel, retry_at: float) -> None:
        """Note that a snapshot failed, and when it is tried again."""
        held = self._held_by.pop(stored.id, None)
        later = self._pop(stored)
        change = held or later
        if change is not None:
            changed = {**self._changed, stored.id: change._replace(due=retry_at)}
            self._changed = dict(sorted(changed.items(), key=lambda each: each[1].lsn))
            self.snapshot_bytes += stored.newest.size if stored.newest else 0
            heapq.heappush(self._due, (retry_at, stored.id))

    def forget(self, stored: StoredModel) -> None:
        """Forget a model that was dropped."""
        self._pop(stored)
        self._held_by.pop(stored.id, None)
        self._damaged.pop(stored.id, None)
        self._kept.pop(stored.id, None)

    def due(self, now: float) -> list[StoredModel]:
        """The models whose snapshots are due; each is given once."""
        found = []
        while self._due and self._due[0][0] <= now:
            at, id = heapq.heappop(self._due)
            change = self._changed.get(id)
            if change is not None and change.due == at:
                found.append(change.stored)
        return found

    @property
    def next_due(self) -> float:
        """When the next snapshot is due."""
        while self._due:
            at, id = self._due[0]
            change = self._changed.get(id)
            if change is not None and change.due == at:
                return at
            heapq.heappop(self._due)
        return math.inf

    @property
    def oldest(self) -> Change | None:
        """The model that was changed first; None where none was."""
        return next(iter(self._changed.values()), None)

    def _first(self) -> list[Change]:
        """The model that was changed first, and those whose snapshots are being written."""
        oldest = self.oldest
        return [*self._held_by.values(), *([oldest] if oldest else [])]

    @property
    def since(self) -> int:
        """The bytes that the log had before the first entry that a snapshot lacks."""
        return min((change.log_bytes for change in self._first()), default=self.log_bytes)

    @property
    def held(self) -> int:
        """The LSN up to which the newest snapshots hold all entries."""
        changed = (change.lsn - 1 for change in self._first())
        return min((*changed, *self._damaged.values()), default=self.lsn)

    def expire(self, now: float) -> list[StoredModel]:
        """The models, some at a time, whose older snapshots need nothing any more; each once."""
        found: list[StoredModel] = []
        while self._kept and len(found) < _EXPIRED:
            stored, until = next(iter(self._kept.values()))
            if until > now:
                break
            del self._kept[stored.id]
            found.append(stored)
        return found

    def needed_after(self, removed: int) -> int:
        """The LSN after which entries are needed, where those up to `removed` are gone.

        A model that was changed needs them from its older snapshot on, or from its creation, if the
        log still has all since then.
        """
        bases = [stored.base for stored, _ in self._kept.values()]
        bases += [change.stored.base for change in self._held_by.values()]
        bases += [change.stored.base for change in self._changed.values()]
        return min([self.held, *(base for base in bases if base >= removed)])
