"""Requests that wait for a model to be in memory."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from onlinesvm.service.protocol import Reply, Request, RequestError
from onlinesvm.service.server.answer import Answer
from onlinesvm.service.server.order import parts_of
from onlinesvm.service.server.plan import Fatal, Planned
from onlinesvm.service.server.slices import Slices

__all__ = ["Parked", "Waiting", "answer", "carry_out"]

MAX_WAITING = 1024
MAX_WAITING_BYTES = 64 * 2**20
_TURN = 64


@dataclass(frozen=True, slots=True)
class Parked:
    """A request that waits for its model."""

    request: Request
    since: float
    answer: Future[Reply] = field(default_factory=Future)


class Waiting:
    """Requests that wait, in order, by the name of what they wait for.

    At most 1,024 requests or 64 MiB of their bodies wait, none longer than `wait_s`; `busy` makes
    the error that refuses one.
    """

    def __init__(self, wait_s: float, busy: Callable[[Request], RequestError]) -> None:
        self._wait_s = wait_s
        self._busy = busy
        self._parked: dict[str, deque[Parked]] = {}
        self._of_peers: Counter[tuple[str, bytes]] = Counter()
        self._number = self._bytes = 0

    def __len__(self) -> int:
        return self._number

    def __contains__(self, name: str) -> bool:
        return name in self._parked

    def has(self, name: str, peer: bytes) -> bool:
        """True where a request of a connection waits for `name`."""
        return (name, peer) in self._of_peers

    def park(self, request: Request, name: str = "") -> Future[Reply]:
        """Let a request wait for `name`; its answer. Raises RequestError where too many wait."""
        size = self._bytes + len(request.body)
        if self._number >= MAX_WAITING or size > MAX_WAITING_BYTES:
            raise self._busy(request)
        parked = Parked(request, time.monotonic())
        self._parked.setdefault(name, deque()).append(parked)
        self._of_peers[name, request.peer] += 1
        self._number += 1
        self._bytes = size
        return parked.answer

    def take(self, name: str = "") -> list[Parked]:
        """Those that wait for `name`, which do not wait any more."""
        taken = list(self._parked.pop(name, ()))
        for parked in taken:
            self._left(name, parked)
        return taken

    def _left(self, name: str, parked: Parked) -> None:
        key = name, parked.request.peer
        self._of_peers[key] -= 1
        if not self._of_peers[key]:
            del self._of_peers[key]
        self._number -= 1
        self._bytes -= len(parked.request.body)

    def tick(self, now: float) -> None:
        """Refuse the requests that have waited long enough."""
        for name, queue in list(self._parked.items()):
            while queue and now - queue[0].since >= self._wait_s:
                self._refuse(name, queue.popleft())
            if not queue:
                del self._parked[name]

    def refuse(self, name: str, reason: str = "") -> None:
        """Refuse those that wait for `name`, with the reason if it is known."""
        for parked in self.take(name):
            error = self._busy(parked.request)
            if reason:
                error.message = f"{error.message}: {reason}"
            parked.answer.set_exception(error)

    def refuse_all(self) -> None:
        """Refuse all that wait."""
        for name in list(self._parked):
            self.refuse(name)

    def _refuse(self, name: str, parked: Parked) -> None:
        self._left(name, parked)
        parked.answer.set_exception(self._busy(parked.request))


class Carrying(Protocol):
    """Plans and answers requests, as a service does."""

    def plan(self, requests: Sequence[Request]) -> Slices[Sequence[Planned]]:
        """The plan of each request of a turn."""

    def handle(self, request: Request, plan: Planned) -> Slices[Answer]:
        """The answer to a request."""


def carry_out(service: Carrying, waited: Sequence[Parked]) -> Slices[None]:
    """Have `service` answer requests that have waited, in turns. Raises Fatal."""
    for start in range(0, len(waited), _TURN):
        turn = iter(waited[start : start + _TURN])
        for part in parts_of([parked.request for parked in waited[start : start + _TURN]]):
            plans = yield from service.plan(part)
            for plan, parked in zip(plans, turn, strict=False):
                yield from answer(service, parked, plan)


def answer(service: Carrying, parked: Parked, plan: Planned = None) -> Slices[None]:
    """Have `service` answer a request that has waited. Raises Fatal."""
    future = parked.answer
    try:
        outcome = yield from service.handle(parked.request, plan)
    except Fatal:
        raise
    except Exception as error:
        future.set_exception(error)
        return
    if isinstance(outcome, Reply):
        future.set_result(outcome)
        return

    def done(later: Future[Reply]) -> None:
        error = later.exception()
        if error is None:
            future.set_result(later.result())
        else:
            future.set_exception(error)

    outcome.add_done_callback(done)
