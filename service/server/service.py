"""A daemon's parts put together: one service that learns, one that reads."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Protocol

from onlinesvm.config import Limits
from onlinesvm.service.protocol import DEFAULT_MODEL, Request
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.handlers import Answer, LeaderHandlers, ReaderHandlers
from onlinesvm.service.server.leader import PART_BYTES, Leader
from onlinesvm.service.server.log_health import LogHealth
from onlinesvm.service.server.plan import Planned
from onlinesvm.service.server.reader import Reader
from onlinesvm.service.server.registry import Hosted, Registry
from onlinesvm.service.server.snapshotter import Schedule, Snapshotter
from onlinesvm.service.storage.recovery import Started
from onlinesvm.service.storage.state_dir import StateDir

__all__ = ["Answering", "Leading", "Reading", "Service"]

log = logging.getLogger(__name__)


class Answering(Protocol):
    """The service as the loop calls it, on its thread: `plan` with all requests of a turn, then
    `handle` with each of them and its plan, in order; `tick` between turns.
    """

    def plan(self, requests: Sequence[Request]) -> Sequence[Planned]:
        """The plan of each request of a turn."""

    def handle(self, request: Request, plan: Planned) -> Answer:
        """The answer to a request. Raises RequestError; Fatal if the models cannot be trusted."""

    def tick(self, now: float) -> float:
        """Do what is due at `now` (time.monotonic()); when something is due next."""


class Service(Answering, Protocol):
    """Models that are served."""

    mode: str

    def describe(self) -> str:
        """The models served, for the line that a daemon prints at its start."""

    def stop(self) -> None:
        """Leave everything on disk. Raises OSError if that fails."""


class Leading:
    """Learns, logs and writes snapshots; `state` is the folder that `started` was loaded from."""

    mode = LeaderHandlers.mode

    def __init__(
        self,
        state: StateDir,
        started: Started,
        counters: Counters,
        wake: Callable[[], None],
        schedule: Schedule = Schedule(),  # noqa: B008 - frozen
        part_bytes: int = PART_BYTES,
    ) -> None:
        started.log.wake = wake
        default = started.default
        registry = Registry()
        registry.put(Hosted(DEFAULT_MODEL, default.model, default.producers, default))
        config = default.model.config.as_dict()
        log.debug("model %s: %s", DEFAULT_MODEL, " ".join(f"{k}={v}" for k, v in config.items()))
        self._model = default.model
        self._log = started.log
        self._state = state
        self._counters = counters
        self.snapshotter = Snapshotter(default, started, schedule, wake)
        self.leader = Leader(registry, started.log, part_bytes=part_bytes)
        self.health = LogHealth(started.log, self.leader, self.snapshotter)
        self.handlers = LeaderHandlers(
            registry, counters, self.leader, self.snapshotter, started.log, self.health
        )

    def plan(self, requests: Sequence[Request]) -> Sequence[Planned]:
        return self.leader.plan(requests, self.snapshotter.hold_back())

    def handle(self, request: Request, plan: Planned) -> Answer:
        return self.handlers.handle(request, plan)

    def tick(self, now: float) -> float:
        self._counters.tick(now)
        self.leader.settle()
        self.leader.report_drifts()
        self.snapshotter.collect()
        due = self.health.tick(now)
        return min(due, self.snapshotter.tick(now))

    def stop(self) -> None:
        """Write a last snapshot if an entry was applied since the newest. Raises OSError."""
        self.leader.close()
        self.leader.report_drifts()
        self.snapshotter.finish()
        try:
            if not self.snapshotter.is_current or self._log.failure is not None:
                self.snapshotter.write_last()
        finally:
            try:
                self._log.close()
            except OSError as error:  # the snapshot holds it all
                log.warning("the log could not be made durable: %s", error.strerror or error)
            self._state.close()

    def describe(self) -> str:
        model = self._model
        size = f"position {model.position:,}, {len(model.lookup):,} features"
        return f"model {model.config.rule}, {size}"


class Reading:
    """Serves the snapshots of another daemon's state folder."""

    mode = ReaderHandlers.mode

    def __init__(
        self,
        folder: str | os.PathLike[str],
        limits: Limits,
        counters: Counters,
        wake: Callable[[], None],
        *,
        reload_every_s: float,
    ) -> None:
        registry = Registry()
        self._counters = counters
        self.reader = Reader(folder, limits, registry, wake, reload_every_s=reload_every_s)
        self.handlers = ReaderHandlers(registry, counters, self.reader)

    def plan(self, requests: Sequence[Request]) -> Sequence[Planned]:
        return [None] * len(requests)

    def handle(self, request: Request, plan: Planned) -> Answer:
        return self.handlers.handle(request, plan)

    def tick(self, now: float) -> float:
        self._counters.tick(now)
        return self.reader.tick(now)

    def stop(self) -> None:
        self.reader.finish()

    def describe(self) -> str:
        position = self.reader.position
        return "no model yet" if position is None else f"position {position}"
