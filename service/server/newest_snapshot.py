"""The newest snapshot of a model: what it holds, when it was written, and its figures."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onlinesvm.service.storage.snapshots import StoredSnapshot

__all__ = ["Base", "NewestSnapshot"]


@dataclass(frozen=True, slots=True)
class Base:
    """The state that a snapshot holds: up to which LSN, and the log's bytes so far."""

    lsn: int
    log_bytes: int
    makes_room: bool = False


class NewestSnapshot:
    """The newest snapshot of a model, None for one that was just created.

    stored, base: the file, and the state that it holds. error: why the last attempt to write one
    failed; None where it did not.
    """

    def __init__(self, stored: StoredSnapshot | None) -> None:
        self.stored = stored
        self.base = Base(stored.lsn if stored else 0, 0)
        self.error: str | None = None
        self._written_at = Path(stored.path).stat().st_mtime if stored else time.time()

    @property
    def size(self) -> int:
        """Its bytes, 0 where there is none."""
        return self.stored.size if self.stored else 0

    def lsn_or(self, created: int) -> int:
        """The LSN up to which it holds the log; where there is none, that of the entry `create`."""
        return self.stored.lsn if self.stored else created

    def take(self, stored: StoredSnapshot, base: Base) -> bool:
        """Note one that was written; whether it holds more than the one before."""
        holds_more = self.stored is None or stored.lsn > self.stored.lsn
        self.stored, self.base, self.error = stored, base, None
        self._written_at = time.time()
        return holds_more

    def report(self) -> dict[str, Any]:
        """The figures of a stats reply."""
        stored = self.stored
        return {
            "snapshot_position": stored.position if stored else None,
            "snapshot_age_s": max(0.0, time.time() - self._written_at) if stored else None,
            "snapshot_path": stored.path if stored else None,
            "snapshot_error": self.error,
        }
