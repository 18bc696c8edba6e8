"""A reader: serves the newest snapshot of another daemon's state folder, and looks for newer."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from onlinesvm.config import Limits
from onlinesvm.errors import SnapshotError
from onlinesvm.service.protocol import DEFAULT_MODEL
from onlinesvm.service.server.background import Background
from onlinesvm.service.server.registry import Hosted, Registry
from onlinesvm.service.storage.model_state import model_at
from onlinesvm.service.storage.snapshots import model_folder, snapshots_in
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
    """The outcome of a look at the folder.

    served: the newest model, None if there is none. is_new: whether this look loaded it. error: why
    a newer one could not be loaded.
    """

    served: Served | None
    is_new: bool
    error: str | None


class Reader:
    """Serves the newest valid snapshot in `folder`; looks for a newer one every `reload_every_s`.

    The first look is made here. Later ones run beside the loop; the new model takes the old one's
    place in the `registry` between two requests.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        limits: Limits,
        registry: Registry,
        wake: Callable[[], None],
        *,
        reload_every_s: float,
    ) -> None:
        self.folder = Path(folder)
        self._limits = limits
        self._registry = registry
        self._reload_every_s = reload_every_s
        self._served: Served | None = None
        self._error: str | None = None
        self._worker = Background(self._begin, self._end, wake)
        # The damaged files and their errors: none is read again until it changes.
        self._damaged: dict[Path, tuple[_Identity, str]] = {}
        registry.expect(
            DEFAULT_MODEL, lambda: f"no snapshot could be loaded from {self.folder} yet"
        )
        self._take(self._look(None))
        if self._served is None:
            log.warning("no model to serve yet: %s", self._error)
        self._due = time.monotonic() + reload_every_s

    @property
    def position(self) -> int | None:
        """The position of the model that is served; None while there is none."""
        return self._served.model.position if self._served else None

    def look(self) -> Future[Look]:
        """A look that begins from now on."""
        return self._worker.ask()

    def _look(self, current: Served | None) -> Look:
        """Load the newest valid snapshot if it is another than `current`. Runs on the worker."""
        for _ in range(_LISTINGS):
            try:
                os.stat(self.folder)
                listing = snapshots_in(model_folder(self.folder, DEFAULT_MODEL))
            except OSError as error:
                return Look(current, False, f"{self.folder}: {error.strerror or error}")
            look = self._newest_of(listing, current)
            if look is not None:
                return look
        return Look(
            current, False, f"{self.folder}: its snapshots change faster than they can be read"
        )

    def _newest_of(self, listing: list[tuple[int, Path]], current: Served | None) -> Look | None:
        """The outcome of a look at `listing`; None if a file of it is gone: list again."""
        self._damaged = {path: self._damaged[path] for _, path in listing if path in self._damaged}
        errors = [] if listing else [f"{self.folder}: no snapshot there"]
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

    def _take(self, look: Look) -> None:
        """Put a newer model in the old one's place."""
        self._error = look.error
        if look.served is not None and look.is_new:
            self._served = look.served
            self._registry.put(Hosted(DEFAULT_MODEL, look.served.model))
            log.info("loaded %s", look.served.path)

    def _begin(self) -> Callable[[], Look]:
        return partial(self._look, self._served)

    def _end(self, ended: Future[Look]) -> None:
        error = ended.exception()
        if error is None:
            self._take(ended.result())
        else:  # unexpected; the old model is served on
            self._error = f"{type(error).__name__}: {error}"
            log.error("the look for a newer snapshot failed", exc_info=error)

    def tick(self, now: float) -> float:
        """Begin a look if one is due at `now` (time.monotonic()); when the next is due."""
        self._worker.collect()
        if now >= self._due:
            self._due = now + self._reload_every_s
            self._worker.ask(join=True)
        return self._due

    def finish(self) -> None:
        """Wait for every look that was asked for; none is due any more."""
        self._due = math.inf
        self._worker.finish()

    def report(self) -> dict[str, Any]:
        """The figures of a stats reply."""
        served = self._served
        return {
            "snapshot_position": served.model.position if served else None,
            "snapshot_age_s": max(0.0, time.time() - served.written_at) if served else None,
            "snapshot_path": str(served.path) if served else None,
            "reload_error": self._error,
        }
