"""Disk space: when it runs out, and what can be removed to make room."""

from __future__ import annotations

import logging
import os

from onlinesvm.errors import SnapshotError
from onlinesvm.service.storage.log import Log
from onlinesvm.service.storage.segment import mark_held
from onlinesvm.service.storage.snapshots import Snapshots, StoredSnapshot

__all__ = ["RETRY_S", "DiskSpace"]

log = logging.getLogger(__name__)

RETRY_S = 5.0


class DiskSpace:
    """The space on the disk of a state folder.

    Room is made by removing what the newest snapshot makes superfluous, once it was read back.
    """

    def __init__(self, log: Log, snapshots: Snapshots) -> None:
        self._log = log
        self._snapshots = snapshots
        self._retry_at = 0.0

    @property
    def is_full(self) -> bool:
        """True where the last write to the log failed for lack of space."""
        return self._log.is_disk_full

    def is_short(self, snapshot_bytes: int, log_bytes: int) -> bool:
        """True where the log would soon leave no space for the snapshot that makes room.

        snapshot_bytes: the size of the newest snapshot. log_bytes: what was logged since.
        """
        if log_bytes < snapshot_bytes:
            return False  # a snapshot would take more than it makes superfluous
        try:
            disk = os.statvfs(self._log.folder)
        except OSError:
            return False
        # The next snapshot is larger by at most the log since; as much again is kept free.
        free: int = disk.f_bavail * disk.f_frsize
        return free < 2 * snapshot_bytes + log_bytes

    def has_grown(self) -> None:
        """Note that more can be removed than at the last attempt to make room."""
        self._retry_at = 0.0

    def may_try(self, now: float) -> bool:
        """True where room may be made at `now`; then False for some seconds, unless it grows."""
        if now < self._retry_at:
            return False
        self._retry_at = now + RETRY_S
        return True

    def make_room(self, stored: StoredSnapshot) -> bool:
        """Read `stored` back and remove what is older; False where that failed.

        May run beside the loop.
        """
        try:
            older = self._snapshots.keep_alone(stored)
        except (OSError, SnapshotError, MemoryError) as error:
            log.error("no room can be made on the disk: %s", error or "out of memory")
            return False
        if older:
            log.warning(
                "the disk is full: %s was read back whole (%d bytes); dropped %d older snapshots",
                stored.path, stored.size, older,
            )  # fmt: skip
        return True

    def drop_segment(self, lsn: int) -> None:
        """Remove the log's last segment if the log still ends with `lsn`; snapshots hold it all."""
        if self._log.lsn != lsn:
            return
        try:
            mark_held(self._log.folder, lsn)
            self._log.drop()
        except OSError as error:
            log.error("no room can be made on the disk: %s", error.strerror or error)
