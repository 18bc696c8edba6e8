"""The state folder: its lock, its snapshots and journal, and the start from both.

state/
  LOCK                              an flock held while a daemon runs
  snapshot-<position>.msgpack       position zero-padded to 20 digits; the newest two are kept
  journal-<position>.log            segments, from the older of the two on
  ….damaged                         what could not be read at a start, or by `recover`, set aside

A start takes the newest valid snapshot and applies the journal's records after its position.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.errors import SnapshotError
from onlinesvm.service.errors import JournalError, StateError
from onlinesvm.service.storage.log import Journal
from onlinesvm.service.storage.posix import Files
from onlinesvm.service.storage.producers import Producers
from onlinesvm.service.storage.recovery import UNLIMITED, Stop, replay, segments_after
from onlinesvm.service.storage.repair import losses, set_segments_aside
from onlinesvm.service.storage.segment import End, drop_segments, segment_name, segments_in
from onlinesvm.snapshot import reader as snapshot_reader
from onlinesvm.snapshot import writer as snapshot_writer
from onlinesvm.snapshot.format import Snapshot
from onlinesvm.snapshot.view import ModelView
from onlinesvm.snapshot.writer import Saved, sync_folder
from onlinesvm.svm import OnlineSVM

__all__ = ["Store", "model_at", "snapshots_in"]

log = logging.getLogger(__name__)

_SNAPSHOT = re.compile(r"snapshot-(\d{20})\.msgpack")
_KEPT = 2


def snapshots_in(folder: Path) -> list[tuple[int, Path]]:
    """Position and path of the snapshots in `folder`, the newest first. Raises OSError."""
    found = []
    for name in os.listdir(folder):
        match = _SNAPSHOT.fullmatch(name)
        if match:
            found.append((int(match[1]), folder / name))
    return sorted(found, reverse=True)


class Store:
    """One state folder, held by one daemon.

    `fsync` is one of `storage.log.FSYNC`. After `open_model`, `journal` takes what is
    learned from there on, and `producers` are those that the model knew.

    Raises StateError if it cannot be made, written, or is held by another.
    """

    producers: Producers

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        fsync: str = "everysec",
        max_producers: int = 65_536,
        files: Files | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._fsync = fsync
        self._max_producers = max_producers
        self._files = files
        self._journal: Journal | None = None
        self._found_end: End | None = None  # of the journal
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._lock = open(  # noqa: SIM115
                os.open(self.folder / "LOCK", flags, 0o666), "rb+", buffering=0
            )
        except FileExistsError:
            raise StateError(f"state folder {self.folder}: expected a folder, got a file") from None
        except OSError as error:
            raise StateError(f"state folder {self.folder}: {error.strerror or error}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = (self._lock.read(20) or b"").decode("latin-1").strip()
            self._lock.close()
            raise StateError(
                f"state folder {self.folder}: another daemon holds it (process {holder or '?'})"
            ) from None
        except OSError as error:
            self._lock.close()
            raise StateError(
                f"state folder {self.folder}: cannot be locked: {error.strerror or error}"
            ) from None
        # The number is for people: a disk that has no room for it can still be started from.
        with contextlib.suppress(OSError):
            self._lock.truncate(0)
            self._lock.write(b"%d\n" % os.getpid())
        try:
            # Left by a process that died while it wrote.
            for pattern in (".snapshot-*.tmp", ".journal-*.tmp"):
                for leftover in filter(Path.is_file, self.folder.glob(pattern)):
                    leftover.unlink()
        except OSError as error:
            self._lock.close()
            raise StateError(f"state folder {self.folder}: {error.strerror or error}") from None

    @property
    def journal(self) -> Journal:
        """Where what is learned goes; there since `open_model`."""
        assert self._journal is not None
        return self._journal

    def check_folder(self) -> None:
        """Raise StateError unless the lock in the folder is the one held.

        Somebody may have removed the folder, and a new one may stand in its place.
        """
        try:
            there = (self.folder / "LOCK").stat()
            held = os.path.samestat(there, os.fstat(self._lock.fileno()))
        except OSError:
            held = False
        if not held:
            raise StateError(f"state folder {self.folder}: it was replaced or removed meanwhile")

    def close(self) -> None:
        """Give the folder free."""
        self._lock.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def open_model(
        self, given: Mapping[str, Any], limits: Limits, kernel: str | None = None
    ) -> tuple[OnlineSVM, Saved]:
        """The model as it stood, else one newly born of the parameters `given`.

        A newborn model's snapshot is written first. Returns the model and its snapshot (without a
        digest where it was there before). Raises ConfigError where a given parameter
        differs from the model's own, StateError if snapshots are there and none can be read,
        JournalError where the journal is damaged before its end.
        """
        restored = self._restore(given, kernel)
        if restored is None:
            config = LearnerConfig(**given)
            model = OnlineSVM(limits=limits, kernel=kernel, **config.as_dict())
            self.producers = Producers(self._max_producers)
            with self._state_errors():
                saved = self.write(model.snapshot())
        else:
            model, saved, stop = restored.model, restored.saved, restored.stop
            if stop is not None and not stop.is_torn:
                raise JournalError(
                    f"{stop}. Put back a copy of that file, or go on without what is behind the"
                    f" damage: onlinesvm recover --state {self.folder}"
                )
            with self._state_errors():
                restored.set_snapshots_aside()
                if stop is not None:
                    self._cut(stop, restored.saved_end)
                model.limits = limits
                model.bound(limits.max_features)
                self.producers.bound(self._max_producers)
                if restored.max_features != limits.max_features:
                    # What is learned from here on replays under the new bound.
                    saved = self.write(self.take(model))
        self._journal = Journal(
            self.folder,
            model.position,
            self._found_end,
            limits.max_features,
            self._max_producers,
            model.fingerprint,
            self.check_folder,
            fsync=self._fsync,
            files=self._files,
        )
        with self._state_errors():
            behind = segments_after(self._segments(), saved.position)
            self.journal.bytes = sum(path.stat().st_size for _, path in behind)
        return model, saved

    def recover(self, kernel: str | None = None) -> dict[str, Any]:
        """Go on without what cannot be read: apply all before the first damage, set the rest aside.

        Returns what was lost. Raises StateError where no snapshot can be read.
        """
        restored = self._restore({}, kernel)
        if restored is None:
            raise StateError(f"state folder {self.folder}: no snapshot there, nothing to recover")
        model, stop = restored.model, restored.stop
        with self._state_errors():
            report = losses(self._segments(), stop, model.position, restored.newest_known)
            restored.set_snapshots_aside()
            saved = self.write(self.take(model))
            report["set_aside"] += [f"{path}.damaged" for path in restored.damaged]
            if stop is not None:
                if stop.is_torn:
                    self._cut(stop, restored.saved_end)
                else:
                    report["set_aside"] += set_segments_aside(self._segments(), stop)
                    report["set_aside"] += self._damaged_before(kernel)
        return {**report, "snapshot": saved.path, "digest": saved.digest}

    def _damaged_before(self, kernel: str | None) -> list[str]:
        """Set aside what a start would still stumble over: segments before the new snapshot, which
        has what they had. Returns the new names.
        """
        aside = []
        for _ in range(len(self._segments())):
            restored = self._restore({}, kernel)
            if restored is None or restored.stop is None or restored.stop.is_torn:
                break
            aside += set_segments_aside(self._segments(), restored.stop)
        return aside

    def _restore(self, given: Mapping[str, Any], kernel: str | None) -> _Restored | None:
        """The model of the newest valid snapshot and the journal; None where no snapshot is."""
        damaged: list[Path] = []
        snapshots = self._snapshots()
        for position, path in snapshots:
            try:
                taken = _snapshot_at(path, position)
                limits = replace(UNLIMITED, max_features=taken.max_features)
                model = _model_of(taken, path, limits, kernel)
            except (SnapshotError, FileNotFoundError) as error:  # a link may lead nowhere
                log.warning("snapshot passed over: %s", error)
                damaged.append(path)
                continue
            except OSError as error:
                raise StateError(f"{path}: {error.strerror or error}") from None
            model.config.check_given(given)
            # The segments tell what the bound was; the snapshot's are those within it.
            self.producers = Producers(sys.maxsize, taken.producers)
            with self._state_errors():
                size = path.stat().st_size
                segments = self._segments()
                saved_end = None if taken.journal is None else End(*taken.journal)
                self._found_end, stop = replay(model, self.producers, segments, saved_end)
            newest_known = max(snapshots[0][0] if damaged else 0, model.position)
            if segments and newest_known > model.position and (stop is None or stop.is_torn):
                # Only the damaged snapshot had it.
                last = segments[-1][1]
                stop = Stop(
                    last, stop.offset if stop else last.stat().st_size,
                    f"expected records up to position {newest_known}, that of a damaged snapshot,"
                    f" got none after {model.position}", False,
                )  # fmt: skip
            if model.position > position:
                log.info("replayed %d samples of the journal", model.position - position)
            saved = Saved(str(path), position, size, 0, "")
            bound = taken.max_features
            return _Restored(model, saved, saved_end, stop, bound, damaged, newest_known)
        if damaged:
            raise StateError(
                f"state folder {self.folder}: none of its {len(damaged)} snapshots can be read;"
                " put back a copy of one, or move them away to start a new model"
            )
        if self._segments():
            raise StateError(
                f"state folder {self.folder}: a journal and no snapshot; put back a copy of one,"
                " or move the journal away to start a new model"
            )
        return None

    def _cut(self, stop: Stop, saved_end: End | None) -> None:
        """Cut a torn tail off."""
        size = stop.path.stat().st_size
        log.warning("%s; its last %d bytes are cut off", stop, size - stop.offset)
        if not stop.offset:
            if saved_end is not None and stop.path.name == segment_name(saved_end.position):
                # The snapshot was taken behind its beginning: set aside, it is not missing.
                os.replace(stop.path, f"{stop.path}.damaged")
            else:
                stop.path.unlink()
            sync_folder(os.fspath(self.folder))
            return
        with open(stop.path, "r+b") as file:
            file.truncate(stop.offset)
            os.fsync(file.fileno())

    def view(self, model: OnlineSVM, *, has_all: bool = True) -> ModelView:
        """The whole state as it is now; its snapshot is to be written.

        has_all: whether the model has applied all that is in the journal.
        """
        view = model.view()
        view.producers = self.producers.dump()
        end = self._found_end if self._journal is None else self._journal.end
        if end is not None:
            view.journal = end if has_all else end._replace(checksum=0)
        return view

    def take(self, model: OnlineSVM) -> Snapshot:
        """A copy of the whole state, to be written."""
        return self.view(model).snapshot()

    @contextlib.contextmanager
    def _state_errors(self) -> Iterator[None]:
        try:
            yield
        except StateError:
            raise
        except OSError as error:
            place = error.filename or f"state folder {self.folder}"
            raise StateError(f"{place}: {error.strerror or error}") from None

    def _segments(self) -> list[tuple[int, Path]]:
        with self._state_errors():
            return segments_in(self.folder)

    def _snapshots(self) -> list[tuple[int, Path]]:
        with self._state_errors():
            return snapshots_in(self.folder)

    def write(self, taken: Snapshot) -> Saved:
        """Write a snapshot, durable when this returns, and drop what the newest two do not need.

        Raises OSError; what was there then stays. May run beside the loop, one at a time.
        """
        self.check_folder()
        saved = snapshot_writer.write(self.folder / f"snapshot-{taken.position:020}.msgpack", taken)
        try:
            # Files of a later position are not this model's doing; somebody put them there.
            own = [(at, path) for at, path in snapshots_in(self.folder) if at <= taken.position]
            for _, path in own[_KEPT:]:
                path.unlink(missing_ok=True)
            drop_segments(self.folder, own[:_KEPT][-1][0])
        except OSError as error:  # the new one is durable all the same
            log.warning("what is no longer needed could not be dropped: %s", error)
        return saved

    def make_room(self, saved: Saved) -> None:
        """Keep the snapshot `saved` and the journal behind it alone, once it was read back whole.

        Raises OSError, SnapshotError if that cannot be; nothing is dropped then.
        """
        self.check_folder()
        path = self.folder / f"snapshot-{saved.position:020}.msgpack"
        size, _ = snapshot_reader.verify(path)
        dropped = [at for at, path in snapshots_in(self.folder) if at < saved.position]
        before = len(segments_in(self.folder))
        for at in dropped:
            (self.folder / f"snapshot-{at:020}.msgpack").unlink(missing_ok=True)
        drop_segments(self.folder, saved.position)
        sync_folder(os.fspath(self.folder))
        segments = before - len(segments_in(self.folder))
        if dropped or segments:
            log.warning(
                "the disk is full: %s was read back whole (%d bytes); dropped what it makes"
                " superfluous: %d older snapshots, %d segments of the journal",
                path, size, len(dropped), segments,
            )  # fmt: skip


@dataclass(slots=True)
class _Restored:
    """What a folder holds.

    saved_end: the end of the journal that the snapshot tells of. newest_known: the last position
    that anything there tells of.
    """

    model: OnlineSVM
    saved: Saved
    saved_end: End | None
    stop: Stop | None
    max_features: int
    damaged: list[Path]
    newest_known: int

    def set_snapshots_aside(self) -> None:
        """A damaged snapshot would else be taken for the newest until the model outgrows it."""
        for path in self.damaged:
            os.replace(path, f"{path}.damaged")
            log.warning("set aside as %s.damaged", path)


def model_at(path: Path, position: int, limits: Limits, kernel: str | None) -> OnlineSVM:
    """The model in the file at `path`, which is named for `position`.

    Raises OSError, SnapshotError: for another position too, since the newest is told by its name.
    """
    return _model_of(_snapshot_at(path, position), path, limits, kernel)


def _snapshot_at(path: Path, position: int) -> Snapshot:
    """What is in the file at `path`. Raises as `model_at` does."""
    taken = snapshot_reader.read(path)
    if taken.position != position:
        raise SnapshotError(
            f"{path}: expected the position of its name, {position}, got {taken.position}"
        )
    return taken


def _model_of(taken: Snapshot, path: Path, limits: Limits, kernel: str | None) -> OnlineSVM:
    """The model of a snapshot. Raises SnapshotError if it makes none."""
    try:
        return OnlineSVM.from_snapshot(taken, limits=limits, kernel=kernel)
    except SnapshotError as error:
        raise SnapshotError(f"{path}: {error}") from None
