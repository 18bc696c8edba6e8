"""The start of a state folder: each model's newest snapshot, and the log after it.

Every start begins a new term. A folder without any model gets one named `default`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.errors import SnapshotError
from onlinesvm.service.errors import LogError, NotDurable, StateError
from onlinesvm.service.storage.entry import NO_MODEL, Entry, Kind, LogPosition
from onlinesvm.service.storage.log import Log, LogEnd
from onlinesvm.service.storage.model_state import ModelState, Recorded, snapshot_at
from onlinesvm.service.storage.posix import Files
from onlinesvm.service.storage.producers import Producers
from onlinesvm.service.storage.repair import cut, free_name, losses, set_segments_aside
from onlinesvm.service.storage.replay import Progress, Replay, Stop
from onlinesvm.service.storage.segment import Segments, segments_after, segments_in
from onlinesvm.service.storage.snapshots import (
    DEFAULT_MODEL,
    Snapshots,
    StoredSnapshot,
    model_folder,
    models_in,
    snapshots_in,
)
from onlinesvm.service.storage.state_dir import StateDir
from onlinesvm.svm import OnlineSVM

__all__ = ["Started", "recover", "start"]

log = logging.getLogger(__name__)

# A start that finds more segments writes a snapshot, which lets older ones go: many starts leave
# many.
_MAX_SEGMENTS = 64


@dataclass(slots=True)
class Started:
    """A state folder in use: the models by id, their newest snapshots, and the log."""

    folder: bytes
    models: dict[bytes, ModelState]
    stored: dict[bytes, StoredSnapshot]
    log: Log
    snapshots: Snapshots

    @property
    def default(self) -> ModelState:
        """The model named `default`."""
        return next(model for model in self.models.values() if model.name == DEFAULT_MODEL)


def start(
    state: StateDir,
    given: Mapping[str, Any],
    limits: Limits,
    *,
    fsync: str = "everysec",
    max_producers: int = 65_536,
    kernel: str | None = None,
    files: Files | None = None,
    on_progress: Progress = lambda done, total: None,
) -> Started:
    """Load the models of a folder; `default` is made with the parameters `given` if it is new.

    Raises ConfigError where a given parameter differs from the model's own, StateError where the
    folder cannot be used or no snapshot of a model can be read, LogError where the log is damaged
    before its end.
    """
    found = _Found(state, kernel, on_progress)
    models = found.models
    for model in models.values():
        if model.name == DEFAULT_MODEL:
            model.model.config.check_given(given)
    if found.stop is not None and not found.stop.is_torn:
        raise LogError(
            f"{found.stop}. Put back a copy of that file, or go on without the entries from there"
            f" on: onlinesvm recover --state {state.path}"
        )

    def wanted(config: LearnerConfig) -> Recorded:
        return Recorded.of(limits.under(config.rule), max_producers)

    snapshots = Snapshots(state.path, models, state.check)
    with state.errors():
        found.set_snapshots_aside()
        if found.stop is not None:
            cut(found.stop)
        end = found.end
        if found.is_adopted:  # before there is a log, which has an id
            _write_all(snapshots, end.folder, models, found.stored)
        changed = [each for each in models.values() if each.recorded != wanted(each.model.config)]
        preface = [Entry(Kind.TERM, NO_MODEL, b"")]
        preface += [wanted(each.model.config).entry(each.model.id) for each in changed]
        writer = Log(state.log, end, end.term + 1, preface, state.check, fsync=fsync, files=files)
        writer.bytes = sum(path.stat().st_size for _, path in found.segments_to_replay())
    try:
        if not models:
            config = LearnerConfig(**given)
            made = _create(writer, config, wanted(config), limits, kernel)
            models[made.model.id] = made
        else:
            _write_preface(writer)
    except BaseException:
        writer.close()
        raise
    for model in models.values():
        model.producers.bound(max_producers)
        model.model.limit(limits)
    if found.has_many_segments:
        with state.errors():
            for model in models.values():
                model.hold(end)
            _write_all(snapshots, end.folder, models, found.stored)
    return Started(end.folder, models, found.stored, writer, snapshots)


def _create(
    writer: Log, config: LearnerConfig, recorded: Recorded, limits: Limits, kernel: str | None
) -> ModelState:
    """The model `default`, once its entry `create` is in the log. Raises StateError."""
    model = OnlineSVM(limits=limits, kernel=kernel, **config.as_dict())
    try:
        written = writer.append([ModelState.creation(DEFAULT_MODEL, model.id, config, recorded)])
    except NotDurable as error:
        raise StateError(f"state folder {writer.folder.parent}: {error}") from None
    producers = Producers(recorded.max_producers)
    position = LogPosition(written.term, written.lsn)
    return ModelState(DEFAULT_MODEL, model, producers, position, written.salt, written.lsn)


def _write_preface(writer: Log) -> None:
    """Begin the term; where nothing can be written, with the first entry that can."""
    try:
        writer.append([])
    except NotDurable as error:
        log.warning("learning is refused for now: %s", error)


def _write_all(
    snapshots: Snapshots,
    folder: bytes,
    models: dict[bytes, ModelState],
    stored: dict[bytes, StoredSnapshot],
) -> None:
    for id, model in models.items():
        stored[id] = snapshots.write(model.view(folder).snapshot())


def recover(
    state: StateDir, kernel: str | None = None, on_progress: Progress = lambda done, total: None
) -> dict[str, Any]:
    """Go on without what cannot be read: apply all entries before the first damage, set the rest
    aside.

    Returns a report of what was lost. Raises StateError where no model is left.
    """
    found = _Found(state, kernel, on_progress)
    if not found.models:
        raise StateError(f"state folder {state.path}: expected a snapshot or a log, got none whole")
    snapshots = Snapshots(state.path, found.models, state.check)
    with state.errors():
        end, stop = found.end, found.stop
        report = losses(segments_in(state.log), stop, end.lsn, found.newest_known)
        report["set_aside"] += found.set_snapshots_aside()
        _write_all(snapshots, end.folder, found.models, found.stored)
        report["snapshots"] = [
            {"model": model.name, **found.stored[id]._asdict()}
            for id, model in found.models.items()
        ]
        if stop is not None:
            report["set_aside"] += _mend(state, stop)
            # A start reads the last segment that is left, which may be damaged as well.
            for _ in segments_in(state.log):
                stop = _Found(state, kernel, on_progress).stop
                if stop is None:
                    break
                report["set_aside"] += _mend(state, stop)
    return report


def _mend(state: StateDir, stop: Stop) -> list[str]:
    """Cut a torn tail, or set aside the log from a damage on; the new names."""
    if stop.is_torn:
        cut(stop)
        return []
    return set_segments_aside(segments_in(state.log), stop)


class _Found:
    """A folder's models, from their newest whole snapshots and the log.

    stop: where the replay ended early. damaged: snapshots that cannot be read. newest_known: the
    largest LSN that any file tells of.
    """

    def __init__(self, state: StateDir, kernel: str | None, on_progress: Progress) -> None:
        self._state = state
        self.models: dict[bytes, ModelState] = {}
        self.stored: dict[bytes, StoredSnapshot] = {}
        self.damaged: list[Path] = []
        self.newest_known = 0
        self._folder: bytes | None = None
        self._unreadable: dict[str, int] = {}  # models without a whole snapshot, how many they have
        with state.errors():
            for name in models_in(state.path):
                self._load(name, kernel)
            self._segments: Segments = segments_in(state.log)
            self.is_adopted = bool(self.models) and self._folder is None
            if self.is_adopted and self._segments:
                raise StateError(
                    f"state folder {state.path}: a snapshot that no daemon wrote and a log; move"
                    " one of them away"
                )
            replay = Replay(self._segments, self._folder, self.models, kernel, on_progress)
            before = sum(model.model.position for model in self.models.values())
            self.stop = replay.run()
            after = sum(model.model.position for model in self.models.values())
        self._check_readable()
        if after > before:
            log.info("replayed %d samples of the log", after - before)
        if self.stop is None or self.stop.is_torn:
            self._check_known(replay)
        replay.folder = replay.folder or os.urandom(16)
        self.end: LogEnd = replay.end

    def _load(self, name: str, kernel: str | None) -> None:
        """Load the newest whole snapshot of a model, if there is any. Raises StateError."""
        folder = model_folder(self._state.path, name)
        damaged = []
        for lsn, path in snapshots_in(folder):
            try:
                taken, attached = snapshot_at(path, lsn)
                model = ModelState.restored(taken, attached, path, kernel)
            except (SnapshotError, FileNotFoundError) as error:  # a link may lead nowhere
                log.warning("snapshot passed over: %s", error)
                damaged.append((lsn, path))
                continue
            self._add(model, attached.folder, path)
            size = path.stat().st_size
            self.stored[taken.id] = StoredSnapshot(str(path), taken.position, lsn, size, 0, "")
            break
        else:
            if damaged:  # a log that goes back to the model's entry `create` makes up for them
                self._unreadable[name] = len(damaged)
        self.damaged += [path for _, path in damaged]
        self.newest_known = max([self.newest_known, *(lsn for lsn, _ in damaged)])

    def _check_readable(self) -> None:
        """Raise StateError where a model has neither a snapshot nor its entry `create`."""
        for name, count in self._unreadable.items():
            if all(model.name != name for model in self.models.values()):
                raise StateError(
                    f"model {name}: none of its {count} snapshots in"
                    f" {model_folder(self._state.path, name)} can be read; put back a copy of one,"
                    " or move them away to start a new model"
                )

    def _add(self, model: ModelState, folder: bytes | None, path: Path) -> None:
        other = self.models.get(model.model.id)
        if other is not None:
            raise StateError(
                f"{path}: expected a model of its own, got model {other.name} under another name"
            )
        if folder is not None and folder != (self._folder or folder):
            raise StateError(
                f"{path}: it is of another state folder: expected folder {self._folder.hex()},"  # type: ignore[union-attr]
                f" got {folder.hex()}"
            )
        self._folder = folder or self._folder
        self.models[model.model.id] = model

    def _check_known(self, replay: Replay) -> None:
        """Stop the start where a damaged snapshot alone held the last entries."""
        reached = replay.lsn if self._segments else 0
        reached = max([reached, *(stored.lsn for stored in self.stored.values())])
        if not self._segments or self.newest_known <= reached:
            return
        last = self._segments[-1][1]
        self.stop = Stop(
            last,
            self.stop.offset if self.stop else last.stat().st_size,
            f"expected entries up to LSN {self.newest_known}, which a damaged snapshot holds, got"
            f" none after {reached}",
            is_torn=False,
        )

    @property
    def has_many_segments(self) -> bool:
        """True if there are more than a running daemon leaves."""
        return len(self._segments) > _MAX_SEGMENTS

    def segments_to_replay(self) -> Segments:
        """The segments that the next start would replay."""
        held = min((stored.lsn for stored in self.stored.values()), default=0)
        return [each for each in segments_after(self._segments, held) if each[1].exists()]

    def set_snapshots_aside(self) -> list[str]:
        """Rename the damaged snapshots, which would be taken for the newest; the new names."""
        aside = []
        for path in self.damaged:
            target = free_name(path)
            os.replace(path, target)
            log.warning("set aside as %s", target)
            aside.append(str(target))
        self.damaged = []
        return aside
