"""The work under way, in slices: a turn, and long requests that only read."""

from __future__ import annotations

import time
from collections import deque

from onlinesvm.service.server.slices import Awaited, Slices

__all__ = ["Work"]


class Work:
    """A turn, and rounds of reads. While a round is under way the turn stands still, so that all
    of a read sees one model; then the turn goes on for as long as the round took.

    The owner asks for the `next` job, does a slice of it, and says how that `paused` or `ended`.
    """

    def __init__(self) -> None:
        self._turn: Slices[None] | None = None
        self._awaited: Awaited | None = None  # by the turn
        self._round: deque[Slices[None]] = deque()
        self._next_round: deque[Slices[None]] = deque()
        self._owed_s = 0.0  # to the turn
        self._began = 0.0  # the slice at hand (time.perf_counter())

    def __bool__(self) -> bool:
        """True while there is something to do."""
        return bool(self._turn is not None or self._round or self._next_round)

    @property
    def is_between(self) -> bool:
        """True where nothing has begun that is not done: models may come and go."""
        return self._turn is None and not self._round

    @property
    def awaited(self) -> Awaited | None:
        """The only thing that can be done: wait for this."""
        if self._awaited is None or self._awaited.is_done or self._round or self._next_round:
            return None
        return self._awaited

    def begin(self, turn: Slices[None]) -> None:
        """Begin a turn; the one before has ended."""
        self._turn = turn

    def read(self, read: Slices[None]) -> None:
        """Let a read take part in the next round."""
        self._next_round.append(read)

    def next(self) -> Slices[None] | None:
        """What to do a slice of; None where there is nothing, or nothing but waiting."""
        self._began = time.perf_counter()
        waits = self._awaited is not None and not self._awaited.is_done
        can_go_on = self._turn is not None and not waits
        if not self._round and self._next_round and (self._owed_s <= 0 or not can_go_on):
            self._round, self._next_round = self._next_round, self._round
        if self._round:
            return self._round[0]
        return self._turn if can_go_on else None

    def paused(self, job: Slices[None], awaited: Awaited | None) -> None:
        """Note that a slice of a job was done; the turn may have to wait."""
        spent = time.perf_counter() - self._began
        if job is self._turn:
            self._awaited = awaited
            self._owed_s = max(0.0, self._owed_s - spent)
        else:
            self._round.rotate(-1)
            self._owed_s += spent

    def ended(self, job: Slices[None]) -> None:
        """Note that the last slice of a job was done."""
        if job is self._turn:
            self._turn = self._awaited = None
            self._owed_s = 0.0
        else:
            self._round.popleft()
