"""A read-only follower of another daemon's state folder, reloading its newest snapshot."""

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

from onlinesvm.config import Limits
from onlinesvm.errors import SnapshotError
from onlinesvm.service.protocol import Request, RequestError
from onlinesvm.service.server.background import Errand
from onlinesvm.service.server.handlers import Answer, Reply, Serving
from onlinesvm.service.storage.state_dir import model_at, snapshots_in
from onlinesvm.svm import OnlineSVM

__all__ = ["Replica"]

log = logging.getLogger(__name__)

_LISTINGS = 5

# Inode, size and time of change: another file of the same name has another.
Identity = tuple[int, int, int]


@dataclass(slots=True)
class _Loaded:
    """A model and the file it came from."""

    model: OnlineSVM
    path: Path
    identity: Identity
    written_at: float


@dataclass(slots=True)
class _Look:
    """What a look at the folder brought: a newer model, or None; and what stood in the way."""

    loaded: _Loaded | None
    error: str | None


class Replica(Serving):
    """Serves the newest valid snapshot in `folder`; looks for a newer one every `reload_every_s`.

    Loading runs beside the loop; the new model takes the old one's place between two requests.
    """

    mode = "follower"

    def __init__(
        self, folder: str | os.PathLike[str], limits: Limits, *, reload_every_s: float,
        kernel: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.folder = Path(folder)
        self._limits = limits
        self._kernel = kernel
        self._reload_every_s = reload_every_s
        self._loaded: _Loaded | None = None
        self._looking = Errand(self._begin_look, self._end_look, lambda: self.wake())
        self._error: str | None = None
        # What was wrong with the damaged files, so that none is read again until it changes.
        self._damaged: dict[Path, tuple[Identity, str]] = {}
        self._take(self._look(None))
        if self._loaded is None:
            log.warning("no model to serve yet: %s", self._error)
        self._due = time.monotonic() + reload_every_s

    @property
    def position(self) -> int | None:
        """The position of the model that is served; None while there is none."""
        return self._loaded.model.position if self._loaded else None

    def model(self, request: Request) -> OnlineSVM:
        if self._loaded is None:
            raise RequestError(
                "BUSY", f"no snapshot could be loaded from {self.folder} yet", None, request.id
            )
        return self._loaded.model

    def _look(self, current: _Loaded | None) -> _Look:
        """Load the newest valid snapshot if it is another than `current`."""
        for _ in range(_LISTINGS):
            try:
                listing = snapshots_in(self.folder)
            except OSError as fault:
                return _Look(None, f"{self.folder}: {fault.strerror or fault}")
            look = self._newest_of(listing, current)
            if look is not None:
                return look
        return _Look(None, f"{self.folder}: its snapshots change faster than they can be read")

    def _newest_of(self, listing: list[tuple[int, Path]], current: _Loaded | None) -> _Look | None:
        """The outcome of a look; None if a file was dropped since, so that a newer one is there."""
        self._damaged = {path: self._damaged[path] for _, path in listing if path in self._damaged}
        errors = [] if listing else [f"{self.folder}: no snapshot there"]
        for position, path in listing:
            try:
                stat = path.stat()
                identity = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
                if current and (path, identity) == (current.path, current.identity):
                    return _Look(None, errors[0] if errors else None)
                damage = self._damaged.get(path)
                if damage and damage[0] == identity:
                    errors.append(damage[1])
                    continue
                if current and position < current.model.position:
                    break  # never a step back, whatever became of the file that is served
                model = model_at(path, position, self._limits, self._kernel)
                model.freeze()  # here, so that the loop never waits for it
            except FileNotFoundError:
                return None
            except SnapshotError as fault:
                self._damaged[path] = identity, str(fault)
                errors.append(str(fault))
                log.error("snapshot passed over: %s", fault)
            except (OSError, MemoryError) as fault:  # tried again at the next look
                errors.append(f"{path}: {fault if str(fault) else 'out of memory'}")
                log.error("snapshot passed over: %s", errors[-1])
            else:
                loaded = _Loaded(model, path, identity, stat.st_mtime)
                return _Look(loaded, errors[0] if errors else None)
        return _Look(None, errors[0] if errors else None)

    def _take(self, look: _Look) -> None:
        """Put a newer model in the old one's place."""
        self._error = look.error
        if look.loaded is not None:
            self._loaded = look.loaded
            log.info("loaded %s", look.loaded.path)

    def _begin_look(self) -> Callable[[], _Look]:
        return partial(self._look, self._loaded)

    def _end_look(self, ended: Future[_Look]) -> None:
        error = ended.exception()
        if error is None:
            self._take(ended.result())
        else:  # nothing that is known of; the old model serves on
            self._error = f"{type(error).__name__}: {error}"
            log.error("the look for a newer snapshot failed", exc_info=error)

    def tick(self, now: float) -> float:
        self.figures.tick(now)
        self._looking.collect()
        if now >= self._due:
            self._due = now + self._reload_every_s
            self._looking.ask(join=True)
        return self._due - now

    def stop(self) -> None:
        self._due = math.inf
        self._looking.finish()

    def _reload(self, request: Request) -> Answer:
        answer: Future[Reply] = Future()

        def looked(future: Future[_Look]) -> None:
            error = future.exception()
            if error is not None:
                answer.set_exception(error)
                return
            look = future.result()
            newest = look.loaded or self._loaded
            answer.set_result(
                Reply(
                    {
                        "reloaded": look.loaded is not None,
                        "position": newest.model.position if newest else None,
                        "path": str(newest.path) if newest else None,
                        "reload_error": look.error,
                    }
                )
            )

        # Called on the worker; the loop takes the model before it sends any answer. A look under
        # way may have listed the folder before a snapshot that the client knows of was there.
        self._looking.ask().add_done_callback(looked)
        return answer

    def _learn(self, request: Request) -> Answer:
        raise RequestError(
            "READ_ONLY", "a follower does not learn; ask its learner", None, request.id
        )

    def _resume(self, request: Request) -> Answer:
        raise RequestError(
            "READ_ONLY", "a follower does not learn; ask its learner", None, request.id
        )

    def _snapshot(self, request: Request) -> Answer:
        raise RequestError("READ_ONLY", "a follower writes no snapshot", None, request.id)

    def _stats(self, request: Request) -> Answer:
        loaded = self._loaded
        report = self._report(loaded.model if loaded else None)
        report.update(
            snapshot_position=loaded.model.position if loaded else None,
            snapshot_age_s=max(0.0, time.time() - loaded.written_at) if loaded else None,
            snapshot_path=str(loaded.path) if loaded else None,
            reload_error=self._error,
        )
        return Reply(report)
