"""Settings that the clients share, how they are shown and pickled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

from onlinesvm.config import Limits
from onlinesvm.service.client.calls import Calls
from onlinesvm.service.client.settings import Place, Settings, check_seconds
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
        key: Place | None = None,
        server_key: Place | None = None,
    ) -> None:
        self._settings = Settings(
            endpoint, timeout_s, wait_s, limits or Limits(), model, on_waiting, key, server_key
        )
        self._calls = Calls(self._settings.limits, model)
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
        """Seconds a request may take. May be set at any time; raises ConfigError as `Client`."""
        return self._settings.timeout_s

    @timeout_s.setter
    def timeout_s(self, seconds: float) -> None:
        check_seconds("timeout_s", seconds)
        self._settings.timeout_s = seconds

    def model(self, name: str) -> Self:
        """A client of the daemon's model `name` that shares the connections: closing one closes
        all.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._settings = replace(self._settings, model=name)
        other._calls = Calls(self._settings.limits, name)
        return other

    @property
    @abstractmethod
    def closed(self) -> bool:
        """True if `close` was called."""

    @abstractmethod
    def _open(self) -> None:
        """Make the connections, which open when they are first used."""
