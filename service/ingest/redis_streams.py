"""A Redis Stream: the source `redis://HOST/STREAM`. Needs redis 7 and `onlinesvm[redis]`.

Entries are read by XREAD from the cursor on, never by a consumer group: a group's place moves when
entries are delivered, not when they are learned. A cursor is `ID N`: the id of an entry, and how
many entries were ever added up to it. Each read asks for the stream's own counters in the same
transaction, so that entries that were trimmed or deleted before they were read are counted, and a
stream that was created anew is noticed:

    removed = entries-added − length. If the first entry comes after the cursor, all N up to it are
    among the removed: removed − N were not read. At the end of the stream, entries-added − N were
    not read. A negative number is that of another stream.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, overload
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from onlinesvm.errors import ConfigError
from onlinesvm.service.client.calls import Lag
from onlinesvm.service.ingest.redis_connection import RedisConnection, RedisLost, TooMuch
from onlinesvm.service.ingest.source import NOTHING, Entries, SourceError

__all__ = ["RedisStream", "parse_url"]

_CURSOR = re.compile(rb"([0-9]{1,20})-([0-9]{1,20}) ([0-9]{1,19})")
_READ_BYTES = 2**21
# More at once is not read, but asked for again in parts; one entry may have what redis allows.
_MAX_READ_BYTES = 2**25
_MAX_COUNT = 8192
_FIRST_COUNT = 64
_RETRY_S = 0.2
_Id = tuple[int, int]


class _Cursors(Sequence[bytes]):
    """The cursors of entries, each made when it is asked for."""

    def __init__(self, ids: Sequence[bytes], before: int) -> None:
        self._ids, self._before = ids, before

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> _Cursors: ...
    def __getitem__(self, index: int | slice) -> bytes | _Cursors:
        if isinstance(index, slice):
            start, _, _ = index.indices(len(self._ids))
            return _Cursors(self._ids[index], self._before + start)
        if index < 0:
            index += len(self._ids)
        return b"%s %d" % (self._ids[index], self._before + index + 1)


def parse_url(url: str) -> tuple[str, str]:
    """The URL of the server as redis-py takes it, and the stream's name.

    Raises ConfigError.
    """
    parts = urlsplit(url)
    stream = unquote(parts.path[1:], errors="surrogateescape")
    if not parts.hostname or not stream:
        raise ConfigError(f"source: expected redis://HOST[:PORT]/STREAM, got {_hidden(url)!r}")
    options = dict(parse_qsl(parts.query))
    database = options.pop("db", "0")
    if not database.isdigit():
        raise ConfigError(f"source: expected db as an integer from 0, got {database!r}")
    host = parts.netloc
    if parts.password is None and "REDISCLI_AUTH" in os.environ:  # as redis-cli has it
        user = f"{parts.username}" if parts.username else ""
        address = parts.netloc.rpartition("@")[2]
        host = f"{user}:{quote(os.environ['REDISCLI_AUTH'], safe='')}@{address}"
    query = f"?{urlencode(options)}" if options else ""
    return f"{parts.scheme}://{host}/{database}{query}", stream


def _hidden(url: str) -> str:
    """A URL without its credentials."""
    return re.sub(r"//[^/]*@", "//", url)


class RedisStream:
    """See Source. The entries of a stream, as their fields.

    follow: wait for further entries; else it ends where the stream does. accept_loss: go on where
    entries were removed before they were read. say: prints a line for a human.
    """

    def __init__(
        self, url: str, *, follow: bool, accept_loss: bool, say: Callable[[str], object]
    ) -> None:
        server, self._stream = parse_url(url)
        self.name = _hidden(url)
        self.is_ended = False
        self.lost = 0
        self._follow, self._accept_loss, self._say = follow, accept_loss, say
        self._connection = RedisConnection(server)
        self._id: bytes = b"0-0"  # of the entry read last
        self._number: int | None = None  # entries ever added up to it; None before the first read
        self._is_asked = False
        self._count = self._asked_count = _FIRST_COUNT
        self._ends_bytes = 0  # of the stream's first and last entry
        self._end = (b"0-0", 0)  # the stream's last id, and the entries ever added
        self._is_down = False
        self._is_missing = False

    @property
    def cursor(self) -> bytes | None:
        """See Source."""
        return b"%s %d" % (self._id, self._number) if self._number else None

    def open(self, cursor: bytes | None) -> None:
        """See Source."""
        if cursor is not None:
            self._id, self._number = _unpack(cursor)
        try:
            self._connection.connect()
        except RedisLost as error:
            raise SourceError(f"{self.name}: {error}") from None

    def close(self) -> None:
        """See Source."""
        self._connection.close()

    def place(self, cursor: bytes) -> str:
        """See Source."""
        id, _ = _unpack(cursor)
        return f"{self.name}, entry {id.decode()}"

    def lag(self, cursor: bytes | None) -> Lag:
        """See Source: in entries, and in seconds by the times that ids hold."""
        last, added = self._end
        id, number = (b"0-0", 0) if cursor is None else _unpack(cursor)
        entries = max(0, added - number)
        seconds = (_id_of(last)[0] - _id_of(id)[0]) / 1000 if cursor is not None else None
        return Lag(
            entries, 0.0 if not entries else seconds if seconds is None else max(0.0, seconds)
        )

    def read(self, wait_s: float) -> Entries:
        """See Source."""
        try:
            entries = self._read()
            if not entries.values and self._follow and not self._is_missing:
                if not self._wait(wait_s):
                    return NOTHING
                entries = self._read()
            elif not entries.values and self._follow:
                time.sleep(min(wait_s, _RETRY_S))
        except TooMuch:
            self._is_asked = False
            self._count = max(1, self._asked_count // 16)
            return NOTHING
        except RedisLost as error:
            self._is_asked = False
            if not self._is_down:
                self._say(f"waiting for {self.name}: {error}")
            self._is_down = True
            time.sleep(min(wait_s, _RETRY_S))
            return NOTHING
        if self._is_down:
            self._say(f"{self.name} is back")
            self._is_down = False
        return entries

    def _ask(self) -> None:
        self._asked_count = self._count
        self._connection.send(
            ("MULTI",),
            ("XINFO", "STREAM", self._stream),
            ("XREAD", "COUNT", self._count, "STREAMS", self._stream, self._id),
            ("EXEC",),
            max_bytes=_MAX_READ_BYTES + self._ends_bytes if self._count > 1 else None,
        )
        self._is_asked = True

    def _read(self) -> Entries:
        """The next entries, those that were asked for already."""
        if not self._is_asked:
            self._ask()
        self._is_asked = False
        info, found = self._connection.answer_of_transaction(self.name)
        if info is None:
            self._miss()
            return NOTHING
        self._is_missing = False
        rows = found[0][1] if found else []
        figures = dict(zip(info[::2], info[1::2], strict=True))
        before = self._check(figures, rows)
        self._number = before + len(rows)
        if not rows:
            self.is_ended = not self._follow
            return NOTHING
        ids = [row[0] for row in rows]
        self._id = ids[-1]
        self._adapt(len(rows), _bytes_of(figures[b"first-entry"], figures[b"last-entry"]))
        with contextlib.suppress(RedisLost):  # the next read asks again: these are not lost by it
            self._ask()  # redis works while these are learned
        return Entries([row[1] for row in rows], _Cursors(ids, before))

    def _adapt(self, rows: int, ends_bytes: int) -> None:
        """Ask for about 2 MiB next, of entries as large as these, and not for much more at once.

        ends_bytes: of the stream's first and last entry, which come with each answer.
        """
        self._ends_bytes = ends_bytes
        of_rows = max(1, self._connection.answer_bytes - ends_bytes)
        fitting = _READ_BYTES * rows // of_rows
        self._count = max(1, min(fitting, 2 * self._asked_count, _MAX_COUNT))

    def _wait(self, wait_s: float) -> bool:
        """Wait for an entry; True if one came."""
        block_ms = max(1, round(wait_s * 1000))
        self._connection.send(
            ("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", self._stream, self._id)
        )
        return self._connection.answer(self.name) is not None

    # What became of the entries in between.

    def _check(self, info: dict[bytes, Any], rows: Sequence[Any]) -> int:
        """The entries ever added before the first of `rows`, lost ones included.

        Raises SourceError for a stream that is not the one the cursor is of, and without leave for
        lost entries.
        """
        added = info.get(b"entries-added")
        if added is None:
            raise SourceError(
                f"{self.name}: expected redis 7 or newer, got one without entries-added"
            )
        removed, last = added - info[b"length"], info[b"last-generated-id"]
        first = info[b"first-entry"]
        if self._number is None:
            self._number = removed
            if removed:
                self._say(f"{self.name}: begins at its first entry; {removed} before were removed")
        number, lost = self._number, 0
        is_other = _id_of(last) < _id_of(self._id) or added < number
        if first is None or _id_of(first[0]) > _id_of(self._id):
            lost = removed - number
        if len(rows) < self._asked_count:
            lost = added - number - len(rows)  # all there is; deleted ones in between count too
            is_other = is_other or lost < 0
        if is_other or lost < 0:
            raise SourceError(
                f"{self.name}: expected a stream whose entry {number} is {self._id.decode()}, got"
                f" one with {added} entries up to {last.decode()}: it was created anew, or redis"
                " has lost entries that were learned. Another --producer name begins at its start"
            )
        if lost:
            self._lose(lost, first)
        self._end = last, added
        return number + lost

    def _lose(self, lost: int, first: Any) -> None:
        begins = "it is empty now" if first is None else f"it begins at {first[0].decode()} now"
        text = (
            f"{self.name}: {lost} entries after {self._id.decode()} were trimmed or deleted before"
            f" they were read ({begins})"
        )
        if not self._accept_loss:
            raise SourceError(f"{text}; --accept-loss goes on without them")
        self._say(text)
        self.lost += lost

    def _miss(self) -> None:
        """Take note that there is no such stream. Raises SourceError where there was one."""
        if self._number:
            raise SourceError(
                f"{self.name}: expected a stream with entry {self._id.decode()}, got none: it was"
                " deleted, or redis has lost it. Another --producer name begins at the start of the"
                " next one"
            )
        if not self._follow:
            raise SourceError(f"{self.name}: expected a stream, got none of that name")
        if not self._is_missing:
            self._say(f"waiting: there is no stream {self.name} yet")
        self._is_missing = True


def _bytes_of(*entries: Any) -> int:
    """The bytes of entries' fields."""
    return sum(len(part) for entry in entries if entry is not None for part in entry[1])


def _id_of(id: bytes) -> _Id:
    milliseconds, _, sequence = id.partition(b"-")
    return int(milliseconds), int(sequence)


def _unpack(cursor: bytes) -> tuple[bytes, int]:
    """The id and the number of a cursor. Raises SourceError for one of another source."""
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise SourceError(f"expected the cursor of a Redis Stream, got {cursor[:60]!r}")
    return b"%s-%s" % (found[1], found[2]), int(found[3])
