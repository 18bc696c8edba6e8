"""The time between binding and serving: a daemon loads its models beside the loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from onlinesvm.errors import OnlineSVMError
from onlinesvm.service.protocol import Reply, Request, RequestError
from onlinesvm.service.server.answer import Answer
from onlinesvm.service.server.background import Background
from onlinesvm.service.server.plan import Planned
from onlinesvm.service.server.service import Service
from onlinesvm.service.server.slices import Slices, finish
from onlinesvm.service.server.waiting import Waiting, carry_out

__all__ = ["Cancelled", "Loading", "Progress"]

# A start that takes no longer goes unnoticed; a longer one is reported before clients time out.
WAIT_S = 2.0
_TICK_S = 0.1


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
        self._waiting = Waiting(WAIT_S, self._busy)

    @property
    def is_done(self) -> bool:
        """True once loading has ended, well or not."""
        return self._loaded.done()

    def read(self, request: Request) -> Slices[Answer]:
        """As `handle`."""
        return self.handle(request, None)

    def plan(self, requests: Sequence[Request]) -> Slices[Sequence[Planned]]:
        """Nothing: no request is carried out yet."""
        yield from ()
        return [None] * len(requests)

    def waited(self) -> Slices[None]:
        """Nothing: those that wait are answered once all is loaded."""
        yield from ()

    def handle(self, request: Request, plan: Planned) -> Slices[Answer]:
        """Answer `ping`, let others wait. Raises RequestError (BUSY) where too many do."""
        yield from ()
        if request.op == "ping":
            return Reply({"mode": self.mode, "replayed": self._progress.share})
        return self._waiting.park(request)

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
        self._waiting.tick(now)
        return now + _TICK_S

    def finish(self) -> Service:
        """The service that was loaded, which has answered the requests that waited.

        Raises what loading has raised, and Fatal.
        """
        self._worker.finish()
        service = self._loaded.result()
        finish(carry_out(service, self._waiting.take()))
        return service

    def stop(self) -> None:
        """Stop loading. Raises what loading has raised, unless it was cancelled."""
        self._progress.cancel()
        self._worker.finish()
        self._waiting.refuse_all()
        try:
            service = self._loaded.result()
        except Cancelled:
            return
        service.stop()
