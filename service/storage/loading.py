"""A model brought into memory: one of its snapshots, and its entries of the log after that."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from onlinesvm.errors import OnlineSVMError, SnapshotError
from onlinesvm.service.storage.entry import Damage, Kind, Record
from onlinesvm.service.storage.model_state import ModelState, snapshot_at
from onlinesvm.service.storage.posix import contents_of, free_name
from onlinesvm.service.storage.segment import (
    HEADER_BYTES,
    Segment,
    header_of,
    records_of,
    segment_name,
    segments_after,
    segments_in,
)
from onlinesvm.service.storage.snapshots import StoredSnapshot, model_folder, snapshots_in
from onlinesvm.service.storage.stored_model import StoredModel

__all__ = ["DamagedModel", "Loaded", "Progress", "Steps", "load", "salvage", "set_aside"]

log = logging.getLogger(__name__)


# Called with what is done so far, and of how much.
Progress = Callable[[int, int], None]
_PROGRESS_BYTES = 2**20
_HEAD_BYTES = 8  # the head of an array of samples


class Steps:
    """Calls `on_progress` about once a mebibyte of `total`."""

    def __init__(self, on_progress: Progress, total: int) -> None:
        self._on_progress = on_progress
        self._done = self._reported = 0
        self._total = total

    def add(self, size: int) -> None:
        """Note that `size` bytes more are applied."""
        self._done += size
        if self._done - self._reported >= _PROGRESS_BYTES:
            self._reported = self._done
            self._on_progress(self._done, max(self._done, self._total))


class DamagedModel(OnlineSVMError):
    """A model that neither its snapshots nor the log make whole."""


class Found(NamedTuple):
    """An entry in the segment at `path`, which has that salt."""

    path: Path
    record: Record
    salt: int


class Loaded(NamedTuple):
    """A model in memory. stored: the snapshot that it was loaded from, None where it was created
    by the log alone. damaged: newer snapshots that could not be read.
    """

    state: ModelState
    stored: StoredSnapshot | None
    damaged: list[Path]


class Salvaged(NamedTuple):
    """What is left of a model. lost: its entries that cannot be applied, with the first bytes of
    their bodies alone; reason: why.
    """

    state: ModelState
    damaged: list[Path]
    lost: list[Record]
    reason: str | None


def load(
    folder: Path,
    model: StoredModel,
    kernel: str | None = None,
    on_progress: Progress = lambda done, total: None,
) -> Loaded:
    """The model as its last entry left it; `folder` is the state folder. Changes no file.

    `on_progress` is called with the bytes of its entries applied so far, and of how many. May run
    on any thread. Raises DamagedModel; OSError, MemoryError for what may pass.
    """
    damaged: list[Path] = []
    errors: list[str] = []
    unreadable = 0
    has_log = bool(segments_in(folder / "log"))  # without, an older snapshot is as good
    for lsn, path in snapshots_in(model_folder(folder, model.name)):
        if model.newest is None or lsn > model.newest.lsn:
            if lsn <= model.required:
                damaged.append(path)
                unreadable += 1
            continue
        try:
            taken, attached = snapshot_at(path, lsn)
            # Where the newest is damaged, so may be what was read of its head.
            if taken.id != model.id and has_log and not damaged:
                raise SnapshotError(f"{path}: it is of another model, of id {taken.id.hex()}")
            state = ModelState.restored(taken, attached, path, kernel)
            stored = StoredSnapshot(str(path), taken.position, lsn, path.stat().st_size, 0, "")
            is_newest = lsn == model.newest.lsn
            if is_newest:
                stored = model.newest
            is_noted = is_newest and not model.required
            entries = (
                _noted(folder, model)
                if is_noted
                else _entries_after(folder, taken.id, lsn, model.reached)
            )
            _apply(state, entries, Steps(on_progress, model.log_bytes))
        except (ValueError, FileNotFoundError, DamagedModel) as error:  # of snapshot or segment
            log.warning("snapshot passed over: %s", error)
            errors.append(str(error))
            damaged.append(path)
            unreadable += not isinstance(error, DamagedModel)
        else:
            return Loaded(state, stored, damaged)
    try:
        steps = Steps(on_progress, model.log_bytes)
        return Loaded(_created(folder, model, kernel, steps), None, damaged)
    except DamagedModel as error:
        errors.append(str(error))
    text = "; ".join(errors[:2])
    if unreadable and unreadable == len(damaged):
        own = model_folder(folder, model.name)
        text = f"none of its {unreadable} snapshots in {own} can be read"
    raise DamagedModel(
        f"model {model.name}: {text}; put back a copy of that file, or stop the daemon and go on"
        f" without what is lost: onlinesvm recover --state {folder} --model {model.name}"
    )


def salvage(
    folder: Path, model: StoredModel, last: int, kernel: str | None, steps: Steps
) -> Salvaged:
    """As much of a model as its newest readable snapshot and the entries after it make, up to LSN
    `last`.

    Raises DamagedModel where there is neither a snapshot nor its entry `create`, OSError.
    """
    damaged: list[Path] = []
    newest = max(model.held, model.required)
    last = min(last, model.reached)
    for lsn, path in snapshots_in(model_folder(folder, model.name)):
        try:
            taken, attached = snapshot_at(path, lsn)
            if lsn > newest:
                continue
            state = ModelState.restored(taken, attached, path, kernel)
        except (SnapshotError, FileNotFoundError) as error:
            log.warning("snapshot passed over: %s", error)
            damaged.append(path)
            continue
        return _rest_of(state, _entries_after(folder, taken.id, lsn, last), damaged, steps)
    entries = _entries_after(folder, model.id, model.created - 1, last)
    try:
        first = next(entries)
        state = ModelState.created_by(
            first.record, first.salt, kernel, model_folder(folder, model.name)
        )
    except (StopIteration, OnlineSVMError, ValueError) as error:
        raise DamagedModel(f"model {model.name}: nothing of it can be read ({error})") from None
    return _rest_of(state, entries, damaged, steps)


def _rest_of(
    state: ModelState, entries: Iterator[Found], damaged: list[Path], steps: Steps
) -> Salvaged:
    """Apply entries up to the first that cannot be; the others are lost."""
    lost: list[Record] = []
    reason = None
    try:
        for path, record, salt in entries:
            steps.add(record.end - record.offset)
            if reason is None:
                try:
                    state.apply(record, salt)
                    continue
                except (OnlineSVMError, ValueError) as error:
                    reason = f"{path}: byte {record.offset}: {error}"
            lost.append(record._replace(body=record.body[:_HEAD_BYTES]))
    except DamagedModel as error:
        reason = reason or str(error)
    return Salvaged(state, damaged, lost, reason)


def set_aside(damaged: list[Path]) -> list[str]:
    """Rename damaged snapshots, which would be taken for the newest; the new names.

    Raises OSError.
    """
    aside = []
    for path in damaged:
        target = free_name(path)
        os.replace(path, target)
        log.warning("set aside as %s", target)
        aside.append(str(target))
    return aside


def _created(folder: Path, model: StoredModel, kernel: str | None, steps: Steps) -> ModelState:
    """The model by the log alone, from its entry `create` on. Raises DamagedModel, OSError."""
    entries = (
        _noted(folder, model)
        if model.newest is None and not model.required
        else _entries_after(folder, model.id, model.created - 1, model.reached)
    )
    first = next(entries, None)
    if first is None or first.record.kind != Kind.CREATE:
        raise DamagedModel("expected a snapshot or its entry create in the log, got neither")
    try:
        state = ModelState.created_by(
            first.record, first.salt, kernel, model_folder(folder, model.name)
        )
    except (OnlineSVMError, ValueError) as error:
        raise DamagedModel(f"{first.path}: byte {first.record.offset}: {error}") from None
    steps.add(first.record.end - first.record.offset)
    _apply(state, entries, steps)
    return state


def _apply(state: ModelState, entries: Iterator[Found], steps: Steps) -> None:
    """Apply entries. Raises DamagedModel, OSError, and what `steps` raises."""
    for path, record, salt in entries:
        try:
            state.apply(record, salt)
        except (OnlineSVMError, ValueError) as error:
            raise DamagedModel(f"{path}: byte {record.offset}: {error}") from None
        steps.add(record.end - record.offset)


def _noted(folder: Path, model: StoredModel) -> Iterator[Found]:
    """The entries that a start noted.

    Raises DamagedModel, OSError.
    """
    places = list(model.places)
    at = 0
    while at < len(places):
        first = places[at][0]
        path = folder / "log" / segment_name(first)
        with contents_of(path) as data:
            segment = Segment.unpack(bytes(data[:HEADER_BYTES]), first)
            while at < len(places) and places[at][0] == first:
                with data[places[at][1] :] as rest:
                    found = next(records_of(rest, segment, 0), None)
                if not isinstance(found, Record) or found.model != model.id:
                    raise DamagedModel(f"{path}: byte {places[at][1]}: expected one of its entries")
                yield Found(path, found, segment.salt)
                at += 1


def _entries_after(folder: Path, id: bytes, lsn: int, last: int) -> Iterator[Found]:
    """All entries of a model after `lsn` up to `last`.

    Raises DamagedModel where the log does not have them all, OSError.
    """
    segments = segments_after(segments_in(folder / "log"), lsn)
    if not segments:
        return
    if segments[0][0] > lsn + 1:
        raise DamagedModel(f"expected entries from LSN {lsn + 1} on in the log, got none")
    reached, reason = lsn, ""
    for i, (first, path) in enumerate(segments):
        if reached >= last or reason:
            break
        following = segments[i + 1] if i + 1 < len(segments) else None
        with contents_of(path) as data, data[: _size_of(first, following)] as counted:
            try:
                segment = Segment.unpack(bytes(data[:HEADER_BYTES]), first)
            except ValueError as error:
                raise DamagedModel(f"{path}: {error}") from None
            for found in records_of(counted, segment):
                if isinstance(found, Damage):
                    reason = f" ({path}: byte {found.offset}: {found.message})"
                    break
                if found.kind == Kind.CLOSE or found.lsn > last:
                    break
                reached = found.lsn
                if found.lsn > lsn and found.model == id:
                    yield Found(path, found, segment.salt)
    if reached < last:
        raise DamagedModel(
            f"expected entries up to LSN {last}, which a damaged snapshot holds, got none after"
            f" {reached} in the log{reason}"
        )


def _size_of(first: int, following: tuple[int, Path] | None) -> int | None:
    """The bytes that count of the segment named for `first`, None for all; OSError."""
    if following is None:
        return None
    try:
        previous = header_of(following[1], following[0]).previous
    except ValueError:
        return None
    return previous.size if previous is not None and previous.first == first else None
