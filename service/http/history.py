"""An hour of figures, a row a second, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DAEMON", "MODEL", "SECONDS", "SPARKS", "SPARK_S", "Ring", "Spark", "digits"]

SECONDS = 3600
SPARKS, SPARK_S = 60, 10

# The columns of a daemon's rows: samples and requests a second; a turn of the loop, in milliseconds
# (its median and 99th percentile over the last ten seconds); the door's own request for figures.
DAEMON = (
    "samples_per_s", "requests_per_s", "turn_ms", "turn_99_ms", "round_trip_ms", "memory_bytes",
    "log_bytes",
)  # fmt: skip
# Those of a model's rows.
MODEL = (
    "samples", "samples_per_s", "error", "recent_error", "loss", "recent_loss",
    "calibration_error", "drifts", "features",
)  # fmt: skip


class Ring:
    """The rows of the last hour, one a second; a second without a row is NaN.

    Takes 8 bytes a figure: 259 kB for a model.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.last = 0  # the second of the newest row
        self._rows = np.full((SECONDS, len(self.columns)), np.nan)

    def add(self, second: int, row: Sequence[float | None]) -> None:
        """Keep a row for a second after the last one."""
        missed = min(second - self.last - 1, SECONDS)
        for gone in range(second - missed, second):
            self._rows[gone % SECONDS] = np.nan
        self._rows[second % SECONDS] = [np.nan if x is None else x for x in row]
        self.last = second

    def newest(self) -> NDArray[np.float64]:
        """The newest row."""
        row: NDArray[np.float64] = self._rows[self.last % SECONDS]
        return row

    def since(self, second: int) -> dict[str, list[Any]]:
        """The rows after a second, by column, and their seconds as `t`; None for no figure.

        Seconds before the first row are left out.
        """
        start = max(second + 1, self.last - SECONDS + 1)
        seconds = np.arange(start, self.last + 1)
        rows = self._rows[seconds % SECONDS]
        there = np.flatnonzero(~np.isnan(rows).all(axis=1))
        first = int(there[0]) if len(there) else len(seconds)
        found: dict[str, list[Any]] = {"t": seconds[first:].tolist()}
        for name, column in zip(self.columns, rows[first:].T, strict=True):
            found[name] = [digits(x) for x in column.tolist()]
        return found


def digits(x: float) -> float | int | None:
    """A figure in as few characters as a page needs; None for NaN and the infinite."""
    if not math.isfinite(x):
        return None
    return int(x) if x.is_integer() else float(f"{x:.5g}")


class Spark:
    """Samples a second over the last ten minutes, a mean for each ten seconds."""

    def __init__(self) -> None:
        self._slot = 0
        self._rates = np.zeros(SPARKS, dtype=np.float32)

    def add(self, second: int, seconds: int, rate: float) -> None:
        """Count a rate that held for `seconds` up to a second."""
        slot = second // SPARK_S
        missed = min(slot - self._slot, SPARKS)
        for new in range(slot - missed + 1, slot + 1):
            self._rates[new % SPARKS] = 0.0
        self._slot = slot
        first, end = second + 1 - seconds, second + 1
        for kept in range(max(slot - SPARKS + 1, first // SPARK_S), slot + 1):
            begin = kept * SPARK_S
            part = min(end, begin + SPARK_S) - max(first, begin)
            self._rates[kept % SPARKS] += rate * part / SPARK_S

    def rates(self, second: int) -> list[float | int | None]:
        """The rates up to a second, the oldest first; of the slot under way, so far."""
        slot = second // SPARK_S
        if slot - self._slot >= SPARKS:
            return [0] * SPARKS
        rates = self._rates.astype(np.float64)
        for new in range(self._slot + 1, slot + 1):
            rates[new % SPARKS] = 0.0
        elapsed = second % SPARK_S + 1
        rates[slot % SPARKS] *= SPARK_S / elapsed
        places = np.arange(slot - SPARKS + 1, slot + 1) % SPARKS
        return [digits(x) for x in rates[places].tolist()]
