"""A model of a state folder: what its log entries change, and what its snapshots hold.

A snapshot carries these attachments (`snapshot.format`):

    name            text, the model's name
    folder          bin, 16 bytes: id of the state folder
    log             array of 4: term and LSN of the last entry that the snapshot holds, the salt of
                    the segment that has it, the LSN of the model's entry `create`
    producers       map, producer (bin) → [last sequence, samples, cursor (bin)], the one that was
                    applied furthest back first
    max_producers   how many of them are remembered
    max_held        how many samples are held
    next_expiry     when the next one's time is up, in milliseconds since 1970; 0 for none
    users           map, producer (bin) → the user whom it belongs to; of each user the one that was
                    applied furthest back first
    user            text, the user who created the model; empty where there were no keys

and the blob ``held``, the samples held (`held`), where there ever were any.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from onlinesvm.config import LEAST_ROW, MAX_MAGNITUDE, MOST_LABELS, LearnerConfig, Limits
from onlinesvm.errors import SnapshotError
from onlinesvm.service.protocol import MAX_CURSOR_BYTES, is_model_name, numbering_of
from onlinesvm.service.storage import held_entries
from onlinesvm.service.storage.entry import Entry, Kind, LogPosition, Record
from onlinesvm.service.storage.held import Held
from onlinesvm.service.storage.log import Written
from onlinesvm.service.storage.producers import Applied, Producers
from onlinesvm.service.storage.snapshots import ORIGIN
from onlinesvm.snapshot import reader
from onlinesvm.snapshot.format import Snapshot
from onlinesvm.snapshot.view import ModelView
from onlinesvm.svm import OnlineSVM

__all__ = [
    "Attachments", "ModelState", "Recorded", "model_at", "name_created_by", "snapshot_at",
    "user_created_by",
]  # fmt: skip

_MAX_COUNT = 2**31 - 2
HELD = "held"  # the blob of the samples held
# An entry applied once is applied again, whatever the limits are now.
_UNLIMITED = Limits(
    max_features_per_sample=_MAX_COUNT,
    max_samples_per_batch=_MAX_COUNT,
    max_name_bytes=_MAX_COUNT,
    max_message_bytes=_MAX_COUNT,
    max_header_bytes=_MAX_COUNT,
    max_labels=MOST_LABELS,
    max_value=MAX_MAGNITUDE,
    max_importance=MAX_MAGNITUDE,
)


class Recorded(NamedTuple):
    """The limits that change learning; a change of them is an entry of the log.

    clipped_value, clipped_importance: larger ones are clipped; 1e50 where none are.
    """

    max_features: int
    max_producers: int
    max_held: int
    clipped_value: float
    clipped_importance: float
    max_labels_per_feature: int

    @classmethod
    def of(cls, limits: Limits, max_producers: int, max_held: int) -> Recorded:
        """Those among the limits of a model."""
        row = limits.max_labels_per_feature
        value, importance = limits.clipped
        return cls(limits.max_features, max_producers, max_held, value, importance, row)

    @property
    def limits(self) -> Limits:
        """These limits, and no others."""
        value, importance = self.clipped_value, self.clipped_importance
        clips = min(value, importance) < MAX_MAGNITUDE
        row = self.max_labels_per_feature
        limits = replace(_UNLIMITED, max_features=self.max_features, max_labels_per_feature=row)
        return limits.bounded(value, importance, clips)

    def entry(self, model: bytes) -> Entry:
        """The entry `limits` of the model of that id."""
        return Entry(Kind.LIMITS, model, msgpack.packb(self._asdict()))

    @classmethod
    def unpack(cls, keys: dict[str, Any]) -> Recorded:
        """Those among `keys`. Raises ValueError."""
        counts, bounds = [], []
        for name in ("max_features", "max_producers", "max_held"):
            count = keys.get(name)
            if type(count) is not int or not 1 <= count <= _MAX_COUNT:
                raise ValueError(f"{name}: expected an integer from 1 to {_MAX_COUNT}, got {count}")
            counts.append(count)
        for name in ("clipped_value", "clipped_importance"):
            bound = keys.get(name)
            if type(bound) is not float or not 1 <= bound <= MAX_MAGNITUDE:
                raise ValueError(
                    f"{name}: expected a float64 from 1 to {MAX_MAGNITUDE:g}, got {bound}"
                )
            bounds.append(bound)
        row = keys.get("max_labels_per_feature")
        if type(row) is not int or not LEAST_ROW <= row <= MOST_LABELS:
            raise ValueError(
                f"max_labels_per_feature: expected an integer from {LEAST_ROW} to {MOST_LABELS},"
                f" got {row}"
            )
        return cls(counts[0], counts[1], counts[2], bounds[0], bounds[1], row)


class Attachments(NamedTuple):
    """A snapshot's attachments, checked; folder is None for one that no daemon wrote."""

    name: str
    folder: bytes | None
    position: LogPosition
    salt: int
    created: int
    producers: dict[bytes, Applied]
    max_producers: int
    max_held: int
    next_expiry: int
    users: dict[bytes, str]
    user: str

    @classmethod
    def of(cls, taken: dict[str, Any], name: str, lsn: int) -> Attachments:
        """Those of a snapshot of the model `name` that is named for `lsn`. Raises SnapshotError."""
        if not taken:
            position = LogPosition(0, lsn)
            return cls(name, None, position, 0, 0, {}, _MAX_COUNT, _MAX_COUNT, 0, {}, "")
        try:
            folder, log, producers = taken["folder"], taken["log"], taken["producers"]
            _expect(taken["name"] == name, f"the name of its folder, {name}", taken["name"])
            _expect(isinstance(folder, bytes) and len(folder) == 16, "folder of 16 bytes", folder)
            whole = isinstance(log, list) and len(log) == 4 and all(map(_is_number, log))
            _expect(whole, "log as 4 integers", log)
            _expect(log[1] == lsn, f"the LSN of its name, {lsn}", log[1])
            _expect(isinstance(producers, dict), "producers as a map", producers)
            for producer, last in producers.items():
                whole = _is_applied(last)
                _expect(isinstance(producer, bytes) and whole, "producers by name", last)
            for limit in ("max_producers", "max_held"):
                most = taken[limit]
                _expect(type(most) is int and 1 <= most <= _MAX_COUNT, f"{limit} from 1", most)
            _expect(_is_number(taken["next_expiry"]), "next_expiry from 0", taken["next_expiry"])
            users, user = taken["users"], taken["user"]
            owned = isinstance(users, dict) and all(
                isinstance(name, bytes) and isinstance(owner, str) for name, owner in users.items()
            )
            _expect(owned, "users as a map from producers to text", users)
            _expect(isinstance(user, str), "user as text", user)
        except KeyError as error:
            raise SnapshotError(f"attachments: expected {error.args[0]}, got none") from None
        known = {producer: Applied(*last) for producer, last in producers.items()}
        return cls(
            name, folder, LogPosition(log[0], log[1]), log[2], log[3], known,
            taken["max_producers"], taken["max_held"], taken["next_expiry"], users, user,
        )  # fmt: skip


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_applied(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 3:
        return False
    *numbers, cursor = value
    whole = isinstance(cursor, bytes) and len(cursor) <= MAX_CURSOR_BYTES
    return whole and all(map(_is_number, numbers))


def _expect(ok: bool, expected: str, got: object) -> None:
    if not ok:
        raise SnapshotError(f"attachments: expected {expected}, got {str(got)[:60]!r}")


@dataclass(slots=True)
class ModelState:
    """A model, its producers, the samples that it holds, and the entry of the log that it was last
    changed by.

    salt: of that entry's segment, 0 if unknown. created: the LSN of its entry `create`. user: who
    created it; "" where there were no keys.
    """

    name: str
    model: OnlineSVM
    producers: Producers
    held: Held
    position: LogPosition
    salt: int
    created: int
    user: str = ""

    @property
    def recorded(self) -> Recorded:
        """The limits as they hold now."""
        return Recorded.of(self.model.limits, self.producers.limit, self.held.limit)

    @staticmethod
    def creation(
        name: str,
        id: bytes,
        config: LearnerConfig,
        recorded: Recorded,
        origin: str | None = None,
        user: str = "",
    ) -> Entry:
        """The entry `create` of a new model; `origin` is the digest of the file that it is from,
        `user` the one who creates it.
        """
        keys = {"name": name, "config": config.as_dict(), **recorded._asdict()}
        if user:
            keys["user"] = user
        if origin is not None:
            keys["origin"] = origin
        return Entry(Kind.CREATE, id, msgpack.packb(keys))

    @classmethod
    def created_by(cls, record: Record, salt: int, kernel: str | None, folder: Path) -> ModelState:
        """The model that an entry `create` makes; `folder` is that of its snapshots.

        Raises ValueError (ConfigError, SnapshotError), OSError.
        """
        keys = _map_of(record.header)
        config, origin = keys.get("config"), keys.get("origin")
        if not isinstance(config, dict):
            raise ValueError(f"expected a config, got {config!r}")
        name, recorded = name_created_by(record), Recorded.unpack(keys)
        if origin is None:
            parameters = LearnerConfig.from_dict(config)
            model = OnlineSVM.of(parameters, limits=recorded.limits, kernel=kernel)
        else:
            model = origin_of(folder, origin, recorded.limits, kernel)
        model.id = record.model
        producers = Producers(recorded.max_producers)
        position = LogPosition(record.term, record.lsn)
        held, user = Held(recorded.max_held), user_created_by(record)
        return cls(name, model, producers, held, position, salt, record.lsn, user)

    @classmethod
    def restored(
        cls, taken: Snapshot, attached: Attachments, path: Path, kernel: str | None
    ) -> ModelState:
        """The model of a snapshot. Raises SnapshotError if its parts make none."""
        recorded = Recorded.of(taken.limits, attached.max_producers, attached.max_held)
        try:
            model = OnlineSVM.from_snapshot(taken, limits=recorded.limits, kernel=kernel)
            held = Held(attached.max_held)
            if HELD in taken.blobs:
                held = Held.restored(taken.blobs[HELD], attached.max_held)
                held_entries.given_of(model, held.given)
        except ValueError as error:
            raise SnapshotError(f"{path}: {error}") from None
        producers = Producers(attached.max_producers, attached.producers, attached.users)
        return cls(
            attached.name, model, producers, held, attached.position, attached.salt,
            attached.created, attached.user,
        )  # fmt: skip

    def apply(self, record: Record, salt: int) -> None:
        """Apply an entry of this model. Raises ValueError, OnlineSVMError for one that cannot be;
        nothing has changed then.
        """
        if record.kind == Kind.LEARN:
            numbering = numbering_of(record.header)
            batch = self.model.decode(record.body, labelled=True)
            self.model.learn_batch(batch)
            if numbering.producer:
                producer, sequence, cursor = numbering
                self.producers.note(producer, sequence, len(batch), cursor)
        elif record.kind == Kind.DROP_LABEL:
            self._drop_label(_map_of(record.header).get("label"))
        elif record.kind == Kind.OWN:
            self._claim(_map_of(record.header))
        elif record.kind == Kind.LIMITS:
            self.limit(Recorded.unpack(_map_of(record.header)))
        elif record.kind in held_entries.KINDS:
            held_entries.apply(self, record, _map_of(record.header))
        else:
            raise ValueError(f"expected an entry of a kind known here, got kind {record.kind}")
        self.position, self.salt = LogPosition(record.term, record.lsn), salt

    def _drop_label(self, label: object) -> None:
        if not self.model.is_multiclass:
            raise ValueError("expected a multiclass model for drop_label, got a binary one")
        self.model.drop_label(label)

    def _claim(self, keys: dict[str, Any]) -> None:
        producer, user, forgotten = map(keys.get, ("producer", "user", "forgotten"))
        match producer, user, forgotten:
            case bytes(), str(), bytes():
                self.producers.claim(producer, user, forgotten)
            case _:
                raise ValueError(f"expected producer, user and forgotten, got {keys!r:.80}")

    def limit(self, recorded: Recorded) -> None:
        """From the next entry on, hold to these limits."""
        self.model.limit(recorded.limits)
        self.producers.bound(recorded.max_producers)
        self.held.bound(recorded.max_held)

    def reached(self, written: Written, index: int) -> None:
        """Note that the entry `index` of those written at once was applied."""
        self.position = LogPosition(written.term, written.lsn + index)
        self.salt = written.salt

    def view(self, folder: bytes) -> ModelView:
        """The state as it is now; its snapshot is to be written in the state folder of that id."""
        view = self.model.view()
        view.attachments = {
            "name": self.name,
            "folder": folder,
            "log": [*self.position, self.salt, self.created],
            "producers": self.producers.dump(),
            "max_producers": self.producers.limit,
            "max_held": self.held.limit,
            "next_expiry": self.held.next_expiry or 0,
            "users": self.producers.ownership.dump(),
            "user": self.user,
        }
        if self.held.now:
            view.blobs[HELD] = self.held.view().pack
        return view


def name_created_by(record: Record) -> str:
    """The name of the model that an entry `create` makes. Raises ValueError."""
    name = _map_of(record.header).get("name")
    if not isinstance(name, str) or not is_model_name(name):
        raise ValueError(f"expected the name of a model, got {name!r}")
    return name


def user_created_by(record: Record) -> str:
    """The user whose request an entry `create` is of; "" for none. Raises ValueError."""
    user = _map_of(record.header).get("user", "")
    if not isinstance(user, str):
        raise ValueError(f"expected a user as text, got {user!r:.80}")
    return user


def origin_of(folder: Path, digest: object, limits: Limits, kernel: str | None) -> OnlineSVM:
    """The model that another was created from, in its folder. Raises OSError, SnapshotError."""
    path = folder / ORIGIN
    taken = reader.read(path)
    found = taken.digest()
    if found != digest:
        raise SnapshotError(f"{path}: expected digest {str(digest)[:64]!r}, got {found}")
    return OnlineSVM.from_snapshot(taken, limits=limits, kernel=kernel)


def _map_of(header: bytes) -> dict[str, Any]:
    """The map in an entry's first frame. Raises ValueError."""
    try:
        keys = msgpack.unpackb(header, strict_map_key=True, max_ext_len=0)
    except (msgpack.UnpackException, ValueError, TypeError) as error:
        raise ValueError(f"expected a map in its header, got none ({error})") from None
    if not isinstance(keys, dict):
        raise ValueError(f"expected a map in its header, got {type(keys).__name__}")
    return keys


def snapshot_at(path: Path, lsn: int) -> tuple[Snapshot, Attachments]:
    """The snapshot in the file at `path`, which is named for `lsn`, in the model's folder.

    Raises OSError, SnapshotError.
    """
    taken = reader.read(path)
    try:
        return taken, Attachments.of(taken.attachments, path.parent.name, lsn)
    except SnapshotError as error:
        raise SnapshotError(f"{os.fspath(path)}: {error}") from None


def model_at(path: Path, lsn: int, limits: Limits, kernel: str | None) -> OnlineSVM:
    """The model of a snapshot, to be served; it clips as its leader does.

    Raises as `snapshot_at` does.
    """
    taken, _ = snapshot_at(path, lsn)
    limits = limits.bounded(*taken.limits.bounds)
    try:
        return OnlineSVM.from_snapshot(taken, limits=limits, kernel=kernel)
    except SnapshotError as error:
        raise SnapshotError(f"{os.fspath(path)}: {error}") from None
