"""The last sequence and cursor of each producer, so that no numbered request is applied twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from itertools import chain, islice
from typing import NamedTuple

from onlinesvm.service.storage.ownership import Ownership

__all__ = ["Applied", "Producers", "Turn"]


class Applied(NamedTuple):
    """The requests of a producer that were applied: the last sequence, the samples in all, and the
    last cursor; b"" where none had one.
    """

    sequence: int
    samples: int
    cursor: bytes = b""


_NOTHING = Applied(0, 0)


class Producers:
    """The producers, in the order of their last application; `limit` are remembered.

    Beyond that the one applied furthest back is forgotten: by position, never by a clock, so that
    a replay forgets the same ones.

    A producer that has asked to `resume` sends on that connection alone. Otherwise a late request
    from a connection that broke or a process that died would be taken for the next one, though the
    producer already sends others under its number.

    ownership: the users whom the producers belong to, where there are keys.
    """

    def __init__(
        self,
        limit: int,
        known: Mapping[bytes, Applied] | None = None,
        users: Mapping[bytes, str] | None = None,
    ) -> None:
        self.limit = limit
        self.ownership = Ownership(users)
        self.cursor_bytes = 0  # of all cursors
        self._applied: dict[bytes, Applied] = {}
        for name, applied in (known or {}).items():
            self._put(name, applied)
        self._resumed_by: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._applied)

    def last(self, name: bytes) -> Applied:
        """The requests of `name` that were applied; (0, 0, b"") where it is unknown."""
        return self._applied.get(name, _NOTHING)

    def note(self, name: bytes, sequence: int, samples: int, cursor: bytes = b"") -> None:
        """Request `sequence` of `name` with `samples` samples was applied.

        The last cursor stays where the request has none.
        """
        before = self._remove(name)
        self._put(name, Applied(sequence, before.samples + samples, cursor or before.cursor))
        self.ownership.touch(name)

    def _put(self, name: bytes, applied: Applied) -> None:
        self._applied[name] = applied
        self.cursor_bytes += len(applied.cursor)
        if len(self._applied) > self.limit:
            self._forget(next(iter(self._applied)))

    def _remove(self, name: bytes) -> Applied:
        removed = self._applied.pop(name, _NOTHING)
        self.cursor_bytes -= len(removed.cursor)
        return removed

    def _forget(self, name: bytes) -> None:
        self._remove(name)
        self.ownership.forget(name)

    def claim(self, name: bytes, user: str, forgotten: bytes = b"") -> None:
        """From now on `name` belongs to `user`; one that the user has too many is `forgotten`."""
        if forgotten:
            self._forget(forgotten)
        self.ownership.claim(name, user)

    def bound(self, limit: int) -> None:
        """From now on, remember at most `limit`."""
        self.limit = limit
        for name in list(islice(self._applied, max(0, len(self._applied) - limit))):
            self._forget(name)
        while len(self._resumed_by) > limit:
            self._resumed_by.popitem(last=False)

    def oldest(self) -> Iterable[bytes]:
        """The names, the one applied furthest back first."""
        return self._applied

    def forgotten_after(
        self, pending: Mapping[bytes, int], gone: Collection[bytes] = ()
    ) -> set[bytes]:
        """The producers that are forgotten once `pending`, in this order, was applied, after those
        that are `gone`.
        """
        left = len(self._applied) - sum(1 for name in gone if name in self._applied)
        new = sum(1 for name in pending if name not in self._applied or name in gone)
        beyond = left + new - self.limit
        if beyond <= 0:
            return set()
        waiting = (name for name in self._applied if name not in pending and name not in gone)
        return set(islice(chain(waiting, pending), beyond))

    def resume(self, name: bytes, peer: bytes) -> None:
        """From now on `name` learns from the connection `peer` alone."""
        self._resumed_by.pop(name, None)
        self._resumed_by[name] = peer
        if len(self._resumed_by) > self.limit:
            self._resumed_by.popitem(last=False)

    @property
    def resumed_by(self) -> Mapping[bytes, bytes]:
        """The connection that was the last to resume each producer."""
        return self._resumed_by

    def may_send(self, name: bytes, peer: bytes) -> bool:
        """True if `peer` was the last connection to resume `name`, or none was."""
        return self._resumed_by.get(name, peer) == peer

    def dump(self) -> dict[bytes, Applied]:
        """All of them, as a snapshot holds them, in order."""
        return dict(self._applied)


class Turn:
    """The producers as they will be once the plans of a turn of the loop are applied."""

    def __init__(self, producers: Producers) -> None:
        self._producers = producers
        self._pending: dict[bytes, int] = {}
        self._claimed: dict[bytes, str] = {}  # those that belong to a user from this turn on
        self._gone: set[bytes] = set()  # forgotten for others of their users

    def last_sequence(self, name: bytes) -> int:
        """The last sequence of `name`, planned ones included."""
        if self._pending and name in self._producers.forgotten_after(self._pending, self._gone):
            return 0
        planned = self._pending.get(name)
        if planned is None and name not in self._gone:
            planned = self._producers.last(name).sequence
        return planned or 0

    def plan(self, name: bytes, sequence: int) -> None:
        """Request `sequence` of `name` will be applied."""
        self._pending.pop(name, None)
        self._pending[name] = sequence

    def user_of(self, name: bytes) -> str:
        """The user whom `name` belongs to, "" for none, planned ones included."""
        if self._pending and name in self._producers.forgotten_after(self._pending, self._gone):
            return ""
        claimed = self._claimed.get(name)
        if claimed is None and name not in self._gone:
            claimed = self._producers.ownership.user_of(name)
        return claimed or ""

    def claim(self, name: bytes, user: str, limit: int) -> bytes:
        """`name` will belong to `user`, who may have `limit` producers; the one of the user's that
        is forgotten for it, b"" for none.
        """
        names = self._producers.ownership.names_of(user)
        claimed = [n for n, owner in self._claimed.items() if owner == user]
        gone = sum(1 for n in self._gone if self._producers.ownership.user_of(n) == user)
        forgotten = b""
        if self._producers.ownership.count(user) - gone + len(claimed) >= limit:
            left = (n for n in names if n not in self._gone and n not in self._pending)
            rest = (n for n in names if n not in self._gone)  # all are in this turn
            forgotten = next(chain(left, rest, claimed), b"")
            self._claimed.pop(forgotten, None)
            self._pending.pop(forgotten, None)
            self._gone.add(forgotten)
        self._claimed[name] = user
        return forgotten
