"""The order of the labels that a model learns: a warning where they come sorted by class."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.pieces import Decoded
from onlinesvm.metrics.label_run import LabelRun
from onlinesvm.model.class_labels import AnyLabels
from onlinesvm.model.labels import Labels

__all__ = ["LabelOrder"]

log = logging.getLogger(__name__)

# Counted together: one by one, requests of a few samples would pay for it.
_PIECE = 4096


class LabelOrder:
    """Counts the labels that a model learns, since the daemon's start."""

    def __init__(self) -> None:
        self._run = LabelRun()
        self._labels: AnyLabels = Labels()
        self._pending: list[NDArray[Any]] = []
        self._size = 0
        self._warned = False

    def note(self, labels: AnyLabels, batch: Decoded) -> None:
        """Count the labels of `batch`, which was learned next; log a warning at the first long run.

        labels: the model's, which know them. Sets of labels have no runs.
        """
        if labels.takes_sets:
            return
        self._labels = labels
        self._pending.append(labels.truths_of(batch))
        self._size += len(batch)
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
        side, longest, expected = long
        log.warning(
            "the labels come sorted: %d samples in a row had the label %s, in random order it"
            " would be about %d; a model follows the last label of sorted samples: mix them",
            longest, self._labels.name(side), expected,
        )  # fmt: skip
