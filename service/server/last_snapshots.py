"""The last snapshots of a daemon that stops."""

from __future__ import annotations

import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor

from onlinesvm.service.server.changes import Changes
from onlinesvm.service.server.registry import Hosted, Registry
from onlinesvm.service.storage.recovery import Started

__all__ = ["write_last"]

log = logging.getLogger(__name__)

_THREADS = 4
_LAST_S = 10.0


def write_last(
    registry: Registry, changes: Changes, started: Started, *, all_of_them: bool
) -> None:
    """Write snapshots of the models that were changed, here and now, for about ten seconds: the log
    holds the rest. all_of_them: also those that take longer, as the log may have lost some.

    Raises OSError, SnapshotError.
    """
    deadline = math.inf if all_of_them else time.monotonic() + _LAST_S
    hosted = (registry.find(change.stored.name) for change in changes)
    found = [each for each in hosted if each is not None and _has_learned(each)]
    with ThreadPoolExecutor(_THREADS) as workers:
        written = [workers.submit(_write, each, started, deadline) for each in found]
    left = [each.result() for each in written].count(False)
    if left:
        log.info("%d models have no snapshot of their last samples: the log holds them", left)


def _write(hosted: Hosted, started: Started, deadline: float) -> bool:
    """Write a snapshot, unless it is too late."""
    if time.monotonic() >= deadline:
        return False
    state, stored = hosted.learning
    written = started.snapshots.write(state.view(started.folder).snapshot())
    stored.take(written)
    log.info("snapshot %s (%d bytes)", written.path, written.size)
    return True


def _has_learned(hosted: Hosted) -> bool:
    """True if the log has more of a model than its creation."""
    state, stored = hosted.learning
    return stored.newest is not None or state.position.lsn > state.created
