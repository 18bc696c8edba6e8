"""The checkpoint of a training: the mixed model after a round, in a snapshot file.

Its attachment `training` is a map: `rounds`, how many are done; `plan`, the SHA-256 in hex of all
that the outcome depends on beside the model: shards and how they are read; `errors`, of each round
the mean error of its samples, null where there were none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import msgpack

from onlinesvm.errors import SnapshotError
from onlinesvm.service.errors import ClusterError
from onlinesvm.service.train.shards import Shard
from onlinesvm.service.train.tasks import Reading
from onlinesvm.snapshot.format import Snapshot
from onlinesvm.snapshot.reader import read
from onlinesvm.snapshot.writer import sync_folder, write
from onlinesvm.svm import OnlineSVM

__all__ = ["MOST_ROUNDS", "Checkpoint", "Done", "plan_of"]

MOST_ROUNDS = 1000
_NAME = "training"


class Done(NamedTuple):
    """The rounds that are done: the model after them, and the error of each."""

    model: Snapshot
    errors: list[float | None]

    @property
    def rounds(self) -> int:
        return len(self.errors)


def plan_of(shards: Sequence[Shard], reading: Reading) -> str:
    """The fingerprint of all that a round depends on beside its model."""
    parts = [[list(part) for part in shard] for shard in shards]
    return hashlib.sha256(msgpack.packb([parts, asdict(reading)])).hexdigest()


class Checkpoint:
    """The file at `path`, of the training of a plan."""

    def __init__(self, path: str, plan: str) -> None:
        self.path = path
        self._plan = plan

    @property
    def exists(self) -> bool:
        """True where a training that ended early has left it."""
        return os.path.exists(self.path)

    def save(self, done: Done) -> None:
        """Write it, durably, in the place of the one before. Raises OSError."""
        training = {"rounds": done.rounds, "plan": self._plan, "errors": done.errors}
        attached = replace(done.model, attachments={_NAME: training})
        write(self.path, attached, OnlineSVM.check_snapshot)

    def load(self) -> Done:
        """The rounds that are done. Raises OSError, SnapshotError for another kind of file,
        ClusterError for one of another plan.
        """
        model = read(self.path)
        training: Any = model.attachments.get(_NAME)
        if not _is_training(training):
            raise SnapshotError(f"{self.path}: expected the checkpoint of a training, got none")
        if training["plan"] != self._plan:
            raise ClusterError(
                f"{self.path}: expected a training of these files, shards and flags, got one of"
                " others; give the same, or remove the checkpoint to begin anew"
            )
        return Done(replace(model, attachments={}), training["errors"])

    def remove(self) -> None:
        """Remove it: the outcome is saved."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
            sync_folder(os.path.dirname(self.path))


def _is_training(training: Any) -> bool:
    """True for a map as `Checkpoint.save` attaches it."""
    if not isinstance(training, dict) or training.keys() != {"rounds", "plan", "errors"}:
        return False
    errors = training["errors"]
    return (
        isinstance(training["plan"], str)
        and isinstance(errors, list)
        and 0 < len(errors) == training["rounds"]
        and all(error is None or type(error) is float for error in errors)
    )
