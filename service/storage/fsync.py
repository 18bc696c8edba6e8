"""The thread that makes the journal durable, so that the loop never waits.

About once a second, and sooner where 32 MiB wait: whatever the rate, little is in memory alone.
Under `never` it is told of the beginnings of segments alone, for their closing records' sake.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from onlinesvm.service.storage.posix import Files

__all__ = ["Left", "Syncer", "leave"]

log = logging.getLogger(__name__)

_INTERVAL_S = 1.0
_MOST_BYTES = 32 * 2**20


class Left(NamedTuple):
    """A segment that is left: its descriptor, its bytes, and its closing record; b"" for none."""

    descriptor: int
    size: int
    closing: bytes


def leave(files: Files, left: Left) -> None:
    """Close what is left. A closing record that cannot be written is done without."""
    try:
        files.close(*left)
    except OSError as error:
        log.info("a segment of the journal is left without its end: %s", error.strerror or error)


class Syncer:
    """Syncs the descriptors it is told of; `failure` is the first that could not be.

    `wake` is called from the thread after a failure.
    """

    def __init__(self, files: Files, wake: Callable[[], None]) -> None:
        self._files = files
        self._wake = wake
        self.failure: OSError | None = None
        # What waits, in the order of the calls; a descriptor is closed by this thread alone.
        self._written: set[int] = set()
        self._bytes = 0
        self._folders: set[Path] = set()
        self._left: list[Left] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="onlinesvm-fsync", daemon=True)
        self._thread.start()

    def note(self, descriptor: int, size: int, folder: Path | None = None) -> None:
        """Have the `size` bytes written to `descriptor`, and the names in `folder`, synced."""
        with self._changed:
            before, self._bytes = self._bytes, self._bytes + size
            is_first = not self._written and not self._folders
            if is_first or before < _MOST_BYTES <= self._bytes:
                self._changed.notify()
            self._written.add(descriptor)
            if folder is not None:
                self._folders.add(folder)

    def leave(self, left: Left) -> None:
        """Have `left` closed after its last sync, and after that of all noted before."""
        with self._changed:
            self._left.append(left)
            self._changed.notify()

    def forget(self) -> None:
        """Start anew after a failure: what was written before is given up."""
        with self._changed:
            self._written.clear()
            self._folders.clear()
            self._bytes = 0
            self._left = [left._replace(closing=b"") for left in self._left]
            self.failure = None

    def stop(self) -> None:
        """Sync what waits, and end. May be called again. Raises OSError if the last sync failed."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        last = -_INTERVAL_S
        while True:
            with self._changed:
                while not (self._written or self._folders or self._left or self._stopping):
                    self._changed.wait()
                # At most one sync a second of little, and none later than that after a write.
                while not self._stopping and self._bytes < _MOST_BYTES:
                    left = last + _INTERVAL_S - time.monotonic()
                    if left <= 0:
                        break
                    self._changed.wait(left)
                written, self._written, self._bytes = self._written, set(), 0
                folders, self._folders = self._folders, set()
                leaving, self._left = self._left, []
                stopping = self._stopping
            last = time.monotonic()
            self._sync(written, folders)
            for each in leaving:
                # Whether what goes on from it is durable is not known after a failure.
                leave(self._files, each if self.failure is None else each._replace(closing=b""))
            if stopping:
                return

    def _sync(self, written: set[int], folders: set[Path]) -> None:
        try:
            for descriptor in sorted(written):
                self._files.sync(descriptor)
                self._files.forget(descriptor)
            for folder in folders:
                self._files.sync_folder(folder)
        except OSError as error:
            with self._changed:
                self.failure = error
            self._wake()
