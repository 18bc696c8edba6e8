"""When the log is made durable: the policies, and the thread that spares the loop the wait.

    always      each write waits for the disk
    everysec    a thread syncs about once a second, and sooner where 32 MiB wait
    never       the thread syncs only where 32 MiB wait, and an error of it is ignored

Under `never` the thread is there for speed: pages that are on the disk are handed back to the
system (`Files.forget`), so that the next bytes go into pages it has at hand. A log that only grows
in memory takes new pages for each byte, which costs about as much as learning.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from onlinesvm.service.storage.posix import Files

__all__ = ["POLICIES", "Closing", "Fsync", "SyncError"]

log = logging.getLogger(__name__)

POLICIES = ("always", "everysec", "never")
_INTERVAL_S = 1.0
_MAX_WAITING_BYTES = 32 * 2**20


class SyncError(OSError):
    """A sync that failed: what was written since the last one may be lost."""


class Closing(NamedTuple):
    """A segment to close: its descriptor, its bytes, and its entry `close`; b"" for none."""

    descriptor: int
    size: int
    entry: bytes


class Fsync:
    """One policy, applied to the descriptors of one log; owns the thread.

    `failure` is the first sync that failed; None under `never`. `wake` is called from the thread
    after a failure.
    """

    def __init__(self, policy: str, files: Files, wake: Callable[[], None]) -> None:
        self.policy = policy
        self.failure: OSError | None = None
        self._files = files
        self._wake = wake
        # Work for the thread; it alone closes descriptors that it may still sync.
        self._written: set[int] = set()
        self._bytes = 0
        self._folders: set[Path] = set()
        self._closing: list[Closing] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        if policy != "always":
            self._thread = threading.Thread(target=self._run, name="onlinesvm-fsync", daemon=True)
            self._thread.start()

    @property
    def waits(self) -> bool:
        """True if a write waits for the disk."""
        return self.policy == "always"

    def note(self, descriptor: int, size: int, folder: Path | None = None) -> None:
        """Have the `size` bytes written to `descriptor`, and the names in `folder`, synced."""
        if self._thread is None:
            return
        with self._changed:
            before, self._bytes = self._bytes, self._bytes + size
            is_first = not self._written and not self._folders and self.policy == "everysec"
            if is_first or before < _MAX_WAITING_BYTES <= self._bytes:
                self._changed.notify()
            self._written.add(descriptor)
            if folder is not None:
                self._folders.add(folder)

    def close(self, closing: Closing) -> None:
        """Close a segment, after its last sync and that of all noted before."""
        if self._thread is None:
            self._close(closing)
            return
        with self._changed:
            self._closing.append(closing)
            self._changed.notify()

    def forget(self) -> None:
        """Begin anew after a failure: what was written before is no longer synced."""
        with self._changed:
            self._written.clear()
            self._folders.clear()
            self._bytes = 0
            self._closing = [closing._replace(entry=b"") for closing in self._closing]
            self.failure = None

    def stop(self) -> None:
        """Sync what waits, and end. May be called again. Raises OSError if the last sync failed."""
        if self._thread is None:
            return
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _is_due(self) -> bool:
        if self._closing or self._stopping or self._bytes >= _MAX_WAITING_BYTES:
            return True
        return self.policy == "everysec" and bool(self._written or self._folders)

    def _run(self) -> None:
        last = -_INTERVAL_S
        while True:
            with self._changed:
                self._changed.wait_for(self._is_due)
                # At most one sync a second of little, and none later than that after a write.
                while not self._stopping and self._bytes < _MAX_WAITING_BYTES:
                    remaining = last + _INTERVAL_S - time.monotonic()
                    if remaining <= 0:
                        break
                    self._changed.wait(remaining)
                written, self._written, self._bytes = self._written, set(), 0
                folders, self._folders = self._folders, set()
                closing, self._closing = self._closing, []
                stopping = self._stopping
            last = time.monotonic()
            self._sync(written, folders)
            for each in closing:
                # After a failure the next segment may not be durable.
                self._close(each if self.failure is None else each._replace(entry=b""))
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
            if self.policy == "never":
                log.warning("the log could not be synced: %s", error.strerror or error)
                return
            with self._changed:
                self.failure = error
            self._wake()

    def _close(self, closing: Closing) -> None:
        try:
            self._files.close(*closing)
        except OSError as error:  # the entry is a help for recovery, not needed
            log.info("a segment of the log has no closing entry: %s", error.strerror or error)
