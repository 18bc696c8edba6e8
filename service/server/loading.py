"""The time between binding and serving: a daemon loads its models beside the loop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from onlinesvm.errors import OnlineSVMError
from onlinesvm.service.protocol import Reply, Request, RequestError
from onlinesvm.service.server.background import Background
from onlinesvm.service.server.handlers import Answer
from onlinesvm.service.server.plan import Fatal, Planned
from onlinesvm.service.server.service import Service

__all__ = ["Cancelled", "Loading", "Progress"]

# A start that takes no longer goes unnoticed; a longer one is reported before clients time out.
WAIT_S = 2.0
MAX_WAITING = 1024
MAX_WAITING_BYTES = 64 * 2**20
_TICK_S = 0.1
_TURN = 64


class Cancelled(OnlineSVMError):
    """The daemon was stopped while it was loading."""


class Progress:
    """The part of the log that is replayed. Called by the loading thread; `cancel` ends its work
    at the next call.
    """

    def __init__(self) -> None:
        self.share = 0.0
        self._is_cancelled = False
        self._started = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Note that `done` of `total` bytes are replayed. Raises Cancelled."""
        if self._is_cancelled:
            raise Cancelled("stopped while loading")
        self.share = done / total if total else 1.0

    @property
    def remaining_s(self) -> float:
        """About how many seconds it takes to replay the rest, at least 1."""
        elapsed = time.monotonic() - self._started
        return max(1.0, elapsed * (1.0 - self.share) / self.share) if self.share else 1.0

    def cancel(self) -> None:
        """Have the next call raise Cancelled."""
        self._is_cancelled = True


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request that waits for its model."""

    request: Request
    since: float
    answer: Future[Reply] = field(default_factory=Future)


class Loading:
    """Answers `ping` while `load` runs on a thread; all other requests wait for its outcome.

    A request waits for at most two seconds, and at most 1,024 requests or 64 MiB do; the others
    are refused as BUSY, with the share of the log that is replayed and the time to try again.
    """

    mode = "loading"

    def __init__(self, load: Callable[[Progress], Service], wake: Callable[[], None]) -> None:
        self._progress = Progress()
        self._worker: Background[Service] = Background(
            lambda: partial(load, self._progress), lambda ended: None, wake
        )
        self._loaded = self._worker.ask()
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0

    @property
    def is_done(self) -> bool:
        """True once loading has ended, well or not."""
        return self._loaded.done()

    def plan(self, requests: Sequence[Request]) -> Sequence[Planned]:
        """Nothing: no request is carried out yet."""
        return [None] * len(requests)

    def handle(self, request: Request, plan: Planned) -> Answer:
        """Answer `ping`, let others wait. Raises RequestError (BUSY) where too many do."""
        if request.op == "ping":
            return Reply({"mode": self.mode, "replayed": self._progress.share})
        size = self._waiting_bytes + len(request.body)
        if len(self._waiting) == MAX_WAITING or size > MAX_WAITING_BYTES:
            raise self._busy(request)
        waiting = _Waiting(request, time.monotonic())
        self._waiting.append(waiting)
        self._waiting_bytes = size
        return waiting.answer

    def _busy(self, request: Request) -> RequestError:
        share = self._progress.share
        return RequestError(
            "BUSY",
            f"the daemon is starting: {share:.0%} of the log replayed",
            None,
            request.id,
            retry_after_s=self._progress.remaining_s,
        )

    def tick(self, now: float) -> float:
        """Refuse the requests that have waited long enough."""
        while self._waiting and now - self._waiting[0].since >= WAIT_S:
            self._refuse_first()
        return now + _TICK_S

    def _refuse_first(self) -> None:
        waiting = self._waiting.popleft()
        self._waiting_bytes -= len(waiting.request.body)
        waiting.answer.set_exception(self._busy(waiting.request))

    def finish(self) -> Service:
        """The service that was loaded, which has answered the requests that waited.

        Raises what loading has raised, and Fatal.
        """
        self._worker.finish()
        service = self._loaded.result()
        while self._waiting:
            turn = [self._waiting.popleft() for _ in range(min(_TURN, len(self._waiting)))]
            plans = service.plan([waiting.request for waiting in turn])
            for waiting, plan in zip(turn, plans, strict=True):
                _answer(service, waiting, plan)
        return service

    def stop(self) -> None:
        """Stop loading. Raises what loading has raised, unless it was cancelled."""
        self._progress.cancel()
        self._worker.finish()
        while self._waiting:
            self._refuse_first()
        try:
            service = self._loaded.result()
        except Cancelled:
            return
        service.stop()


def _answer(service: Service, waiting: _Waiting, plan: Planned) -> None:
    """Have `service` answer a request that has waited."""
    answer = waiting.answer
    try:
        outcome = service.handle(waiting.request, plan)
    except Fatal:
        raise
    except Exception as error:
        answer.set_exception(error)
        return
    if isinstance(outcome, Reply):
        answer.set_result(outcome)
        return

    def done(later: Future[Reply]) -> None:
        error = later.exception()
        if error is None:
            answer.set_result(later.result())
        else:
            answer.set_exception(error)

    outcome.add_done_callback(done)
