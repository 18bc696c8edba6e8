"""A connection to redis: requests sent ahead, and answers of bounded size. Over redis-py."""

from __future__ import annotations

from typing import Any

from onlinesvm.errors import ConfigError
from onlinesvm.service.errors import ServiceError
from onlinesvm.service.ingest.source import SourceError

__all__ = ["RedisConnection", "RedisLost", "TooMuch"]

_TIMEOUT_S = 15.0


class RedisLost(ServiceError, ConnectionError):
    """No connection to redis, or one that broke, or a redis that still loads."""


class TooMuch(ServiceError):
    """An answer of several entries that is too large to be read at once."""


class RedisConnection:
    """Sends commands and reads their answers, in order. Connects when it has to.

    Raises RedisLost, after which the next command connects again, TooMuch, and SourceError for what
    redis refuses.
    """

    def __init__(self, url: str) -> None:
        try:
            import hiredis  # noqa: F401 (redis-py uses it if it is there)
            from redis import backoff, connection, exceptions, retry
        except ImportError as error:
            raise ConfigError(
                f"source: expected the packages of onlinesvm[redis], got none of them ({error})"
            ) from None
        self._errors = exceptions
        self._budget = _Budget()
        try:
            options = connection.parse_url(url)  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise ConfigError(f"source: {error}") from None
        make = options.pop("connection_class", connection.Connection)
        try:
            self._connection = make(
                **{
                    "socket_timeout": _TIMEOUT_S,
                    "socket_connect_timeout": _TIMEOUT_S,
                    **options,
                    "protocol": 2,
                    "parser_class": _bounded(connection.DefaultParser, self._budget),
                    "retry": retry.Retry(backoff.NoBackoff(), 0),
                }
            )
        except TypeError as error:
            raise ConfigError(
                f"source: expected options of redis-py after ?, got {error}"
            ) from None

    @property
    def answer_bytes(self) -> int:
        """The bytes that have come since the last `send`."""
        return self._budget.bytes

    def connect(self) -> None:
        """Connect, unless there is a connection."""
        try:
            self._connection.connect()
        except self._errors.RedisError as error:
            raise self._meaning(error) from None

    def close(self) -> None:
        """Close the connection; the next command opens another."""
        self._connection.disconnect()

    def send(self, *commands: tuple[Any, ...], max_bytes: int | None = None) -> None:
        """Send commands; all before were answered. max_bytes: of the answers, which else raise
        TooMuch when they are read; None: any number.
        """
        self._budget.begin(None)
        try:
            self._connection.connect()
            self._budget.begin(max_bytes)
            self._connection.send_packed_command(self._connection.pack_commands(commands))
        except self._errors.RedisError as error:
            raise self._meaning(error) from None

    def answer(self, name: str) -> Any:
        """The answer to the next command; name: what it is about, for an error."""
        try:
            return self._connection.read_response()
        except (self._errors.RedisError, TooMuch) as error:
            raise self._meaning(error, name) from None

    def answer_of_transaction(self, name: str) -> tuple[Any, Any]:
        """The answers to XINFO STREAM and XREAD in a transaction; None for no stream."""
        for _ in range(3):  # to MULTI, and those that the commands are queued
            self.answer(name)
        info, rows = self.answer(name)
        for each in (rows, info):
            if isinstance(each, Exception) and "no such key" not in str(each):
                raise self._meaning(each, name)
        return (None, None) if isinstance(info, Exception) else (info, rows)

    def _meaning(self, error: Exception, name: str = "redis") -> ServiceError:
        """The error of ours for one of redis-py's. The connection is closed: answers are left."""
        self.close()
        errors = self._errors
        if isinstance(error, TooMuch):
            return error
        is_refused = isinstance(error, errors.AuthenticationError | errors.AuthorizationError)
        if isinstance(error, errors.ConnectionError | errors.TimeoutError) and not is_refused:
            return RedisLost(str(error))
        return SourceError(f"{name}: {error}")


class _Budget:
    """The bytes of the answers under way, and how many they may have; None: any number."""

    def __init__(self) -> None:
        self.bytes = 0
        self._most: int | None = None

    def begin(self, most: int | None) -> None:
        self.bytes, self._most = 0, most

    def take(self, more: int) -> None:
        """Raises TooMuch."""
        self.bytes += more
        if self._most is not None and self.bytes > self._most:
            raise TooMuch(f"expected answers of at most {self._most} bytes, got more")


def _bounded(parser: type, budget: _Budget) -> type:
    """redis-py's parser, with answers counted and bounded as they come in."""

    class Bounded(parser):  # type: ignore[misc]
        def on_connect(self, connection: Any, **options: Any) -> None:
            super().on_connect(connection, **options)
            self._reader: Any = _Reader(self._reader, budget)

    return Bounded


class _Reader:
    """hiredis' reader, with its input counted."""

    def __init__(self, reader: Any, budget: _Budget) -> None:
        self.gets, self.has_data = reader.gets, reader.has_data
        self._feed, self._budget = reader.feed, budget

    def feed(self, buffer: bytearray, offset: int, size: int) -> None:
        self._budget.take(size)
        self._feed(buffer, offset, size)
