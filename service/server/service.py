"""A daemon's parts put together: one service that learns, one that reads."""

from __future__ import annotations

import logging
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Protocol

from onlinesvm.config import Limits
from onlinesvm.service.config import ServeConfig
from onlinesvm.service.protocol import Request, RequestError, is_held
from onlinesvm.service.server.answer import Answer
from onlinesvm.service.server.auth.users import Users
from onlinesvm.service.server.changes import Changes
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.expiries import Expiries
from onlinesvm.service.server.handlers import LeaderHandlers, ReaderHandlers
from onlinesvm.service.server.held import Hold, Label, wall_ms
from onlinesvm.service.server.inspector import Inspector
from onlinesvm.service.server.last_snapshots import write_last
from onlinesvm.service.server.leader import PART_BYTES, Leader, Policy
from onlinesvm.service.server.log_health import LogHealth
from onlinesvm.service.server.memory import Memory
from onlinesvm.service.server.model_loader import ModelLoader
from onlinesvm.service.server.plan import Create, Drop, Plan, Planned
from onlinesvm.service.server.reader import Reader
from onlinesvm.service.server.registry import Hosted, Registry
from onlinesvm.service.server.slices import Slices
from onlinesvm.service.server.snapshot_requests import SnapshotRequests
from onlinesvm.service.server.snapshotter import Schedule, Snapshotter
from onlinesvm.service.server.transfers import Transfers
from onlinesvm.service.server.turnstile import Turnstile
from onlinesvm.service.server.waiting import Parked, Waiting, answer, carry_out
from onlinesvm.service.storage.loading import DamagedModel, Loaded, load, set_aside
from onlinesvm.service.storage.recovery import Started
from onlinesvm.service.storage.state_dir import StateDir
from onlinesvm.service.storage.stored_model import StoredModel

__all__ = ["Answering", "Leading", "Reading", "Service"]

log = logging.getLogger(__name__)

# A request waits so long for its model at most.
WAIT_S = 10.0
# The operations that need a model in memory.
_USING = frozenset(
    (
        "learn", "predict", "label", "explain", "features", "labels", "inspect", "drop_label",
        "stats", "snapshot", "resume", "lag",
    )
)  # fmt: skip
_ORDERED = _USING | {"create", "drop"}
_GROWING = frozenset(("learn", "label", "create"))
_READING = frozenset(("predict", "explain", "features", "labels", "inspect", "stats"))


class Answering(Protocol):
    """The service as the loop calls it, on its thread: `plan` with all requests of a turn, then
    `handle` with each of them and its plan, in order; between their slices `read`; between turns
    `tick`, then all of `waited`.
    """

    def read(self, request: Request) -> Slices[Answer]:
        """The answer to a request that changes nothing. Raises RequestError."""

    def plan(self, requests: Sequence[Request]) -> Slices[Sequence[Planned]]:
        """The plan of each request of a turn."""

    def handle(self, request: Request, plan: Planned) -> Slices[Answer]:
        """The answer to a request. Raises RequestError; Fatal if the models cannot be trusted."""

    def tick(self, now: float) -> float:
        """Do what is due at `now` (time.monotonic()); when something is due next."""

    def waited(self) -> Slices[None]:
        """Answer the requests that waited for what is there now. Raises Fatal."""


