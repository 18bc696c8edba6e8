"""The ingester: entries of a source, in order, to a numbered stream with their cursors."""

from __future__ import annotations

import contextlib
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from onlinesvm.data.codec import pack_array
from onlinesvm.service.client.client import Client
from onlinesvm.service.errors import (
    DaemonLost,
    DaemonTimeout,
    RequestRefused,
    ServiceError,
    StreamBroken,
)
from onlinesvm.service.ingest.form import Form
from onlinesvm.service.ingest.source import BadEntry, Entries, Source

__all__ = ["Ingester", "Options"]

_READ_S = 0.5
_LAG_EVERY_S = 1.0
_RETRY_S = 0.2
# A request of about this size is learned at once by the daemon, while others wait.
_REQUEST_BYTES = 2**19
_REQUEST_SAMPLES = 2048
# Refusals that are about one sample.
_OF_SAMPLES = ("BAD_SAMPLE", "TOO_LARGE", "BAD_REQUEST")
_EMPTY = b"\x90"


class Options(NamedTuple):
    """How an ingester runs.

    skip_bad: pass over entries that are no samples. say: prints a line for a human. must_stop: True
    once the ingester is to finish what is under way, and end.
    """

    skip_bad: bool
    say: Callable[[str], object]
    must_stop: Callable[[], bool]


class Ingester:
    """Learns the entries of `source` after the producer's cursor, until it ends or must stop.

    The daemon keeps the cursor, so a daemon, an ingester or a source may die at any moment: each
    entry is learned once. samples: those that were acknowledged. skipped: bad entries passed over.

    A lost daemon is waited for. Raises SourceError, StreamBroken, BadEntry for an entry that is no
    sample, RequestRefused for what no sample is to blame for.
    """

    def __init__(
        self, client: Client, source: Source, form: Form, producer: str, options: Options
    ) -> None:
        self._source, self._form, self._options = source, form, options
        self._stream = client.stream(producer)
        self._before = self._stream.applied
        self._lag_at = 0.0
        self._is_waiting = False
        self.skipped = 0

    @property
    def samples(self) -> int:
        """Samples of this run that the daemon has acknowledged."""
        return self._stream.applied - self._before

    @property
    def cursor(self) -> bytes | None:
        """The cursor that the daemon has acknowledged last."""
        return self._stream.cursor

    def run(self) -> None:
        """Learn until the source ends or `must_stop`; everything read is acknowledged then."""
        source, must_stop = self._source, self._options.must_stop
        source.open(self._stream.cursor)
        try:
            while not must_stop() and not source.is_ended:
                entries = source.read(_READ_S)
                if entries.values:
                    self._learn(entries)
                else:
                    self._settle()
                self._report_lag()
        except (BadEntry, StreamBroken, RequestRefused):
            raise  # what came before is acknowledged, as far as it can be
        except BaseException:
            self._settle_quietly()
            raise
        self._settle()
        self._lag_at = 0.0
        self._report_lag()

    def close(self) -> None:
        """Close the source. Samples that are not acknowledged are read again by the next run."""
        self._source.close()

    def _settle_quietly(self) -> None:
        try:
            self._stream.flush()
        except ServiceError as error:
            self._options.say(f"not all samples under way were acknowledged: {error}")

    def _settle(self) -> None:
        """Have everything acknowledged, and the place after it kept, whatever was passed over."""
        self._exchange(self._stream.flush)
        reached = self._source.cursor
        if reached is not None and reached != self._stream.cursor:
            self._exchange(lambda: self._stream.mark(reached))
            self._exchange(self._stream.flush)

    # Samples.

    def _learn(self, entries: Entries) -> None:
        """Send the samples of entries; all before the first bad one, where none is skipped."""
        packed = self._form.pack(entries.values)
        if set(map(type, packed)) == {bytes}:
            self._send(packed, entries.cursors)  # type: ignore[arg-type]
            return
        parts: list[bytes] = []
        good: list[int] = []
        for i, part in enumerate(packed):
            if isinstance(part, bytes):
                parts.append(part)
                good.append(i)
                continue
            if not self._options.skip_bad:
                self._send(parts, entries.cursors[: len(parts)])
                self._exchange(self._stream.flush)
            self._pass_over(entries.cursors[i], str(part))
        self._send(parts, [entries.cursors[i] for i in good])

    def _send(self, parts: Sequence[bytes], cursors: Sequence[bytes]) -> None:
        """Send samples, in requests of bounded size."""
        ends = list(accumulate(map(len, parts)))
        start = sent = 0
        while start < len(parts):
            fitting = bisect_right(ends, sent + _REQUEST_BYTES)
            end = max(start + 1, min(fitting, start + _REQUEST_SAMPLES))
            self._send_one(parts[start:end], cursors[start:end])
            start, sent = end, ends[end - 1]

    def _send_one(self, parts: Sequence[bytes], cursors: Sequence[bytes]) -> None:
        body = pack_array(parts)
        self._exchange(lambda: self._stream.learn_packed(body, len(parts), cursors))

    def _exchange(self, call: Callable[[], object]) -> None:
        """Make a call of the stream; wait for a lost daemon, and pass over refused samples.

        Raises as the class says; DaemonLost or DaemonTimeout where it must stop meanwhile.
        """
        while True:
            try:
                call()
            except RequestRefused as refusal:
                if refusal.cursor is None or refusal.code not in _OF_SAMPLES:
                    raise
                at = "" if refusal.at is None else f" at {refusal.at}"
                self._pass_over(refusal.cursor, f"{refusal.message}{at}")
            except (DaemonLost, DaemonTimeout) as error:
                if self._options.must_stop():
                    raise
                if not self._is_waiting:
                    self._options.say(f"waiting for the daemon: {error}")
                self._is_waiting = True
                time.sleep(_RETRY_S)
            else:
                if self._is_waiting:
                    self._options.say("the daemon is back")
                self._is_waiting = False
                return
            if call != self._stream.flush:
                call = self._go_on  # the samples were taken

    def _go_on(self) -> None:
        self._stream.learn_packed(_EMPTY, 0)

    def _pass_over(self, cursor: bytes, why: str) -> None:
        """Count and log a bad entry. Raises BadEntry unless bad entries are skipped."""
        text = f"{self._source.place(cursor)}: {why}"
        if not self._options.skip_bad:
            raise BadEntry(text)
        self.skipped += 1
        self._options.say(f"skipped {text}")

    def _report_lag(self) -> None:
        now = time.monotonic()
        if now < self._lag_at:
            return
        self._lag_at = now + _LAG_EVERY_S
        lag = self._source.lag(self._stream.cursor)
        with contextlib.suppress(DaemonLost, DaemonTimeout):  # the next exchange waits for it
            self._stream.report_lag(lag)
