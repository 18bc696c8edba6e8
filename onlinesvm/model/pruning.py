"""The prune of a full model: its weakest features leave, some thousand at a time.

A prune is due before a sample

- where more than 7/8 of max_features ids are taken, or a prune is under way, and the position is a
  multiple of 256;
- where fewer ids are free than the sample has features.

It begins with a threshold. Of 16,384 features, evenly spaced by id, or of all where there are
fewer, the weakest are as many as would have to leave for a quarter of the room to be free; the
largest |weight| of these is the threshold. Then it looks at each feature once, in the order of
their ids. One of smaller |weight| leaves; of those that equal the threshold, so many leave, from
the lowest id on, as are expected among the weakest. A feature that stays gets the lowest free id:
ids keep the order in which features came. Those that come while it is under way are not judged,
and are moved at its end. The ids that it has freed can be given when it has ended. Until then new
features that find no id are left out.

Whenever it is due it looks at 4,096 features, and at eight more for each that came since it last
did, 65,536 at most. What leaves is a function of the samples alone, however they are batched.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.sweep import Sweep
from onlinesvm.kernel.contract import KernelLookup

__all__ = ["EVERY", "MOST", "SAMPLED", "STEP", "Pruning"]

EVERY = 256  # samples
STEP = 4096  # features, and so many for each new one:
FOR_NEW = 8  # with an eighth of the room free at its start, a prune ends before that is taken
MOST = 65_536  # some milliseconds
SAMPLED = 16_384


class _Movable(Protocol):
    """A kernel's rule, as far as a prune needs it."""

    def strengths(self, ids: NDArray[np.int32]) -> NDArray[np.float64]: ...
    def move(self, to: int, first: int, kept: NDArray[np.bool_]) -> None: ...


class Pruning:
    """The prunes of one model: the one under way, and figures of all since it was made here.

    prunes: those that ended. features: those that left. longest_s: the longest step.
    """

    def __init__(self, lookup: KernelLookup, rule: _Movable) -> None:
        self.prunes = self.features = 0
        self.longest_s = 0.0
        self._lookup = lookup
        self._rule = rule
        self._threshold = 0.0
        self._equal = 0  # of those that equal the threshold, so many more leave
        self._unjudged = 0  # features that were there when it began, and were not looked at
        self._last = 0  # the last id after the last step

    def before(self, position: int, lengths: NDArray[np.int64]) -> int:
        """Advance the prune where it is due before the sample at `position`; how many samples can
        be learned before it may be due again, 1 at least.

        lengths: how many features each sample from there on has, one sample at least.
        """
        lookup = self._lookup
        most = lookup.max_features
        is_near = lookup.sweep is not None or 8 * lookup.last > 7 * most
        if (is_near and position % EVERY == 0) or lengths[0] > most - lookup.last:
            self._advance()
        ends = lookup.last + np.cumsum(lengths)
        if lookup.sweep is None and 8 * ends[-1] <= 7 * most:
            return len(lengths)
        fitting = int(np.searchsorted(ends, most, side="right"))
        return max(1, min(fitting, EVERY - position % EVERY))

    def _begin(self) -> bool:
        """Choose the threshold; False where the model is small enough as it is."""
        n, most = self._lookup.last, self._lookup.max_features
        leaving = n - (most - (most + 3) // 4)
        if leaving <= 0:
            return False
        m = min(n, SAMPLED)
        ids = (np.arange(m, dtype=np.int64) * n // m + 1).astype(np.int32)
        strengths = self._rule.strengths(ids)
        rank = max(1, leaving * m // n)
        self._threshold = float(np.partition(strengths, rank - 1)[rank - 1])
        weaker = int(np.count_nonzero(strengths < self._threshold))
        self._equal = (rank - weaker) * n // m
        self._unjudged = self._last = n
        return True

    def _advance(self) -> None:
        """Look at the next features; begin a prune where none is under way."""
        start = time.perf_counter()
        lookup = self._lookup
        if lookup.sweep is None and not self._begin():
            return
        low, first = lookup.sweep or Sweep(0, 1)
        size = min(STEP + FOR_NEW * (lookup.last - self._last), MOST, lookup.last - first + 1)
        judged = min(size, self._unjudged)
        strengths = self._rule.strengths(np.arange(first, first + judged, dtype=np.int32))
        equal = np.flatnonzero(strengths == self._threshold)[: self._equal]
        kept = np.ones(size, dtype=np.bool_)
        kept[:judged] = strengths >= self._threshold
        kept[equal] = False
        lookup.prune(kept)
        self._rule.move(low + 1, first, kept)
        self._equal -= len(equal)
        self._unjudged -= judged
        self._last = lookup.last
        self.features += size - int(np.count_nonzero(kept))
        self.prunes += lookup.sweep is None
        self.longest_s = max(self.longest_s, time.perf_counter() - start)

    # Snapshots.

    def dump(self) -> list[float | int] | None:
        """The prune under way as a snapshot has it, None without one: see `snapshot.format`."""
        sweep = self._lookup.sweep
        if sweep is None:
            return None
        return [*sweep, self._unjudged, self._last, self._equal, self._threshold]

    def restore(self, dumped: Sequence[Any] | None) -> None:
        """Go on with a prune from a snapshot, whose ids the lookup has. Raises ValueError for one
        that cannot be.
        """
        if dumped is None:
            return
        _, first, unjudged, last, equal, threshold = dumped
        there = self._lookup.last
        if not (
            0 <= unjudged <= there - first + 1
            and first + unjudged - 1 <= last <= there
            and 0 <= equal <= there
            and 0.0 <= threshold < math.inf
        ):
            raise ValueError(f"prune: expected one of {there} ids, got {list(dumped)}")
        self._unjudged, self._last, self._equal = unjudged, last, equal
        self._threshold = threshold
