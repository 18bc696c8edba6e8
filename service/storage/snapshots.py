"""The snapshots of a state folder: listing, writing, and dropping what they make superfluous.

The newest two of a model stay. A model that was changed after its newest needs the log from the
older of the two on; one that was not needs none after a while, once its newest was read back
again. Where the disk is full that is done at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from onlinesvm.errors import OnlineSVMError, SnapshotError
from onlinesvm.service.storage.posix import make_private
from onlinesvm.service.storage.segment import drop_segments, mark_held, superfluous_segments
from onlinesvm.snapshot import reader, writer
from onlinesvm.snapshot.format import Snapshot
from onlinesvm.snapshot.writer import sync_folder
from onlinesvm.svm import OnlineSVM

if TYPE_CHECKING:
    from onlinesvm.service.storage.stored_model import StoredModel

__all__ = [
    "DEFAULT_MODEL", "DROPPED", "ORIGIN", "DroppedModel", "Listing", "Snapshots",
    "StoredSnapshot", "listing_of", "model_folder", "models_in", "snapshot_name", "snapshots_in",
]  # fmt: skip

log = logging.getLogger(__name__)

DEFAULT_MODEL = "default"
_SNAPSHOT = re.compile(r"snapshot-(\d{20})\.msgpack")
_MODEL = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_SET_ASIDE = re.compile(r"snapshot-(\d{20})\.msgpack\.damaged(?:-\d+)?")
_KEPT = 2
ORIGIN = "origin.msgpack"  # in a model's folder: the file that it was created from
DROPPED = ".dropped-"  # begins the name of a dropped model's folder until it is removed


class DroppedModel(OnlineSVMError):
    """A model that was dropped while its snapshot was asked for."""


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


class Listing(NamedTuple):
    """The snapshots in a model's folder.

    whole: LSN and name of each, the newest first. set_aside: the LSNs of damaged ones that were set
    aside.
    """

    whole: list[tuple[int, str]]
    set_aside: list[int]


def listing_of(folder: str | os.PathLike[str]) -> Listing:
    """The snapshots in a model's folder; none where there is no folder. Raises OSError."""
    listing = Listing([], [])
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return listing
    for name in names:
        if match := _SNAPSHOT.fullmatch(name):
            listing.whole.append((int(match[1]), name))
        elif match := _SET_ASIDE.fullmatch(name):
            listing.set_aside.append(int(match[1]))
    listing.whole.sort(reverse=True)
    return listing


def snapshots_in(folder: Path) -> list[tuple[int, Path]]:
    """LSN and path of the snapshots in a model's folder, the newest first; none where there is no
    folder. Raises OSError.
    """
    return [(lsn, folder / name) for lsn, name in listing_of(folder).whole]


class Snapshots:
    """Writes the snapshots of the models of one state folder, and drops what they make superfluous.

    `check_folder` raises OSError where the folder is no longer the one that was locked. Its methods
    may run on any thread, for one model on one at a time; `drop` also while its snapshot is
    written.
    """

    def __init__(self, state: Path, check_folder: Callable[[], None]) -> None:
        self._state = state
        self._models = os.path.join(state, "models")
        self._check_folder = check_folder
        self._dropped: set[bytes] = set()  # ids, until `remove_dropped`

    def write(self, taken: Snapshot) -> StoredSnapshot:
        """Write a snapshot, durable and read back when this returns; the newest two stay.

        Raises OSError, SnapshotError, DroppedModel; all that was there then stays.
        """
        self._check_folder()
        name, lsn = taken.attachments["name"], taken.attachments["log"][1]
        folder = os.path.join(self._models, name)  # many times faster than a Path
        make_private(self._models)
        make_private(folder)
        path = os.path.join(folder, snapshot_name(lsn))
        try:
            saved = writer.write(path, taken, OnlineSVM.check_snapshot)
        except (OSError, SnapshotError):
            if taken.id in self._dropped:  # its folder was renamed meanwhile
                raise DroppedModel(f"model {name} was dropped") from None
            raise
        if taken.id in self._dropped:  # meanwhile; its folder was renamed, and made again here
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            raise DroppedModel(f"model {name} was dropped")
        stored = StoredSnapshot(
            saved.path, saved.position, lsn, saved.size, saved.checksum, saved.digest
        )
        try:
            # Files of a later LSN are not this model's own: somebody put them there.
            own = [file for at, file in listing_of(folder).whole if at <= lsn]
            for file in [*own[_KEPT:], *([ORIGIN] if len(own) >= _KEPT else [])]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, file))
        except OSError as error:  # the new one is durable all the same
            log.warning("superfluous files could not be dropped: %s", error)
        return stored

    def verify(self, stored: StoredSnapshot) -> None:
        """Read a snapshot back. Raises OSError, SnapshotError."""
        self._check_folder()
        reader.verify(stored.path)

    def keep_alone(self, stored: StoredSnapshot) -> int:
        """Remove the older snapshots of a model once `stored` was read back; returns how many.

        Raises OSError, SnapshotError if that fails; nothing is removed then.
        """
        self.verify(stored)
        path = Path(stored.path)
        older = [found for at, found in snapshots_in(path.parent) if at < stored.lsn]
        for found in older:
            found.unlink(missing_ok=True)
        sync_folder(os.fspath(path.parent))
        return len(older)

    def release(self, held: int, needed_after: int) -> int:
        """Remove the segments that hold no entry after `needed_after`; returns how many.

        held: the newest snapshots of all models hold the log up to that LSN. Raises OSError.
        """
        self._check_folder()
        folder = self._state / "log"
        if not superfluous_segments(folder, needed_after):
            return 0
        models = self._state / "models"
        if models.is_dir():  # no folder that was dropped may come back
            sync_folder(os.fspath(models))
        mark_held(folder, held)
        return drop_segments(folder, needed_after)

    def drop(self, stored: StoredModel) -> None:
        """Rename a dropped model's folder, so that its name is free. Raises OSError."""
        self._check_folder()
        self._dropped.add(stored.id)
        folder = model_folder(self._state, stored.name)
        with contextlib.suppress(FileNotFoundError):
            os.replace(folder, folder.with_name(f"{DROPPED}{stored.id.hex()}"))

    @property
    def has_dropped(self) -> bool:
        """Whether there may be something for `remove_dropped`."""
        return bool(self._dropped)

    def remove_dropped(self) -> None:
        """Remove the folders of dropped models, while no snapshot is written."""
        self._dropped.clear()
        try:
            folders = list((self._state / "models").glob(f"{DROPPED}*"))
        except OSError as error:  # the next start removes them
            log.warning("the folders of dropped models stay: %s", error)
            return
        for folder in folders:
            try:
                shutil.rmtree(folder)
            except OSError as error:  # the next start removes it
                log.warning("a dropped model's folder stays: %s", error)
