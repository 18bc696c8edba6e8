"""Configuration of the daemon; the learner's is in `onlinesvm.config`."""

from __future__ import annotations

from dataclasses import dataclass

from onlinesvm.config import check_number, parameter
from onlinesvm.errors import ConfigError
from onlinesvm.service.protocol import DEFAULT_ENDPOINT
from onlinesvm.service.storage.log import FSYNC

__all__ = ["ServeConfig"]

_LONGEST_S = 1e9
LOG_LEVELS = ("debug", "info", "warning", "error")
# A snapshot's header holds them all, and is bounded.
_MOST_PRODUCERS = 500_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeConfig:
    """How a daemon serves. Raises ConfigError for a value out of range."""

    bind: str = parameter(
        DEFAULT_ENDPOINT, "ZeroMQ endpoint to serve at; tcp://127.0.0.1:* takes any free port"
    )
    state: str = parameter(
        "./state",
        "folder of the model's snapshots and journal; made if it is not there, held by one daemon",
    )
    snapshot_every_s: float = parameter(
        300.0,
        "seconds between snapshots, if anything was learned. A snapshot costs a copy of the model"
        " in memory; a start replays what the journal has since the last",
    )
    fsync: str = parameter(
        "everysec",
        "when the journal is made durable. Whatever it is, nothing acknowledged is lost when the"
        " process dies. When the machine dies: always loses nothing, and a turn of the loop waits"
        " for the disk; everysec, if unsure, loses about a second; never loses what the system had"
        " not written yet, half a minute or so",
        FSYNC,
    )
    max_producers: int = parameter(
        65_536,
        "producers whose last sequence is remembered, about 200 bytes each; beyond it the one"
        " applied furthest back is forgotten",
    )
    follow: str | None = parameter(
        None, "serve another daemon's state folder read-only instead of learning"
    )
    reload_every_s: float = parameter(
        5.0, "seconds between looks of a follower for a newer snapshot; a look costs one listing"
    )
    log_level: str = parameter(
        "info",
        "what is logged to stderr: warning for faults alone, debug for the whole configuration too",
        LOG_LEVELS,
    )
    insecure: bool = parameter(
        False, "bind an address that other machines can reach, without any protection"
    )

    def __post_init__(self) -> None:
        if not self.bind.isprintable():  # a lone surrogate stands for a byte that is no UTF-8
            raise ConfigError(f"bind: expected an endpoint, got {self.bind!r}")
        for name in ("state", "follow"):
            if getattr(self, name) == "":
                raise ConfigError(f"{name}: expected a folder, got ''")
        for name in ("snapshot_every_s", "reload_every_s"):
            check_number(name, getattr(self, name), 0.01, _LONGEST_S)
        if self.fsync not in FSYNC:
            raise ConfigError(f"fsync: expected one of {', '.join(FSYNC)}, got {self.fsync!r}")
        if self.log_level not in LOG_LEVELS:
            raise ConfigError(
                f"log_level: expected one of {', '.join(LOG_LEVELS)}, got {self.log_level!r}"
            )
        most = self.max_producers
        if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= _MOST_PRODUCERS:
            raise ConfigError(
                f"max_producers: expected an integer from 1 to {_MOST_PRODUCERS}, got {most!r}"
            )
