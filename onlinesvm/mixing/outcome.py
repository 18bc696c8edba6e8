"""The outcome of a round on one shard, or on several shards together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.snapshot.format import Snapshot

__all__ = ["Counts", "Outcome", "counts_of"]

Counts = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A model, and by how many samples each part of it moved in this round.

    counts: by feature, uint32[n]. samples: those of importance above 0, the weight of all that
    belongs to no feature.
    """

    model: Snapshot
    counts: Counts
    samples: int


def counts_of(base: Snapshot, model: Snapshot) -> Counts:
    """How often `model` has seen each of its features since it was `base`, for rules that count
    it: uint32[n].
    """
    seen: NDArray[Any] = model.arrays["seen"]
    counts = seen.astype(np.int64)
    counts[: len(base.lengths)] -= base.arrays["seen"]
    return counts.astype(np.uint32)
