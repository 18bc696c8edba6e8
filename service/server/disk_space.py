"""Disk space: when it runs out, and what can be removed to make room."""

from __future__ import annotations

import logging
import os

from onlinesvm.errors import SnapshotError
from onlinesvm.service.storage.state_dir import Store
from onlinesvm.snapshot.writer import Saved

__all__ = ["DiskSpace"]

log = logging.getLogger(__name__)


class DiskSpace:
    """The space on the disk of a state folder.

    Room is made by removing what the newest snapshot makes superfluous, once it was read back.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._journal = store.journal

    @property
    def is_full(self) -> bool:
        """Whether the last write to the log failed for lack of space."""
        return self._journal.is_disk_full

    def is_short(self, snapshot_bytes: int, log_bytes: int) -> bool:
        """Whether the log would soon leave no space for the snapshot that makes room.

        snapshot_bytes: the size of the newest snapshot. log_bytes: what was logged since.
        """
        if log_bytes < snapshot_bytes:
            return False  # a snapshot would take more than it makes superfluous
        try:
            disk = os.statvfs(self._journal.folder)
        except OSError:
            return False
        # The next snapshot is larger by at most the log since; as much again is kept free.
        free: int = disk.f_bavail * disk.f_frsize
        return free < 2 * snapshot_bytes + log_bytes

    def make_room(self, saved: Saved) -> bool:
        """Read `saved` back and remove what is older; False where that failed.

        May run beside the loop.
        """
        try:
            self._store.make_room(saved)
        except (OSError, SnapshotError) as error:
            log.error("no room can be made on the disk: %s", error)
            return False
        return True

    def drop_segment(self, end: tuple[int, ...] | None) -> None:
        """Remove the log's last segment if the log still ends at `end`, where a snapshot does."""
        if self._journal.end != end:
            return
        try:
            self._journal.drop()
        except OSError as error:
            log.error("no room can be made on the disk: %s", error.strerror or error)
