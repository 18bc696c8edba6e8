"""Turns and requests of a daemon between looks at its figures."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

__all__ = ["Pace", "Turns", "quantile_ms"]

_OVER_S = 10.0  # over which quantiles are taken
# Asked for by those who look: doors, their pages, `onlinesvm top`.
_OWN = frozenset(("stats", "models", "ping", "inspect"))


class Pace(NamedTuple):
    """Requests a second since the last look, and of the turns of the last ten seconds the median
    and the 99th percentile in milliseconds; None where there were none.
    """

    requests_per_s: float | None
    turn_ms: float | None
    turn_99_ms: float | None


class _Look(NamedTuple):
    """The counts at a time: requests, turns by bucket."""

    at: float
    requests: int
    turns: list[int]


class Turns:
    """The counts of the looks of the last seconds."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque()

    def clear(self) -> None:
        """Forget the looks so far: time has passed without any."""
        self._looks.clear()

    def take(self, figures: dict[str, Any], at: float) -> Pace:
        """The pace up to a time, by the figures of a `stats` then."""
        asked = sum(count for op, count in figures["requests"].items() if op not in _OWN)
        look = _Look(at, asked, figures["turns"]["counts"])
        looks = self._looks
        if looks and sum(look.turns) < sum(looks[-1].turns):
            looks.clear()  # another daemon
        while len(looks) > 1 and at - looks[1].at >= _OVER_S:
            looks.popleft()
        requests_per_s = None
        if looks:
            requests_per_s = max(0, asked - looks[-1].requests) / max(1e-3, at - looks[-1].at)
        before = looks[0].turns if looks else [0] * len(look.turns)
        looks.append(look)
        turns = [new - old for new, old in zip(look.turns, before, strict=True)]
        bounds = figures["turns"]["bounds_s"]
        return Pace(
            requests_per_s, quantile_ms(bounds, turns, 0.5), quantile_ms(bounds, turns, 0.99)
        )


def quantile_ms(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The value, in milliseconds, that a share of a histogram lies below; None for an empty one.

    bounds: of the buckets, in seconds; one more is open, and counts as its lower bound. Within a
    bucket the values are taken to be spread evenly.
    """
    ends = list(accumulate(counts))
    if not ends[-1]:
        return None
    wanted = share * ends[-1]
    k = bisect_left(ends, wanted)
    if k >= len(bounds):
        return 1e3 * bounds[-1]
    low = bounds[k - 1] if k else 0.0
    part = (wanted - (ends[k] - counts[k])) / counts[k]
    return 1e3 * (low + part * (bounds[k] - low))
