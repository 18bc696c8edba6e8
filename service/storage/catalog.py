"""The models of a state folder as a start finds them: the heads of their newest snapshots."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from onlinesvm.errors import SnapshotError
from onlinesvm.service.errors import StateError
from onlinesvm.service.storage.model_state import Attachments
from onlinesvm.service.storage.snapshots import (
    ORIGIN,
    StoredSnapshot,
    listing_of,
    model_folder,
    models_in,
    snapshots_in,
)
from onlinesvm.service.storage.stored_model import StoredModel
from onlinesvm.snapshot.reader import read_head, verify

__all__ = ["Catalog", "remove_orphans"]

log = logging.getLogger(__name__)


class Catalog:
    """The models that have a snapshot, by id.

    folder: id of the state folder, None where no snapshot tells it. unreadable: the names of models
    without a readable snapshot, how many they have, and the LSN of the newest. term, newest_known:
    the largest term and LSN that any file tells of.

    A head alone has no checksum; is_thorough: whole files are read.

    Raises StateError, OSError.
    """

    def __init__(self, state: Path, *, is_thorough: bool = False) -> None:
        self.stored: dict[bytes, StoredModel] = {}
        self.folder: bytes | None = None
        self.unreadable: dict[str, tuple[int, int]] = {}
        self.term = self.newest_known = 0
        self._folder = os.path.join(state, "models")
        self._is_thorough = is_thorough
        for name in models_in(state):
            self._add(name)

    def held(self, marked: int) -> int:
        """The LSN up to which the snapshots hold the log, if they did up to `marked` once.

        A model whose newest snapshot cannot be read looks after itself, unless it is alone.
        """
        whole = [max(model.held, marked) for model in self.stored.values() if not model.required]
        return min(whole or [model.held for model in self.stored.values()], default=0)

    def _add(self, name: str) -> None:
        folder = os.path.join(self._folder, name)  # many times faster than a Path
        listing, set_aside = listing_of(folder)
        required = max(set_aside, default=0)
        for i, (lsn, file) in enumerate(listing):
            path = os.path.join(folder, file)
            self.newest_known = max(self.newest_known, lsn)
            try:
                if self._is_thorough:
                    verify(path)
                head = read_head(path)
                attached = Attachments.of(head.attachments, name, lsn)
            except (SnapshotError, FileNotFoundError) as error:  # a link may lead nowhere
                text = str(error)
                text = text if path in text else f"{path}: {text}"
                log.warning("snapshot passed over: %s", text)
                required = max(required, lsn)
                continue
            self.term = max(self.term, attached.position.term)
            older = listing[i + 1][0] if i + 1 < len(listing) else 0
            newest = StoredSnapshot(path, head.position, lsn, head.size, 0, "")
            model = StoredModel(
                name, head.id, attached.created, newest, older, attached.salt,
                required=required if required > lsn else 0, next_expiry=attached.next_expiry,
                user=attached.user,
            )  # fmt: skip
            self._check(model, attached.folder, path)
            return
        if listing:  # a log that goes back to the model's entry `create` makes up for them
            self.unreadable[name] = len(listing), required

    def _check(self, model: StoredModel, folder: bytes | None, path: str) -> None:
        other = self.stored.get(model.id)
        if other is not None:
            raise StateError(
                f"{path}: expected a model of its own, got model {other.name} under another name"
            )
        if folder is not None and self.folder is not None and folder != self.folder:
            raise StateError(
                f"{path}: it is of another state folder: expected folder {self.folder.hex()},"
                f" got {folder.hex()}"
            )
        self.folder = folder or self.folder
        self.stored[model.id] = model


def remove_orphans(state: Path, stored: dict[bytes, StoredModel]) -> None:
    """Remove the files of models whose entry `create` was never written. Raises OSError."""
    known = {model.name for model in stored.values()}
    for name in models_in(state):
        if name in known:
            continue
        origin = model_folder(state, name) / ORIGIN
        if origin.is_file() and not snapshots_in(origin.parent):
            origin.unlink()
            if not any(origin.parent.iterdir()):
                origin.parent.rmdir()
