"""A reader: serves the newest snapshots of another daemon's state folder, and looks for newer."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from onlinesvm.config import Limits
from onlinesvm.errors import SnapshotError
from onlinesvm.service.protocol import DEFAULT_MODEL
from onlinesvm.service.server.background import Background
from onlinesvm.service.server.memory import Memory
from onlinesvm.service.server.registry import Hosted, Registry
from onlinesvm.service.storage.model_state import model_at
from onlinesvm.service.storage.snapshots import model_folder, models_in, snapshots_in
from onlinesvm.svm import OnlineSVM

__all__ = ["Look", "Reader", "Served"]

log = logging.getLogger(__name__)

_LISTINGS = 5


class _Identity(NamedTuple):
    """Tells a file from another one of the same name."""

    inode: int
    size: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Served:
    """A model and the file that it was loaded from."""

    model: OnlineSVM
    lsn: int
    path: Path
    identity: _Identity
    written_at: float


class Look(NamedTuple):
    """The outcome of a look for a newer snapshot of a model.

    served: the newest, None if there is none. is_new: whether this look loaded it. error: why
    a newer one could not be loaded.
    """

    served: Served | None
    is_new: bool
    error: str | None


class Reader:
    """Serves the newest valid snapshots in `folder`; looks for newer ones every `reload_every_s`.

    The first look, for the model `default`, is made here. Later ones run beside the loop; a new
    model takes the old one's place in the `registry` between two requests. Other models are loaded
    when they are asked for.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        limits: Limits,
        registry: Registry,
        wake: Callable[[], None],
        *,
        reload_every_s: float,
        max_memory_bytes: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._newest = _Newest(self.folder, limits)
        self._registry = registry
        self._reload_every_s = reload_every_s
        self._memory = Memory(registry, max_memory_bytes, self._may_leave, lambda hosted: None)
        self._served: dict[str, Served] = {}
        self._errors: dict[str, str] = {}
        self._worker = Background(self._begin, self._end, wake)
        self._asked: dict[str, Future[Look]] = {}  # by name, for the next run
        self._looking: dict[str, Future[Look]] = {}
        self._loaded: list[str] = []  # names that were looked at, for `take_loaded`
        registry.expect(DEFAULT_MODEL, partial(self._why_not, DEFAULT_MODEL))
        self._take(DEFAULT_MODEL, self._newest.look(DEFAULT_MODEL, None))
        registry.list_names(self._newest.names() or [])
        if not self._served:
            log.warning("no model to serve yet: %s", self._errors.get(DEFAULT_MODEL))
        self._due = time.monotonic() + reload_every_s

    def reconfigure(self, reload_every_s: float, max_memory_bytes: int | None) -> None:
        """Look so often from now on, and keep the models within `max_memory_bytes`."""
        self._reload_every_s = reload_every_s
        self._due = min(self._due, time.monotonic() + reload_every_s)
        self._memory.max_bytes = max_memory_bytes

    @property
    def position(self) -> int | None:
        """The position of the model `default`; None while there is none."""
        served = self._served.get(DEFAULT_MODEL)
        return served.model.position if served else None

    def _why_not(self, name: str) -> str:
        """Why a model is not served, for the error that answers a request."""
        if name == DEFAULT_MODEL:
            return f"no snapshot could be loaded from {self.folder} yet"
        return f"no snapshot of model {name} could be loaded: {self._errors.get(name)}"

    def must_load(self, name: str) -> bool:
        """Whether a model has a folder and is not in memory."""
        if self._registry.find(name) is not None:
            return False
        folder = model_folder(self.folder, name)
        return name != DEFAULT_MODEL and folder.is_dir()

    def look(self, name: str = DEFAULT_MODEL, *, join: bool = False) -> Future[Look]:
        """A look for a newer snapshot of a model; with `join`, one under way will do."""
        if join and name in self._looking:
            return self._looking[name]
        asked = self._asked.setdefault(name, Future())
        if not self._worker.is_running:
            self._launch()
        return asked

    def _launch(self) -> None:
        """Begin a run; those who have asked are answered from the worker."""
        outcome = self._worker.ask()
        looking = self._looking

        def answer(ended: Future[_Looks]) -> None:
            for name, asked in looking.items():
                if ended.exception() is None:
                    asked.set_result(ended.result().looks[name])
                else:
                    asked.set_exception(ended.exception())

        outcome.add_done_callback(answer)

    def _begin(self) -> Callable[[], _Looks]:
        self._looking, self._asked = self._asked, {}
        current = {name: self._served.get(name) for name in self._looking}
        return partial(self._newest.look_at_all, current)

    def _end(self, ended: Future[_Looks]) -> None:
        looking, self._looking = self._looking, {}
        self._loaded += looking
        error = ended.exception()
        if error is None:
            for name, look in ended.result().looks.items():
                self._take(name, look)
            if (names := ended.result().names) is not None:
                self._registry.list_names(names)
        else:  # unexpected; the old models are served on
            log.error("the look for newer snapshots failed", exc_info=error)
            self._errors.update(dict.fromkeys(looking, f"{type(error).__name__}: {error}"))
        if self._asked:
            self._launch()

    def _take(self, name: str, look: Look) -> None:
        """Put a newer model in the old one's place."""
        self._errors.pop(name, None)
        if look.error is not None:
            self._errors[name] = look.error
        if look.served is not None and look.is_new:
            old = self._registry.find(name)
            if old is not None:
                self._memory.forget(old)
            self._served[name] = look.served
            hosted = Hosted(name, look.served.model)
            self._registry.put(hosted)
            self._memory.count(hosted)
            log.info("loaded %s", look.served.path)
        elif look.served is None and name != DEFAULT_MODEL:
            if model_folder(self.folder, name).is_dir():
                self._registry.expect(name, partial(self._why_not, name))
            else:
                self._registry.remove(name)

    def _may_leave(self, hosted: Hosted) -> bool:
        self._served.pop(hosted.name, None)
        return True

    def take_loaded(self) -> list[str]:
        """The models that were looked at since the last call."""
        loaded, self._loaded = self._loaded, []
        return loaded

    def tick(self, now: float) -> float:
        """Begin a look if one is due at `now` (time.monotonic()); when the next is due."""
        self._worker.collect()
        self._memory.tick()
        if now >= self._due:
            self._due = now + self._reload_every_s
            for name in {DEFAULT_MODEL, *self._served}:
                if name not in self._looking:
                    self._asked.setdefault(name, Future())
            if self._asked and not self._worker.is_running:
                self._launch()
        return self._due

    def finish(self) -> None:
        """Wait for every look that was asked for; none is due any more."""
        self._due = math.inf
        self._worker.finish()

    def report(self, name: str = DEFAULT_MODEL) -> dict[str, Any]:
        """The figures of a stats reply."""
        served = self._served.get(name)
        return {
            "snapshot_position": served.model.position if served else None,
            "snapshot_age_s": max(0.0, time.time() - served.written_at) if served else None,
            "snapshot_path": str(served.path) if served else None,
            "reload_error": self._errors.get(name),
        }


