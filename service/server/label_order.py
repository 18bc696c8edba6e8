"""The order of the labels that a model learns: a warning where they come sorted by class."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onlinesvm.metrics.label_run import LabelRun

__all__ = ["LabelOrder"]

log = logging.getLogger(__name__)

# Counted together: one by one, requests of a few samples would pay for it.
_PIECE = 4096


class LabelOrder:
    """Counts the labels that a model learns, since the daemon's start."""

    def __init__(self) -> None:
        self._run = LabelRun()
        self._pending: list[Sequence[float] | NDArray[np.float64]] = []
        self._size = 0
        self._warned = False

    def note(self, labels: Sequence[float] | NDArray[np.float64]) -> None:
        """Count `labels`, which were learned next; log a warning at the first long run."""
        self._pending.append(labels)
        self._size += len(labels)
        # Empty requests take memory, too.
        if self._size >= _PIECE or len(self._pending) >= _PIECE:
            self._count()

    @property
    def longest(self) -> int:
        """The length of the longest run of one label."""
        self._count()
        return self._run.longest

    def _count(self) -> None:
        if self._pending:
            self._run.count(np.concatenate(self._pending))
        self._pending, self._size = [], 0
        if self._warned or (long := self._run.long) is None:
            return
        self._warned = True
        label, longest, expected = long
        log.warning(
            "the labels come sorted: %d samples in a row had the label %+.0f, in random order it"
            " would be about %d; a model follows the last label of sorted samples: mix them",
            longest, label, expected,
        )  # fmt: skip