class Service(Answering, Protocol):
    """Models that are served."""

    mode: str

    def describe(self) -> str:
        """The models served, for the line that a daemon prints at its start."""

    def reconfigure(self, config: ServeConfig) -> None:
        """Take the settings that may change while it runs (RELOADED)."""

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
        policy: Policy = Policy(Limits()),  # noqa: B008 - frozen
        max_memory_bytes: int | None = None,
        part_bytes: int = PART_BYTES,
        clock: Callable[[], int] = wall_ms,
        users: Users | None = None,
    ) -> None:
        users = Users() if users is None else users
        started.log.wake = wake
        self._started = started
        self._state = state
        self._counters = counters
        self._policy = policy
        self._registry = registry = Registry(names_models=not users.has_keys)
        self._changes = changes = Changes(schedule.every_s, started.log.lsn)
        turnstile = Turnstile()
        self._loader = ModelLoader(partial(load, state.path), wake, turnstile)
        self.snapshotter = Snapshotter(
            registry, started, changes, schedule, wake, self._loader.ask, turnstile
        )
        self.requested = SnapshotRequests(partial(self.snapshotter.request, first=True), wake)
        self.leader = Leader(
            registry, started.log, changes, started.snapshots, policy, part_bytes=part_bytes,
            clock=clock,
        )  # fmt: skip
        self.health = LogHealth(started.log, self.leader, self.snapshotter)
        self._memory = Memory(
            registry, max_memory_bytes, self._may_leave,
            lambda hosted: self.snapshotter.request(hosted),
        )  # fmt: skip
        self._expiries = Expiries(
            registry, self.leader, self._load_to_expire, self.snapshotter.hold_back
        )
        self._transfers = Transfers(state.path, registry, self.leader, wake)
        self._inspector = Inspector(wake)
        self._waiting = Waiting(WAIT_S, _late)
        self._learned: dict[str, Hosted] = {}  # their memory is to be counted
        self._wanted: list[StoredModel] = []  # to be loaded once there is room in memory
        # The models whose requests that waited are answered next.
        self._served: deque[str] = deque()
        self.handlers = LeaderHandlers(
            registry, counters, users, self._inspector, self.leader, self.snapshotter,
            self.requested, started.log, self.health, self._memory, self._transfers,
        )  # fmt: skip
        self._take(started)

    def _take(self, started: Started) -> None:
        """Serve the models that a start has found."""
        self._registry.list_names(stored.name for stored in started.stored.values())
        for stored in sorted(started.stored.values(), key=lambda stored: stored.first):
            self._registry.add(stored)
            self._expiries.note(stored)
            if stored.damage is not None:
                self._changes.keep(stored, started.removed)
            elif stored.first:
                self._changes.add(stored, stored.first, is_due=started.has_many_segments)
            state = started.models.get(stored.id)
            if state is not None:
                self._host(Hosted(stored.name, state.model, state.producers, state, stored))
                config = state.model.config.as_dict()
                text = " ".join(f"{name}={value}" for name, value in config.items())
                log.debug("model %s: %s", stored.name, text)

    def _host(self, hosted: Hosted) -> None:
        self._registry.put(hosted)
        self._memory.count(hosted)

    def _may_leave(self, hosted: Hosted) -> bool:
        is_asked_for = (
            hosted.name in self._waiting
            or hosted.name in self._learned
            or hosted.name in self._served
        )
        return self.snapshotter.is_current(hosted) and not is_asked_for

    def read(self, request: Request) -> Slices[Answer]:
        """Answer a request, or let it wait for its model."""
        return (yield from self.handle(request, self._park(request)))

    def plan(self, requests: Sequence[Request]) -> Slices[Sequence[Planned]]:
        """Plan those of a turn whose models are in memory; the others wait for them."""
        self._make_room()
        plans: list[Planned] = []
        ready: list[Request] = []
        for request in requests:
            parked = self._park(request)
            plans.append(parked)
            if parked is None:
                ready.append(request)
        planned = iter((yield from self.leader.plan(ready, self.snapshotter.hold_back())))
        return [next(planned) if parked is None else parked for parked in plans]

    def _park(self, request: Request) -> Planned:
        """Let a request wait whose model is not in memory, or that comes after one that waits, of
        the same connection and model; None for one that need not.
        """
        stored = None
        if request.op in _USING:
            stored = self._registry.awaited(request.model)
        elif request.op == "create" and request.options["copy_of"] is not None:
            stored = self._registry.awaited(request.options["copy_of"])
        elif request.op == "create" and request.options["if_exists"] == "same":
            stored = self._registry.awaited(request.model)
        # The model of those that wait may be dropped meanwhile, or a new one have its name.
        is_next = request.op in _ORDERED and self._waiting.has(request.model, request.peer)
        if stored is None and not is_next:
            return self._refusal_of(request)
        try:
            answer = self._waiting.park(request, request.model if stored is None else stored.name)
        except RequestError as error:
            return error
        if stored is None:
            return answer
        if self._memory.is_full:
            self._wanted.append(stored)  # once there is room
        else:
            self._loader.ask(stored)
        return answer

    def _refusal_of(self, request: Request) -> RequestError | None:
        """Why a request may not make the models larger now; None where it may."""
        is_alone = self._registry.loaded <= 1  # a model alone may be larger than the bound
        is_growing = request.op in _GROWING or is_held(request)
        if not is_growing or is_alone or not self._memory.is_full:
            return None
        return RequestError(
            "BUSY",
            "expected room in memory (max_memory), got none: snapshots are written to make it",
            None, request.id, retry_after_s=0.1,
        )  # fmt: skip

    def _make_room(self) -> None:
        """Unload what is beyond the bound, and load what waits for room."""
        self._count()
        self._memory.tick()
        if self._wanted and not self._memory.is_full:
            wanted, self._wanted = self._wanted, []
            for stored in wanted:
                if stored.name in self._waiting:
                    self._loader.ask(stored)

    def handle(self, request: Request, plan: Planned) -> Slices[Answer]:
        if isinstance(plan, Future):
            return plan
        answer = yield from self.handlers.handle(request, plan)
        if isinstance(plan, Plan | Hold | Label):
            self._learned[plan.hosted.name] = plan.hosted
            if not isinstance(plan, Plan):
                self._expiries.note(plan.hosted.learning[1])
        elif isinstance(plan, Create):
            self._memory.count(plan.hosted)
        elif isinstance(plan, Drop):
            self._expiries.forget(plan.stored)
            self.snapshotter.forget(plan.stored)
        return answer

    def tick(self, now: float) -> float:
        self._counters.tick(now)
        self.leader.settle()
        self.leader.report_drifts()
        self._take_loaded()
        next_expiry, expired = self._expiries.tick(now)
        self._learned.update((hosted.name, hosted) for hosted in expired)
        self._transfers.tick(now)
        self._waiting.tick(now)
        self.snapshotter.collect()
        self._make_room()
        due = min(self.health.tick(now), next_expiry, self.requested.tick())
        return min(due, self.snapshotter.tick(now), now + 1.0 if self._waiting else math.inf)

    def _count(self) -> None:
        """Count the memory of the models that have learned."""
        learned, self._learned = self._learned, {}
        for name, hosted in learned.items():
            if self._registry.find(name) is hosted:
                self._memory.count(hosted)

    def _take_loaded(self) -> None:
        """Serve the models that were loaded."""
        while (found := self._loader.take()) is not None:
            stored, outcome = found
            is_known = self._registry.stored(stored.name) is stored
            if is_known and self._registry.find(stored.name) is None:
                self._take_one(stored, outcome)
            self.snapshotter.loaded(stored)
            self._served.append(stored.name)  # it stays until its requests are answered

    def waited(self) -> Slices[None]:
        while self._served:
            yield from carry_out(self, self._waiting.take(self._served[0]))
            self._served.popleft()

    def _take_one(self, stored: StoredModel, outcome: Future[Loaded]) -> None:
        try:
            loaded = outcome.result()
        except DamagedModel as error:
            stored.damage = str(error)
            self._changes.keep(stored, self.snapshotter.removed)
            log.error("%s", error)
            return
        except Exception as error:  # what may pass; its requests are refused as BUSY
            log.error("model %s could not be loaded: %s", stored.name, error or "out of memory")
            self._waiting.refuse(stored.name, str(error))
            self.snapshotter.not_loaded(stored, error)
            return
        hosted = self._policy.host(loaded, stored)
        if loaded.damaged:
            self._fall_back(stored, loaded)
        stored.applied()
        stored.next_expiry = loaded.state.held.next_expiry or 0
        self._expiries.note(stored)
        self._host(hosted)

    def _fall_back(self, stored: StoredModel, loaded: Loaded) -> None:
        """Go on from an older snapshot than the newest."""
        try:
            set_aside(loaded.damaged)
        except OSError as error:
            log.error("a damaged snapshot stays: %s", error)
        stored.newest, stored.required = loaded.stored, 0
        stored.older = 0
        first = loaded.stored.lsn if loaded.stored else max(0, stored.created - 1)
        self._changes.forget(stored)
        self._changes.add(stored, first + 1)

    def _load_to_expire(self, stored: StoredModel) -> None:
        if not self._memory.is_full:
            self._loader.ask(stored)

    def reconfigure(self, config: ServeConfig) -> None:
        """Take the settings that may change while it runs."""
        self._changes.every_s = config.snapshot_every_s
        self._memory.max_bytes = config.max_memory
        self._policy = self.leader.policy = replace(
            self._policy, auto_create=config.auto_create, max_models=config.max_models
        )

    def stop(self) -> None:
        """Write last snapshots of the models that were changed. Raises OSError."""
        self._loader.close()
        self._waiting.refuse_all()
        self._transfers.close()
        self._inspector.close()
        self.leader.close()
        self.leader.report_drifts()
        self.requested.flush()
        self.snapshotter.finish()
        try:
            write_last(
                self._registry, self._changes, self._started,
                all_of_them=self._started.log.failure is not None,
            )  # fmt: skip
        finally:
            try:
                self._started.log.close()
            except OSError as error:  # the snapshots hold it all, or most of it
                log.warning("the log could not be made durable: %s", error.strerror or error)
            self._state.close()

    def describe(self) -> str:
        hosted = self._registry.find()
        if hosted is None or len(self._registry) > 1:
            return f"{len(self._registry)} models"
        model = hosted.model
        size = f"position {model.position:,}, {len(model.lookup):,} features"
        return f"model {model.config.rule}, {size}"


