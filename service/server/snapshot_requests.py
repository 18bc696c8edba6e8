"""Snapshots that clients ask for: two a second at most are begun, and more share one."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from onlinesvm.service.server.registry import Hosted
from onlinesvm.service.server.snapshot_round import Written

__all__ = ["SnapshotRequests"]

_MOST = 2


class SnapshotRequests:
    """Requests for snapshots, by model. Two a second at most are carried out as they come; those
    that come sooner wait and are carried out together, each model's once. Owned by the loop's
    thread.

    begin: asks for a snapshot of a model, with its outcome. wake: has the loop ask when the next is
    due. window_s: the second. clock: as time.monotonic.
    """

    def __init__(
        self,
        begin: Callable[[Hosted], Future[Written]],
        wake: Callable[[], None],
        window_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.window_s = window_s
        self._begin = begin
        self._wake = wake
        self._clock = clock
        self._begun: deque[float] = deque(maxlen=_MOST)  # when the last ones were
        self._waiting: dict[bytes, tuple[Hosted, Future[Written]]] = {}

    def __len__(self) -> int:
        """The models whose snapshots wait."""
        return len(self._waiting)

    def ask(self, hosted: Hosted) -> Future[Written]:
        """A snapshot of everything that a model has learned so far."""
        if not self._waiting and self._clock() >= self._due:
            self._begun.append(self._clock())
            return self._begin(hosted)
        self._wake()
        _, stored = hosted.learning
        return self._waiting.setdefault(stored.id, (hosted, Future()))[1]

    @property
    def _due(self) -> float:
        """When the next may be carried out."""
        return self._begun[0] + self.window_s if len(self._begun) == _MOST else -math.inf

    def tick(self) -> float:
        """Begin those that wait, if it is time; when it is (time.monotonic())."""
        if self._waiting and self._clock() >= self._due:
            self.flush()
        return self._due if self._waiting else math.inf

    def flush(self) -> None:
        """Begin all that wait."""
        waiting, self._waiting = self._waiting, {}
        if waiting:
            self._begun.append(self._clock())
        for hosted, outcome in waiting.values():
            _share(self._begin(hosted), outcome)


def _share(begun: Future[Written], outcome: Future[Written]) -> None:
    """Give `outcome` what `begun` brings."""

    def done(ended: Future[Written]) -> None:
        error = ended.exception()
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(ended.result())

    begun.add_done_callback(done)
