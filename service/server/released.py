"""How far the log was removed, and how far it may be."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from onlinesvm.service.server.changes import Changes
from onlinesvm.service.storage.snapshots import Snapshots
from onlinesvm.service.storage.stored_model import StoredModel

__all__ = ["Release", "Released"]

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_QUICK_S = 0.001  # a look that takes longer, as it does among 10,000 models, waits for its time


class Release(NamedTuple):
    """The log to remove: what the newest snapshots hold, and what is needed.

    alone: the models whose newest snapshots have to be read back once more first, as they have
    nothing beside them any more.
    """

    held: int
    needed_after: int
    alone: tuple[StoredModel, ...] = ()


class Released:
    """How far the log was removed, and how far it may be."""

    def __init__(self, removed: int) -> None:
        self.has_changed = False
        self.removed = removed
        self._release: Release | None = None
        self._look_at = 0.0
        self._took_s = 0.0
        self._alone: list[StoredModel] = []

    @property
    def is_due(self) -> bool:
        """Whether some of the log may be removed."""
        return self._release is not None

    def look(self, changes: Changes, *, is_idle: bool) -> None:
        """See what may be removed: about once a second, or, while that is quick, where nothing else
        is to be done.
        """
        now = time.monotonic()
        if expired := changes.expire(now):
            self._alone += expired
            self.has_changed = True
        if self.has_changed and (now >= self._look_at or (is_idle and self._took_s < _QUICK_S)):
            self.has_changed, self._look_at = False, now + _LOOK_S
            alone, self._alone = tuple(self._alone), []
            if self._release is not None:
                alone = (*self._release.alone, *alone)
            self._release = Release(changes.held, changes.needed_after(self.removed), alone)
            self._took_s = time.monotonic() - now

    def take(self) -> Release | None:
        """What may be removed now."""
        release, self._release = self._release, None
        return release

    def put_back(self, release: Release) -> None:
        """Note that `release` was taken, and its round ended early."""
        self._release = release

    def remove(self, snapshots: Snapshots, release: Release) -> None:
        """Remove it. Runs on the worker."""
        try:
            if snapshots.release(release.held, release.needed_after):
                self.removed = release.needed_after
        except OSError as error:  # nothing is lost by what stays
            log.warning("superfluous segments could not be removed: %s", error)