def _late(request: Request) -> RequestError:
    """The error of a request that waited too long for its model, or with too many others."""
    return RequestError(
        "BUSY", f"model {request.model} is being loaded", None, request.id, retry_after_s=1.0
    )


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
        max_memory_bytes: int | None = None,
        users: Users | None = None,
    ) -> None:
        users = Users() if users is None else users
        registry = Registry(names_models=not users.has_keys)
        self._counters = counters
        self._waiting = Waiting(WAIT_S, _late)
        self._loaded: deque[Parked] = deque()  # those whose models are there now
        self.reader = Reader(
            folder, limits, registry, wake, reload_every_s=reload_every_s,
            max_memory_bytes=max_memory_bytes,
        )  # fmt: skip
        self._inspector = Inspector(wake)
        self.handlers = ReaderHandlers(registry, counters, users, self._inspector, self.reader)

    def read(self, request: Request) -> Slices[Answer]:
        return (yield from self.handle(request, self._park(request)))

    def plan(self, requests: Sequence[Request]) -> Slices[Sequence[Planned]]:
        yield from ()
        return [self._park(request) for request in requests]

    def _park(self, request: Request) -> Planned:
        is_reading = request.op in _READING and not is_held(request)
        if not is_reading or not self.reader.must_load(request.model):
            return None
        try:
            answer = self._waiting.park(request, request.model)
        except RequestError as error:
            return error
        self.reader.look(request.model, join=True)
        return answer

    def handle(self, request: Request, plan: Planned) -> Slices[Answer]:
        if isinstance(plan, Future):
            return plan
        return (yield from self.handlers.handle(request, plan))

    def tick(self, now: float) -> float:
        self._counters.tick(now)
        due = self.reader.tick(now)
        for name in self.reader.take_loaded():
            self._loaded += self._waiting.take(name)
        self._waiting.tick(now)
        return min(due, now + 1.0 if self._waiting else math.inf)

    def waited(self) -> Slices[None]:
        while self._loaded:  # planned again, one would wait again where nothing was found
            yield from answer(self, self._loaded.popleft())

    def reconfigure(self, config: ServeConfig) -> None:
        """Take the settings that may change while it runs."""
        self.reader.reconfigure(config.reload_every_s, config.max_memory)

    def stop(self) -> None:
        self._waiting.refuse_all()
        self._inspector.close()
        self.reader.finish()

    def describe(self) -> str:
        position = self.reader.position
        return "no model yet" if position is None else f"position {position}"
