"""What the producers of a model have still to read in their sources, as they reported it last."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from onlinesvm.service.storage.producers import Producers

__all__ = ["Lags"]

_MAX_PRODUCERS = 1000
_SHOWN = 100


class _Lag(NamedTuple):
    """The figures of one report, and when it came (time.monotonic())."""

    figures: Mapping[str, Any]
    at: float


class Lags:
    """The last report of each producer; 1,000 are remembered. Not durable: a report a second
    replaces them.
    """

    def __init__(self) -> None:
        self._lags: OrderedDict[bytes, _Lag] = OrderedDict()

    def note(self, producer: bytes, figures: Mapping[str, Any]) -> None:
        """Take a report in the place of the producer's last one."""
        self._lags.pop(producer, None)
        self._lags[producer] = _Lag(figures, time.monotonic())
        if len(self._lags) > _MAX_PRODUCERS:
            self._lags.popitem(last=False)

    def report(self, producers: Producers) -> list[dict[str, Any]]:
        """The 100 that reported last, the newest first, as `stats` shows them."""
        now = time.monotonic()
        newest = list(reversed(self._lags.items()))[:_SHOWN]
        return [
            {
                "producer": producer.decode("utf-8", "backslashreplace"),
                "cursor": producers.last(producer).cursor.decode("utf-8", "backslashreplace"),
                "samples": producers.last(producer).samples,
                "lag_entries": lag.figures["entries"],
                "lag_s": lag.figures["seconds"],
                "lag_bytes": lag.figures["bytes"],
                "age_s": round(now - lag.at, 3),
            }
            for producer, lag in newest
        ]
