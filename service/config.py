"""Configuration of the daemon. The learner's is in `onlinesvm.config`."""

from __future__ import annotations

from dataclasses import dataclass, fields

from onlinesvm.config import check_number, parameter
from onlinesvm.errors import ConfigError
from onlinesvm.service.endpoint import check_endpoint, is_local
from onlinesvm.service.protocol import DEFAULT_ENDPOINT, MAX_B
from onlinesvm.service.storage.fsync import POLICIES

__all__ = ["RELOADED", "ServeConfig"]

_LONGEST_S = 1e9
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
# The settings that a running daemon takes when they change; the others wait for a start.
RELOADED = frozenset(
    ("log_level", "log_format", "snapshot_every_s", "reload_every_s", "max_memory", "auto_create",
     "max_models")
)  # fmt: skip
# A snapshot's header holds all of them, and its size is bounded.
_MAX_PRODUCERS = 500_000
_MAX_MODELS = 10_000_000
# Each snapshot copies the keys while no request is answered, about 20 ms for a million.
_MAX_HELD = 2_000_000
_MAX_CONNECTIONS = 1_000_000
# Without them there is no bound.
_UNBOUNDED = ("max_memory", "max_user_models", "max_user_bytes_per_s", "max_user_features_per_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeConfig:
    """Settings of a daemon. Raises ConfigError for a value out of range."""

    bind: str = parameter(
        DEFAULT_ENDPOINT, "ZeroMQ endpoint to serve at; tcp://127.0.0.1:* takes any free port"
    )
    state: str = parameter(
        "./state",
        "folder of the models' snapshots and log; created if missing, locked by one daemon",
    )
    snapshot_every_s: float = parameter(
        300.0,
        "seconds between snapshots, if the log has grown. A snapshot costs a copy of the model"
        " in memory; a start replays the log since the last",
    )
    fsync: str = parameter(
        "everysec",
        "when the log is made durable. If the process dies, nothing acknowledged is lost under any"
        " policy. If the machine dies, always loses nothing, and each turn of the loop waits for"
        " the disk; everysec (if unsure) loses about a second; never loses what the system has not"
        " written yet, about half a minute",
        POLICIES,
    )
    max_producers: int = parameter(
        65_536,
        "producers whose last sequence is remembered, about 200 bytes each, and its cursor;"
        " beyond it the one that learned least recently is forgotten",
    )
    max_held: int = parameter(
        100_000,
        "samples that a model holds until their labels come, and keys that it remembers afterwards;"
        " each KiB that is sent counts as one sample at least. Beyond it those held longest leave",
    )
    ask_b: float = parameter(
        0.2,
        "where a request asks which labels are worth asking for: at a margin of so much, half of"
        " them are; larger asks for more",
    )
    auto_create: bool = parameter(
        False,
        "create a model of an unknown name on its first sample, by the learner's flags given here",
    )
    max_models: int = parameter(
        100_000, "models the daemon may have; about 1 kB of memory each while not in use"
    )
    max_memory: int | None = parameter(
        None,
        "memory of all models together: the one used furthest back is unloaded, once a snapshot"
        " holds it, and comes back on demand. Without it all that were used stay",
    )
    follow: str | None = parameter(
        None, "serve another daemon's state folder read-only instead of learning"
    )
    reload_every_s: float = parameter(
        5.0, "with --follow, seconds between looks for a newer snapshot; a look lists the folder"
    )
    log_level: str = parameter(
        "info",
        "stderr's log: warning for faults alone, debug for the whole configuration too",
        LOG_LEVELS,
    )
    log_format: str = parameter(
        "text",
        "stderr's log: lines for a reader, or one JSON object a line for a collector",
        LOG_FORMATS,
    )
    key: str | None = parameter(
        None,
        "file of the daemon's keys (NAME.secret); clients then need keys too, and the address may"
        " be one that other machines reach",
    )
    allow: str | None = parameter(
        None,
        "with --key, folder of the permitted keys; read again on SIGHUP and by reload",
    )
    max_connections: int = parameter(
        4096, "connections at a time, about 10 kB of memory each; more are refused"
    )
    max_user_producers: int = parameter(
        4096,
        "producers of a user that each model remembers; beyond it the user's own that learned least"
        " recently is forgotten",
    )
    max_user_models: int | None = parameter(None, "models that a user may have created")
    max_user_bytes_per_s: int | None = parameter(
        None, "bytes that a user may send in a second, on average; beyond it requests are BUSY"
    )
    max_user_features_per_s: int | None = parameter(
        None,
        "features that a user may have learned and scored in a second, on average; beyond it"
        " requests are BUSY",
    )

    def __post_init__(self) -> None:
        if not self.bind.isprintable():  # a lone surrogate is a byte that is not UTF-8
            raise ConfigError(f"bind: expected an endpoint, got {self.bind!r}")
        for name in ("state", "follow", "key", "allow"):
            if getattr(self, name) == "":
                kind = "file" if name == "key" else "folder"
                raise ConfigError(f"{name}: expected a {kind}, got ''")
        if (self.key is None) != (self.allow is None):
            missing = "key" if self.key is None else "allow"
            raise ConfigError(f"{missing}: expected key and allow together, got one of them")
        quotas = [field.name for field in fields(self) if field.name.startswith("max_user_")]
        for name in quotas:
            if self.key is None and getattr(self, name) != _DEFAULTS[name]:
                raise ConfigError(f"{name}: expected keys (--key, --allow) too, got none")
        check_endpoint(self.bind)
        if self.key is None and not is_local(self.bind):
            raise ConfigError(
                f"bind: {self.bind} can be reached from other machines, and anyone who reaches it"
                " could change the models: bind a loopback address, or give keys (--key, --allow)"
            )
        for name in ("snapshot_every_s", "reload_every_s"):
            check_number(name, getattr(self, name), 0.01, _LONGEST_S)
        check_number("ask_b", self.ask_b, 1e-9, MAX_B)
        for name, choices in (
            ("fsync", POLICIES), ("log_level", LOG_LEVELS), ("log_format", LOG_FORMATS),
        ):  # fmt: skip
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name}: expected one of {', '.join(choices)}, got {getattr(self, name)!r}"
                )
        for name, low, high in (
            ("max_producers", 1, _MAX_PRODUCERS),
            ("max_models", 1, _MAX_MODELS),
            ("max_held", 1, _MAX_HELD),
            ("max_connections", 1, _MAX_CONNECTIONS),
            ("max_memory", 2**20, 2**62),
            ("max_user_producers", 1, _MAX_PRODUCERS),
            ("max_user_models", 0, _MAX_MODELS),
            ("max_user_bytes_per_s", 1, 2**62),
            ("max_user_features_per_s", 1, 2**62),
        ):
            limit = getattr(self, name)
            if limit is None and name in _UNBOUNDED:
                continue
            if type(limit) is not int or not low <= limit <= high:
                raise ConfigError(
                    f"{name}: expected an integer from {low} to {high}, got {limit!r}"
                )


_DEFAULTS = {field.name: field.default for field in fields(ServeConfig)}
