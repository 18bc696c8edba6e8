"""The daemon: binds its endpoint, loads its models, serves them, and leaves all on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from onlinesvm.config import Limits
from onlinesvm.model.asking import B
from onlinesvm.service.config import ServeConfig
from onlinesvm.service.server.auth.access import Access
from onlinesvm.service.server.auth.users import Users
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.leader import Policy
from onlinesvm.service.server.loading import Loading, Progress
from onlinesvm.service.server.loop import Loop
from onlinesvm.service.server.service import Leading, Reading, Service
from onlinesvm.service.server.snapshotter import Schedule
from onlinesvm.service.server.supervisor import Supervised, Supervisor
from onlinesvm.service.storage.recovery import start
from onlinesvm.service.storage.state_dir import StateDir

__all__ = ["Daemon", "Load", "load_leader", "load_reader"]

# Runs beside the loop; its arguments are the daemon's counters, what wakes the loop, and what takes
# the progress.
Load = Callable[[Counters, Callable[[], None], Progress], Service]


class Daemon:
    """Serves what `load` returns at the endpoint `bind` until SIGTERM, SIGINT or `stop`, to those
    who have `access`.

    ``tcp://127.0.0.1:*`` binds any free port; `endpoint` is the real one. Raises StateError if it
    cannot be bound; nothing was loaded or created then. `supervisor` hears of its states.
    """

    def __init__(
        self,
        load: Load,
        bind: str,
        limits: Limits,
        access: Access | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._load = load
        self._supervisor = supervisor or Supervisor({})
        self._loop = Loop(bind, limits, Counters(), access)
        self.endpoint = self._loop.endpoint

    def stop(self) -> None:
        """Have `run` end; from any thread."""
        self._loop.stop()

    def run(
        self,
        on_ready: Callable[[Service], None] = lambda service: None,
        on_hangup: Callable[[Service], None] = lambda service: None,
    ) -> None:
        """Load, serve until stopped, then leave everything on disk.

        `on_ready` is called once the models are served, `on_hangup` after each SIGHUP from then
        on. Raises what loading raises; OSError if something cannot be left on disk; Fatal if the
        models can no longer be trusted.
        """
        loop = self._loop
        try:
            with loop.signals():
                loading = Loading(lambda progress: self._load(loop.counters, loop.wake, progress),
                                  loop.wake)  # fmt: skip
                loop.run(
                    Supervised(loading, self._supervisor.loading), until=lambda: loading.is_done
                )
                if loop.is_stopping:
                    with self._supervisor.stopping():
                        try:
                            loading.stop()
                        finally:
                            loop.answer_deferred()
                    return
                service = loading.finish()
                loop.answer_deferred()
                on_ready(service)
                loop.on_hangup = partial(on_hangup, service)
                self._supervisor.ready(f"{service.mode} at {self.endpoint}, {service.describe()}")
                loop.run(Supervised(service, self._supervisor.alive))
                with self._supervisor.stopping():
                    try:
                        service.stop()
                    finally:
                        loop.answer_deferred()
        finally:
            loop.close()


def load_leader(
    config: ServeConfig,
    limits: Limits,
    given: Mapping[str, Any],
    schedule: Schedule | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    users: Users | None = None,
) -> Load:
    """Loads the models of a state folder to learn on; `given` are a new model's parameters.

    `on_progress` is called by the loading thread, as that of `storage.recovery.start`.
    """

    def load(counters: Counters, wake: Callable[[], None], progress: Progress) -> Service:
        state = StateDir(config.state)

        def note(done: int, total: int) -> None:
            progress(done, total)
            on_progress(done, total)

        try:
            progress(0, 1)
            started = start(
                state,
                given,
                limits,
                fsync=config.fsync,
                max_producers=config.max_producers,
                max_held=config.max_held,
                on_progress=note,
            )
            planned = schedule or Schedule(every_s=config.snapshot_every_s)
            policy = Policy(
                limits, config.max_producers, given, config.auto_create, config.max_models,
                config.max_held, config.max_user_producers, config.max_user_models,
            )  # fmt: skip
            leading = Leading(
                state, started, counters, wake, planned, policy, config.max_memory, users=users
            )
            leading.handlers.ask_b = config.ask_b
            return leading
        except BaseException:
            state.close()
            raise

    return load


def load_reader(
    folder: str,
    limits: Limits,
    *,
    reload_every_s: float,
    max_memory_bytes: int | None = None,
    users: Users | None = None,
    ask_b: float = B,
) -> Load:
    """Loads the newest snapshots of another daemon's state folder to serve them."""

    def load(counters: Counters, wake: Callable[[], None], progress: Progress) -> Service:
        reading = Reading(
            folder, limits, counters, wake, reload_every_s=reload_every_s,
            max_memory_bytes=max_memory_bytes, users=users,
        )  # fmt: skip
        reading.handlers.ask_b = ask_b
        return reading

    return load
