"""The snapshots of a state folder: listing, writing, and dropping what they make superfluous.

The newest two of a model stay, and the log from the older of the two on. Where the disk is full the
newest, once it was read back, counts for both.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from onlinesvm.service.storage.model_state import ModelState
from onlinesvm.service.storage.posix import make_private
from onlinesvm.service.storage.segment import drop_segments
from onlinesvm.snapshot import reader, writer
from onlinesvm.snapshot.format import Snapshot
from onlinesvm.snapshot.writer import sync_folder
from onlinesvm.svm import OnlineSVM

__all__ = [
    "DEFAULT_MODEL", "Snapshots", "StoredSnapshot", "model_folder", "models_in", "snapshot_name",
    "snapshots_in",
]  # fmt: skip

log = logging.getLogger(__name__)

DEFAULT_MODEL = "default"
_SNAPSHOT = re.compile(r"snapshot-(\d{20})\.msgpack")
_MODEL = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_KEPT = 2


class StoredSnapshot(NamedTuple):
    """A written snapshot: the samples and the LSN that it holds, its file, size in bytes, CRC-32
    and digest. One found at a start has no CRC-32 (0) and no digest ("").
    """

    path: str
    position: int
    lsn: int
    size: int
    checksum: int
    digest: str


def snapshot_name(lsn: int) -> str:
    """The name of a snapshot that holds the log up to `lsn`."""
    return f"snapshot-{lsn:020}.msgpack"


def model_folder(state: Path, name: str) -> Path:
    """The folder of a model's snapshots; made with the first of them."""
    return state / "models" / name


def models_in(state: Path) -> list[str]:
    """The names of the models that have a folder, sorted. Raises OSError."""
    try:
        with os.scandir(state / "models") as entries:
            return sorted(e.name for e in entries if e.is_dir() and _MODEL.fullmatch(e.name))
    except FileNotFoundError:
        return []


def snapshots_in(folder: Path) -> list[tuple[int, Path]]:
    """LSN and path of the snapshots in a model's folder, the newest first; none where there is no
    folder. Raises OSError.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = ((_SNAPSHOT.fullmatch(name), name) for name in names)
    return sorted(((int(match[1]), folder / name) for match, name in found if match), reverse=True)


class Snapshots:
    """Writes the snapshots of the models of one state folder, one at a time.

    models: by id, all that the log is for; may grow meanwhile. `check_folder` raises OSError where
    the folder is no longer the one that was locked.
    """

    def __init__(
        self, state: Path, models: Mapping[bytes, ModelState], check_folder: Callable[[], None]
    ) -> None:
        self._state = state
        self._models = models
        self._check_folder = check_folder

    def write(self, taken: Snapshot) -> StoredSnapshot:
        """Write a snapshot, durable and read back when this returns, and drop what it makes
        superfluous. May run on any thread.

        Raises OSError, SnapshotError; all that was there then stays.
        """
        self._check_folder()
        name, lsn = taken.attachments["name"], taken.attachments["log"][1]
        folder = model_folder(self._state, name)
        make_private(folder.parent)
        make_private(folder)
        path = folder / snapshot_name(lsn)
        saved = writer.write(path, taken, OnlineSVM.check_snapshot)
        stored = StoredSnapshot(
            saved.path, saved.position, lsn, saved.size, saved.checksum, saved.digest
        )
        try:
            # Files of a later LSN are not this model's own: somebody put them there.
            own = [(at, found) for at, found in snapshots_in(folder) if at <= lsn]
            for _, found in own[_KEPT:]:
                found.unlink(missing_ok=True)
            drop_segments(self._state / "log", self._needed_after(_KEPT))
        except OSError as error:  # the new one is durable all the same
            log.warning("superfluous files could not be dropped: %s", error)
        return stored

    def make_room(self, stored: StoredSnapshot) -> None:
        """Keep `stored` alone of its model, once it was read back, and the log after it.

        Raises OSError, SnapshotError if that fails; nothing is dropped then.
        """
        self._check_folder()
        path = Path(stored.path)
        size, _ = reader.verify(path)
        older = [found for at, found in snapshots_in(path.parent) if at < stored.lsn]
        for found in older:
            found.unlink(missing_ok=True)
        segments = drop_segments(self._state / "log", self._needed_after(1))
        sync_folder(os.fspath(path.parent))
        sync_folder(os.fspath(self._state / "log"))
        if older or segments:
            log.warning(
                "the disk is full: %s was read back whole (%d bytes); dropped what it makes"
                " superfluous: %d older snapshots, %d segments of the log",
                path, size, len(older), segments,
            )  # fmt: skip

    def _needed_after(self, kept: int) -> int:
        """The LSN up to which the log is held by the `kept` newest snapshots of every model."""
        newest = 0
        held: dict[bytes, int] = {}
        for id, model in list(self._models.items()):
            listing = snapshots_in(model_folder(self._state, model.name))
            newest = max([newest, *(lsn for lsn, _ in listing[:1])])
            held[id] = listing[kept - 1][0] if len(listing) >= kept else model.created - 1
        # The models' positions come last. Entries are applied in the order of the log, so a model
        # that has not moved on by now has no entry up to `newest` that its snapshots lack.
        lacking = [lsn for id, lsn in held.items() if lsn < self._models[id].position.lsn]
        return min(lacking, default=newest)
