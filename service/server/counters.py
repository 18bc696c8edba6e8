"""The daemon's own counters: uptime, rates, memory, errors by code."""

from __future__ import annotations

import os
import resource
import sys
import time
from bisect import bisect_left
from collections import Counter, deque
from typing import Any

__all__ = ["TURN_BOUNDS_S", "Counters", "memory_bytes"]

_RATE_WINDOW_S = 10.0
# The buckets of the histogram of turns: at most so many seconds; one more holds all beyond.
TURN_BOUNDS_S = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
)  # fmt: skip


class Counters:
    """Counts since the start, and rates over the last ten seconds."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.samples = 0
        self.requests = 0
        self.dropped_requests = 0
        self.connections = self.refused_connections = 0
        self.operations: Counter[str] = Counter()  # well-formed requests, by what they ask for
        self.errors: Counter[str] = Counter()
        self._turns = [0] * (len(TURN_BOUNDS_S) + 1)
        self._turn_s = 0.0
        # (time, samples, requests), about one a second; the oldest is the start of the window.
        self._marks: deque[tuple[float, int, int]] = deque([(self._started, 0, 0)])

    def tick(self, now: float) -> None:
        """Record the counts, at most once a second; `now` as of time.monotonic()."""
        if now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, self.samples, self.requests))
            while len(self._marks) > 2 and now - self._marks[1][0] >= _RATE_WINDOW_S:
                self._marks.popleft()

    def note_turn(self, seconds: float) -> None:
        """Count a stretch of work between two looks at the socket that took so long."""
        self._turns[bisect_left(TURN_BOUNDS_S, seconds)] += 1
        self._turn_s += seconds

    def report(self) -> dict[str, Any]:
        """The counters as keys of a stats reply."""
        now = time.monotonic()
        then, samples, requests = self._marks[0]
        seconds = max(now - then, 1e-3)
        return {
            "uptime_s": now - self._started,
            "samples_per_s": (self.samples - samples) / seconds,
            "requests_per_s": (self.requests - requests) / seconds,
            "memory_bytes": memory_bytes(),
            "requests": dict(self.operations),
            "turns": {
                "bounds_s": list(TURN_BOUNDS_S),
                "counts": list(self._turns),
                "seconds": self._turn_s,
            },
            "errors": dict(self.errors),
            "dropped_requests": self.dropped_requests,
            "connections": self.connections,
            "refused_connections": self.refused_connections,
        }


def memory_bytes() -> int:
    """Resident memory of this process; its peak where the system reports no current value."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
