"""Settings of a client: the daemon's endpoint, keys, deadlines, limits."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from onlinesvm.config import Limits
from onlinesvm.errors import ConfigError
from onlinesvm.service.endpoint import check_endpoint
from onlinesvm.service.keys.pair import KeyPair, public_key_of, read_pair

__all__ = ["KEY", "SERVER_KEY", "Curve", "Place", "Settings", "check_seconds"]

T = TypeVar("T")

# Environment variables: what holds where no argument is given.
KEY, SERVER_KEY = "ONLINESVM_KEY", "ONLINESVM_SERVER_KEY"

Place = str | os.PathLike[str]


class Curve(NamedTuple):
    """The client's keys, and the daemon's public key."""

    pair: KeyPair
    server: str


def check_seconds(name: str, seconds: float) -> None:
    """Raise ConfigError unless `seconds`, the argument `name`, are a finite number from 0."""
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ConfigError(f"{name}: expected seconds from 0, got {seconds!r}")


@dataclass(slots=True)
class Settings:
    """Settings that a client shares with its connections and streams.

    timeout_s: seconds a request may take. wait_s: seconds to wait for a daemon that does not run
    yet, before a request begins. model: the name of the daemon's model, None for its default.
    on_waiting: called when such a wait begins. key: the file of the client's keys. server_key: the
    daemon's public key, or its file. Where a daemon has keys, both are needed.

    Raises ConfigError for an endpoint or a number of seconds that cannot be used, and for one key
    without the other; KeyFileError, OSError for a file of keys that cannot be used.
    """

    endpoint: str
    timeout_s: float
    wait_s: float = 0.0
    limits: Limits = field(default_factory=Limits)
    model: str | None = None
    on_waiting: Callable[[], None] | None = None
    key: Place | None = None
    server_key: Place | None = None
    curve: Curve | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not isinstance(self.endpoint, str):
            raise ConfigError(f"endpoint: expected text, got {self.endpoint!r}")
        check_endpoint(self.endpoint)
        if not self.endpoint.isprintable():  # a surrogate, a line's end: ZeroMQ takes neither
            raise ConfigError(
                f"endpoint: expected tcp://HOST:PORT or ipc://PATH, got {self.endpoint!r}"
                " (not printable text)"
            )
        check_seconds("timeout_s", self.timeout_s)
        check_seconds("wait_s", self.wait_s)
        key = self.key or os.environ.get(KEY)
        server_key = self.server_key or os.environ.get(SERVER_KEY)
        if key and server_key:
            self.curve = Curve(read_pair(Path(key)), public_key_of(server_key))
        elif key or server_key:
            missing = "server_key" if key else "key"
            raise ConfigError(
                f"{missing}: expected key and server_key together (--key, --server-key),"
                " got one of them"
            )

    def rebuild(self, kind: Callable[..., T]) -> T:
        """A client of `kind` with these settings, for pickle."""
        return kind(
            self.endpoint,
            timeout_s=self.timeout_s,
            wait_s=self.wait_s,
            limits=self.limits,
            model=self.model,
            on_waiting=self.on_waiting,
            key=self.key,
            server_key=self.server_key,
        )
