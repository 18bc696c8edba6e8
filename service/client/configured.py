"""Settings that the clients share, how they are shown and pickled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from onlinesvm.config import Limits
from onlinesvm.service.client.calls import Calls
from onlinesvm.service.client.settings import Settings
from onlinesvm.service.protocol import DEFAULT_ENDPOINT

__all__ = ["Configured"]


class Configured(ABC):
    """A client with the arguments of `Client`; `_open` makes its connections."""

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        timeout_s: float = 10.0,
        wait_s: float = 0.0,
        limits: Limits | None = None,
        model: str | None = None,
        on_waiting: Callable[[], None] | None = None,
    ) -> None:
        self._settings = Settings(
            endpoint, timeout_s, wait_s, limits or Limits(), model, on_waiting
        )
        self._calls = Calls(self._settings.limits)
        self._open()

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        return f"{type(self).__name__}({self.endpoint!r}, timeout_s={self.timeout_s:g}{state})"

    def __reduce__(self) -> tuple[Any, ...]:
        return self._settings.rebuild, (type(self),)

    @property
    def endpoint(self) -> str:
        """The daemon's endpoint."""
        return self._settings.endpoint

    @property
    def limits(self) -> Limits:
        """The limits checked before a request is sent."""
        return self._settings.limits

    @property
    def timeout_s(self) -> float:
        """Seconds a request may take. May be set at any time."""
        return self._settings.timeout_s

    @timeout_s.setter
    def timeout_s(self, seconds: float) -> None:
        self._settings.timeout_s = seconds

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether `close` was called."""

    @abstractmethod
    def _open(self) -> None:
        """Make the connections, which open when they are first used."""
