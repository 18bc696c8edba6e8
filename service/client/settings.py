"""Settings of a client: the daemon's endpoint, deadlines, limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from onlinesvm.config import Limits
from onlinesvm.errors import ConfigError
from onlinesvm.service.endpoint import check_exposure

__all__ = ["Settings"]

T = TypeVar("T")


@dataclass(slots=True)
class Settings:
    """Settings that a client shares with its connections and streams.

    timeout_s: seconds a request may take. wait_s: seconds to wait for a daemon that does not run
    yet, before a request begins. model: the name of the daemon's model, None for its default.
    on_waiting: called when such a wait begins.

    Raises ConfigError for an endpoint or a number of seconds that cannot be used.
    """

    endpoint: str
    timeout_s: float
    wait_s: float = 0.0
    limits: Limits = field(default_factory=Limits)
    model: str | None = None
    on_waiting: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.endpoint, str):
            raise ConfigError(f"endpoint: expected text, got {self.endpoint!r}")
        check_exposure(self.endpoint, insecure=True)
        if not self.endpoint.isprintable():  # a surrogate, a line's end: ZeroMQ takes neither
            raise ConfigError(
                f"endpoint: expected tcp://HOST:PORT or ipc://PATH, got {self.endpoint!r}"
                " (not printable text)"
            )
        for name, seconds in (("timeout_s", self.timeout_s), ("wait_s", self.wait_s)):
            if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
                raise ConfigError(f"{name}: expected seconds from 0, got {seconds!r}")

    def rebuild(self, kind: Callable[..., T]) -> T:
        """A client of `kind` with these settings, for pickle."""
        return kind(
            self.endpoint,
            timeout_s=self.timeout_s,
            wait_s=self.wait_s,
            limits=self.limits,
            model=self.model,
            on_waiting=self.on_waiting,
        )