class _Looks(NamedTuple):
    """The outcome of a run: the looks by name, and the names of all models, None for no change."""

    looks: dict[str, Look]
    names: list[str] | None


class _Newest:
    """Finds and loads the newest snapshots in a folder. Used by one thread at a time."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        # The damaged files and their errors: none is read again until it changes.
        self._damaged: dict[Path, tuple[_Identity, str]] = {}
        self._names_at = 0  # when the folder of the models last changed, in nanoseconds

    def names(self) -> list[str] | None:
        """The names of the models, None where they are as they were."""
        try:
            changed = os.stat(self._folder / "models").st_mtime_ns
            if changed == self._names_at:
                return None
            self._names_at = changed
            return models_in(self._folder)
        except OSError:
            return None

    def look_at_all(self, current: Mapping[str, Served | None]) -> _Looks:
        """A look at each of the models `current`, and what is served of them."""
        looks = {name: self.look(name, served) for name, served in current.items()}
        return _Looks(looks, self.names())

    def look(self, name: str, current: Served | None) -> Look:
        """Load the newest valid snapshot of a model if it is another than `current`."""
        folder = model_folder(self._folder, name)
        for _ in range(_LISTINGS):
            try:
                os.stat(self._folder)
                listing = snapshots_in(folder)
            except OSError as error:
                return Look(current, False, f"{self._folder}: {error.strerror or error}")
            look = self._newest_of(folder, listing, current)
            if look is not None:
                return look
        return Look(
            current, False, f"{self._folder}: its snapshots change faster than they can be read"
        )

    def _newest_of(
        self, folder: Path, listing: list[tuple[int, Path]], current: Served | None
    ) -> Look | None:
        """The outcome of a look at `listing`; None if a file of it is gone: list again."""
        there = {path for _, path in listing}
        self._damaged = {
            path: found
            for path, found in self._damaged.items()
            if path in there or path.parent != folder
        }
        errors = [] if listing else [f"{self._folder}: no snapshot there"]
        served = current
        for lsn, path in listing:
            try:
                stat = path.stat()
                identity = _Identity(stat.st_ino, stat.st_size, stat.st_mtime_ns)
                if current and (path, identity) == (current.path, current.identity):
                    break
                damage = self._damaged.get(path)
                if damage and damage[0] == identity:
                    errors.append(damage[1])
                    continue
                if current and lsn < current.lsn:
                    break  # never a step back, even if the served file is gone
                model = model_at(path, lsn, self._limits, None)
                model.freeze()  # here, so that the loop never waits for it
            except FileNotFoundError:
                return None
            except SnapshotError as error:
                self._damaged[path] = identity, str(error)
                errors.append(str(error))
                log.error("snapshot passed over: %s", error)
            except (OSError, MemoryError) as error:  # tried again at the next look
                errors.append(f"{path}: {error if str(error) else 'out of memory'}")
                log.error("snapshot passed over: %s", errors[-1])
            else:
                served = Served(model, lsn, path, identity, stat.st_mtime)
                break
        return Look(served, served is not current, errors[0] if errors else None)
