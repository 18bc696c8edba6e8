"""A source: a log whose entries are read from a cursor on. The interface, and its errors.

A new source is a class with the methods of `Source`. Its cursors are its own: up to 256 bytes that
lead back to a place between two entries, after a restart, on another machine. docs/ingest.md shows
one for Kafka.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from onlinesvm.service.client.calls import Lag
from onlinesvm.service.errors import ServiceError

__all__ = ["NOTHING", "BadEntry", "Entries", "Source", "SourceError", "Value"]


class SourceError(ServiceError, OSError):
    """A source that cannot be read, or not from the cursor on: entries are lost, or are others."""

    def __str__(self) -> str:
        return str(self.args[0])


class BadEntry(ServiceError, ValueError):
    """An entry that is no sample."""


# An entry: its bytes; or the names and values of its fields by turns; or why it cannot be read.
Value = bytes | Sequence[bytes] | BadEntry


class Entries(NamedTuple):
    """Entries in the order of their log, and for each the cursor that follows it."""

    values: Sequence[Value]
    cursors: Sequence[bytes]


NOTHING = Entries((), ())


class Source(Protocol):
    """A log that is read from a cursor on, by one thread.

    name: for messages, and for the producer's name; without credentials. is_ended: True once `read`
    has given out all there will be. lost: entries that are known to be lost, with leave.
    """

    name: str
    is_ended: bool
    lost: int

    @property
    def cursor(self) -> bytes | None:
        """The place after all that `read` has given out, and after what was lost; None: nowhere."""

    def open(self, cursor: bytes | None) -> None:
        """Go to the entry after `cursor`; None: to the first. Raises SourceError."""

    def read(self, wait_s: float) -> Entries:
        """The next entries, as many as about 4 MiB hold; none where none came within `wait_s`.

        Raises SourceError. A connection that is lost is none: the next call tries again.
        """

    def lag(self, cursor: bytes | None) -> Lag:
        """The entries between `cursor` and the end, as far as the last `read` has seen it."""

    def place(self, cursor: bytes) -> str:
        """The entry before `cursor`, for a message."""

    def close(self) -> None:
        """Close it."""
