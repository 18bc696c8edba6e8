"""The start of a state folder: each model's newest snapshot, and the log after it.

Every start begins a new term. A folder without any model gets one named `default`, which is loaded
at once; others are loaded when they are asked for.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.service.errors import LogError, NotDurable, StateError
from onlinesvm.service.storage.catalog import Catalog, remove_orphans
from onlinesvm.service.storage.entry import NO_MODEL, Entry, Kind, LogPosition
from onlinesvm.service.storage.held import Held
from onlinesvm.service.storage.loading import (
    DamagedModel,
    Progress,
    Steps,
    load,
    salvage,
    set_aside,
)
from onlinesvm.service.storage.log import Log, LogEnd
from onlinesvm.service.storage.model_state import ModelState, Recorded
from onlinesvm.service.storage.posix import Files
from onlinesvm.service.storage.producers import Producers
from onlinesvm.service.storage.repair import count, cut, losses, set_segments_aside
from onlinesvm.service.storage.replay import Replay, Stop
from onlinesvm.service.storage.segment import held_in, segments_in
from onlinesvm.service.storage.snapshots import DEFAULT_MODEL, Snapshots, model_folder
from onlinesvm.service.storage.state_dir import StateDir
from onlinesvm.service.storage.stored_model import StoredModel
from onlinesvm.svm import OnlineSVM

__all__ = ["Started", "recover", "start"]

log = logging.getLogger(__name__)

# A start that finds more segments has snapshots written soon, which let older ones go: many starts
# leave many.
_MAX_SEGMENTS = 64
_SHOWN = 5  # names in an error


@dataclass(slots=True)
class Started:
    """A state folder in use: its models, those of them that are in memory, by id, and the log.

    removed: the LSN up to which the log was removed. has_many_segments: whether it has more than a
    running daemon leaves.
    """

    folder: bytes
    stored: dict[bytes, StoredModel]
    models: dict[bytes, ModelState]
    log: Log
    snapshots: Snapshots
    removed: int
    has_many_segments: bool

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
    max_held: int = 100_000,
    kernel: str | None = None,
    files: Files | None = None,
    on_progress: Progress = lambda done, total: None,
) -> Started:
    """Find the models of a folder and load `default`, which is made with the parameters `given`
    where there is no model.

    A model that is damaged alone is one of those found. Raises ConfigError where a given parameter
    differs from that of `default`, StateError where the folder cannot be used or none of its models
    is whole, LogError where the log is damaged before its end.
    """
    try:
        found = _Found(state, on_progress)
        models = found.load_first(kernel, on_progress)
    except (LogError, StateError):
        # The head of a damaged snapshot may say anything: once more, with what is whole.
        found = _Found(state, on_progress, is_thorough=True)
        models = found.load_first(kernel, on_progress)
    for model in models.values():
        if model.name == DEFAULT_MODEL:
            model.model.config.check_given(given)

    def wanted(config: LearnerConfig) -> Recorded:
        return Recorded.of(limits.under(config.rule), max_producers, max_held)

    snapshots = Snapshots(state.path, state.check)
    with state.errors():
        set_aside(found.aside)
        if found.stop is not None:
            cut(found.stop)
        end = found.end
        if found.is_adopted:  # before there is a log, which has an id
            for model in models.values():
                found.stored[model.model.id].take(
                    snapshots.write(model.view(end.folder).snapshot())
                )
        changed = [each for each in models.values() if each.recorded != wanted(each.model.config)]
        preface = [Entry(Kind.TERM, NO_MODEL, b"")]
        preface += [wanted(each.model.config).entry(each.model.id) for each in changed]
        writer = Log(state.log, end, end.term + 1, preface, state.check, fsync=fsync, files=files)
        writer.bytes = sum(model.log_bytes for model in found.stored.values())
    try:
        if not found.stored:
            config = LearnerConfig(**given)
            made = _create(writer, config, wanted(config), limits, kernel)
            models[made.model.id] = made
            created = StoredModel(DEFAULT_MODEL, made.model.id, made.created)
            created.first = created.last = made.created
            found.stored[created.id] = created
        else:
            _write_preface(writer)
        with state.errors():
            found.clean(snapshots)
    except BaseException:
        writer.close()
        raise
    for model in models.values():
        model.producers.bound(max_producers)
        model.held.bound(max_held)
        model.model.limit(limits)
    removed = found.segments[0][0] - 1 if found.segments else end.lsn
    has_many = len(found.segments) > _MAX_SEGMENTS
    if has_many:
        with state.errors():
            _release(snapshots, end, found.stored, models)
    return Started(end.folder, found.stored, models, writer, snapshots, removed, has_many)


def _create(
    writer: Log, config: LearnerConfig, recorded: Recorded, limits: Limits, kernel: str | None
) -> ModelState:
    """The model `default`, once its entry `create` is in the log. Raises StateError."""
    model = OnlineSVM.of(config, limits=limits, kernel=kernel)
    try:
        written = writer.append([ModelState.creation(DEFAULT_MODEL, model.id, config, recorded)])
    except NotDurable as error:
        raise StateError(f"state folder {writer.folder.parent}: {error}") from None
    producers, held = Producers(recorded.max_producers), Held(recorded.max_held)
    position = LogPosition(written.term, written.lsn)
    return ModelState(DEFAULT_MODEL, model, producers, held, position, written.salt, written.lsn)


def _release(
    snapshots: Snapshots,
    end: LogEnd,
    stored: Mapping[bytes, StoredModel],
    models: Mapping[bytes, ModelState],
) -> None:
    """Write snapshots of the models in memory, and remove the log that no model needs.

    Raises OSError.
    """
    for id, model in models.items():
        stored[id].take(snapshots.write(model.view(end.folder).snapshot()))
        stored[id].first = 0
    if all(each.damage is None for each in stored.values()):
        held = min((each.first - 1 for each in stored.values() if each.first), default=end.lsn)
        snapshots.release(held, held)


def _write_preface(writer: Log) -> None:
    """Begin the term; where nothing can be written, with the first entry that can."""
    try:
        writer.append([])
    except NotDurable as error:
        log.warning("learning is refused for now: %s", error)


def recover(
    state: StateDir,
    kernel: str | None = None,
    on_progress: Progress = lambda done, total: None,
    *,
    name: str | None = None,
) -> dict[str, Any]:
    """Go on without what cannot be read: of each model, or of the model `name` alone, the newest
    readable snapshot and the entries after it, before the first damage of the log; the rest is set
    aside.

    Returns a report of what was lost. Raises StateError where no model is left, LogError where the
    log is damaged and one model alone is to be repaired.
    """
    found = _Found(state, on_progress, is_thorough=True)
    stop = found.stop
    if name is not None and stop is not None and not stop.is_torn:
        raise LogError(
            f"{stop}: expected damage of model {name} alone; repair all: leave --model out"
        )
    known = sorted({*(stored.name for stored in found.stored.values()), *found.unreadable})
    if name is not None and name not in known:
        shown = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
        raise StateError(
            f"state folder {state.path}: expected the name of a model ({shown or 'none'}), got"
            f" {name}"
        )
    snapshots = Snapshots(state.path, state.check)
    written: list[dict[str, Any]] = []
    with state.errors():
        end = found.end
        report = losses(segments_in(state.log), stop, end.lsn, found.newest_known)
        wanted = [each for each in found.stored.values() if name in (None, each.name)]
        steps = Steps(on_progress, sum(stored.log_bytes for stored in wanted))
        for stored in wanted:
            written += _salvage(state, snapshots, stored, end, report, kernel, steps)
        found.report_end(on_progress)
        if not written and name is not None:
            raise StateError(
                f"state folder {state.path}: model {name}: expected a snapshot of it, got none"
                " whole: put back a copy of one, or move its folder away"
            )
        if not written:
            raise StateError(
                f"state folder {state.path}: expected a snapshot or a log, got none whole: start in"
                " another folder"
            )
        for other in found.unreadable:
            if name is None:
                folder = model_folder(state.path, other)
                report["set_aside"] += set_aside([*folder.glob("snapshot-*.msgpack")])
        report["snapshots"] = written
        if stop is not None:
            report["set_aside"] += _mend(state, stop)
            # A start reads the last segment that is left, which may be damaged as well.
            for _ in segments_in(state.log):
                stop = _Found(state, lambda done, total: None, is_thorough=True).stop
                if stop is None:
                    break
                report["set_aside"] += _mend(state, stop)
    return report


def _salvage(
    state: StateDir,
    snapshots: Snapshots,
    stored: StoredModel,
    end: LogEnd,
    report: dict[str, Any],
    kernel: str | None,
    steps: Steps,
) -> list[dict[str, Any]]:
    """Write a snapshot of what is left of a model, and add to `report`; the snapshot, if there is
    anything left. Raises OSError.
    """
    try:
        state_, damaged, lost, reason = salvage(state.path, stored, end.lsn, kernel, steps)
    except DamagedModel as error:
        log.warning("%s", error)
        return []
    if lost or damaged or reason:
        # Its entries that were lost are never applied: its snapshot holds them.
        lsn = max(stored.reached, state_.position.lsn)
        if lsn > state_.position.lsn:
            state_.position, state_.salt = LogPosition(end.term, lsn), 0
    if reason is not None:
        report["damage"] = report["damage"] or reason
    report["lost_entries"] += len(lost)
    for record in lost:
        report["lost_samples"] += count(report["producers"], record)
    report["set_aside"] += set_aside(damaged)
    saved = snapshots.write(state_.view(end.folder).snapshot())
    return [{"model": stored.name, **saved._asdict()}]


def _mend(state: StateDir, stop: Stop) -> list[str]:
    """Cut a torn tail, or set aside the log from a damage on; the new names."""
    if stop.is_torn:
        cut(stop)
        return []
    return set_segments_aside(segments_in(state.log), stop)


class _Found:
    """A folder's models, from the heads of their snapshots and the log.

    stop: where the log cannot be read any further. foreign: where it has an entry of a model that
    is not there. newest_known: the largest LSN that any file tells of. aside: snapshots that a
    start sets aside.
    """

    def __init__(
        self, state: StateDir, on_progress: Progress, *, is_thorough: bool = False
    ) -> None:
        self._state = state
        self.aside: list[Path] = []
        with state.errors():
            catalog = Catalog(state.path, is_thorough=is_thorough)
            self.stored = catalog.stored
            self.unreadable = catalog.unreadable
            self.newest_known = catalog.newest_known
            self.segments = segments_in(state.log)
            self._log_bytes = sum(path.stat().st_size for _, path in self.segments)
            self.is_adopted = bool(self.stored) and catalog.folder is None
            if self.is_adopted and self.segments:
                raise StateError(
                    f"state folder {state.path}: a snapshot that no daemon wrote and a log; move"
                    " one of them away"
                )
            marked = held_in(state.log)
            if not self.stored and not catalog.unreadable and (state.path / "models").is_dir():
                held = marked  # all models were dropped
            else:
                held = catalog.held(marked)
            replay = Replay(
                self.segments, catalog.folder, self.stored, held, catalog.term,
                lambda done, total: on_progress(0, self._log_bytes),
            )  # fmt: skip
            self.stop = replay.run()
        self.foreign: Stop | None = None
        self._check_names()
        self._take_unreadable()
        if replay.unknown and not self.unreadable:
            self.foreign = next(iter(replay.unknown.values()))
        self._dropped = replay.dropped
        replay.folder = replay.folder or os.urandom(16)
        self.end: LogEnd = replay.end

    def _check_names(self) -> None:
        """Raise StateError where two models have one name."""
        known: dict[str, StoredModel] = {}
        for model in self.stored.values():
            other = known.setdefault(model.name, model)
            if other is not model:
                raise StateError(
                    f"state folder {self._state.path}: model {model.name}: expected id"
                    f" {other.id.hex()}, that of its snapshot, got {model.id.hex()} in the log"
                )

    def _take_unreadable(self) -> None:
        """Have the log make up for the snapshots that cannot be read, where it has all entries."""
        for model in self.stored.values():
            if model.newest is None and model.name in self.unreadable:
                _, model.required = self.unreadable.pop(model.name)

    def load_first(self, kernel: str | None, on_progress: Progress) -> dict[bytes, ModelState]:
        """The models that are loaded at once, by id.

        Raises LogError where the log is damaged, StateError where no model is whole.
        """
        stop = self.stop or self.foreign
        if stop is not None and not stop.is_torn:
            raise LogError(
                f"{stop}. Put back a copy of that file, or go on without the entries from there"
                f" on: onlinesvm recover --state {self._state.path}"
            )
        self._take_damaged()
        models: dict[bytes, ModelState] = {}
        for stored in list(self.stored.values()):
            if stored.damage is None and (stored.name == DEFAULT_MODEL or self.is_adopted):
                self._load(stored, models, kernel, on_progress)
        self.report_end(on_progress)
        return models

    def report_end(self, on_progress: Progress) -> None:
        """Report the whole log as replayed, if there is one."""
        if self._log_bytes:
            on_progress(self._log_bytes, self._log_bytes)

    def _load(
        self,
        stored: StoredModel,
        models: dict[bytes, ModelState],
        kernel: str | None,
        on_progress: Progress,
    ) -> None:
        """Load a model into `models`, or note its damage. Raises StateError if it is alone."""
        with self._state.errors():
            try:
                loaded = load(self._state.path, stored, kernel, on_progress)
            except DamagedModel as error:
                if len(self.stored) == 1:
                    raise StateError(str(error)) from None
                log.error("%s", error)
                stored.damage = str(error)
                return
        replayed = loaded.state.model.position - (loaded.stored.position if loaded.stored else 0)
        if replayed:
            log.info("replayed %d samples of the log", replayed)
        stored.newest = loaded.stored
        stored.required = 0
        stored.applied()
        self.aside += loaded.damaged
        if stored.id != loaded.state.model.id:  # an older snapshot, of a folder without a log
            del self.stored[stored.id]
            stored.id = loaded.state.model.id
            self.stored[stored.id] = stored
        models[stored.id] = loaded.state

    def _take_damaged(self) -> None:
        """Add the models that cannot be read, which have an id made up, to those found.

        Raises StateError where none is whole.
        """
        whole = len(self.stored)
        for name, (number, _) in self.unreadable.items():
            text = (
                f"model {name}: none of its {number} snapshots in"
                f" {model_folder(self._state.path, name)} can be read; put back a copy of one,"
                " or move them away to start a new model"
            )
            if not whole:
                raise StateError(text)
            log.error("%s", text)
            id = os.urandom(16)
            self.stored[id] = StoredModel(name, id, 0, damage=text)

    def clean(self, snapshots: Snapshots) -> None:
        """Remove what models have left that were dropped or never created. Raises OSError."""
        for dropped in self._dropped:
            if dropped.newest is not None:  # else a folder of its name is another model's
                snapshots.drop(dropped)
        snapshots.remove_dropped()
        remove_orphans(self._state.path, self.stored)
