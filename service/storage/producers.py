"""The last sequence and cursor of each producer, so that no numbered request is applied twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from typing import NamedTuple

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

    A producer that has asked to `resume` owns its name on that connection. Otherwise a late request
    from a connection that broke or a process that died would be taken for the next one, though the
    producer already sends others under its number.
    """

    def __init__(self, limit: int, known: Mapping[bytes, Applied] | None = None) -> None:
        self.limit = limit
        self.cursor_bytes = 0  # of all cursors
        self._applied: dict[bytes, Applied] = {}
        for name, applied in (known or {}).items():
            self._put(name, applied)
        self._owners: OrderedDict[bytes, bytes] = OrderedDict()

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

    def _put(self, name: bytes, applied: Applied) -> None:
        self._applied[name] = applied
        self.cursor_bytes += len(applied.cursor)
        if len(self._applied) > self.limit:
            self._remove(next(iter(self._applied)))

    def _remove(self, name: bytes) -> Applied:
        removed = self._applied.pop(name, _NOTHING)
        self.cursor_bytes -= len(removed.cursor)
        return removed

    def bound(self, limit: int) -> None:
        """From now on, remember at most `limit`."""
        self.limit = limit
        for name in list(islice(self._applied, max(0, len(self._applied) - limit))):
            self._remove(name)
        while len(self._owners) > limit:
            self._owners.popitem(last=False)

    def oldest(self) -> Iterable[bytes]:
        """The names, the one applied furthest back first."""
        return self._applied

    def forgotten_after(self, pending: Mapping[bytes, int]) -> set[bytes]:
        """The producers that are forgotten once `pending`, in this order, was applied."""
        new = sum(1 for name in pending if name not in self._applied)
        beyond = len(self._applied) + new - self.limit
        if beyond <= 0:
            return set()
        waiting = (name for name in self._applied if name not in pending)
        return set(islice(chain(waiting, pending), beyond))

    def own(self, name: bytes, peer: bytes) -> None:
        """From now on `name` learns from the connection `peer` alone."""
        self._owners.pop(name, None)
        self._owners[name] = peer
        if len(self._owners) > self.limit:
            self._owners.popitem(last=False)

    def is_owner(self, name: bytes, peer: bytes) -> bool:
        """True if `peer` was the last connection to resume `name`, or none was."""
        return self._owners.get(name, peer) == peer

    def has_resumed(self, name: bytes, peer: bytes) -> bool:
        """True if `peer` was the last connection to resume `name`."""
        return self._owners.get(name) == peer

    def dump(self) -> dict[bytes, Applied]:
        """All of them, as a snapshot holds them, in order."""
        return dict(self._applied)


class Turn:
    """The producers as they will be once the plans of a turn of the loop are applied."""

    def __init__(self, producers: Producers) -> None:
        self._producers = producers
        self._pending: dict[bytes, int] = {}

    def last_sequence(self, name: bytes) -> int:
        """The last sequence of `name`, planned ones included."""
        if self._pending and name in self._producers.forgotten_after(self._pending):
            return 0
        return self._pending.get(name) or self._producers.last(name).sequence

    def plan(self, name: bytes, sequence: int) -> None:
        """Request `sequence` of `name` will be applied."""
        self._pending.pop(name, None)
        self._pending[name] = sequence
